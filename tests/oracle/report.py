"""The table of the results, on the terminal and as `docs/oracle.md`."""

import datetime
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.oracle import environments
from tests.oracle.cases import GROUND_TRUTH, Group
from tests.oracle.judging import Row, digits
from tests.oracle.trainers import Release

_HEAD = """\
# The oracle

Written by `make oracle`; do not edit. It asks MaxText itself: states that its releases wrote are converted by
`linen-nnx convert` and resumed, and the losses of the steps that follow must be right to the last digit.

## Last result

{passed} of {all} cases as they must be, on {date}.
{skipped}
| | {releases} |
|---|{rules}|
{versions}

`linen-nnx` {converter} under Python {python}, {machine}, CPU alone.
"""

_METHOD = Path(__file__).with_name("method.md")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show(rows: list[Row]) -> None:
    """The table, in columns."""
    for group, cells in _grouped(rows):
        say(f"\n{group}")
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for line in cells:
            say(
                "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            )
    say("")


def document(rows: list[Row], cli: Path) -> str:
    """The page."""
    found = {release: environments.versions(release) for release in Release}
    names = next(iter(found.values()))
    head = _HEAD.format(
        passed=sum(row.passed for row in rows),
        all=len(rows),
        date=datetime.date.today().isoformat(),
        skipped=""
        if GROUND_TRUTH.is_dir()
        else "\nSkipped: the states of older versions, which were not there.\n",
        releases=" | ".join(f"MaxText {release}" for release in Release),
        rules="|".join("---" for _ in Release),
        versions="\n".join(
            f"| {name} | " + " | ".join(found[each][name] for each in found) + " |" for name in names
        ),
        converter=subprocess.run(
            [cli, "--version"], capture_output=True, text=True, check=True
        ).stdout.split()[-1],
        python=platform.python_version(),
        machine=platform.machine(),
    )
    return head + "".join(_sections(rows)) + _METHOD.read_text()


def _sections(rows: list[Row]) -> Iterator[str]:
    for group, cells in _grouped(rows):
        lines = "\n".join(f"| {' | '.join(line)} |" for line in cells)
        head = "| case | what | losses | verdict |\n|---|---|---|---|"
        yield f"\n### {group[0].upper()}{group[1:]}\n\n{head}\n{lines}\n"


def _grouped(rows: list[Row]) -> Iterator[tuple[Group, list[tuple[str, ...]]]]:
    for group in Group:
        if cells := [_cells(row) for row in rows if row.case.group is group]:
            yield group, cells


def _cells(row: Row) -> tuple[str, ...]:
    losses = " ".join(map(digits, row.losses)) or "none"
    return row.case.state, row.case.what, losses, row.verdict if row.passed else f"WRONG: {row.verdict}"
