"""Read regions of a stored array: by our own codec where its chunks are of ours, else by tensorstore.

To open an array through tensorstore costs milliseconds, which is most of the time where arrays are many.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np

from linen_nnx.convert.engine.codec import WINDOW, ChunkCodec, chunk_codec, chunk_nbytes, decode
from linen_nnx.convert.engine.encoding import bytes_as_here
from linen_nnx.convert.engine.evaluate import numpy_dtype
from linen_nnx.convert.store.extents import StoredValue
from linen_nnx.convert.store.read import Opener, StoredArray, open_array
from linen_nnx.convert.store.stored_bytes import opened
from linen_nnx.schema.errors import StorageError

Array = np.ndarray[Any, Any]
Where = tuple[slice, ...]


class Reader:
    """One stored array. Not for several threads at once."""

    def __init__(self, array: StoredArray) -> None:
        """Nothing is read or opened yet."""
        ours = bytes_as_here(array.zarr) and not isinstance(array.store, Opener)
        self._array = array
        self._codec = chunk_codec(array.zarr) if ours else None
        self._opened: Any = None

    def start(self, where: Where) -> Callable[[], Array]:
        """Begin to read a region; what is returned waits for it. Raises `StorageError`, then or now."""
        if self._codec is not None:
            chunks = list(self._chunks(where))
            stored = [value for _, value in chunks if value is not None]
            if len(stored) == len(chunks):
                origins = [origin for origin, _ in chunks]
                return partial(self._decode, self._codec, where, list(zip(origins, stored, strict=True)))
        if self._opened is None:
            self._opened = open_array(self._array)
        return partial(self._wait, self._opened[where].read())

    def _wait(self, future: Any) -> Array:
        try:
            return np.asarray(future.result())
        except ValueError as error:
            raise self._failed(error) from error

    def _chunks(self, where: Where) -> Iterator[tuple[tuple[int, ...], StoredValue | None]]:
        """Every chunk that reaches into a region: where it begins, and its stored value."""
        shape = self._array.zarr.chunk_shape
        ranges = [
            range(part.start // size, -(-part.stop // size)) for part, size in zip(where, shape, strict=True)
        ]
        for index in product(*ranges):
            origin = tuple(at * size for at, size in zip(index, shape, strict=True))
            yield origin, self._array.chunk(index)

    def _decode(
        self, codec: ChunkCodec, where: Where, chunks: list[tuple[tuple[int, ...], StoredValue]]
    ) -> Array:
        shape, dtype = self._array.zarr.chunk_shape, numpy_dtype(self._array.zarr.spec.dtype)
        wanted: tuple[int, ...] = tuple(part.stop - part.start for part in where)
        out: Array | None = None
        for origin, value in chunks:
            chunk = self._one(codec, value).view(dtype).reshape(shape)
            inside = [
                slice(max(part.start, start), min(part.stop, start + size))
                for part, start, size in zip(where, origin, shape, strict=True)
            ]
            taken = chunk[_seen_from(origin, inside)]
            if len(chunks) == 1:
                return np.asarray(taken)
            if out is None:
                out = np.empty(prod(wanted) * dtype.itemsize, np.uint8).view(dtype).reshape(wanted)
            out[_seen_from([part.start for part in where], inside)] = taken
        assert out is not None
        return out

    def _one(self, codec: ChunkCodec, value: StoredValue) -> Array:
        data = np.empty(chunk_nbytes(self._array.zarr), np.uint8)
        try:
            with opened(self._array.folder, value) as stored:
                decode(codec, stored, data.data, memoryview(bytearray(min(stored.length, WINDOW))))
        except ValueError as error:
            raise self._failed(error, value) from error
        return data

    def _failed(self, error: ValueError, value: StoredValue | None = None) -> StorageError:
        where = "" if value is None else f"; {self._array.where(value)}"
        return StorageError(f"cannot read {self._array.path}: {error}{where}")


def _seen_from(origin: Sequence[int], region: Sequence[slice]) -> Where:
    return tuple(slice(p.start - at, p.stop - at) for p, at in zip(region, origin, strict=True))
