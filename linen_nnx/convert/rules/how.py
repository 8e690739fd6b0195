"""How the arrays of sources become one target's: the shape of an op, before it is known what it reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.ir import Leaf
from linen_nnx.schema.ops import (
    Concat,
    Copy,
    MoveAxis,
    Op,
    Ref,
    Split,
    Stack,
    Take,
    logical_rank,
    result,
)
from linen_nnx.schema.path import KeyPath


@dataclass(frozen=True, slots=True)
class Renamed:
    """As it is."""


@dataclass(frozen=True, slots=True)
class Stacked:
    """All of them, on a new axis."""

    axis: int


@dataclass(frozen=True, slots=True)
class Taken:
    """One slice."""

    axis: int
    index: int


@dataclass(frozen=True, slots=True)
class Moved:
    """With one axis at another place."""

    source: int
    destination: int


@dataclass(frozen=True, slots=True)
class Joined:
    """All of them, one after the other."""

    axis: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One of equal pieces."""

    axis: int
    index: int
    count: int


How = Renamed | Stacked | Taken | Moved | Joined | Piece
"""Axes may be negative: they count from the end of each array."""


def made(how: How, leaves: Sequence[Leaf]) -> Leaf:
    """The leaf that is made of `leaves`. Raises `OpError` where they do not fit together."""
    fakes = [Ref(path=KeyPath.of(n)) for n in range(len(leaves))]
    values = {fake: leaf.value for fake, leaf in zip(fakes, leaves, strict=True)}
    rank = _rank(leaves[0].value)
    value = result(_op(how, [Copy(source=fake) for fake in fakes], rank), values.__getitem__)
    return Leaf(value=value, op=_op(how, [leaf.op for leaf in leaves], rank))


def _rank(value: Value) -> int:
    return logical_rank(value.spec) if isinstance(value, ArrayValue) else 0


def _op(how: How, ops: Sequence[Op], rank: int) -> Op:
    match how:
        case Renamed():
            return ops[0]
        case Stacked(axis=axis):
            return Stack(parts=tuple(ops), axis=from_start(axis, rank + 1))
        case Taken(axis=axis, index=index):
            return Take(of=ops[0], axis=from_start(axis, rank), index=index)
        case Moved(source=source, destination=destination):
            return MoveAxis(
                of=ops[0], source=from_start(source, rank), destination=from_start(destination, rank)
            )
        case Joined(axis=axis):
            return Concat(parts=tuple(ops), axis=from_start(axis, rank))
        case Piece(axis=axis, index=index, count=count):
            return Split(of=ops[0], axis=from_start(axis, rank), index=index, count=count)
        case _:
            assert_never(how)


def from_start(axis: int, rank: int) -> int:
    """The axis counted from the start; one that is not there stays out of range, and is refused."""
    return axis if axis >= 0 else max(axis + rank, 0) if axis + rank >= 0 else rank
