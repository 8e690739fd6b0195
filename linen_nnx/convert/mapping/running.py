"""What inference asks of a run of both models, and how it judges what comes out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from linen_nnx.schema.ir import Slot
from linen_nnx.schema.rules import Rule

Outputs = tuple["np.ndarray[Any, Any]", ...]
"""Every array that a model returns."""


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a Linen variable: equal seeds are equal values."""

    seed: str
    turned: bool = False
    """With its first two axes exchanged."""
    zero: bool = False
    """Of what a rule drops if it is zero."""


class CannotRunError(Exception):
    """The rules do not lead from the one model to the other."""


class Runner(Protocol):
    """Both models, ready to be run."""

    def linen(self, values: Mapping[Slot, Value]) -> Outputs:
        """Linen's outputs with these values."""
        ...

    def nnx(self, rules: Sequence[Rule], values: Mapping[Slot, Value]) -> Outputs:
        """Those of NNX, with what the rules make of the same values. Raises `CannotRunError`."""
        ...


ROUNDING, NARROW_ROUNDING = 3e-5, 1e-2
"""How far outputs of one function may be apart, by their own scale; the second for 16 bits and fewer."""
_CLEARLY = 30
"""How many times farther they are where it is another function, and where it is another member of a class."""
_COMPARED = 4096
"""Elements of each output by which members of a class are compared with each other."""


def apart(one: Outputs, other: Outputs) -> float:
    """The greatest difference of two outputs by the scale of each array; in units of what is rounding.

    What is not finite is infinitely far, also from itself: it tells nothing.
    """
    return max((_apart(*pair) for pair in zip(one, other, strict=True)), default=float("inf"))


def _apart(one: "np.ndarray[Any, Any]", other: "np.ndarray[Any, Any]") -> float:
    rounding = ROUNDING if one.dtype.itemsize >= 4 or one.dtype.kind not in "fV" else NARROW_ROUNDING
    first, second = one.astype("complex128"), other.astype("complex128")
    if not first.size:
        return 0.0
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return float("inf")
    scale = max(float(np.abs(first).max()), float(np.abs(second).max()))
    return float(np.abs(first - second).max()) / scale / rounding if scale else 0.0


def is_same(distance: float) -> bool:
    """Whether it is rounding alone."""
    return distance <= 1


def is_other(distance: float) -> bool:
    """Whether it is far more than rounding."""
    return distance >= _CLEARLY


def matches(table: Sequence[Sequence[float]]) -> Iterator[tuple[int, int]]:
    """Rows and columns that are one: as near as rounding, and each far from all others."""
    for row, distances in enumerate(table):
        column = min(range(len(distances)), key=distances.__getitem__)
        nearest = distances[column]
        others = [distance for n, distance in enumerate(distances) if n != column]
        others += [other[column] for n, other in enumerate(table) if n != row]
        if is_same(nearest) and all(other > max(1, _CLEARLY * nearest) for other in others):
            yield row, column


def sampled(outputs: Outputs) -> Outputs:
    """Some elements of each array, the same of arrays of one size."""
    return tuple(_sampled(array.reshape(-1)) for array in outputs)


def _sampled(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    if array.size <= _COMPARED:
        return array
    return array[np.random.default_rng(0).choice(array.size, _COMPARED, replace=False)]
