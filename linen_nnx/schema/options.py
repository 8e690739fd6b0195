"""What a user may ask of a conversion, with the defaults."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from linen_nnx.schema.layout import LayerNames, LayerStacking, Layout, Leaves
from linen_nnx.schema.model import Model
from linen_nnx.schema.rules import Rules
from linen_nnx.schema.spec import Spec


class Direction(StrEnum):
    """Shorthand for a target layout, kept from the script that this tool replaces."""

    AUTO = "auto"
    LINEN_TO_NNX = "linen-to-nnx"
    NNX_TO_LINEN = "nnx-to-linen"


class Aux(StrEnum):
    """What becomes of entries that the target layout cannot hold."""

    KEEP = "keep"
    """They travel along in a side item, which the way back restores."""
    DROP = "drop"


class Parts(StrEnum):
    """How much of the state is converted."""

    ALL = "all"
    PARAMS = "params"


class Accept(StrEnum):
    """What evidence is enough to infer which variable becomes which."""

    PROVED = "proved"
    """Structure alone allows one answer."""
    NAMES = "names"
    """Or variables that structure cannot tell apart are called alike on both sides."""
    ORDER = "order"
    """Or they are numbered, and go in their order."""


class Chunks(StrEnum):
    """How the arrays of the target are cut into stored chunks."""

    SOURCE = "source"
    """As those of the source, a layer's own where layers are stacked: no byte is decoded for it."""
    WHOLE = "whole"
    """One an array. What comes in more chunks is decoded."""


class ConversionOptions(Model):
    """Options of `plan` and `convert`. None means: as the source has it, or the layout's default."""

    source: Layout | None = None
    """The layout of the source, where its looks do not tell."""
    to: Layout | None = None
    direction: Direction = Direction.AUTO
    stacking: LayerStacking | None = None
    layer_axis: Annotated[int, Field(ge=0)] | None = None
    layer_cycle: Annotated[int, Field(ge=1)] | None = None
    """Layers in one block, where layers are stacked anew and neither shapes nor family tell."""
    leaves: Leaves | None = None
    layer_names: LayerNames | None = None
    parts: Parts = Parts.ALL
    aux: Aux = Aux.KEEP
    rules: Rules | None = None
    """Where each variable goes, in the words of a user; they lead from Linen to NNX."""
    inverse: bool = False
    """Read the rules backwards, from NNX to Linen."""
    spec: Spec | None = None
    """What the target must be; without rules, they are inferred from it."""
    accept: Accept = Accept.PROVED
    chunks: Chunks = Chunks.SOURCE
