"""The words for how a train state is laid out: layouts, leaf forms, layer forms."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.choices import LayerNames as LayerNames
from linen_nnx.schema.choices import LayerStacking as LayerStacking
from linen_nnx.schema.choices import Layout as Layout
from linen_nnx.schema.choices import Leaves as Leaves
from linen_nnx.schema.model import Model
from linen_nnx.schema.path import KeyPath


class LayerSlot(Model):
    """Where one layer stands when layers are stacked: below `path`, at `index` of the stacked axes.

    The index is empty for a layer that stands by itself, and has two numbers, the outer first, for one
    in a stack of stacks.
    """

    path: KeyPath
    index: tuple[int, ...] = ()


class LayerGroup(Model):
    """One run of like layers below `parent`, such as the layers of `decoder`, or its MoE layers.

    Layer `i` of the group (0-based) is layer `first + i` of the whole decoder. Stacked, it stands where
    `slots[i]` says, relative to `parent`; unstacked, under a name made of `name` and its number.
    """

    parent: KeyPath
    name: str
    stacking: LayerStacking
    names: LayerNames = LayerNames.UNDERSCORE
    first: Annotated[int, Field(ge=0)] = 0
    count: Annotated[int, Field(ge=1)]
    slots: tuple[LayerSlot, ...] = ()
    axes: tuple[int, ...] = ()
    """The axes that the shapes allow for stacked parameters; exactly one where it is proved."""

    @model_validator(mode="after")
    def _a_slot_a_layer(self) -> Self:
        if self.stacking is LayerStacking.STACKED and len(self.slots) != self.count:
            raise ValueError(f"{len(self.slots)} slots for {self.count} layers")
        if len(set(self.slots)) != len(self.slots):
            raise ValueError("two layers stand in one slot")
        return self

    @property
    def axis(self) -> int | None:
        """The axis of stacked parameters where shapes prove it. Aux variables: always 0."""
        return self.axes[0] if len(self.axes) == 1 else None

    @property
    def has_stacks(self) -> bool:
        """Whether any array holds several layers."""
        return any(slot.index for slot in self.slots)

    @property
    def at(self) -> KeyPath:
        """Where the group stands, for messages: `decoder/layers`."""
        return self.parent / self.name

    @property
    def arrays(self) -> tuple[KeyPath, ...]:
        """The distinct places that the slots name, in order."""
        return tuple(dict.fromkeys(slot.path for slot in self.slots))


class OldName(StrEnum):
    """Names of parts of MaxText's models that only Linen runs before the summer of 2026 wrote."""

    MTP_TRANSFORMER = "mtp-transformer"
    """`mtp_block/mtp_1_transformer_layer`, since then below `mtp_block/mtp_layer_1`."""
    PIPELINE_STACK = "pipeline-stack"
    """`layers_per_stage`, since then `pipeline_module/layers/scanned_layers`."""
    PIPELINE_MOE = "pipeline-moe"
    """`moe_layers` outside of a pipeline, since then `moe_layers_outside_pipeline`."""


class Route(Model):
    """A variable whose Linen collection its NNX path does not tell."""

    path: KeyPath
    collection: str


class Form(Model):
    """What of a checkpoint's shape is not in the values: enough to write another like it."""

    layout: Layout
    leaves: Leaves | None = None
    """Of NNX variables only."""
    base: bool = False
    """Of NNX variables only: the model stands below one more key, `base`."""
    nested_params: bool = True
    """Linen: `params/params/…` (a whole variables dict) or `params/…` (one collection)."""
    empties: tuple[KeyPath, ...] = ()
    """Of NNX runs only: empty optimizer states that stand there as entries, which is not usual."""
    collections: tuple[str, ...] = ()
    """Linen: the names of all collections."""
    field_collections: tuple[str, ...] = ()
    """Linen: collections in a field of their own, beside `params`."""
    odd_moments: tuple[KeyPath, ...] = ()
    """Linen: moment trees without the collection's level where the parameters have it, or with it where they
    have not, and averages with it; by their places in the optimizer state."""
    wrapped: tuple[KeyPath, ...] = ()
    """Leaves under a last key `value`, by their paths without it, where `leaves` does not tell: those of
    mixed NNX leaves, and those that stand in a flax box in a Linen state."""
    nested: str | None = None
    """Linen: the key of a dict under which the state stands."""
    old_names: tuple[OldName, ...] = ()
    """Names of an earlier era; inside, a state has today's."""
    layer_names: LayerNames | None = None
    groups: tuple[LayerGroup, ...] = ()
    step: ArrayValue | None = None
    inner: "Form | None" = None
    """DiLoCo: the form of the replicas' state, whose layout is `linen` or `maxtext`."""

    def is_of(self, layout: Layout, inner: Layout | None) -> bool:
        """Whether it is of this layout, its inner state too."""
        within = None if self.inner is None else self.inner.layout
        return self.layout is layout and within is inner
