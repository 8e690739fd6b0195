"""Digests that are begun before there is a plan.

To plan takes about as long as to read a gigabyte. What a target refers to without a copy (linked files) is
read for its digests alone, and nearly every plan refers to every large chunk: so they are read meanwhile.
"""

import threading
from collections.abc import Iterable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from linen_nnx.convert.proof.covering import arrays_of
from linen_nnx.convert.proof.hashing import Region, Short, digests
from linen_nnx.convert.store.extents import Extent
from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.schema.errors import StorageError

_LARGE = 2**20
"""Bytes of a chunk. Smaller ones cost more to list than reading them sooner saves."""


class Ahead:
    """Takes digests of large chunks, until it is said which of them are wanted, and then of these alone."""

    def __init__(self, sources: Iterable[OrbaxItem], workers: int | None) -> None:
        """Begin."""
        self.regions = frozenset(large_chunks(sources))
        self._wanted: Set[Region] = self.regions
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._reading = self._pool.submit(
            digests, tuple(self.regions), workers, self._stop, wanted=lambda region: region in self._wanted
        )

    def keep(self, wanted: Set[Region]) -> None:
        """Leave out what is not read yet and not `wanted`."""
        self._wanted = self.regions & wanted

    def result(self) -> Mapping[Region, str | Short]:
        """Wait for what is wanted; nothing where a file could not be read, which may not matter."""
        try:
            return self._reading.result()
        except StorageError:
            return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown()


def large_chunks(sources: Iterable[OrbaxItem]) -> Iterable[Region]:
    """Where the chunks of a megabyte or more lie; all that is large is a chunk."""
    stores = {array.folder: array.store for item in sources for array in arrays_of(item).values()}
    for folder, store in stores.items():
        for value in store.stored.values():
            if isinstance(value, Extent) and value.length >= _LARGE:
                yield Region(folder / value.file, value.offset, value.length)
