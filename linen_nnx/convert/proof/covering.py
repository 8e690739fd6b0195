"""Which bytes of which file belong to a chunk of an array, and which to none: every byte has one place."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from linen_nnx.convert.proof.hashing import Region
from linen_nnx.convert.store.extents import Extent, StoredValue
from linen_nnx.convert.store.location import OWN_FOLDER, Location
from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.schema.digest import Level
from linen_nnx.schema.orbax_metadata import CHECKPOINT_METADATA_FILE, COMMIT_MARKER
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Place
from linen_nnx.schema.receipt import RECEIPT_FILE
from linen_nnx.schema.zarr import chunk_grid

Address = tuple[Place, KeyPath]
"""An entry of an item, or of the side item within it."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a state, and the name that a receipt has for it."""

    level: Level
    name: str
    file: Path


def arrays_of(item: OrbaxItem) -> dict[Address, StoredArray]:
    """Every array of an item and of its side item."""
    found = {(Place.ITEM, path): stored for path, stored in item.arrays.items()}
    if item.side is not None and item.side.item is not None:
        found |= {(Place.SIDE, path): stored for path, stored in item.side.item.arrays.items()}
    return found


def chunks_of(array: StoredArray) -> list[tuple[str, StoredValue | None]]:
    """Key and value of every chunk, in C order of the grid; None where one is left out."""
    stored = array.store.stored
    keys = (f"{array.name}/{array.zarr.chunk_key(index)}" for index in chunk_grid(array.zarr))
    return [(key, stored.get(key)) for key in keys]


def region_of(array: StoredArray, value: Extent) -> Region:
    """Where a stored value lies."""
    return Region(array.folder / value.file, value.offset, value.length)


def chunk_regions(arrays: Iterable[StoredArray]) -> Iterator[Region]:
    """Where the chunks lie that are not inline in an index."""
    for array in arrays:
        for _, value in chunks_of(array):
            if isinstance(value, Extent):
                yield region_of(array, value)


def files_of(location: Location) -> Iterator[StoredFile]:
    """Every file of the items of a state but their receipt, and the step's own metadata."""
    receipt = location.item / OWN_FOLDER / RECEIPT_FILE
    if location.item.is_file():
        yield StoredFile(Level.ITEM, location.item.name, location.item)
    for part in location.items:
        level = Level.ITEM if part.folder == location.item else Level.STEP
        base = level_folder(location, level)
        for file in _walk(part.folder):
            if file != receipt:
                yield StoredFile(level, file.relative_to(base).as_posix(), file)
    if location.step is not None and location.step != location.item:
        for name in (CHECKPOINT_METADATA_FILE, COMMIT_MARKER):
            if (location.step / name).is_file():
                yield StoredFile(Level.STEP, name, location.step / name)


def level_folder(location: Location, level: Level) -> Path:
    """The folder that names of files of `level` are relative to."""
    return location.item.parent if level is Level.STEP or location.item.is_file() else location.item


def _walk(folder: Path) -> Iterator[Path]:
    # A linked folder is read like any other, so it is watched like any other.
    for base, below, files in os.walk(folder, followlinks=True):
        below.sort()
        yield from (Path(base, name) for name in sorted(files))


def spans_outside(size: int, taken: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Offset and length of each run of a file of `size` bytes that no (offset, length) of `taken` holds."""
    if size == 0:
        # An empty file has a digest too.
        yield 0, 0
    at = 0
    for offset, length in [*sorted(taken), (size, 0)]:
        if (end := min(offset, size)) > at:
            yield at, end - at
        at = max(at, offset + length)
