"""Whether ops, taken together, read the whole of every array: a slice that no one takes is lost.

Every op keeps the axes apart, so what it reads of an array is a box: a range on some axes, all of the others.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import assert_never

from linen_nnx.schema.array import ArrayValue, Value
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
    refs,
    result,
)

Span = tuple[int, int]
"""The first element of a range on an axis, and the one behind its last."""
Box = tuple[tuple[int, Span], ...]
"""The ranges, by axis; an axis that is not named is read whole."""


def unread_parts(ops: Sequence[Op], values: Mapping[Ref, Value], owed: set[Ref]) -> Iterator[tuple[Ref, str]]:
    """Each of the `owed` arrays that is read in part, and a part that is not."""
    # What nothing is cut off of is read whole: most ops of most plans are such.
    whole: set[Ref] = set()
    reads: dict[Ref, set[Box]] = defaultdict(set)
    cut = [op for op in ops if not isinstance(op, Copy)]
    if not cut:
        return
    whole.update([op.source for op in ops if isinstance(op, Copy)])
    for op in cut:
        if isinstance(op, Take) and isinstance(op.of, Copy):
            # A layer of a stack, as most of them are: what `_reads` says of it.
            reads[op.of.source].add(((op.axis, (op.index, op.index + 1)),))
            continue
        if _uncut(op):
            whole.update(refs(op))
            continue
        for ref in refs(op):
            # A part of the op may be cut away again, and with it all that it would have read.
            reads.setdefault(ref, set())
        for ref, box in _reads(op, {}, values):
            reads[ref].add(box)
    for ref in sorted((owed & reads.keys()) - whole, key=str):
        value = values.get(ref)
        if isinstance(value, ArrayValue) and (part := _unread(list(reads[ref]), value.spec.shape)):
            yield ref, part


def _uncut(op: Op) -> bool:
    """Whether all that `op` reads is in what it makes."""
    match op:
        case Copy():
            return True
        case Stack(parts=parts) | Concat(parts=parts):
            return all(isinstance(part, Copy) or _uncut(part) for part in parts)
        case MoveAxis(of=of) | Cast(of=of):
            return _uncut(of)
        case Take() | Split() | Fill():
            return False
        case _:
            assert_never(op)


def _reads(op: Op, of_result: Mapping[int, Span], values: Mapping[Ref, Value]) -> Iterator[tuple[Ref, Box]]:
    """What `op` reads for the ranges `of_result` of its own result."""
    match op:
        case Copy(source=source):
            yield source, tuple(sorted(of_result.items()))
        case Take(of=of, axis=axis, index=index):
            above = {a + (a >= axis): span for a, span in of_result.items()}
            yield from _reads(of, {**above, axis: (index, index + 1)}, values)
        case Cast(of=of):
            yield from _reads(of, of_result, values)
        case MoveAxis(of=of, source=source, destination=destination):
            before = moved(tuple(range(max([source, destination, *of_result]) + 1)), source, destination)
            yield from _reads(of, {before[a]: span for a, span in of_result.items()}, values)
        case Split(of=of, axis=axis, index=index, count=count):
            yield from _reads_piece(of, axis, index, count, of_result, values)
        case Stack(parts=parts, axis=axis):
            inner = {a - (a > axis): span for a, span in of_result.items() if a != axis}
            first, end = of_result.get(axis, (0, len(parts)))
            for part in parts[first:end]:
                yield from _reads(part, inner, values)
        case Concat(parts=parts, axis=axis):
            yield from _reads_joined(parts, axis, of_result, values)
        case Fill():
            return
        case _:
            assert_never(op)


def _size(op: Op, axis: int, values: Mapping[Ref, Value]) -> int | None:
    """The size of an axis of what `op` makes; None if that is no array, or does not fit together."""
    try:
        value = result(op, values.__getitem__)
    except (ValueError, KeyError):
        # Refused for what it is, elsewhere.
        return None
    fits = isinstance(value, ArrayValue) and axis < len(value.spec.shape)
    return value.spec.shape[axis] if isinstance(value, ArrayValue) and fits else None


def _reads_piece(
    of: Op, axis: int, index: int, count: int, of_result: Mapping[int, Span], values: Mapping[Ref, Value]
) -> Iterator[tuple[Ref, Box]]:
    size = _size(of, axis, values)
    if size is None:
        yield from _reads(of, of_result, values)
        return
    piece = size // count
    first, end = of_result.get(axis, (0, piece))
    yield from _reads(of, {**of_result, axis: (index * piece + first, index * piece + end)}, values)


def _reads_joined(
    parts: Sequence[Op], axis: int, of_result: Mapping[int, Span], values: Mapping[Ref, Value]
) -> Iterator[tuple[Ref, Box]]:
    wanted, start = of_result.get(axis), 0
    inner = {a: span for a, span in of_result.items() if a != axis}
    for part in parts:
        size = _size(part, axis, values)
        if wanted is None or size is None:
            yield from _reads(part, inner, values)
            continue
        first, end = max(wanted[0] - start, 0), min(wanted[1] - start, size)
        if first < end:
            yield from _reads(part, {**inner, axis: (first, end)}, values)
        start += size


def _unread(boxes: Sequence[Box], shape: tuple[int, ...]) -> str | None:
    """A part of an array of `shape` that none of `boxes` holds; None if there is none."""
    if () in boxes or 0 in shape:
        return None
    if not boxes:
        return "all of it"
    axis = min(box[0][0] for box in boxes)
    spans = [dict(box).get(axis, (0, shape[axis])) for box in boxes]
    rests = [tuple(one for one in box if one[0] != axis) for box in boxes]
    edges = sorted({0, shape[axis], *(edge for span in spans for edge in span)})
    within: dict[int, list[Box]] = defaultdict(list)
    place = {edge: n for n, edge in enumerate(edges)}
    for (first, end), rest in zip(spans, rests, strict=True):
        for n in range(place[first], place[end]):
            within[n].append(rest)
    for n, (first, end) in enumerate(pairwise(edges)):
        where = _named(axis, first, end)
        if n not in within:
            return where
        # The axis is done with: as one of size 1 it keeps the numbers of the others.
        if part := _unread(within[n], (*shape[:axis], 1, *shape[axis + 1 :])):
            return f"{part} of {where}"
    return None


def _named(axis: int, first: int, end: int) -> str:
    return (
        f"slice {first} on axis {axis}" if end == first + 1 else f"slices {first} to {end - 1} on axis {axis}"
    )
