"""How long `verify` takes beside reading the files once, from the disk and from memory."""

import os
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Cost, median, run


@dataclass(frozen=True)
class Reading:
    """One way to read a whole checkpoint, with its files in memory or not."""

    name: str
    cold: bool

    def __str__(self) -> str:
        """Its name in tables."""
        return f"{self.name}, {'from the disk' if self.cold else 'from memory'}"

    def command(self, folder: Path) -> list[str]:
        """What is run."""
        if self.name == "cat":
            at = shlex.quote(str(folder))
            return ["bash", "-c", f"find {at} -type f -print0 | xargs -0 cat > /dev/null"]
        return [sys.executable, "-m", "linen_nnx.cli.main", "verify", str(folder)]


READINGS = tuple(Reading(name, cold) for cold in (True, False) for name in ("cat", "verify"))


def evict(folder: Path) -> None:
    """Let the system forget the files' pages. What another process holds open may stay."""
    os.sync()
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def measure(source: Path, work: Path, rounds: int) -> dict[Reading, list[Cost]]:
    """Convert `source` by copy, and read what came out in all ways in turn, `rounds` times."""
    target = work / "to-verify"
    run([sys.executable, "-m", "linen_nnx.cli.main", "convert", str(source), str(target)], work / "log")
    costs: defaultdict[Reading, list[Cost]] = defaultdict(list)
    for at in range(rounds):
        for reading in READINGS:
            if reading.cold:
                evict(target)
            costs[reading].append(run(reading.command(target), work / "log"))
            print(f"{at} {reading}: {costs[reading][-1]}", file=sys.stderr, flush=True)
    return dict(costs)


def table(costs: dict[Reading, list[Cost]]) -> Iterator[str]:
    """Markdown."""
    yield "| | runs | wall | ratio to `cat` (best, median) | CPU | peak memory |"
    yield "|---|---|---|---|---|---|"
    for reading, found in costs.items():
        base = costs[Reading("cat", reading.cold)]
        middle, best = median(found), min(cost.wall for cost in found)
        fastest = min(cost.wall for cost in base)
        yield (
            f"| {reading} | {len(found)} | {middle.wall:.2f} s | {best / fastest:.2f}, "
            f"{middle.wall / median(base).wall:.2f} | {middle.cpu:.2f} s | {middle.peak / 1e6:.0f} MB |"
        )
    yield ""
