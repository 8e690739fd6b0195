"""Pieces of work that end in stored chunks: small enough for a bound on memory, and safe to repeat."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol, Self

import numpy as np

from linen_nnx.convert.engine.buffers import Buffers
from linen_nnx.convert.engine.chunks import Index
from linen_nnx.convert.engine.codec import ChunkCodec, bound, chunk_codec, chunk_nbytes
from linen_nnx.convert.engine.routes import Routed
from linen_nnx.convert.engine.sink import Sink
from linen_nnx.convert.store.extents import StoredValue, read_extent_into
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.ops import Copy, Ref, Take
from linen_nnx.schema.zarr import chunk_grid


class Unit(Protocol):
    """One piece of work."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What it stores; if all of it is there, it need not run."""
        ...

    @property
    def cost(self) -> int:
        """Bytes that it holds while it runs."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of target arrays that it makes."""
        ...

    def run(self, sink: Sink, buffers: Buffers) -> None:
        """Do it. Raises `OSError`, `StorageError` or `ValueError`."""
        ...

    def without(self, stored: Set[str]) -> Self:
        """Of a unit that is stored in part, what is left."""
        ...


@dataclass(frozen=True, slots=True)
class Move:
    """One stored chunk under a new key, not decoded."""

    array: StoredArray
    value: StoredValue
    key: str
    nbytes: int

    @property
    def keys(self) -> tuple[str, ...]:
        """The one key."""
        return (self.key,)

    @property
    def cost(self) -> int:
        """The value."""
        return len(self.value) if isinstance(self.value, bytes) else self.value.length

    def run(self, sink: Sink, buffers: Buffers) -> None:
        """Read and write."""
        sink.put(self.key, stored_bytes(self.array, self.value, buffers))

    def without(self, stored: Set[str]) -> Self:
        """The same: it is one key."""
        del stored
        return self


@dataclass(frozen=True, slots=True)
class Split:
    """One stored chunk that spans layers, decoded once; each layer is a chunk of an array of its own."""

    array: StoredArray
    codec: ChunkCodec
    value: StoredValue
    axis: int
    layers: tuple[tuple[int, str], ...]
    """Position within the chunk, and the key that it goes to."""

    @property
    def keys(self) -> tuple[str, ...]:
        """One a layer."""
        return tuple(key for _, key in self.layers)

    @property
    def cost(self) -> int:
        """Stored, decoded, one layer and what it is encoded to."""
        stored = len(self.value) if isinstance(self.value, bytes) else self.value.length
        whole = chunk_nbytes(self.array.zarr)
        layer = whole // self.array.zarr.chunk_shape[self.axis]
        return stored + whole + layer + bound(layer)

    @property
    def nbytes(self) -> int:
        """Of the layers."""
        size = self.array.zarr.chunk_shape[self.axis]
        return len(self.layers) * (chunk_nbytes(self.array.zarr) // size)

    def run(self, sink: Sink, buffers: Buffers) -> None:
        """Read, decode, and for each layer gather, encode, write."""
        shape, itemsize = self.array.zarr.chunk_shape, self.array.zarr.spec.dtype.itemsize
        inner = prod(shape[self.axis + 1 :]) * itemsize
        outer = prod(shape[: self.axis])
        decoded = buffers.get("decoded", chunk_nbytes(self.array.zarr))
        try:
            self.codec.decode(stored_bytes(self.array, self.value, buffers), decoded)
        except ValueError as error:
            where = self.array.where(self.value)
            raise StorageError(f"cannot decode {self.array.path}: {error}; {where}") from error
        whole = np.frombuffer(decoded, np.uint8).reshape(outer, shape[self.axis], inner)
        gathered = buffers.get("layer", outer * inner)
        layer = np.frombuffer(gathered, np.uint8).reshape(outer, inner)
        encoded = buffers.get("encoded", bound(outer * inner))
        for position, key in self.layers:
            np.copyto(layer, whole[:, position])
            sink.tap.elements(key, gathered)
            sink.put(key, encoded[: self.codec.encode(gathered, encoded)])

    def without(self, stored: Set[str]) -> Self:
        """The layers that are not stored."""
        return replace(self, layers=tuple((at, key) for at, key in self.layers if key not in stored))


def stored_bytes(array: StoredArray, value: StoredValue, buffers: Buffers) -> memoryview:
    """The bytes of one stored value, in the thread's own buffer. Raises `StorageError`."""
    if isinstance(value, bytes):
        return memoryview(value)
    stored = buffers.get("stored", value.length)
    read_extent_into(array.folder, value, stored)
    return stored


def moves(write: Routed) -> Iterator[Move]:
    """One for every stored chunk of a write that is moved by value."""
    if write.chunked is None:
        return
    name = write.write.target.param_name
    nbytes = chunk_nbytes(write.array.zarr)
    for key, array, index in write.chunked.chunks():
        if (value := array.chunk(index)) is not None:
            yield Move(array, value, f"{name}/{key}", nbytes)


def splittable(write: Routed) -> tuple[Ref, int] | None:
    """The array and axis, if the write takes a layer out of an array whose codec is ours."""
    op, zarr = write.write.op, write.array.zarr
    if not isinstance(op, Take) or not isinstance(op.of, Copy):
        return None
    source = write.sources[0].zarr
    shapes = [
        shape[: op.axis] + shape[op.axis + 1 :] for shape in (source.chunk_shape, source.read_chunk_shape)
    ]
    same = source.zarr_format == zarr.zarr_format and shapes == [zarr.chunk_shape, zarr.read_chunk_shape]
    return (op.of.source, op.axis) if same and chunk_codec(source) is not None else None


def splits(writes: Sequence[Routed], axis: int) -> Iterator[Split]:
    """One for every stored chunk of an array; `writes` are all that take a layer of it on `axis`."""
    array = writes[0].sources[0]
    codec = chunk_codec(array.zarr)
    span = array.zarr.chunk_shape[axis]
    if codec is None:
        return
    wanted = [(write.write.op.index, write) for write in writes if isinstance(write.write.op, Take)]
    for index in chunk_grid(array.zarr):
        value = array.chunk(index)
        first = index[axis] * span
        layers = [(at - first, write) for at, write in wanted if first <= at < first + span]
        if value is not None and layers:
            named = tuple((position, _key(write, _without(index, axis))) for position, write in layers)
            yield Split(array, codec, value, axis, named)


def _without(index: Index, axis: int) -> Index:
    return index[:axis] + index[axis + 1 :]


def _key(write: Routed, index: Index) -> str:
    return f"{write.write.target.param_name}/{write.array.zarr.chunk_key(index)}"
