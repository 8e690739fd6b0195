"""Run the benchmarks: whole processes, interleaved, medians; `--write` puts all into the manual."""

import argparse
import compileall
import os
import platform
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.foretelling import Bytes, foretold, found_in
from benchmarks.foretelling import table as table_of_bytes
from benchmarks.measure import Cost, empty, median, run
from benchmarks.planning import measure as measure_plans
from benchmarks.plot import plot
from benchmarks.starting import measure as measure_starts
from benchmarks.starting import table as table_of_starts
from benchmarks.states import Form
from benchmarks.verifying import measure as measure_readings
from benchmarks.verifying import table as table_of_readings

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
PLOT = PAGE.with_name("performance.svg")
DTYPES = ("float32", "bfloat16")
PACKAGE = Path(__file__).parent.parent / "linen_nnx"
START, END = "<!-- results -->", "<!-- end of results -->"
BASE = "cp -r, sync"
_COPY = 'cp -r "$1" "$2" && find "$2" -type f -print0 | xargs -0 sync'


@dataclass(frozen=True)
class Arm:
    """One way to convert; `scanned` says from which state, None from the one that another arm stacked."""

    name: str
    scanned: bool | None
    options: tuple[str, ...] = ()
    slow: bool = False

    def command(self, source: Path, target: Path) -> list[str]:
        """What is run."""
        if self.name == BASE:
            return ["bash", "-c", _COPY, "bash", str(source), str(target)]
        module = "benchmarks.handwritten" if self.slow else "linen_nnx.cli.main"
        verb = [] if self.slow else ["convert"]
        return [sys.executable, "-m", module, *verb, str(source), str(target), *self.options]


STACK = Arm("stack by chunk, link", False, ("--to", "nnx", "--scan-layers", "--transfer", "link"))
ARMS = (
    Arm(BASE, False),
    Arm("rename, link", False, ("--to", "nnx", "--transfer", "link")),
    Arm("rename, link, no digests", False, ("--to", "nnx", "--transfer", "link", "--no-digest")),
    Arm("rename, copy", False, ("--to", "nnx")),
    Arm("rename, copy, no digests", False, ("--to", "nnx", "--no-digest")),
    STACK,
    Arm("stack by chunk, copy", False, ("--to", "nnx", "--scan-layers")),
    Arm("unstack by chunk, link", None, ("--to", "linen", "--no-scan-layers", "--transfer", "link")),
    Arm("unstack, decoded", True, ("--to", "nnx", "--no-scan-layers")),
    Arm("unstack, decoded, fast codec", True, ("--to", "nnx", "--no-scan-layers", "--codec", "fast")),
    Arm("orbax restore, numpy stack, orbax save", False, slow=True),
    Arm("orbax restore, numpy unstack, orbax save", True, slow=True),
)


def prepare(form: Form, work: Path) -> dict[bool | None, Path]:
    """The states that the arms read."""
    sources: dict[bool | None, Path] = {}
    for scanned in (False, True):
        made = Form(form.gigabytes, form.dtype, scanned, form.zarr_format)
        sources[scanned] = work / str(made)
        command = [sys.executable, "-m", "benchmarks.states", str(sources[scanned])]
        command += [
            "--gigabytes",
            str(form.gigabytes),
            "--dtype",
            form.dtype,
            "--zarr",
            str(form.zarr_format),
        ]
        run([*command, "--scanned"] if scanned else command, work / "log")
    sources[None] = work / "stacked-by-chunk"
    run(STACK.command(sources[False], sources[None]), work / "log")
    return sources


def compare(
    form: Form, sources: dict[bool | None, Path], work: Path, rounds: int, slow_rounds: int
) -> dict[Arm, list[Cost]]:
    """All arms in turn, `rounds` times; the slow ones `slow_rounds` times.

    Each round begins with another arm: what one leaves behind (free memory, a busy disk) the next one meets.
    """
    target = work / "target"
    costs: defaultdict[Arm, list[Cost]] = defaultdict(list)
    for at in range(rounds):
        for arm in (*ARMS[at % len(ARMS) :], *ARMS[: at % len(ARMS)]):
            if arm.slow and at >= slow_rounds:
                continue
            empty(target)
            costs[arm].append(run(arm.command(sources[arm.scanned], target), work / "log"))
            print(f"{form} {at} {arm.name}: {costs[arm][-1]}", file=sys.stderr, flush=True)
    empty(target)
    return dict(costs)


def _title(form: Form) -> str:
    return f"{form.gigabytes:g} GB, {form.dtype}, zarr v{form.zarr_format}"


def table(form: Form, costs: dict[Arm, list[Cost]]) -> Iterator[str]:
    """Markdown."""
    base = median(costs[ARMS[0]])
    yield f"### {_title(form)}"
    yield ""
    yield "| | runs | wall | ratio to `cp` (best, median) | CPU | peak memory |"
    yield "|---|---|---|---|---|---|"
    fastest = min(cost.wall for cost in costs[ARMS[0]])
    for arm, found in costs.items():
        middle, best = median(found), min(cost.wall for cost in found)
        yield (
            f"| {arm.name} | {len(found)} | {middle.wall:.2f} s | {best / fastest:.2f}, "
            f"{middle.wall / base.wall:.2f} | {middle.cpu:.2f} s | {middle.peak / 1e6:.0f} MB |"
        )
    yield ""


def plans(counts: Sequence[int], work: Path, rounds: int) -> Iterator[str]:
    """Markdown."""
    yield "### Planning"
    yield ""
    yield "Of a state of so many arrays where its layers stand one by one. CPU: median; wall: the best run."
    yield ""
    yield "| layers | arrays | wall | CPU | CPU an array | peak memory |"
    yield "|---|---|---|---|---|---|"
    for shape, count, costs in measure_plans(list(counts), work, rounds):
        cost, best = median(costs), min(cost.wall for cost in costs)
        took = f"{best:.2f} s | {cost.cpu:.2f} s | {cost.cpu / count * 1e6:.0f} µs"
        yield f"| {shape.name} | {count:,} | {took} | {cost.peak / 1e6:.0f} MB |"
    yield ""


@dataclass(frozen=True)
class Case:
    """A state, and how often each arm reads it."""

    form: Form
    rounds: int = 5
    slow_rounds: int = 2

    @classmethod
    def of(cls, gigabytes: float, dtype: str, zarr: int, rounds: int = 5, slow: int = 2) -> "Case":
        """By the properties of the state."""
        return cls(Form(gigabytes, dtype, False, zarr), rounds, slow)


QUICK = (Case.of(1, "float32", 2, rounds=3, slow=1),)
USUAL = (
    Case.of(1, "float32", 2, slow=5),
    Case.of(1, "float32", 3),
    Case.of(1, "bfloat16", 2),
    Case.of(1, "bfloat16", 3),
    Case.of(4, "float32", 2, slow=1),
)
"""A quarter of an hour on two quiet cores."""
FULL = tuple(Case.of(size, dtype, zarr, slow=5) for size in (1, 4) for dtype in DTYPES for zarr in (2, 3))


def write(lines: list[str], svg: str) -> None:
    """Put the results into the manual."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8")
    PLOT.write_text(svg, encoding="utf-8")


def machine() -> str:
    """Where and when, and how busy it was."""
    now = datetime.now(UTC).strftime("%Y-%m-%d")
    one, _, fifteen = os.getloadavg()
    return (
        f"Taken on {now} on {os.cpu_count()} cores; load {one:.1f} at the end, {fifteen:.1f} over 15 "
        f"minutes. Python {platform.python_version()}, tensorstore {version('tensorstore')}, "
        f"orbax-checkpoint {version('orbax-checkpoint')}."
    )


def measured(case: Case, folder: Path | None, ratios: dict[str, dict[str, float]]) -> Iterator[str]:
    """Run a case; its tables, and its ratios by arm for the plot."""
    work = Path(tempfile.mkdtemp(dir=folder))
    try:
        sources = prepare(case.form, work)
        costs = compare(case.form, sources, work, case.rounds, case.slow_rounds)
        yield from table(case.form, costs)
        base = median(costs[ARMS[0]]).wall
        ratios[_title(case.form)] = {arm.name: median(found).wall / base for arm, found in costs.items()}
        yield from table_of_bytes(foretell(sources, work))
        if case.form.zarr_format == 2:
            yield from table_of_readings(measure_readings(sources[False], work, case.rounds))
    finally:
        shutil.rmtree(work)


def foretell(sources: dict[bool | None, Path], work: Path) -> dict[str, tuple[Bytes, Bytes]]:
    """What is foretold of each of our arms, and what came of it."""
    target, both = work / "target", {}
    for arm in ARMS:
        if arm.slow or arm.name == BASE:
            continue
        empty(target)
        cost = run(arm.command(sources[arm.scanned], target), work / "log")
        both[arm.name] = (foretold(sources[arm.scanned], arm.options), found_in(target, cost.wall))
    empty(target)
    return both


def main() -> None:
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true", help="one state of 1 GB, three rounds: two minutes")
    extent.add_argument("--full", action="store_true", help="1 and 4 GB in all forms, five rounds: hours")
    parser.add_argument("--gigabytes", type=float, help="states of another size than their own")
    parser.add_argument("--plans", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--folder", type=Path, help="where states are made; needs four times the largest")
    parser.add_argument("--write", action="store_true", help=f"put tables and plot into {PAGE.name}")
    given = parser.parse_args()
    cases: Sequence[Case] = QUICK if given.quick else FULL if given.full else USUAL
    if given.gigabytes:
        cases = [replace(case, form=replace(case.form, gigabytes=given.gigabytes)) for case in cases]
    # As an installer leaves it: no run of a user compiles the sources.
    compileall.compile_dir(PACKAGE, quiet=1)
    lines: list[str] = []
    ratios: dict[str, dict[str, float]] = {}
    for case in cases:
        lines += measured(case, given.folder, ratios)
        print("\n".join(lines), flush=True)
    work = Path(tempfile.mkdtemp(dir=given.folder))
    lines += plans(given.plans, work, 3)
    lines += table_of_starts(measure_starts(work, 5))
    shutil.rmtree(work)
    lines = [machine(), "", f"![wall time of every arm]({PLOT.name})", "", *lines]
    print("\n".join(lines))
    if given.write:
        write(lines, plot(ratios, [arm.name for arm in ARMS if arm.slow or arm.name == BASE]))


if __name__ == "__main__":
    main()
