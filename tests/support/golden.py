"""The inventories of real checkpoints, and what their names say of them.

A name is `<era>-<linen|nnx>-<scan|unscan>-<decoder>-<optimizer>[-variant]`, as in the folder that they
were taken from. A file keeps one line a module: its path, then its leaves.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.entries import Keys, path_of

FOLDER = Path(__file__).parent.parent / "golden"
GROUND_TRUTH = Path(__file__).parent.parent.parent.parent / "shared" / "ground-truth"
"""The checkpoints themselves, where the whole workspace is there."""


@dataclass(frozen=True)
class Golden:
    """One real checkpoint's inventory: for each item the spec of every entry."""

    name: str
    writer: str
    ocdbt: bool
    zarr_format: int
    items: dict[str, dict[Keys, str]]

    @property
    def entries(self) -> dict[Keys, str]:
        """Of the only item."""
        (entries,) = self.items.values()
        return entries


def names() -> list[str]:
    """Every golden inventory."""
    return sorted(file.stem for file in FOLDER.glob("*.json"))


def maxtext_names() -> list[str]:
    """Those of one item, which MaxText wrote."""
    return [name for name in names() if not name.startswith("tunix")]


@cache
def load(name: str) -> Golden:
    """Read one file."""
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    items = {
        item: {
            path_of(f"{module}/{leaf}" if module else leaf): spec
            for module, leaves in modules.items()
            for leaf, spec in leaves.items()
        }
        for item, modules in document["items"].items()
    }
    storage = document["storage"]
    return Golden(name, document["writer"], storage["ocdbt"], storage["zarr_format"], items)
