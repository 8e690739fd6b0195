"""`Spec`: the train state that a model and its optimizer expect, without a single value.

Made of a live model by abstract evaluation, of a factory, or of a checkpoint. Paths are those of the
intermediate representation, whatever stands around them on disk: a variable's path is inside its model and
without a last key `value`, a position of an `nnx.List` is a dict key of digits, a position of an optax chain
is a sequence index.
"""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from functools import cached_property
from typing import Literal, Self, assert_never

from pydantic import model_validator

from linen_nnx.schema.array import ArraySpec, Value
from linen_nnx.schema.ir import PARAMS, RNGS, UNKNOWN, Slot
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.model import Model
from linen_nnx.schema.path import KeyPath


class Kind(StrEnum):
    """What a variable is: the base class of its type, a subclass counting as its base."""

    PARAM = "Param"
    BATCH_STAT = "BatchStat"
    CACHE = "Cache"
    INTERMEDIATE = "Intermediate"
    RNG = "Rng"
    """A key or a count of a PRNG stream."""
    OTHER = "Other"

    @property
    def collection(self) -> str:
        """The Linen collection that variables of this kind belong to."""
        match self:
            case Kind.PARAM:
                return PARAMS
            case Kind.BATCH_STAT:
                return "batch_stats"
            case Kind.CACHE:
                return "cache"
            case Kind.INTERMEDIATE:
                return "intermediates"
            case Kind.RNG:
                return RNGS
            case Kind.OTHER:
                return UNKNOWN
            case _:
                assert_never(self)

    @classmethod
    def of_collection(cls, collection: str) -> "Kind":
        """The kind of the variables of a Linen collection."""
        return next((kind for kind in cls if kind.collection == collection), cls.OTHER)


Sharding = tuple[str | tuple[str, ...] | None, ...]
"""The mesh axes of each dimension, as a `PartitionSpec` has them."""


class SpecLeaf(Model):
    """One variable: where, of which type, of which shape and dtype."""

    path: KeyPath
    collection: str
    """Of an NNX variable, the one that its kind belongs to."""
    kind: Kind
    type: str | None = None
    """The name of an NNX variable's class, such as `LoRAParam`; no checkpoint tells it."""
    spec: ArraySpec
    out_sharding: Sharding | None = None

    @property
    def slot(self) -> Slot:
        """Its address."""
        return Slot(collection=self.collection, path=self.path)

    def __str__(self) -> str:
        """`encoder/kernel: Param float32[3,4]`."""
        return f"{self.path}: {self.type or self.kind.value} {self.spec}"


class SpecModule(Model):
    """One module, and the name of its class; the root has the empty path."""

    path: KeyPath
    name: str


class SpecOptimizerLeaf(Model):
    """One leaf of the optimizer, or an empty state (`EmptyState`, `MaskedNode`: None) in its position."""

    at: KeyPath
    """As in the intermediate representation: `[0]/mu`; positions are sequence indices."""
    mirrors: Slot | None = None
    value: Value
    out_sharding: Sharding | None = None


class Spec(Model):
    """A whole train state, expected."""

    version: Literal[1] = 1
    flax: str | None = None
    """The release of flax that was asked; None for a checkpoint."""
    layout: Layout
    leaves: tuple[SpecLeaf, ...]
    modules: tuple[SpecModule, ...] = ()
    """Of a live model alone: neither Linen states nor checkpoints have them."""
    step: ArraySpec | None = None
    optimizer: tuple[SpecOptimizerLeaf, ...] = ()
    rngs: tuple[KeyPath, ...] = ()
    """The paths of the leaves of PRNG streams."""
    fingerprint: str
    """SHA-256 of leaves and optimizer: equal where the same checkpoint fits."""

    @classmethod
    def of(
        cls,
        layout: Layout,
        leaves: Iterable[SpecLeaf],
        optimizer: Iterable[SpecOptimizerLeaf] = (),
        *,
        modules: Iterable[SpecModule] = (),
        step: ArraySpec | None = None,
        flax: str | None = None,
    ) -> Self:
        """Sort what is given by path, and add what follows from it."""
        sorted_leaves = tuple(sorted(leaves, key=lambda leaf: leaf.path.natural()))
        sorted_optimizer = tuple(sorted(optimizer, key=_optimizer_order))
        return cls(
            flax=flax,
            layout=layout,
            leaves=sorted_leaves,
            modules=tuple(sorted(modules, key=lambda module: module.path.natural())),
            step=step,
            optimizer=sorted_optimizer,
            rngs=tuple(leaf.path for leaf in sorted_leaves if leaf.kind is Kind.RNG),
            fingerprint=_fingerprint(layout, sorted_leaves, step, sorted_optimizer),
        )

    @model_validator(mode="after")
    def _each_slot_once(self) -> Self:
        if len(self.by_slot) != len(self.leaves):
            raise ValueError("two variables have one address")
        if self.fingerprint != _fingerprint(self.layout, self.leaves, self.step, self.optimizer):
            raise ValueError("the fingerprint is another's: the document was edited by hand")
        return self

    @cached_property
    def by_slot(self) -> dict[Slot, SpecLeaf]:
        """Each variable under its address."""
        return {leaf.slot: leaf for leaf in self.leaves}


def _optimizer_order(leaf: SpecOptimizerLeaf) -> tuple[object, ...]:
    return leaf.at.natural(), () if leaf.mirrors is None else leaf.mirrors.path.natural()


def _fingerprint(
    layout: Layout,
    leaves: tuple[SpecLeaf, ...],
    step: ArraySpec | None,
    optimizer: tuple[SpecOptimizerLeaf, ...],
) -> str:
    lines = [
        layout.value,
        f"step {step}",
        *(f"{leaf.slot} {leaf.spec}" for leaf in leaves),
        *(f"{leaf.at} {leaf.mirrors} {leaf.value}" for leaf in optimizer),
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
