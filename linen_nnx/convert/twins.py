"""Where an optimizer holds the model a second time: that both copies are one is read, not believed."""

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import numpy as np

from linen_nnx.schema.path import DictKey, KeyPath
from linen_nnx.schema.plan import Drop, DropRule
from linen_nnx.schema.problem import Code, Problem

_ELEMENTS = 16 * 2**20
"""Elements that are held of each copy at a time."""


def twin_problems(drops: Iterable[Drop], open_leaf: Callable[[KeyPath], Any | None]) -> list[Problem]:
    """A problem for each array of the second model that is not the model's own, bit for bit.

    `open_leaf` gives anything that is sliced like an array, or None for what is none.
    """
    return [
        Problem(
            code=Code.VALUE_DIFFERS,
            path=drop.source.path,
            expected=f"the values of {twin}: the optimizer's model and the model are one while it trains",
            found="others",
            hint="one of the two was changed before it was saved; restore the state and save the right one",
        )
        for drop in drops
        if drop.rule is DropRule.SECOND_MODEL
        for twin in [_twin(drop.source.path)]
        if not _equal(open_leaf(drop.source.path), open_leaf(twin))
    ]


def _twin(path: KeyPath) -> KeyPath:
    """`optimizer/model/…` without its `optimizer`, whatever stands before it."""
    at = path.keys.index(DictKey("optimizer"))
    return KeyPath((*path.keys[:at], *path.keys[at + 1 :]))


def _equal(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    if one is other:
        return True
    if not one.shape:
        return _bytes(one[()]) == _bytes(other[()])
    count = max(1, _ELEMENTS // max(1, prod(one.shape[1:])))
    return all(
        _bytes(one[start:end]) == _bytes(other[start:end])
        for start in range(0, one.shape[0], count)
        for end in [min(start + count, one.shape[0])]
    )


def _bytes(part: Any) -> bytes:
    read = part.read().result() if hasattr(part, "read") else part
    return np.ascontiguousarray(read).tobytes()
