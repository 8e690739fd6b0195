"""Blocks whose form has changed: the stack's name, what a block is made of, and the layers behind the last.

| | written by | stack | in a block | remainder |
|---|---|---|---|---|
| Gemma 4 | Linen until July 2026 | `scanned_blocks` | `layers_0` … | automatic names |
| | NNX until July 2026 | `scanned_blocks` or `layers` | `layers_0` … | `layers_remainder/layers_0` … |
| | Linen since 30 July 2026 | `scanned_blocks` | `local_layers`, `global_layer` | automatic names |
| | NNX since then | `scanned_blocks` | `local_layers`, `global_layer` | `layers_remainder/local_layers` |
| Qwen3-Next | until MaxText 0.2.4 | `layers` | `layer_0` … | none, such layers are left out |
| | since 0.2.5, NNX | `layers` | `local_layers`, `global_layer` | `layers_remainder/local_layers` |
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from linen_nnx.convert.layers.families import Family
from linen_nnx.convert.layers.names import AUTO_REMAINDER, BLOCKS, GLOBAL, LOCAL, REMAINDER
from linen_nnx.schema.layout import LayerSlot, Layout
from linen_nnx.schema.path import ROOT


class Inside(StrEnum):
    """What arrays a block has."""

    SLOTS = "slots"
    """One a layer."""
    PARTS = "parts"
    """One for the local layers, stacked once more, and one for the global layer."""


class Left(StrEnum):
    """How the remainder stands."""

    AUTO = "auto"
    SLOTS = "slots"
    STACKED = "stacked"


@dataclass(frozen=True, slots=True)
class Era:
    """One row of the table."""

    stack: str = BLOCKS
    slot: str = "layers_{}"
    """What a layer is called in a block that has one array a layer."""
    inside: Inside = Inside.PARTS
    left: Left = Left.STACKED


def today(family: Family) -> Era:
    """The era of the newest runs of a family."""
    return Era(stack=family.stack, slot=family.slot)


def era_of(family: Family, slots: Sequence[LayerSlot]) -> Era:
    """The era that wrote these slots; today's where they do not tell."""
    era = today(family)
    for slot in slots:
        first, *rest = slot.path.names
        if first.startswith(AUTO_REMAINDER):
            era = replace(era, left=Left.AUTO)
        elif first == REMAINDER:
            era = replace(era, left=Left.STACKED if rest[0] in (LOCAL, GLOBAL) else Left.SLOTS)
        else:
            era = replace(
                era, stack=first, inside=Inside.PARTS if rest[0] in (LOCAL, GLOBAL) else Inside.SLOTS
            )
    return era


def era_in(family: Family, layout: Layout, before: Era) -> Era:
    """The era nearest to `before` that ever was in `layout`; MaxText's own layout is brought up to date."""
    match layout:
        case Layout.MAXTEXT:
            return today(family)
        case Layout.LINEN:
            inside = before.inside if family.linen_parts else Inside.SLOTS
            return replace(before, stack=family.stack, inside=inside, left=Left.AUTO)
        case Layout.NNX | Layout.PARAMS | Layout.TUNIX | Layout.DILOCO:
            if before.left is not Left.AUTO:
                return before
            return replace(before, left=Left.STACKED if before.inside is Inside.PARTS else Left.SLOTS)
        case _:
            assert_never(layout)


def slots_in(era: Era, count: int, cycle: int) -> tuple[LayerSlot, ...]:
    """The slots of `count` layers in an era."""
    filled = count - count % cycle
    return (
        *(_in_block(era, *divmod(layer, cycle), cycle) for layer in range(filled)),
        *(_left(era, order) for order in range(count - filled)),
    )


def _in_block(era: Era, block: int, position: int, cycle: int) -> LayerSlot:
    match era.inside:
        case Inside.SLOTS:
            return LayerSlot(path=ROOT / era.stack / era.slot.format(position), index=(block,))
        case Inside.PARTS if position == cycle - 1:
            return LayerSlot(path=ROOT / era.stack / GLOBAL, index=(block,))
        case Inside.PARTS:
            return LayerSlot(path=ROOT / era.stack / LOCAL, index=(block, position))
        case _:
            assert_never(era.inside)


def _left(era: Era, order: int) -> LayerSlot:
    match era.left:
        case Left.AUTO:
            return LayerSlot(path=ROOT / f"{AUTO_REMAINDER}_{order}")
        case Left.SLOTS:
            return LayerSlot(path=ROOT / REMAINDER / f"layers_{order}")
        case Left.STACKED:
            return LayerSlot(path=ROOT / REMAINDER / LOCAL, index=(order,))
        case _:
            assert_never(era.left)
