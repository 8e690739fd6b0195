"""Read regions of source arrays through tensorstore; decoded chunks are kept for the next that needs them."""

import threading
from typing import Any

from linen_nnx.convert.store.read import StoredArray, open_array
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.schema.ops import Ref


class Reader:
    """Holds every array open that was read, and at most `cache` bytes of decoded chunks."""

    def __init__(self, items: Items, cache: int) -> None:
        """Nothing is open yet."""
        self._items = items
        self._cache = cache
        self._lock = threading.Lock()
        self._context: Any = None
        self._open: dict[Ref, Any] = {}

    def stored(self, ref: Ref) -> StoredArray:
        """The metadata of an array."""
        return self._items[ref.origin].arrays[ref.path]

    def read(self, ref: Ref, region: tuple[slice, ...]) -> Any:
        """A region, as numpy. Raises `StorageError`, `ValueError`."""
        with self._lock:
            if self._context is None:
                self._context = _context(self._cache)
            if ref not in self._open:
                self._open[ref] = open_array(self.stored(ref), self._context)
        return self._open[ref][region].read().result()


def _context(cache: int) -> Any:
    import tensorstore as ts

    return ts.Context({"cache_pool": {"total_bytes_limit": cache}})
