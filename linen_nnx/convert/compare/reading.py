"""Read what two sides have in common, on threads, within a bound of memory.

A unit is cut into pieces of some tiles, so that several threads can take one large array, and a tile, which
may be one large chunk, into slabs. What is found is joined in the order of the elements, whoever was first.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from linen_nnx.convert.compare.decoding import Reader
from linen_nnx.convert.compare.elements import Tally
from linen_nnx.convert.compare.identical import Alike, alike
from linen_nnx.convert.compare.slices import Slice
from linen_nnx.convert.compare.threads import run_jobs
from linen_nnx.convert.compare.units import Block, Region, blocks, chunk_of, slab_of, step_of, tiles
from linen_nnx.convert.engine.progress import one_at_a_time
from linen_nnx.convert.engine.run import workers_of
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.schema.ops import Op
from linen_nnx.schema.routing import Effort

_BESIDE = 48 * 2**20
"""Bytes that a thread needs for wide floats and masks beside what it read."""
_PIECE = 64 * 2**20
"""Bytes of A after which another thread may go on with a unit."""
_SLAB = 16 * 2**20
"""Bytes of one side that are compared at a time; where a tile is larger, its sides are read at once."""


_Readers = dict[int, Reader]
"""Of the blocks of one side, by their position."""


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

    def tile_nbytes(self, region: Region) -> int:
        """Of a tile of all leaves of A."""
        return _size(region) * sum(work.tally.a.dtype.itemsize for work in self.works)

    def pieces(self) -> "Iterator[Piece]":
        """All tiles in their order, some together."""
        regions: list[Region] = []
        nbytes = 0
        for region in tiles(self.shape, self.step):
            regions.append(region)
            nbytes += self.tile_nbytes(region)
            if nbytes >= _PIECE:
                yield Piece(self, tuple(regions))
                regions, nbytes = [], 0
        if regions:
            yield Piece(self, tuple(regions))

    @cached_property
    def shortcut(self) -> Alike | None:
        """Stored chunks to hold against each other. Where a scale is wanted, values are."""
        (a, *more), (b, *others) = self.sides
        if more or others or any(work.tally.wants_scale for work in self.works):
            return None
        return alike(a, b, [work.ops for work in self.works])


@dataclass(frozen=True, slots=True)
class Found:
    """What a piece tells: a tally for each work of its unit, and the bytes of A that need not be decoded."""

    tallies: tuple[Tally, ...]
    spared: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Tiles of a unit that one thread takes in turn."""

    unit: Unit
    regions: tuple[Region, ...]

    def run(self, advance: Callable[[int], None], helpers: Executor) -> Found:
        """Compare them; `helpers` read and compare parts of large tiles. Raises `StorageError`."""
        unit = self.unit
        tallies = tuple(work.tally.fresh() for work in unit.works)
        readers: tuple[_Readers, _Readers] = {}, {}
        spared = 0
        for region in self.regions:
            nbytes = unit.tile_nbytes(region)
            if unit.shortcut is not None and unit.shortcut.same(region):
                spared += nbytes
                for tally in tallies:
                    tally.skipped()
            else:
                one, other = _read_both(unit.sides, region, readers, helpers if nbytes > _SLAB else None)
                for work, tally in zip(unit.works, tallies, strict=True):
                    _compare(tally, region, one[work.slices[0]], other[work.slices[1]], helpers)
            advance(nbytes)
        return Found(tallies, spared)


def _compare(tally: Tally, region: Region, one: Any, other: Any, helpers: Executor) -> None:
    corner = tuple(part.start for part in region)
    slabs = list(tiles(one.shape, slab_of(one.shape, max(one.itemsize, other.itemsize), _SLAB)))
    if len(slabs) == 1:
        tally.add(corner, one, other)
        return

    def compared(slab: Region) -> Tally:
        found = tally.fresh()
        at = tuple(start + part.start for start, part in zip(corner, slab, strict=True))
        found.add(at, one[slab], other[slab])
        return found

    for found in helpers.map(compared, slabs):
        tally.join(found)


def _size(region: Region) -> int:
    sizes = [part.stop - part.start for part in region]
    return int(np.prod(sizes, dtype=np.int64))


def _read_both(
    sides: tuple[list[Block], list[Block]],
    region: Region,
    readers: tuple[_Readers, _Readers],
    helpers: Executor | None,
) -> tuple[dict[Slice, Any], dict[Slice, Any]]:
    if helpers is None:
        return _read(sides[0], region, readers[0]), _read(sides[1], region, readers[1])
    one = helpers.submit(_read, sides[0], region, readers[0])
    other = _read(sides[1], region, readers[1])
    return one.result(), other


def _read(side: Sequence[Block], region: Region, readers: _Readers) -> dict[Slice, Any]:
    reads = []
    for at, block in enumerate(side):
        reader = readers.setdefault(at, Reader(block.array))
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
    pieces = [(position, piece) for position, unit in enumerate(found) for piece in unit.pieces()]
    told_by: dict[int, Found] = {}
    with ThreadPoolExecutor(workers_of(effort)) as helpers:

        def job(at: int) -> tuple[int, Found]:
            return at, pieces[at][1].run(told, helpers)

        jobs = [partial(job, at) for at in range(len(pieces))]
        told_by.update(run_jobs(jobs, [piece.unit.cost for _, piece in pieces], effort))
    spared = dict.fromkeys(range(len(found)), 0)
    for at, (position, piece) in enumerate(pieces):
        spared[position] += told_by[at].spared
        for work, tally in zip(piece.unit.works, told_by[at].tallies, strict=True):
            work.tally.join(tally)
    return spared
