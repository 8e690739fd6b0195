"""BLAKE3 digests of leaves: of their elements in C order, whatever their chunks and stacks."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from blake3 import blake3

from linen_nnx.convert.compare.decoding import Reader
from linen_nnx.convert.compare.slices import Slice
from linen_nnx.convert.compare.threads import run_jobs
from linen_nnx.convert.compare.units import TILE, Block, blocks, tiles
from linen_nnx.convert.engine.progress import one_at_a_time
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.schema.routing import Effort

Digests = dict[Slice, bytes]


def digests(
    wanted: Sequence[tuple[StoredArray, Slice]], effort: Effort, advance: Callable[[int], None]
) -> Digests:
    """The digest of every slice; chunks that several share are decoded once. Raises `StorageError`."""
    told = one_at_a_time(advance)
    work = blocks(wanted)
    jobs = [partial(_digest, block, effort.memory, told) for block in work]
    found: Digests = {}
    for some in run_jobs(jobs, [_cost(block, effort.memory) for block in work], effort):
        found.update(some)
    return found


def _slab(block: Block, memory: int) -> tuple[int, ...]:
    """Whole rows of the first axis: of chunks, unless that is more than may be held, and then of elements."""
    shape = block.free_shape
    if not shape:
        return ()
    row = block.nbytes((slice(0, 1), *(slice(0, size) for size in shape[1:])))
    rows = block.free_chunks[0]
    if row and row * rows < TILE:
        rows *= max(1, TILE // (row * rows))
    if row * rows > memory // 2:
        rows = max(1, memory // 2 // row)
    return max(1, min(rows, shape[0])), *(max(1, size) for size in shape[1:])


def _cost(block: Block, memory: int) -> int:
    return 2 * block.nbytes(tuple(slice(0, size) for size in _slab(block, memory)))


def _digest(block: Block, memory: int, advance: Callable[[int], None]) -> Digests:
    hashers = {one: blake3() for one in block.slices}
    reader = Reader(block.array)
    for region in tiles(block.free_shape, _slab(block, memory)):
        for one, view in block.apart(reader.start(block.where(region))()).items():
            data = _bytes(view)
            hashers[one].update(data)
            advance(len(data))
    return {one: hasher.digest() for one, hasher in hashers.items()}


def _bytes(view: Any) -> memoryview:
    return np.ascontiguousarray(view).reshape(-1).view(np.uint8).data
