"""What a user may choose from: the closed sets behind the options of the commands.

A file of its own, so that a command can tell its options without building one model.
"""

from enum import StrEnum
from typing import assert_never


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


class Codec(StrEnum):
    """How the chunks are compressed that a conversion encodes; what is not decoded stays as it is."""

    SOURCE = "source"
    """By the codec of the source's array."""
    FAST = "fast"
    """By zstd at level -1: what repeats (zeros, say) shrinks, random digits stay as they are. For random
    floats it is six times as fast as level 1, and ten times as fast to read; float32 takes 8 % more bytes,
    bfloat16 28 %."""
    NONE = "none"
    """Not at all."""


class Transfer(StrEnum):
    """How data files reach the target."""

    COPY = "copy"
    LINK = "link"


class Decoder(StrEnum):
    """Decoders whose layers stand in their own way, by what MaxText calls them (`decoder_block`)."""

    GEMMA3 = "gemma3"
    GEMMA4 = "gemma4"
    GEMMA4_SMALL = "gemma4_small"
    DEEPSEEK4 = "deepseek4"
    GPT_OSS = "gpt_oss"
    LLAMA4 = "llama4"
    OLMO3 = "olmo3"
    QWEN3_NEXT = "qwen3_next"
    QWEN3_5 = "qwen3_5"


class PartName(StrEnum):
    """The parts of a train state."""

    PARAMS = "params"
    OPTIMIZER = "optimizer"
    STEP = "step"
    AUX = "aux"


class Layout(StrEnum):
    """The closed set of on-disk layouts."""

    LINEN = "linen"
    NNX = "nnx"
    MAXTEXT = "maxtext"
    PARAMS = "params"
    TUNIX = "tunix"
    DILOCO = "diloco"

    @property
    def is_nnx(self) -> bool:
        """Whether it holds NNX variables by their module paths, whatever stands around them."""
        return self in (Layout.NNX, Layout.PARAMS, Layout.TUNIX)


class Leaves(StrEnum):
    """How NNX variables stand on disk: under a last key `value`, or bare."""

    WRAPPED = "wrapped"
    """Every leaf under `value`, as an `nnx.State` is saved."""
    BARE = "bare"
    """No leaf, as `to_pure_dict` gives them."""
    MODEL_WRAPPED = "model-wrapped"
    """The model's leaves only: what MaxText's dropped converter script wrote."""
    MIXED = "mixed"
    """Some, as a MaxText run resumed from a wrapped tree leaves them. Written only where it was read."""

    def wraps(self, *, model: bool, mixed: bool) -> bool:
        """Whether a leaf stands under `value`: one of the `model` or not, and what a `mixed` form says."""
        match self:
            case Leaves.WRAPPED:
                return True
            case Leaves.BARE:
                return False
            case Leaves.MODEL_WRAPPED:
                return model
            case Leaves.MIXED:
                return mixed
            case _:
                assert_never(self)


class LayerNames(StrEnum):
    """How layers that stand one by one are named."""

    UNDERSCORE = "underscore"
    """`layers_3`."""
    NESTED = "nested"
    """`layers/3`: an `nnx.List`; the index is a dict key of digits."""


class LayerStacking(StrEnum):
    """Whether the layers of a group share arrays."""

    STACKED = "stacked"
    """One array for all layers, stacked on an axis by `nn.scan` or `nnx.vmap`."""
    UNSTACKED = "unstacked"
    """Each layer has arrays of its own."""
