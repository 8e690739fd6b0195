"""What `plan` foretells of a conversion, beside what its receipt says it was."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from linen_nnx.schema.routing import Traffic


@dataclass(frozen=True)
class Bytes:
    """Of one conversion."""

    referenced: int
    moved: int
    decoded: int
    files: int
    """Of data files that were copied or linked."""
    memory: int
    seconds: float
    """Of the whole process."""

    def __str__(self) -> str:
        """Cells of a table."""
        cells = (self.referenced, self.moved, self.decoded, self.files, self.memory)
        return " | ".join([*(f"{nbytes / 1e6:,.1f} MB" for nbytes in cells), f"{self.seconds:.1f} s"])


def foretold(source: Path, options: Sequence[str]) -> Bytes:
    """By `plan`, in a process of its own."""
    known = [option for option in options if option != "--no-digest"]
    command = [sys.executable, "-m", "linen_nnx.cli.main", "plan", str(source), "--json", *known]
    done = subprocess.run(command, check=True, capture_output=True)
    cost = json.loads(done.stdout)["execution"]
    names = ("referenced", "moved", "decoded", "file_bytes", "peak_memory", "seconds")
    return Bytes(*(cost[name] for name in names))


def found_in(target: Path, seconds: float) -> Bytes:
    """By the receipt of a finished conversion, which took so long."""
    receipt = json.loads((target / "linen_nnx" / "receipt.json").read_text(encoding="utf-8"))
    was = Traffic.model_validate(receipt["traffic"])
    carried = was.copied + was.linked
    return Bytes(was.referenced, was.moved, was.decoded, carried, was.peak_memory, seconds)


def table(both: Mapping[str, tuple[Bytes, Bytes]]) -> Iterator[str]:
    """Markdown: two rows an arm."""
    yield "| | | by reference | moved | decoded | data files | memory | time |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, (before, after) in both.items():
        yield f"| {name} | foretold | {before} |"
        yield f"| | found | {after} |"
    yield ""
