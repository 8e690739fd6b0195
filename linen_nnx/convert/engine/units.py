"""Pieces of work that end in stored chunks: small enough for a bound on memory, and safe to repeat."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol, Self

from linen_nnx.convert.engine.apart import Shape, piece_nbytes, take_apart
from linen_nnx.convert.engine.buffers import Buffers
from linen_nnx.convert.engine.chunks import Index
from linen_nnx.convert.engine.codec import WINDOW, ChunkCodec, bound, chunk_codec, chunk_nbytes
from linen_nnx.convert.engine.routes import Routed
from linen_nnx.convert.engine.sink import Sink
from linen_nnx.convert.store.extents import StoredValue
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.convert.store.stored_bytes import opened
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
        if isinstance(self.value, bytes):
            sink.put(self.key, self.value)
            return
        moved = buffers.get("stored", self.value.length)
        with opened(self.array.folder, self.value) as stored:
            stored.read_at(0, moved)
        sink.put(self.key, moved)

    def without(self, stored: Set[str]) -> Self:
        """The same: it is one key."""
        del stored
        return self


@dataclass(frozen=True, slots=True)
class Split:
    """One stored chunk that spans layers, decoded once; each layer is a chunk of an array of its own."""

    array: StoredArray
    codec: ChunkCodec
    encoder: ChunkCodec
    """The target's."""
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
        """All layers, what one is encoded to, and a part of the chunk as it is decoded."""
        return (
            chunk_nbytes(self.array.zarr) + bound(prod(self._shape[1:])) + WINDOW + piece_nbytes(self._shape)
        )

    @property
    def _shape(self) -> Shape:
        """Of the chunk, as `take_apart` has it."""
        shape, itemsize = self.array.zarr.chunk_shape, self.array.zarr.spec.dtype.itemsize
        return shape[self.axis], prod(shape[: self.axis]), prod(shape[self.axis + 1 :]) * itemsize

    @property
    def nbytes(self) -> int:
        """Of the layers."""
        size = self.array.zarr.chunk_shape[self.axis]
        return len(self.layers) * (chunk_nbytes(self.array.zarr) // size)

    def run(self, sink: Sink, buffers: Buffers) -> None:
        """Decode into layers; then encode and write each."""
        apart = buffers.get("layers", chunk_nbytes(self.array.zarr))
        try:
            with opened(self.array.folder, self.value) as stored:
                elements = self.codec.open(stored, buffers.get("window", WINDOW))
                take_apart(elements, apart, self._shape, buffers)
        except ValueError as error:
            where = self.array.where(self.value)
            raise StorageError(f"cannot decode {self.array.path}: {error}; {where}") from error
        size = prod(self._shape[1:])
        encoded = buffers.get("encoded", bound(size))
        for position, key in self.layers:
            layer = apart[position * size : (position + 1) * size]
            sink.tap.elements(key, layer)
            sink.put(key, encoded[: self.encoder.encode(layer, encoded)])

    def without(self, stored: Set[str]) -> Self:
        """The layers that are not stored."""
        return replace(self, layers=tuple((at, key) for at, key in self.layers if key not in stored))


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
    """The array and axis, if the write takes a layer out of an array, and both codecs are ours."""
    op, zarr = write.write.op, write.array.zarr
    if not isinstance(op, Take) or not isinstance(op.of, Copy):
        return None
    source = write.sources[0].zarr
    shapes = [
        shape[: op.axis] + shape[op.axis + 1 :] for shape in (source.chunk_shape, source.read_chunk_shape)
    ]
    same = source.zarr_format == zarr.zarr_format and shapes == [zarr.chunk_shape, zarr.read_chunk_shape]
    ours = chunk_codec(source) is not None and chunk_codec(zarr) is not None
    return (op.of.source, op.axis) if same and ours else None


def splits(writes: Sequence[Routed], axis: int) -> Iterator[Split]:
    """One for every stored chunk of an array; `writes` are all that take a layer of it on `axis`."""
    array = writes[0].sources[0]
    codec, encoder = chunk_codec(array.zarr), chunk_codec(writes[0].array.zarr)
    span = array.zarr.chunk_shape[axis]
    if codec is None or encoder is None:
        return
    wanted = [(write.write.op.index, write) for write in writes if isinstance(write.write.op, Take)]
    for index in chunk_grid(array.zarr):
        value = array.chunk(index)
        first = index[axis] * span
        layers = [(at - first, write) for at, write in wanted if first <= at < first + span]
        if value is not None and layers:
            named = tuple((position, _key(write, _without(index, axis))) for position, write in layers)
            yield Split(array, codec, encoder, value, axis, named)


def _without(index: Index, axis: int) -> Index:
    return index[:axis] + index[axis + 1 :]


def _key(write: Routed, index: Index) -> str:
    return f"{write.write.target.param_name}/{write.array.zarr.chunk_key(index)}"
