"""What a user may choose from: the closed sets behind the options of the commands.

A file of its own, so that a command can tell its options without building one model.
"""

from enum import StrEnum


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


class Transfer(StrEnum):
    """How data files reach the target."""

    COPY = "copy"
    LINK = "link"


class PartName(StrEnum):
    """The parts of a train state."""

    PARAMS = "params"
    OPTIMIZER = "optimizer"
    STEP = "step"
    AUX = "aux"
