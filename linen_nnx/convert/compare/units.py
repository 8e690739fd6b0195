"""What is read together: leaves that share stored chunks on either side, one tile of them at a time.

A stack and its layers one by one share the chunks of the stack, so that each chunk is decoded once however
many layers it holds.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from linen_nnx.convert.compare.slices import Slice
from linen_nnx.convert.store.read import StoredArray

TILE = 8 * 2**20
"""Bytes of one side that are read at a time, where chunks are smaller."""

Region = tuple[slice, ...]
"""A part of the axes that a leaf has."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some layers of one stored array: what of its fixed axes is read together."""

    array: StoredArray
    slices: tuple[Slice, ...]

    @property
    def fixed(self) -> tuple[int, ...]:
        """The axes that are fixed."""
        return tuple(axis for axis, _ in self.slices[0].fixed)

    @property
    def free(self) -> list[int]:
        """The others."""
        return self.slices[0].free(len(self.array.zarr.shape))

    @property
    def free_shape(self) -> tuple[int, ...]:
        """Of a leaf."""
        return tuple(self.array.zarr.shape[axis] for axis in self.free)

    @property
    def free_chunks(self) -> tuple[int, ...]:
        """Of a stored chunk, along the axes of a leaf."""
        return tuple(max(1, self.array.zarr.chunk_shape[axis]) for axis in self.free)

    @property
    def _range(self) -> dict[int, slice]:
        indices = [dict(one.fixed) for one in self.slices]
        return {
            axis: slice(min(i[axis] for i in indices), max(i[axis] for i in indices) + 1)
            for axis in self.fixed
        }

    def nbytes(self, region: Region) -> int:
        """Of a tile in memory."""
        sizes: list[int] = [part.stop - part.start for part in (*self._range.values(), *region)]
        return prod(sizes) * self.array.zarr.spec.dtype.itemsize

    def where(self, region: Region) -> tuple[slice, ...]:
        """A tile of all slices, in the stored array."""
        fixed, free = self._range, dict(zip(self.free, region, strict=True))
        return tuple(fixed[axis] if axis in fixed else free[axis] for axis in range(len(fixed) + len(free)))

    def apart(self, whole: Any) -> dict[Slice, Any]:
        """What was read there as one view a slice."""
        fixed = self._range
        return {one: np.asarray(whole[self._inside(one, fixed)]) for one in self.slices}

    def _inside(self, one: Slice, fixed: dict[int, slice]) -> tuple[Any, ...]:
        at = dict(one.fixed)
        axes = range(len(self.array.zarr.shape))
        return tuple(at[axis] - fixed[axis].start if axis in at else slice(None) for axis in axes)


def blocks(wanted: Sequence[tuple[StoredArray, Slice]]) -> list[Block]:
    """The slices, those that share stored chunks together."""
    together: dict[object, list[tuple[StoredArray, Slice]]] = defaultdict(list)
    for one, array in {one: array for array, one in wanted}.items():
        together[chunk_of(array, one)].append((array, one))
    return [Block(found[0][0], tuple(one for _, one in found)) for found in together.values()]


def chunk_of(array: StoredArray, one: Slice) -> object:
    """What two slices have in common that share chunks."""
    chunks = array.zarr.chunk_shape
    return one.ref, array.folder, tuple((axis, index // max(1, chunks[axis])) for axis, index in one.fixed)


def tiles(shape: Sequence[int], step: Sequence[int]) -> Iterator[Region]:
    """The regions of `shape`, each of `step`, in C order."""
    ranges = [range(0, size, at) for size, at in zip(shape, step, strict=True)]
    for corner in product(*ranges):
        yield tuple(
            slice(start, min(start + at, size)) for start, at, size in zip(corner, step, shape, strict=True)
        )


def step_of(found: Sequence[Block]) -> tuple[int, ...]:
    """A tile's size: whole chunks of every block, more of them where they are small; never of size zero."""
    shape = found[0].free_shape
    step = [max(block.free_chunks[axis] for block in found) for axis in range(len(shape))]
    layers = max(block.nbytes(tuple(slice(0, 1) for _ in shape)) for block in found)
    for axis in reversed(range(len(shape))):
        size = layers * prod(min(at, length) for at, length in zip(step, shape, strict=True))
        if size and size < TILE:
            step[axis] *= max(1, TILE // size)
        step[axis] = max(1, min(step[axis], shape[axis]))
    return tuple(step)


def slab_of(shape: Sequence[int], itemsize: int, nbytes: int) -> tuple[int, ...]:
    """The largest part of `shape`, of elements that follow one another in C order, of at most `nbytes`."""
    step = [max(1, size) for size in shape]
    for axis in range(len(step)):
        if prod(step) * itemsize <= nbytes:
            break
        step[axis] = max(1, nbytes // (prod(step[axis + 1 :]) * itemsize))
    return tuple(step)
