"""Work that needs tensorstore's own codecs, or values: one chunk of a target array, however it is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, assert_never

import numpy as np

from linen_nnx.convert.engine.buffers import Buffers
from linen_nnx.convert.engine.chunks import Index
from linen_nnx.convert.engine.encoding import encoded_chunk, raw
from linen_nnx.convert.engine.evaluate import NumpyArrays, numpy_dtype
from linen_nnx.convert.engine.routes import Routed
from linen_nnx.convert.engine.sink import Sink
from linen_nnx.convert.store.read import open_array
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.ops import (
    Cast,
    Concat,
    Copy,
    Fill,
    MoveAxis,
    Op,
    Ref,
    Split,
    Stack,
    Take,
    moved,
    result,
)

Region = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """The chunk at `index` of the array that a write makes."""

    write: Routed
    items: Items
    index: Index

    @property
    def region(self) -> Region:
        """Where it lies in the array."""
        zarr = self.write.array.zarr
        return tuple(
            slice(at * part, min((at + 1) * part, size))
            for at, part, size in zip(self.index, zarr.chunk_shape, zarr.shape, strict=True)
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of the chunk."""
        return (f"{self.write.write.target.param_name}/{self.write.array.zarr.chunk_key(self.index)}",)

    @property
    def nbytes(self) -> int:
        """Of the chunk's elements."""
        zarr = self.write.array.zarr
        sizes: list[int] = [part.stop - part.start for part in self.region]
        return prod(sizes) * zarr.spec.dtype.itemsize

    @property
    def cost(self) -> int:
        """What is read (a chunk or more of each source), made, and encoded."""
        return 4 * self.nbytes

    def run(self, sink: Sink, buffers: Buffers) -> None:
        """Read the regions that it needs, make it, encode and write it."""
        made = np.asarray(self._read(self.write.write.op, self.region), order="C")
        sink.tap.elements(self.keys[0], raw(made))
        sink.put(self.keys[0], encoded_chunk(made, self.write.array.zarr, buffers))

    def _read(self, op: Op, region: Region) -> Any:
        arrays = NumpyArrays()
        match op:
            case Copy(source=source):
                return self._open(source)[region].read().result()
            case Take(of=of, axis=axis, index=index):
                whole = self._read(of, (*region[:axis], slice(index, index + 1), *region[axis:]))
                return arrays.take(whole, axis, 0)
            case Stack(parts=parts, axis=axis):
                inner = region[:axis] + region[axis + 1 :]
                return arrays.stack([self._read(part, inner) for part in parts[region[axis]]], axis)
            case MoveAxis(of=of, source=source, destination=destination):
                inner = moved(region, destination, source)
                return arrays.move_axis(self._read(of, inner), source, destination)
            case Concat(parts=parts, axis=axis):
                return self._read_joined(parts, axis, region)
            case Split(of=of, axis=axis, index=index, count=count):
                start = index * (self._shape(of)[axis] // count)
                return self._read(
                    of, _ranged(region, axis, region[axis].start + start, region[axis].stop + start)
                )
            case Cast(of=of, dtype=dtype):
                return arrays.cast(self._read(of, region), dtype)
            case Fill(value=ArrayValue(spec=spec)):
                return np.zeros([part.stop - part.start for part in region], numpy_dtype(spec.dtype))
            case Fill(value=value):
                raise TypeError(f"{value} is no array")
            case _:
                assert_never(op)

    def _read_joined(self, parts: Sequence[Op], axis: int, region: Region) -> Any:
        wanted, size = region[axis], self._shape(parts[0])[axis]
        read = []
        for n, part in enumerate(parts):
            first, end = max(wanted.start - n * size, 0), min(wanted.stop - n * size, size)
            if first < end:
                read.append(self._read(part, _ranged(region, axis, first, end)))
        return NumpyArrays().concat(read, axis)

    def _shape(self, op: Op) -> tuple[int, ...]:
        def value(ref: Ref) -> ArrayValue:
            return ArrayValue(spec=self.items[ref.origin].arrays[ref.path].zarr.spec)

        made = result(op, value)
        assert isinstance(made, ArrayValue)
        return made.spec.shape

    def _open(self, ref: Ref) -> Any:
        return open_array(self.items[ref.origin].arrays[ref.path])


def _ranged(region: Region, axis: int, first: int, end: int) -> Region:
    return (*region[:axis], slice(first, end), *region[axis + 1 :])
