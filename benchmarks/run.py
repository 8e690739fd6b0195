"""Run the benchmarks: whole processes, interleaved, medians; `--write` puts the tables into the manual."""

import argparse
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Cost, empty, median, run
from benchmarks.planning import measure as measure_plans
from benchmarks.states import Form
from benchmarks.verifying import measure as measure_readings
from benchmarks.verifying import table as table_of_readings

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
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
    """All arms in turn, `rounds` times; the slow ones `slow_rounds` times."""
    target = work / "target"
    costs: defaultdict[Arm, list[Cost]] = defaultdict(list)
    for at in range(rounds):
        for arm in ARMS:
            if arm.slow and at >= slow_rounds:
                continue
            empty(target)
            costs[arm].append(run(arm.command(sources[arm.scanned], target), work / "log"))
            print(f"{form} {at} {arm.name}: {costs[arm][-1]}", file=sys.stderr, flush=True)
    empty(target)
    return dict(costs)


def table(form: Form, costs: dict[Arm, list[Cost]]) -> Iterator[str]:
    """Markdown."""
    base = median(costs[ARMS[0]])
    yield f"### {form.gigabytes:g} GB, {form.dtype}, zarr v{form.zarr_format}"
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
    yield "| arrays | wall | CPU | peak memory |"
    yield "|---|---|---|---|"
    for count, costs in measure_plans(list(counts), work, rounds).items():
        cost = median(costs)
        yield f"| {count:,} | {cost.wall:.2f} s | {cost.cpu:.2f} s | {cost.peak / 1e6:.0f} MB |"
    yield ""


def write(lines: list[str]) -> None:
    """Put the results into the manual."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[1, 4])
    parser.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--zarr", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=5, help="of the arms that use orbax")
    parser.add_argument("--plans", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--folder", type=Path, help="where states are made; needs four times the largest")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    given = parser.parse_args()
    lines: list[str] = []
    for dtype in given.dtypes:
        for size in given.gigabytes:
            work = Path(tempfile.mkdtemp(dir=given.folder))
            form = Form(size, dtype, False, given.zarr)
            sources = prepare(form, work)
            lines += table(form, compare(form, sources, work, given.rounds, given.slow_rounds))
            lines += table_of_readings(measure_readings(sources[False], work, given.rounds))
            shutil.rmtree(work)
            print("\n".join(lines), flush=True)
    work = Path(tempfile.mkdtemp(dir=given.folder))
    lines += plans(given.plans, work, given.rounds)
    shutil.rmtree(work)
    print("\n".join(lines))
    if given.write:
        write(lines)


if __name__ == "__main__":
    main()
