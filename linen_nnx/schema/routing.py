"""`RoutedPlan`: a plan, and by which route the bytes of each of its writes reach the target.

A route follows from stored array metadata alone, so it is known (and shown) before one array byte is read.
No array byte is decoded unless it must be.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from linen_nnx.schema.choices import Transfer as Transfer
from linen_nnx.schema.model import Model, value
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Place, Plan

GIB = 2**30


class Route(StrEnum):
    """What becomes of the stored chunks of a write."""

    METADATA = "metadata"
    """No array: an empty or a string, which stands in the item's own files."""
    REFERENCE = "reference"
    """The stored array as it is, under the target's name."""
    CHUNK = "chunk"
    """The stored chunks as they are, under new keys, with new array metadata."""
    DECODE = "decode"
    """Chunks are decoded and encoded anew: their layers part, or their dtype changes."""


class Carriage(StrEnum):
    """How stored bytes that are not decoded travel."""

    NONE = "none"
    """They do not: nothing is stored, or it is decoded."""
    FILE = "file"
    """With the data file that holds them, which is copied or linked whole."""
    VALUE = "value"
    """One by one: their file is of another root, or most of it would be dead weight in the target."""


class Effort(Model):
    """What a conversion may use; the result does not depend on it."""

    transfer: Transfer = Transfer.COPY
    workers: Annotated[int, Field(ge=1)] | None = None
    """Threads; None: as many as cores."""
    memory: Annotated[int, Field(ge=1)] = 2 * GIB
    """Bound on bytes of arrays held."""


@value
class RoutedWrite:
    """The route of one write."""

    place: Place
    target: KeyPath
    route: Route
    carriage: Carriage = Carriage.NONE
    nbytes: int = 0
    """Stored (compressed) bytes that the write reads."""


class Execution(Model):
    """How a plan will be carried out, and what that costs."""

    effort: Effort
    writes: tuple[RoutedWrite, ...]
    """One for each write of the plan, in its order."""
    referenced: int
    """Stored bytes that arrive with their data files."""
    moved: int
    """Stored bytes that are moved one by one."""
    decoded: int
    """Bytes of arrays, in memory, that are decoded and encoded anew."""
    files: int
    """Data files that are copied or linked."""
    file_bytes: int
    """Their size."""
    sparse_files: int = 0
    """Data files left behind, because most of their bytes would be dead in the target."""
    peak_memory: int
    """Predicted resident bytes of the whole process."""
    seconds: float
    """Predicted wall time of the whole process, where the disk takes 2 GB/s: a slower one takes longer."""


class Traffic(Model):
    """What a conversion really moved, to be held against its `Execution`."""

    referenced: int = 0
    """Stored bytes that arrived with their data files."""
    copied: int = 0
    """Bytes of the data files that were copied."""
    linked: int = 0
    """Bytes of the data files that were linked."""
    unlinked_files: int = 0
    """Data files that were copied though links were asked for."""
    moved: int = 0
    """Stored bytes that were moved one by one."""
    decoded: int = 0
    """Bytes of arrays, in memory, that were decoded and encoded anew."""
    rounded: int = 0
    """Elements that a cast has changed, of those that this run decoded."""
    resumed: int = 0
    """Bytes of arrays, in memory, that an earlier run had finished."""
    peak_memory: int = 0
    """Most bytes that the process ever had resident, which may be from before the conversion."""

    def __add__(self, other: "Traffic") -> "Traffic":
        """Of both; the larger peak."""
        both = {name: getattr(self, name) + getattr(other, name) for name in Traffic.model_fields}
        return Traffic(**{**both, "peak_memory": max(self.peak_memory, other.peak_memory)})


class RoutedPlan(Plan):
    """A plan with its execution."""

    execution: Execution

    @classmethod
    def of(cls, plan: Plan, execution: Execution) -> "RoutedPlan":
        """Join the two; the plan's invariants held when it was made."""
        return cls.model_construct(**dict(plan), execution=execution)
