"""`Residue`: what a layout cannot hold, so that the way back can restore it.

It lies as JSON in the item's own `linen_nnx/` folder, beside a small orbax item with the arrays.
"""

from typing import Annotated, Literal

from pydantic import Field

from linen_nnx.schema.array import Value
from linen_nnx.schema.ir import Slot
from linen_nnx.schema.layout import Form, Route
from linen_nnx.schema.model import Model
from linen_nnx.schema.path import KeyPath

RESIDUE_FILE = "residue.json"
SIDE_ITEM = "state"


class VariableAddress(Model):
    """The place of a model variable."""

    kind: Literal["variable"] = "variable"
    slot: Slot


class OptimizerAddress(Model):
    """The place of an optimizer leaf."""

    kind: Literal["optimizer"] = "optimizer"
    at: KeyPath
    mirrors: Slot | None = None


class Kept(Model):
    """One entry of the side item: its path there, its value, and the place it belongs to."""

    path: KeyPath
    value: Value
    address: Annotated[VariableAddress | OptimizerAddress, Field(discriminator="kind")]
    inner: bool = False
    """Whether it belongs to the state inside a DiLoCo state."""


class Filled(Model):
    """The place of an empty optimizer state that a conversion put in: no source had it."""

    at: KeyPath
    inner: bool = False
    """Whether it belongs to the state inside a DiLoCo state."""


class Residue(Model):
    """Everything kept, and the forms of the checkpoints that the item came from, one a layout."""

    version: Literal[1] = 1
    form: Form | None = None
    """How this item itself stands: a reader need not tell it from looks, which may be those of another."""
    origins: tuple[Form, ...]
    routes: tuple[Route, ...] = ()
    """Collections of this item's variables where its layout does not tell them."""
    layer_axis: int | None = None
    """The axis on which this item's parameters are stacked: its shapes may not prove it."""
    kept: tuple[Kept, ...] = ()
    filled: tuple[Filled, ...] = ()
    """Of this item's entries: what goes again, and is not kept, where a layout has no place for it."""
    item: str | None = None
    """Of a state in two items: what the one that it came from was called in its step, such as `state`."""
