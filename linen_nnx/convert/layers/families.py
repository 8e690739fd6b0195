"""Decoder families whose stacks are cut in their own way, as data: how each is told, how its layers stand.

A decoder without a row here is stacked as one run, `layers`, or in blocks of the period that its layers show.
Source: MaxText's decoders and the checkpoints that they wrote; a row says what is the same in every run of a
family, not what a run may configure.
"""

from linen_nnx.convert.layers.names import BLOCKS, LAYERS
from linen_nnx.schema.model import Model


class Family(Model):
    """A row: the names that mark the family, and the shape of its blocks."""

    name: str
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
    remainder: bool = False
    """Layers that do not fill a block stand by themselves; without it, every block is full."""
    local_stack: bool = False
    """A block is a stack of local layers and one global layer."""
    kinds: bool = False
    """Layers at different places of a block are of different kinds: one may hold less than another."""


FAMILIES = (
    Family(name="gemma4_small", beside=frozenset({"per_layer_embedder"}), stackable=False),
    Family(
        name="gemma4",
        marks=frozenset({"layer_scalar"}),
        stack=BLOCKS,
        cycle=6,
        local_stack=True,
        remainder=True,
        kinds=True,
    ),
    Family(
        name="gemma3",
        marks=frozenset({"pre_ffw_norm", "post_ffw_norm", "query_norm", "key_norm"}),
        without=frozenset({"layer_scalar"}),
        cycle=6,
        remainder=True,
    ),
    Family(
        name="deepseek4",
        beside=frozenset({"hc_head"}),
        stack=BLOCKS,
        cycle=2,
        prefix_mark="tid2eid",
        kinds=True,
    ),
    Family(name="gpt_oss", marks=frozenset({"GptOssMlp"})),
    Family(name="llama4", marks=frozenset({"Llama4MoEBlock_0"})),
    Family(
        name="olmo3",
        marks=frozenset({"post_self_attention_layer_norm", "post_mlp_layer_norm"}),
        without=frozenset({"pre_self_attention_layer_norm"}),
    ),
    Family(name="qwen3_next", marks=frozenset({"A_log"}), slot="layer_{}", open_mark="A_log"),
)


def family_of(inside: frozenset[str], beside: frozenset[str]) -> Family | None:
    """The row whose marks stand among the names inside the layers of a group, and beside them."""
    return next(
        (f for f in FAMILIES if f.marks <= inside and f.beside <= beside and not f.without & inside), None
    )
