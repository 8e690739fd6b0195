"""Read what two sides have in common, unit by unit on threads, within a bound of memory."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from linen_nnx.convert.compare.decoding import Reader
from linen_nnx.convert.compare.elements import Tally
from linen_nnx.convert.compare.identical import Alike, alike
from linen_nnx.convert.compare.slices import Slice
from linen_nnx.convert.compare.threads import run_jobs
from linen_nnx.convert.compare.units import Block, Region, blocks, chunk_of, step_of, tiles
from linen_nnx.convert.engine.progress import one_at_a_time
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.schema.ops import Op
from linen_nnx.schema.routing import Effort

_BESIDE = 48 * 2**20
"""Bytes that a thread needs for wide floats and masks beside what it read."""


@dataclass(frozen=True, slots=True)
class Work:
    """One pair of leaves to read: where each is stored, and where what is found goes."""

    ops: tuple[Op, Op]
    slices: tuple[Slice, Slice]
    arrays: tuple[StoredArray, StoredArray]
    tally: Tally


@dataclass(frozen=True)
class Unit:
    """Leaves that share stored chunks."""

    works: tuple[Work, ...]

    @cached_property
    def sides(self) -> tuple[list[Block], list[Block]]:
        """What is read on each side."""
        one, other = ([(w.arrays[at], w.slices[at]) for w in self.works] for at in (0, 1))
        return blocks(one), blocks(other)

    @cached_property
    def step(self) -> tuple[int, ...]:
        """The size of a tile."""
        return step_of([block for side in self.sides for block in side])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a leaf."""
        return self.sides[0][0].free_shape

    @property
    def cost(self) -> int:
        """Bytes held while a tile is compared: what was read, once more as stored, and what is beside it."""
        region = tuple(slice(0, at) for at in self.step)
        read = sum(block.nbytes(region) for side in self.sides for block in side)
        return 2 * read + min(_BESIDE, 16 * read)

    @property
    def nbytes(self) -> int:
        """Of the leaves of A."""
        return sum(work.tally.a.nbytes for work in self.works)

    def run(self, advance: Callable[[int], None]) -> int:
        """Compare all tiles; the bytes of A that need not be decoded. Raises `StorageError`."""
        a, b = self.sides
        shortcut = self._shortcut()
        readers: dict[int, Reader] = {}
        spared = 0
        for region in tiles(self.shape, self.step):
            nbytes = _size(region) * sum(work.tally.a.dtype.itemsize for work in self.works)
            if shortcut is not None and shortcut.same(region):
                spared += nbytes
                for work in self.works:
                    work.tally.skipped()
            else:
                one, other = (_read(side, region, readers) for side in (a, b))
                for work in self.works:
                    at = tuple(part.start for part in region)
                    work.tally.add(at, one[work.slices[0]], other[work.slices[1]])
            advance(nbytes)
        return spared

    def _shortcut(self) -> Alike | None:
        """Stored chunks to hold against each other. Where a scale is wanted, values are."""
        (a, *more), (b, *others) = self.sides
        if more or others or any(work.tally.wants_scale for work in self.works):
            return None
        return alike(a, b, [work.ops for work in self.works])


def _size(region: Region) -> int:
    sizes = [part.stop - part.start for part in region]
    return int(np.prod(sizes, dtype=np.int64))


def _read(side: Sequence[Block], region: Region, readers: dict[int, Reader]) -> dict[Slice, Any]:
    reads = []
    for block in side:
        reader = readers.setdefault(id(block), Reader(block.array))
        reads.append((block, reader.start(block.where(region))))
    return {one: view for block, read in reads for one, view in block.apart(read()).items()}


def units(works: Sequence[Work]) -> list[Unit]:
    """The works, those that share chunks on either side together."""
    parents: dict[object, object] = {}

    def root(node: object) -> object:
        while (above := parents.setdefault(node, node)) != node:
            parents[node] = node = parents[above]
        return node

    def node(work: Work, side: int) -> object:
        return side, chunk_of(work.arrays[side], work.slices[side])

    for work in works:
        parents[root(node(work, 0))] = root(node(work, 1))
    together: dict[object, list[Work]] = defaultdict(list)
    for work in works:
        together[root(node(work, 0))].append(work)
    return [Unit(tuple(found)) for found in together.values()]


def run_units(found: Sequence[Unit], effort: Effort, advance: Callable[[int], None]) -> dict[int, int]:
    """Run all; by the position of each unit the bytes that it need not decode. Raises `StorageError`."""
    told = one_at_a_time(advance)

    def job(position: int) -> tuple[int, int]:
        return position, found[position].run(told)

    jobs = [partial(job, position) for position in range(len(found))]
    return dict(run_jobs(jobs, [unit.cost for unit in found], effort))
