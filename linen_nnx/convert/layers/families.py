"""Decoder families whose stacks are cut in their own way, as data: how each is told, how its layers stand.

A decoder without a row here is stacked as one run, `layers`, or in blocks of the period that its layers show.
Source: MaxText's decoders and the checkpoints that they wrote; a row says what is the same in every run of a
family, not what a run may configure.
"""

from collections.abc import Set

from linen_nnx.convert.layers.names import BLOCKS, LAYERS
from linen_nnx.schema.choices import Decoder
from linen_nnx.schema.model import Model


class Family(Model):
    """A row: the names that mark the family, and the shape of its blocks."""

    name: Decoder
    marks: frozenset[str] = frozenset()
    """All of these names stand in its layers."""
    without: frozenset[str] = frozenset()
    """None of these does."""
    beside: frozenset[str] = frozenset()
    """All of these stand beside its layers, in the decoder."""
    stackable: bool = True
    """False: its layers differ each from each, and no run stacks them."""
    stack: str = LAYERS
    """What its stack of blocks is called."""
    slot: str = "layers_{}"
    """What a layer is called inside a block."""
    cycle: int | None = None
    """Layers in a block; None: a run may choose."""
    open_mark: str | None = None
    """The layers of a block hold this name, all but the last: then the layers themselves tell the cycle."""
    prefix_mark: str | None = None
    """The first layers, which hold this name, are never stacked."""
    prefix_lacks: tuple[str, str] | None = None
    """What those layers do not hold where others do, by its last two names."""
    remainder: bool = False
    """Layers that do not fill a block stand by themselves; without it, every block is full."""
    local_stack: bool = False
    """A block is a stack of local layers and one global layer, as its newest runs have it."""
    linen_parts: bool = False
    """Whether Linen ever had blocks of such parts."""
    twin: Decoder | None = None
    """A family with the same names in its layers, which stacks them otherwise: they do not tell which."""
    kinds: bool = False
    """Layers at different places of a block are of different kinds: one may hold less than another."""


FAMILIES = (
    Family(name=Decoder.GEMMA4_SMALL, beside=frozenset({"per_layer_embedder"}), stackable=False),
    Family(
        name=Decoder.GEMMA4,
        marks=frozenset({"layer_scalar"}),
        stack=BLOCKS,
        cycle=6,
        local_stack=True,
        linen_parts=True,
        remainder=True,
        kinds=True,
    ),
    Family(
        name=Decoder.GEMMA3,
        marks=frozenset({"pre_ffw_norm", "post_ffw_norm", "query_norm", "key_norm"}),
        without=frozenset({"layer_scalar"}),
        cycle=6,
        remainder=True,
    ),
    Family(
        name=Decoder.DEEPSEEK4,
        beside=frozenset({"hc_head"}),
        stack=BLOCKS,
        cycle=2,
        prefix_mark="tid2eid",
        prefix_lacks=("gate", "bias"),
        kinds=True,
    ),
    Family(name=Decoder.GPT_OSS, marks=frozenset({"GptOssMlp"})),
    Family(name=Decoder.LLAMA4, marks=frozenset({"Llama4MoEBlock_0"})),
    Family(
        name=Decoder.OLMO3,
        marks=frozenset({"post_self_attention_layer_norm", "post_mlp_layer_norm"}),
        without=frozenset({"pre_self_attention_layer_norm"}),
    ),
    Family(
        name=Decoder.QWEN3_NEXT,
        marks=frozenset({"A_log"}),
        slot="layer_{}",
        open_mark="A_log",
        local_stack=True,
        remainder=True,
        twin=Decoder.QWEN3_5,
    ),
    Family(name=Decoder.QWEN3_5, marks=frozenset({"A_log"}), slot="layer_{}", open_mark="A_log"),
)


def family_of(inside: Set[str], beside: Set[str], stated: Decoder | None = None) -> Family | None:
    """The row whose marks stand among the names inside the layers of a group, and beside them.

    Where twins do, the first; `stated` is the one that the user names.
    """
    fitting = [f for f in FAMILIES if f.marks <= inside and f.beside <= beside and not f.without & inside]
    named = (family for family in fitting if family.name is stated)
    return next(named, fitting[0] if fitting else None)
