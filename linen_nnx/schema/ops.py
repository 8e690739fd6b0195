"""Ops: how a target array is made of source arrays. A closed, composable, serialisable union.

`Take(Copy(x), axis=1, index=3)` is layer 3 of a stack; `Stack((Copy(a), Copy(b)), axis=1)` puts layers
together; `Concat` and `Split` fuse the gates of a recurrent cell and part them again. Every op has a value
(spec and kind) that follows from the values of what it reads, so a plan can be checked without reading one
array.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Literal, TypeVar, assert_never

from pydantic import Field

from linen_nnx.schema.array import ArraySpec, ArrayValue, DType, Value, spec_of
from linen_nnx.schema.model import Model, value
from linen_nnx.schema.path import KeyPath


class Origin(StrEnum):
    """Which checkpoint a path belongs to."""

    SOURCE = "source"
    SIDE = "side"
    """What an earlier conversion kept beside the source, in its `linen_nnx/` folder."""
    TEMPLATE = "template"


@value
class Ref:
    """One entry of one of the checkpoints that a conversion reads."""

    origin: Origin = Origin.SOURCE
    path: KeyPath

    def __hash__(self) -> int:
        """Of the path, which seldom stands in two of them."""
        return hash(self.path)

    def __str__(self) -> str:
        """The path, with the origin where it is not the source."""
        return str(self.path) if self.origin is Origin.SOURCE else f"{self.origin.value}:{self.path}"


@value
class Copy:
    """The entry as it is."""

    kind: Literal["copy"] = "copy"
    source: Ref


@value
class Take:
    """One slice along an axis; the axis goes away."""

    kind: Literal["take"] = "take"
    of: "Op"
    axis: Annotated[int, Field(ge=0)]
    index: Annotated[int, Field(ge=0)]


class Stack(Model):
    """Equal arrays along a new axis, in this order."""

    kind: Literal["stack"] = "stack"
    parts: Annotated[tuple["Op", ...], Field(min_length=1)]
    axis: Annotated[int, Field(ge=0)]


class MoveAxis(Model):
    """The same array with one axis moved to another place, the others in their order."""

    kind: Literal["move_axis"] = "move_axis"
    of: "Op"
    source: Annotated[int, Field(ge=0)]
    destination: Annotated[int, Field(ge=0)]


class Concat(Model):
    """Equal arrays one after the other on an axis that they have, in this order."""

    kind: Literal["concat"] = "concat"
    parts: Annotated[tuple["Op", ...], Field(min_length=1)]
    axis: Annotated[int, Field(ge=0)]


class Split(Model):
    """One of `count` equal pieces along an axis, the axis kept: what `Concat` has put together."""

    kind: Literal["split"] = "split"
    of: "Op"
    axis: Annotated[int, Field(ge=0)]
    index: Annotated[int, Field(ge=0)]
    count: Annotated[int, Field(ge=1)]


class Rounding(StrEnum):
    """What becomes of a value that another dtype does not have."""

    REFUSED = "refused"
    """The conversion ends when it is read."""
    COUNTED = "counted"
    """The nearest one that it has takes its place, and the receipt says how many those are."""


class Cast(Model):
    """The same values in another dtype."""

    kind: Literal["cast"] = "cast"
    of: "Op"
    dtype: DType
    rounding: Rounding = Rounding.REFUSED


class Fill(Model):
    """An entry with no source: an empty that the target's structure needs, or an array of zeros."""

    kind: Literal["fill"] = "fill"
    value: Value


Op = Annotated[Copy | Take | Stack | MoveAxis | Concat | Split | Cast | Fill, Field(discriminator="kind")]


class OpError(ValueError):
    """An op whose parts do not fit together."""


def refs(op: Op) -> Iterator[Ref]:
    """Every entry that `op` reads, in order, repeats included."""
    match op:
        case Copy(source=source):
            yield source
        case Take(of=of) | MoveAxis(of=of) | Split(of=of) | Cast(of=of):
            yield from refs(of)
        case Stack(parts=parts) | Concat(parts=parts):
            for part in parts:
                if isinstance(part, Copy):
                    yield part.source
                else:
                    yield from refs(part)
        case Fill():
            return
        case _:
            assert_never(op)


def read_by(ops: Iterable[Op]) -> Iterator[Ref]:
    """Every entry that any of `ops` reads, repeats included."""
    for op in ops:
        if isinstance(op, Copy):
            yield op.source
        else:
            yield from refs(op)


def result(op: Op, value_of: Callable[[Ref], Value]) -> Value:
    """The value that `op` makes. Raises `OpError` where its parts do not fit."""
    match op:
        case Copy(source=source):
            return value_of(source)
        case Fill(value=value):
            return value
        case Take(of=of, axis=axis, index=index):
            return _taken(result(of, value_of), axis, index)
        case Stack(parts=parts, axis=axis):
            return _stacked([result(part, value_of) for part in parts], axis)
        case MoveAxis(of=of, source=source, destination=destination):
            return moved_value(result(of, value_of), source, destination)
        case Concat(parts=parts, axis=axis):
            return _joined([result(part, value_of) for part in parts], axis)
        case Split(of=of, axis=axis, index=index, count=count):
            return _piece(result(of, value_of), axis, index, count)
        case Cast(of=of, dtype=dtype):
            inner = _array(result(of, value_of), "cast")
            return _with_spec(inner, ArraySpec(shape=inner.spec.shape, dtype=dtype))
        case _:
            assert_never(op)


def _array(value: Value, verb: str) -> ArrayValue:
    if not isinstance(value, ArrayValue):
        raise OpError(f"cannot {verb} {value}")
    return value


def _with_spec(value: ArrayValue, spec: ArraySpec) -> ArrayValue:
    return ArrayValue(spec=spec, holder=value.holder)


def logical_rank(spec: ArraySpec) -> int:
    """Axes without the words of a typed key."""
    return len(spec.shape) - (spec.key_impl is not None)


def _taken(value: Value, axis: int, index: int) -> Value:
    if not isinstance(value, ArrayValue):
        # What is no array stands for every layer of a stack alike, and equal ones of layers for the stack.
        return value
    inner = _array(value, "take a slice of")
    spec = inner.spec
    if axis >= logical_rank(spec) or index >= spec.shape[axis]:
        raise OpError(f"no slice {index} on axis {axis} of {spec}")
    return _with_spec(inner, taken_spec(spec, axis))


def _stacked(values: list[Value], axis: int) -> Value:
    if not isinstance(values[0], ArrayValue) and all(value == values[0] for value in values):
        return values[0]
    arrays = [_array(value, "stack") for value in values]
    first = arrays[0].spec
    if other := next((a.spec for a in arrays if a.spec != first), None):
        raise OpError(f"cannot stack {first} with {other}")
    if axis > logical_rank(first):
        raise OpError(f"cannot stack {first} on axis {axis}")
    return _with_spec(arrays[0], stacked_spec(first, axis, len(arrays)))


def moved_value(value: Value, source: int, destination: int) -> Value:
    """An array with one axis moved to another place; all else is as it was. Raises `OpError`."""
    if not isinstance(value, ArrayValue):
        return value
    spec = value.spec
    if max(source, destination) >= logical_rank(spec):
        raise OpError(f"cannot move axis {source} of {spec} to {destination}")
    return _with_shape(value, moved(spec.shape, source, destination))


def _joined(values: list[Value], axis: int) -> Value:
    if not isinstance(values[0], ArrayValue) and all(value == values[0] for value in values):
        return values[0]
    arrays = [_array(value, "join") for value in values]
    first = arrays[0].spec
    if other := next((a.spec for a in arrays if a.spec != first), None):
        raise OpError(f"cannot join {first} with {other}: they must be alike to be parted again")
    if axis >= logical_rank(first):
        raise OpError(f"cannot join {first} on axis {axis}")
    return _with_shape(arrays[0], resized(first.shape, axis, first.shape[axis] * len(arrays)))


def _piece(value: Value, axis: int, index: int, count: int) -> Value:
    if not isinstance(value, ArrayValue):
        return value
    spec = value.spec
    if axis >= logical_rank(spec) or spec.shape[axis] % count or index >= count:
        raise OpError(f"no piece {index} of {count} equal ones on axis {axis} of {spec}")
    return _with_shape(value, resized(spec.shape, axis, spec.shape[axis] // count))


def _with_shape(value: ArrayValue, shape: tuple[int, ...]) -> ArrayValue:
    spec = value.spec
    return _with_spec(value, ArraySpec(shape=shape, dtype=spec.dtype, key_impl=spec.key_impl))


_Axis = TypeVar("_Axis")


def moved(axes: tuple[_Axis, ...], source: int, destination: int) -> tuple[_Axis, ...]:
    """What belongs to the axes of an array, such as its shape, after one of them was moved."""
    rest = axes[:source] + axes[source + 1 :]
    return (*rest[:destination], axes[source], *rest[destination:])


def resized(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    """The shape with another size of one axis."""
    return (*shape[:axis], size, *shape[axis + 1 :])


def taken_spec(spec: ArraySpec, axis: int) -> ArraySpec:
    """The spec without `axis`."""
    return spec_of(spec.shape[:axis] + spec.shape[axis + 1 :], spec.dtype, spec.key_impl)


def stacked_spec(spec: ArraySpec, axis: int, count: int) -> ArraySpec:
    """The spec with a new `axis` of `count`."""
    return spec_of((*spec.shape[:axis], count, *spec.shape[axis:]), spec.dtype, spec.key_impl)
