"""Read a region of the array that an op makes: only what it needs of each source array."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np

from linen_nnx.convert.engine.evaluate import NumpyArrays, changed, numpy_dtype
from linen_nnx.convert.engine.reader import Reader
from linen_nnx.convert.engine.tally import Tally
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.ops import (
    Cast,
    Concat,
    Copy,
    Fill,
    MoveAxis,
    Op,
    Ref,
    Rounding,
    Split,
    Stack,
    Take,
    moved,
    result,
)

Region = tuple[slice, ...]
"""A slice an axis, each with start and stop."""


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of what ops make of the arrays that `reader` reads."""

    reader: Reader
    tally: Tally = field(default_factory=Tally)

    def read(self, op: Op, region: Region) -> Any:
        """The region as a numpy array. Raises `ConversionError` where a cast would change a value."""
        arrays = NumpyArrays()
        match op:
            case Copy(source=source):
                return self.reader.read(source, region)
            case Take(of=of, axis=axis, index=index):
                whole = self.read(of, (*region[:axis], slice(index, index + 1), *region[axis:]))
                return arrays.take(whole, axis, 0)
            case Stack(parts=parts, axis=axis):
                inner = region[:axis] + region[axis + 1 :]
                return arrays.stack([self.read(part, inner) for part in parts[region[axis]]], axis)
            case MoveAxis(of=of, source=source, destination=destination):
                inner = moved(region, destination, source)
                return arrays.move_axis(self.read(of, inner), source, destination)
            case Concat(parts=parts, axis=axis):
                return self._joined(parts, axis, region)
            case Split(of=of, axis=axis, index=index, count=count):
                start = index * (self._shape(of)[axis] // count)
                return self.read(
                    of, _ranged(region, axis, region[axis].start + start, region[axis].stop + start)
                )
            case Cast(of=of, dtype=dtype, rounding=Rounding.REFUSED):
                return arrays.cast(self.read(of, region), dtype)
            case Cast(of=of, dtype=dtype):
                before = self.read(of, region)
                after = arrays.round(before, dtype)
                self.tally.add(changed(before, after))
                return after
            case Fill(value=ArrayValue(spec=spec)):
                return np.zeros([part.stop - part.start for part in region], numpy_dtype(spec.dtype))
            case Fill(value=value):
                raise TypeError(f"{value} is no array")
            case _:
                assert_never(op)

    def _joined(self, parts: Sequence[Op], axis: int, region: Region) -> Any:
        wanted, size = region[axis], self._shape(parts[0])[axis]
        read = []
        for n, part in enumerate(parts):
            first, end = max(wanted.start - n * size, 0), min(wanted.stop - n * size, size)
            if first < end:
                read.append(self.read(part, _ranged(region, axis, first, end)))
        return NumpyArrays().concat(read, axis)

    def _shape(self, op: Op) -> tuple[int, ...]:
        def value(ref: Ref) -> ArrayValue:
            return ArrayValue(spec=self.reader.stored(ref).zarr.spec)

        made = result(op, value)
        assert isinstance(made, ArrayValue)
        return made.spec.shape


def _ranged(region: Region, axis: int, first: int, end: int) -> Region:
    return (*region[:axis], slice(first, end), *region[axis + 1 :])
