"""Make an op's array out of source arrays, whatever kind of arrays they are."""

from collections.abc import Callable
from typing import Any, Protocol, assert_never

import numpy as np

from linen_nnx.schema.array import ArrayValue, DType
from linen_nnx.schema.errors import ConversionError
from linen_nnx.schema.ops import Cast, Concat, Copy, Fill, MoveAxis, Op, Ref, Rounding, Split, Stack, Take
from linen_nnx.schema.problem import Code

Array = Any
"""A numpy or jax array, or a spec without values: each `Arrays` takes its own kind."""


class Arrays(Protocol):
    """The things that ops do to arrays."""

    def take(self, array: Array, axis: int, index: int) -> Array:
        """One slice; the axis goes away."""
        ...

    def stack(self, arrays: list[Array], axis: int) -> Array:
        """Along a new axis."""
        ...

    def move_axis(self, array: Array, source: int, destination: int) -> Array:
        """One axis to another place."""
        ...

    def concat(self, arrays: list[Array], axis: int) -> Array:
        """One after the other."""
        ...

    def split(self, array: Array, axis: int, index: int, count: int) -> Array:
        """One of equal pieces."""
        ...

    def cast(self, array: Array, dtype: DType) -> Array:
        """Exactly, or raise `ConversionError`."""
        ...

    def round(self, array: Array, dtype: DType) -> Array:
        """To the nearest values that `dtype` has."""
        ...

    def zeros(self, value: ArrayValue) -> Array:
        """An array that has no source."""
        ...


class NumpyArrays:
    """Numpy arrays, and jax arrays that may be turned into them."""

    def take(self, array: Array, axis: int, index: int) -> Array:
        """A contiguous copy of one slice."""
        return np.asarray(np.take(array, index, axis=axis))

    def stack(self, arrays: list[Array], axis: int) -> Array:
        """Along a new axis."""
        return np.stack(arrays, axis=axis)

    def move_axis(self, array: Array, source: int, destination: int) -> Array:
        """A contiguous copy with one axis at another place."""
        return np.ascontiguousarray(np.moveaxis(array, source, destination))

    def concat(self, arrays: list[Array], axis: int) -> Array:
        """One after the other."""
        return np.concatenate(arrays, axis=axis)

    def split(self, array: Array, axis: int, index: int, count: int) -> Array:
        """A contiguous copy of one of equal pieces."""
        return np.ascontiguousarray(np.asarray(array)[piece(array.shape, axis, index, count)])

    def cast(self, array: Array, dtype: DType) -> Array:
        """To `dtype`; a value that would change is refused."""
        before = np.asarray(array)
        cast = before.astype(numpy_dtype(dtype))
        if not np.array_equal(cast.astype(before.dtype), before):
            raise inexact(dtype, str(before.dtype))
        return cast

    def round(self, array: Array, dtype: DType) -> Array:
        """To the nearest values that `dtype` has; beyond its range, to what numpy makes of them."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(array).astype(numpy_dtype(dtype))

    def zeros(self, value: ArrayValue) -> Array:
        """An array that has no source."""
        return np.zeros(value.spec.shape, numpy_dtype(value.spec.dtype))


def changed(before: Array, after: Array) -> int:
    """How many elements are not what they were once they are cast back; all NaN are one."""
    with np.errstate(over="ignore", invalid="ignore"):
        back = after.astype(before.dtype)
        return int(np.count_nonzero((back != before) & ~(np.isnan(back) & np.isnan(before))))


def piece(shape: tuple[int, ...], axis: int, index: int, count: int) -> tuple[slice, ...]:
    """Where one of `count` equal pieces along `axis` lies."""
    size = shape[axis] // count
    return (*[slice(None)] * axis, slice(index * size, (index + 1) * size))


def inexact(dtype: DType, found: str) -> ConversionError:
    """A cast that would change values."""
    return ConversionError.one(
        Code.STEP_OUT_OF_RANGE, expected=f"values that {dtype.value} can hold", found=f"others, in {found}"
    )


def numpy_dtype(dtype: DType) -> "np.dtype[Any]":
    """Numpy's dtype, from ml_dtypes where numpy has none of its own."""
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, dtype.value, None) or dtype.value)


def evaluate(op: Op, read: Callable[[Ref], Array], arrays: Arrays) -> Array:
    """The array of `op`."""
    match op:
        case Copy(source=source):
            return read(source)
        case Take(of=of, axis=axis, index=index):
            return arrays.take(evaluate(of, read, arrays), axis, index)
        case Stack(parts=parts, axis=axis):
            return arrays.stack([evaluate(part, read, arrays) for part in parts], axis)
        case MoveAxis(of=of, source=source, destination=destination):
            return arrays.move_axis(evaluate(of, read, arrays), source, destination)
        case Concat(parts=parts, axis=axis):
            return arrays.concat([evaluate(part, read, arrays) for part in parts], axis)
        case Split(of=of, axis=axis, index=index, count=count):
            return arrays.split(evaluate(of, read, arrays), axis, index, count)
        case Cast(of=of, dtype=dtype, rounding=Rounding.REFUSED):
            return arrays.cast(evaluate(of, read, arrays), dtype)
        case Cast(of=of, dtype=dtype):
            return arrays.round(evaluate(of, read, arrays), dtype)
        case Fill(value=ArrayValue() as value):
            return arrays.zeros(value)
        case Fill(value=value):
            raise TypeError(f"{value} is no array")
        case _:
            assert_never(op)
