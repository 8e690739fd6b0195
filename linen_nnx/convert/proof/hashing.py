"""BLAKE3 of regions of files: in parallel, each file front to back, a window at a time."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from linen_nnx.convert.engine.buffers import Buffers
from linen_nnx.convert.engine.progress import Progress
from linen_nnx.convert.store.extents import readable
from linen_nnx.schema.errors import StorageError

_WINDOW = 2**20
"""Fits a core's cache, so that what was read is hashed before it goes to memory."""
_BATCH = 32 * 2**20
"""Bytes that a thread reads of one file at a time; small regions are taken together."""


@dataclass(frozen=True, slots=True, order=True)
class Region:
    """Bytes of a file."""

    file: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Short:
    """A file that does not reach as far as a region."""

    why: str


def hasher(data: bytes | memoryview = b"") -> Any:
    """BLAKE3 of `data` and of what it is updated with. Imported when the first byte is hashed."""
    from blake3 import blake3

    return blake3(data)


def digest(data: bytes | memoryview) -> str:
    """BLAKE3, in hexadecimal."""
    return str(hasher(data).hexdigest())


def part_digests(array: Any, part_shape: tuple[int, ...]) -> tuple[str, ...]:
    """The digest of the elements of each part of a numpy array, as `LogicalChunks` has them."""
    import numpy as np

    grid = product(*(range(0, size, part) for size, part in zip(array.shape, part_shape, strict=True)))
    parts = (tuple(slice(a, a + n) for a, n in zip(at, part_shape, strict=True)) for at in grid)
    return tuple(digest(np.ascontiguousarray(array[part]).tobytes()) for part in parts)


def digests(
    regions: Sequence[Region],
    workers: int | None = None,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
    wanted: Callable[[Region], bool] = lambda _: True,
) -> dict[Region, str | Short]:
    """The digest of each region that is `wanted` when its turn comes; ends early on `stop`.

    Holds a window a thread. Raises `StorageError`.
    """
    buffers = Buffers()
    if progress is not None:
        progress.start(sum(region.length for region in set(regions)))

    def work(batch: list[Region]) -> dict[Region, str | Short]:
        left = [] if stop is not None and stop.is_set() else [region for region in batch if wanted(region)]
        return _batch(left, buffers) if left else {}

    found: dict[Region, str | Short] = {}
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for part in pool.map(work, _batches(regions)):
            found.update(part)
            if progress is not None:
                progress.advance(sum(region.length for region in part))
    return found


def whole(found: Mapping[Region, str | Short]) -> dict[Region, str]:
    """The digests, if every region is there. Raises `StorageError`."""
    digests: dict[Region, str] = {}
    for region, result in found.items():
        if isinstance(result, Short):
            raise StorageError(f"cannot read {region.file}: {result.why}")
        digests[region] = result
    return digests


def _batches(regions: Sequence[Region]) -> Iterator[list[Region]]:
    batch: list[Region] = []
    nbytes = 0
    for region in sorted(set(regions)):
        if batch and (region.file != batch[0].file or nbytes >= _BATCH):
            yield batch
            batch, nbytes = [], 0
        batch.append(region)
        nbytes += region.length
    if batch:
        yield batch


def _batch(batch: list[Region], buffers: Buffers) -> dict[Region, str | Short]:
    file = batch[0].file
    with readable(file):
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            return dict.fromkeys(batch, Short("it is not there"))
        try:
            return {region: _digest(descriptor, region, buffers) for region in batch}
        finally:
            os.close(descriptor)


def _digest(descriptor: int, region: Region, buffers: Buffers) -> str | Short:
    taking, window = hasher(), buffers.get("window", _WINDOW)
    at, end = region.offset, region.offset + region.length
    while at < end:
        got = os.preadv(descriptor, [window[: min(_WINDOW, end - at)]], at)
        if got == 0:
            return Short(f"it ends before byte {end}")
        taking.update(window[:got])
        at += got
    return str(taking.hexdigest())
