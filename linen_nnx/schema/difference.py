"""`Difference`: what tells two checkpoints apart, leaf by leaf, and what explains it.

Both are compared in the intermediate representation with their layers taken apart, so a leaf has one name
whatever the layouts: `params/decoder/layers_3/mlp/wo/kernel`, `optimizer/[0]/nu/decoder/layers_3/…`,
`aux/…`, `step`. Where it stands in each checkpoint is in its `Leaf`: the op over that checkpoint's entries.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from linen_nnx.schema.finding import Finding
from linen_nnx.schema.inspection import PartName
from linen_nnx.schema.ir import Leaf
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.model import Model
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Note


class Element(Model):
    """One element of a leaf, and what stands there on each side, as numpy prints it."""

    index: tuple[int, ...]
    a: str
    b: str


class Statistics(Model):
    """How far two arrays of one shape are apart. Bits decide: NaN equals NaN, -0.0 differs from 0.0."""

    elements: int
    differing: int
    """Elements that differ at all."""
    beyond: int
    """Of these, those that no tolerance takes in."""
    first: Element | None = None
    """The first of those that are beyond tolerance, else the first that differs."""
    largest: Element | None = None
    """Where the absolute difference is largest."""
    max_abs: float | None = None
    """None where differences are no numbers: booleans, PRNG keys."""
    max_rel: float | None = None
    """The largest of `|a - b| / max(|a|, |b|)`."""
    ulps: int | None = None
    """The largest distance in representable numbers, of floats of one dtype."""
    scale: float | None = None
    """The array's own scale: its largest finite magnitude in A."""
    nans: int = 0
    """Elements of which one alone is NaN."""
    zero_signs: int = 0
    """Elements that differ in the sign of a zero alone."""


class _Named(Model):
    path: KeyPath
    """The name that both sides share."""
    part: Annotated[PartName, Field(strict=False)]


class Missing(_Named):
    """A leaf of A that B has not."""

    kind: Literal["missing"] = "missing"
    a: Leaf


class Unexpected(_Named):
    """A leaf of B that A has not."""

    kind: Literal["unexpected"] = "unexpected"
    b: Leaf


class SpecDiffers(_Named):
    """Another shape, dtype or PRNG implementation, or an array against a string."""

    kind: Literal["spec"] = "spec"
    a: Leaf
    b: Leaf
    statistics: Statistics | None = None
    """Of the values, where only the dtype differs and both are numbers."""


class ValuesDiffer(_Named):
    """Arrays of one spec whose bits differ."""

    kind: Literal["values"] = "values"
    a: Leaf
    b: Leaf
    statistics: Statistics


class TextDiffers(_Named):
    """Strings that differ."""

    kind: Literal["text"] = "text"
    a: Leaf
    b: Leaf


class EmptiesDiffer(_Named):
    """`None`, `{}`, `[]` or `()` on one side, and something else or nothing on the other."""

    kind: Literal["empties"] = "empties"
    a: Leaf | None = None
    b: Leaf | None = None


class LayersDiffer(_Named):
    """Another number of layers; `path` names the group. The leaves of such layers are listed too."""

    kind: Literal["structure"] = "structure"
    a: int
    b: int


LeafDifference = Annotated[
    Missing | Unexpected | SpecDiffers | ValuesDiffer | TextDiffers | EmptiesDiffer | LayersDiffer,
    Field(discriminator="kind"),
]
"""One difference, by its kind."""


class Tolerance(Model):
    """An element of a float is within it if `|a - b| <= atol * scale + rtol * max(|a|, |b|)`.

    `scale` is the largest finite magnitude of the array itself, in A: a tolerance that is small beside the
    parameters does not swallow second moments that are smaller still.
    """

    atol: Annotated[float, Field(ge=0)] = 0.0
    rtol: Annotated[float, Field(ge=0)] = 0.0


class Depth(StrEnum):
    """How far a comparison goes."""

    VALUES = "values"
    STRUCTURE = "structure"
    """Names and specs alone: no array is read."""


class Asked(Model):
    """What was compared, and how."""

    parts: tuple[Annotated[PartName, Field(strict=False)], ...] = tuple(PartName)
    depth: Annotated[Depth, Field(strict=False)] = Depth.VALUES
    tolerance: Tolerance | None = None
    """None: bit for bit."""


class Compared(Model):
    """One of the two checkpoints."""

    path: str
    item: str
    layout: Layout
    step: int | None = None


class PartSummary(Model):
    """One part, counted in leaves with their layers taken apart."""

    part: Annotated[PartName, Field(strict=False)]
    leaves: int
    """Names on either side, without the empties that only one of the layouts writes."""
    equal: int
    within: int
    """Not equal, but within tolerance."""
    different: int
    nbytes: int
    """Bytes of arrays in memory, of A."""
    undecoded: int = 0
    """Bytes of A that were found equal by their stored chunks, without decoding."""
    elements_differing: int = 0
    max_abs: float | None = None
    max_abs_at: KeyPath | None = None
    max_rel: float | None = None
    max_rel_at: KeyPath | None = None


class Verdict(StrEnum):
    """The whole result."""

    EQUAL = "equal"
    WITHIN = "within-tolerance"
    DIFFERENT = "different"


def verdict_of(differences: Sequence[LeafDifference], within: Sequence[ValuesDiffer]) -> Verdict:
    """What the differences come to."""
    return Verdict.DIFFERENT if differences else Verdict.WITHIN if within else Verdict.EQUAL


class Difference(Model):
    """Everything that tells checkpoint `a` and checkpoint `b` apart."""

    version: Literal[1] = 1
    verdict: Annotated[Verdict, Field(strict=False)]
    a: Compared
    b: Compared
    asked: Asked
    parts: tuple[PartSummary, ...]
    findings: tuple[Finding, ...] = ()
    """What explains differences: swapped layers, a dropped stream of random numbers, …"""
    differences: tuple[LeafDifference, ...] = ()
    """In the natural order of their paths."""
    within: tuple[ValuesDiffer, ...] = ()
    """What differs within the tolerance that was given."""
    notes: tuple[Note, ...] = ()

    @model_validator(mode="after")
    def _verdict_follows(self) -> Self:
        found = verdict_of(self.differences, self.within)
        if found is not self.verdict:
            raise ValueError(f"the verdict of these differences is {found.value}")
        return self

    @property
    def equal(self) -> bool:
        """Whether nothing differs beyond the tolerance: exit code 0."""
        return self.verdict is not Verdict.DIFFERENT
