"""How long each command takes on next to nothing, beside the imports that none can do without."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Cost, empty, median, run

BASE = "import pydantic, typer"


def measure(work: Path, rounds: int) -> dict[str, list[Cost]]:
    """All commands in turn, on a state of a few MB in one file."""
    source, target = str(work / "small"), work / "small-target"
    run([sys.executable, "-m", "benchmarks.states", source, "--gigabytes", "0.004"], work / "log")
    ours = [sys.executable, "-m", "linen_nnx.cli.main"]
    convert = [*ours, "convert", source, str(target), "--transfer", "link"]
    commands = {
        BASE: [sys.executable, "-c", BASE],
        "--help": [*ours, "--help"],
        "inspect": [*ours, "inspect", source],
        "validate": [*ours, "validate", source],
        "plan": [*ours, "plan", source],
        "convert, link": convert,
        "verify": [*ours, "verify", str(target)],
    }
    costs: defaultdict[str, list[Cost]] = defaultdict(list)
    for _ in range(rounds):
        empty(target)
        for name, command in commands.items():
            costs[name].append(run(command, work / "log"))
    return dict(costs)


def table(costs: dict[str, list[Cost]]) -> Iterator[str]:
    """Markdown."""
    yield "### Start-up"
    yield ""
    yield "| | runs | wall | ratio to the imports | CPU | peak memory |"
    yield "|---|---|---|---|---|---|"
    base = median(costs[BASE])
    for name, found in costs.items():
        cost = median(found)
        yield (
            f"| {name} | {len(found)} | {cost.wall:.2f} s | {cost.wall / base.wall:.2f} | {cost.cpu:.2f} s | "
            f"{cost.peak / 1e6:.0f} MB |"
        )
    yield ""
