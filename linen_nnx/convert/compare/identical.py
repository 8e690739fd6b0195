"""Stored chunks that are the same bytes in the same encoding: equal without decoding."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from linen_nnx.convert.compare.units import Block, Region
from linen_nnx.convert.engine.chunks import Chunked, by_chunk
from linen_nnx.convert.store.extents import Extent, StoredValue
from linen_nnx.convert.store.read import Opener, StoredArray
from linen_nnx.convert.store.stored_bytes import StoredBytes, opened
from linen_nnx.schema.ops import Copy, Op

_WINDOW = 4 * 2**20
"""Bytes of each side that are held against each other at a time."""
_Stored = tuple[StoredArray, StoredValue | None]


@dataclass(frozen=True, slots=True)
class Alike:
    """Two arrays in one encoding: the stored chunks of each, and how a tile finds them."""

    one: Chunked
    other: Chunked
    fixed: tuple[tuple[int, int, int], ...]
    """Axis, and the first and last chunk on it; empty where the arrays are single leaves."""

    def same(self, region: Region) -> bool:
        """Whether every chunk of a tile is stored as the same bytes on both sides."""
        return all(_same(a, b) for a, b in self._chunks(region))

    def _chunks(self, region: Region) -> Iterator[tuple[_Stored, _Stored]]:
        held = {axis: range(first, last + 1) for axis, first, last in self.fixed}
        free = iter(region)
        ranges = []
        for axis, size in enumerate(self.one.zarr.chunk_shape):
            if axis in held:
                ranges.append(held[axis])
                continue
            part, size = next(free), max(1, size)
            ranges.append(range(part.start // size, -(-part.stop // size)))
        for index in product(*ranges):
            yield _stored(*self.one.at(index)), _stored(*self.other.at(index))


def _stored(array: StoredArray, index: tuple[int, ...]) -> _Stored:
    return array, array.chunk(index)


def alike(a: Block, b: Block, ops: Sequence[tuple[Op, Op]]) -> Alike | None:
    """Two blocks whose chunks can be held against each other as they are stored; None if none can.

    `ops` are those of the leaves, which are single arrays, or slices of the two at the same indices.
    """
    zarr = a.array.zarr.zarr_format
    if isinstance(a.array.store, Opener) or isinstance(b.array.store, Opener):
        return None
    if zarr != b.array.zarr.zarr_format:
        return None
    arrays = {a.slices[0].ref: a.array}, {b.slices[0].ref: b.array}
    if len(ops) == 1:
        pair = ops[0]
        fixed: tuple[tuple[int, int, int], ...] = ()
    elif [s.fixed for s in a.slices] == [s.fixed for s in b.slices]:
        pair = (Copy(source=a.slices[0].ref), Copy(source=b.slices[0].ref))
        fixed = _chunks_on_fixed_axes(a)
    else:
        return None
    one, other = (by_chunk(op, held.__getitem__, zarr) for op, held in zip(pair, arrays, strict=True))
    if one is None or other is None or one.zarr != other.zarr:
        return None
    return Alike(one, other, fixed)


def _chunks_on_fixed_axes(block: Block) -> tuple[tuple[int, int, int], ...]:
    chunks = block.array.zarr.chunk_shape
    found = []
    for axis in block.fixed:
        indices = [dict(one.fixed)[axis] // max(1, chunks[axis]) for one in block.slices]
        found.append((axis, min(indices), max(indices)))
    return tuple(found)


def _same(a: _Stored, b: _Stored) -> bool:
    (one, first), (other, second) = a, b
    if first is None or second is None:
        return first is second
    length = _length(first)
    if length != _length(second):
        return False
    if (place := _place(one, first)) is not None and place == _place(other, second):
        return True
    with opened(one.folder, first) as left, opened(other.folder, second) as right:
        return _equal(left, right)


def _length(value: StoredValue) -> int:
    return value.length if isinstance(value, Extent) else len(value)


def _equal(left: StoredBytes, right: StoredBytes) -> bool:
    """Of the same length."""
    for at in range(0, left.length, _WINDOW):
        size = min(_WINDOW, left.length - at)
        one, other = bytearray(size), bytearray(size)
        left.read_at(at, memoryview(one))
        right.read_at(at, memoryview(other))
        if one != other:
            return False
    return True


def _place(array: StoredArray, value: StoredValue) -> tuple[int, int, int] | None:
    return (*_file(array.folder / value.file), value.offset) if isinstance(value, Extent) else None


def _file(path: Path) -> tuple[int, int]:
    """What a file is, under whatever name: hard links share it."""
    found = os.stat(path)
    return found.st_dev, found.st_ino
