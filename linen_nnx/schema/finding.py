"""Findings: what explains many differences at once, named as what it is."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from linen_nnx.schema.array import DType
from linen_nnx.schema.inspection import PartName
from linen_nnx.schema.model import Model
from linen_nnx.schema.path import KeyPath


class Which(StrEnum):
    """One of the two checkpoints."""

    A = "a"
    B = "b"


class _Explains(Model):
    paths: tuple[KeyPath, ...]
    """The names of the differences that it explains."""


class LayerMove(Model):
    """Layer `a` of A stands in B as layer `b`, bit for bit."""

    a: int
    b: int


class LayersMoved(_Explains):
    """Layers of a group stand in another order: a swap where two trade places."""

    kind: Literal["layers-moved"] = "layers-moved"
    group: KeyPath
    parts: tuple[Annotated[PartName, Field(strict=False)], ...]
    moves: tuple[LayerMove, ...]


class FieldMove(Model):
    """The optimizer's field `a` of A stands in B as field `b`, bit for bit."""

    a: KeyPath
    b: KeyPath


class FieldsMoved(_Explains):
    """Fields of the optimizer that mirror the parameters stand in each other's place: mu and nu swapped."""

    kind: Literal["fields-moved"] = "fields-moved"
    moves: tuple[FieldMove, ...]


class LeafMove(Model):
    """The leaf `a` of A stands in B as `b`, bit for bit."""

    a: KeyPath
    b: KeyPath


class LeavesMoved(_Explains):
    """Single leaves of equal content under another name."""

    kind: Literal["leaves-moved"] = "leaves-moved"
    moves: tuple[LeafMove, ...]


class LayersMissing(_Explains):
    """Whole layers that one side has not."""

    kind: Literal["layers-missing"] = "layers-missing"
    missing_in: Annotated[Which, Field(strict=False)]
    group: KeyPath
    layers: tuple[int, ...]


class RngsMissing(_Explains):
    """Streams of random numbers that one side has not."""

    kind: Literal["rngs-missing"] = "rngs-missing"
    missing_in: Annotated[Which, Field(strict=False)]
    no_place: bool
    """Whether the layout of that side has no place for any."""


class PartMissing(_Explains):
    """A whole part that one side has not."""

    kind: Literal["part-missing"] = "part-missing"
    missing_in: Annotated[Which, Field(strict=False)]
    part: Annotated[PartName, Field(strict=False)]


class DTypeChanged(_Explains):
    """Leaves of one part in another dtype."""

    kind: Literal["dtype-changed"] = "dtype-changed"
    part: Annotated[PartName, Field(strict=False)]
    a: Annotated[DType, Field(strict=False)]
    b: Annotated[DType, Field(strict=False)]
    same_values: bool | None
    """Whether every value is the same number; None if no value was read."""


class Zeroed(_Explains):
    """Leaves that are all zero on one side alone: moments that were reset, weights never loaded."""

    kind: Literal["zeroed"] = "zeroed"
    zero_in: Annotated[Which, Field(strict=False)]
    part: Annotated[PartName, Field(strict=False)]


class FactorsApart(_Explains):
    """Factors of second moments (adafactor's rows and columns), of stacked layers on one side alone.

    Which of their axes is that of the layers is not known, so they are not held against each other.
    """

    kind: Literal["factors-apart"] = "factors-apart"
    fields: tuple[KeyPath, ...]


Finding = Annotated[
    LayersMoved
    | FieldsMoved
    | LeavesMoved
    | LayersMissing
    | RngsMissing
    | PartMissing
    | DTypeChanged
    | Zeroed
    | FactorsApart,
    Field(discriminator="kind"),
]
"""One explanation, by its kind."""
