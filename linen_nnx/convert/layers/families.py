"""Decoder families whose stacks are cut in blocks, as data: how each is told, and how its layers stand.

A decoder without a row here is stacked as one run, `layers`. Source: MaxText's decoders and the checkpoints
that they wrote; a row says what is the same in every run of a family, not what a run may configure.
"""

from linen_nnx.convert.layers.names import BLOCKS, GLOBAL, LAYERS, LOCAL, REMAINDER
from linen_nnx.schema.layout import LayerSlot
from linen_nnx.schema.model import Model
from linen_nnx.schema.path import ROOT


class Family(Model):
    """A row: the names inside a layer that mark the family, and the shape of its blocks."""

    name: str
    marks: frozenset[str]
    """All of these names stand in its layers."""
    without: frozenset[str] = frozenset()
    """None of these does."""
    slot: str = "layers_{}"
    cycle: int | None = None
    """Layers in a block; None: a run may choose, so only a template or an option tells."""
    local_stack: bool = False
    """A block is a stack of local layers and one global layer."""


FAMILIES = (
    Family(name="gemma4", marks=frozenset({"layer_scalar"}), cycle=6, local_stack=True),
    Family(
        name="gemma3",
        marks=frozenset({"pre_ffw_norm", "post_ffw_norm", "query_norm", "key_norm"}),
        without=frozenset({"layer_scalar"}),
        cycle=6,
    ),
    Family(name="gpt_oss", marks=frozenset({"GptOssMlp"})),
    Family(name="llama4", marks=frozenset({"Llama4MoEBlock_0"})),
    Family(name="qwen3_next", marks=frozenset({"A_log"}), slot="layer_{}", cycle=4),
)


def family_of(names: frozenset[str]) -> Family | None:
    """The row whose marks stand among the names inside the layers of a group."""
    return next((f for f in FAMILIES if f.marks <= names and not f.without & names), None)


def blocks(count: int, cycle: int, family: Family | None) -> tuple[LayerSlot, ...]:
    """The slots of `count` layers in blocks of `cycle`; the last, incomplete block is the remainder."""
    if family is None and cycle == 1:
        return tuple(LayerSlot(path=ROOT / LAYERS, index=(n,)) for n in range(count))
    if family is not None and family.local_stack:
        return tuple(_gemma4(n, count - count % cycle, cycle) for n in range(count))
    slot = family.slot if family is not None else "layers_{}"
    filled = count - count % cycle
    return (
        *(LayerSlot(path=ROOT / LAYERS / slot.format(n % cycle), index=(n // cycle,)) for n in range(filled)),
        *(LayerSlot(path=ROOT / REMAINDER / slot.format(n)) for n in range(count - filled)),
    )


def _gemma4(layer: int, filled: int, cycle: int) -> LayerSlot:
    block, position = divmod(layer, cycle)
    is_global = position == cycle - 1
    if layer < filled:
        if is_global:
            return LayerSlot(path=ROOT / BLOCKS / GLOBAL, index=(block,))
        return LayerSlot(path=ROOT / BLOCKS / LOCAL, index=(block, position))
    return LayerSlot(path=ROOT / REMAINDER / LOCAL, index=(position,))
