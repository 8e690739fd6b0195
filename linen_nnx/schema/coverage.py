"""Whether ops, taken together, read the whole of every array: a slice that no one takes is lost."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.ops import Cast, Copy, Fill, Op, Ref, Stack, Take

Slices = tuple[tuple[int, int], ...]
"""The (axis, index) of each slice taken, the first taken first; empty for the whole array."""


def unread_parts(ops: Sequence[Op], values: Mapping[Ref, Value], owed: set[Ref]) -> Iterator[tuple[Ref, str]]:
    """Each of the `owed` arrays that is read in part, and a part that is not."""
    reads: dict[Ref, set[Slices]] = defaultdict(set)
    for op in ops:
        for ref, slices in _reads(op, ()):
            reads[ref].add(slices)
    for ref in sorted(owed & reads.keys(), key=str):
        value = values.get(ref)
        if isinstance(value, ArrayValue) and (part := _unread(reads[ref], value.spec.shape)):
            yield ref, part


def _reads(op: Op, after: Slices) -> Iterator[tuple[Ref, Slices]]:
    """What `op` reads; `after` are the slices that are taken of its own result."""
    match op:
        case Copy(source=source):
            yield source, after
        case Take(of=of, axis=axis, index=index):
            yield from _reads(of, ((axis, index), *after))
        case Cast(of=of):
            yield from _reads(of, after)
        case Stack(parts=parts):
            for part in parts:
                yield from _reads(part, after)
        case Fill():
            return
        case _:
            assert_never(op)


def _unread(reads: set[Slices], shape: tuple[int, ...]) -> str | None:
    """A slice of an array of `shape` that none of `reads` takes; None if there is none."""
    if () in reads or 0 in shape:
        return None
    missing = None
    for axis in dict.fromkeys(slices[0][0] for slices in sorted(reads)):
        below: dict[int, set[Slices]] = defaultdict(set)
        for slices in reads:
            if slices[0][0] == axis:
                below[slices[0][1]].add(slices[1:])
        missing = _missing_slice(axis, below, shape)
        if missing is None:
            return None
    return missing


def _missing_slice(axis: int, below: Mapping[int, set[Slices]], shape: tuple[int, ...]) -> str | None:
    rest = shape[:axis] + shape[axis + 1 :]
    for index in range(shape[axis]):
        if index not in below:
            return f"slice {index} on axis {axis}"
        if part := _unread(below[index], rest):
            return f"{part} of slice {index} on axis {axis}"
    return None
