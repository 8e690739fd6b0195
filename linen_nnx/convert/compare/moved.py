"""Content that stands elsewhere: layers or fields that traded places, leaves under another name."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

M = TypeVar("M", bound=Hashable)

Content = tuple[str, bytes]
"""Spec and digest."""


@dataclass(frozen=True, slots=True)
class Unequal:
    """A name whose leaves differ, or that one side alone has; the content of each as far as it is known."""

    at: int
    a: Content | None
    b: Content | None


def permuted(
    found: Iterable[Unequal], member: Callable[[Unequal], M], rest: Callable[[Unequal], Hashable]
) -> dict[M, M]:
    """Which member of A stands in B as which: all its unequal leaves are found there, bit for bit.

    A member is a layer, or an optimizer's field; `rest` names a leaf inside it.
    """
    ours: dict[M, dict[Hashable, Content]] = defaultdict(dict)
    theirs: dict[M, dict[Hashable, Content]] = defaultdict(dict)
    for one in found:
        if one.a is not None:
            ours[member(one)][rest(one)] = one.a
        if one.b is not None:
            theirs[member(one)][rest(one)] = one.b
    by_content: dict[object, list[M]] = defaultdict(list)
    for name, leaves in theirs.items():
        by_content[frozenset(leaves.items())].append(name)
    moves: dict[M, M] = {}
    for name, leaves in ours.items():
        candidates = [m for m in by_content.get(frozenset(leaves.items()), []) if m != name]
        if candidates:
            moves[name] = candidates[0]
            by_content[frozenset(leaves.items())].remove(candidates[0])
    return moves


def renamed(found: Sequence[Unequal]) -> list[tuple[Unequal, Unequal]]:
    """Leaves whose content stands in B under exactly one other name, and in A under no other."""
    ours, theirs = _by_content(found, lambda one: one.a), _by_content(found, lambda one: one.b)
    return [
        (one[0], theirs[content][0])
        for content, one in ours.items()
        if len(one) == 1 and len(theirs.get(content, [])) == 1 and one[0] is not theirs[content][0]
    ]


def _by_content(
    found: Sequence[Unequal], side: Callable[[Unequal], Content | None]
) -> Mapping[Content, list[Unequal]]:
    out: dict[Content, list[Unequal]] = defaultdict(list)
    for one in found:
        if (content := side(one)) is not None:
            out[content].append(one)
    return out
