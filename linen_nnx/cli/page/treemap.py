"""The boxes of the tree map: every place of the tree with the bytes below it."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from linen_nnx.cli.page.model import Row, Tone
from linen_nnx.schema.model import Model

MOST_BOXES = 4000
"""More than this a browser draws slowly, and nobody sees: the smallest are summed up in their parents."""

MIXED = "mixed"

_At = tuple[str, ...]


class Box(Model):
    """A place of the tree."""

    parent: int | None
    """The position of its parent among the boxes; None for the root."""
    keys: tuple[str, ...]
    """Those of its path that its parent has not."""
    nbytes: int
    """Of all that stands below it."""
    tone: str
    """The one tone of all that stands below it, or `mixed`."""


def boxes(rows: Sequence[Row], *, most: int = MOST_BOXES) -> tuple[Box, ...]:
    """The root and every place with bytes, the largest `most` of them, parents before what is in them.

    A place is never smaller than one below it, so with a place its parents are always there too. One that
    holds a single place is drawn with it as one box: `opt_state/[0]`.
    """
    nbytes: Counter[_At] = Counter()
    tones: dict[_At, set[Tone]] = defaultdict(set)
    children: dict[_At, set[_At]] = defaultdict(set)
    for row in rows:
        if row.nbytes:
            for depth in range(len(row.keys) + 1):
                at = row.keys[:depth]
                nbytes[at] += row.nbytes
                tones[at].add(row.tone)
                if depth:
                    children[at[:-1]].add(at)
    single = {at for at, below in children.items() if at and len(below) == 1}
    largest = sorted(nbytes.keys() - single, key=lambda at: (-nbytes[at], len(at), at))[:most]
    number = {at: index for index, at in enumerate(largest)}
    return tuple(
        Box(
            parent=None if up is None else number[up],
            keys=at[len(up or ()) :],
            nbytes=nbytes[at],
            tone=_tone(tones[at]),
        )
        for at in largest
        for up in [_up(at, single)]
    )


def _up(at: _At, single: set[_At]) -> _At | None:
    """The nearest place above that has a box of its own; None for the root."""
    return next((at[:depth] for depth in range(len(at) - 1, -1, -1) if at[:depth] not in single), None)


def _tone(tones: set[Tone]) -> str:
    return next(iter(tones)).name.lower() if len(tones) == 1 else MIXED
