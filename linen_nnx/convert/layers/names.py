"""How decoder layers are called on disk, and what a name says of its place.

One table for all writers: the name of a stacked group, of its layers one by one in the two styles, of
the blocks of a cycle and of what is left over. Source: checkpoints that MaxText wrote, May to October 2026.
"""

import re
from dataclasses import dataclass
from typing import assert_never

from linen_nnx.schema.layout import LayerGroup, LayerNames
from linen_nnx.schema.path import DictKey, KeyPath

DENSE, MOE, LAYERS = "dense_layers", "moe_layers", "layers"
GROUPS = (LAYERS, DENSE, MOE)
"""Names of stacked groups. Without groups of its own a decoder has one, `layers`."""
REMAINDER = "layers_remainder"
"""Layers that do not fill a block of the cycle; they stand unstacked below it."""
DECODERS = frozenset({"decoder", "encoder"})
"""Parents whose layers are a decoder's for certain; elsewhere `layers_2` may be any module's name."""
TOWERS = frozenset({"vision_encoder", "audio_encoder", "mtp_block"})
"""Parts of a model whose layers are never scanned with the decoder's."""

_UNDERSCORE = re.compile(rf"({LAYERS}|{DENSE}|{MOE})_(\d+)")
_DENSE_NESTED = re.compile(r"dense_layer_(\d+)")
_CYCLE = re.compile(r"layers?_(\d+)")


@dataclass(frozen=True, slots=True)
class Slice:
    """In an array stacked over the blocks of a group; `slot` is its name inside a block, if it has one."""

    slot: str | None


@dataclass(frozen=True, slots=True)
class Left:
    """A layer of the remainder."""

    name: str


@dataclass(frozen=True, slots=True)
class One:
    """A layer of its own, by the number in its name."""

    number: int
    names: LayerNames


@dataclass(frozen=True, slots=True)
class LayerPlace:
    """Where a path stands: below which parent, in which group, which layer, and what follows."""

    parent: KeyPath
    group: str
    where: Slice | Left | One
    rest: KeyPath


def read(path: KeyPath) -> LayerPlace | None:
    """What the names of `path` say, or None if it stands in no layer."""
    for depth, key in enumerate(path.keys):
        if not isinstance(key, DictKey):
            continue
        if key.name in TOWERS:
            return None
        if place := _read_at(path, depth, key.name):
            return place
    return None


def _read_at(path: KeyPath, depth: int, name: str) -> LayerPlace | None:
    parent, rest = path[:depth], path[depth + 1 :]
    if match := _UNDERSCORE.fullmatch(name):
        return LayerPlace(parent, match[1], One(int(match[2]), LayerNames.UNDERSCORE), rest)
    if match := _DENSE_NESTED.fullmatch(name):
        return LayerPlace(parent, DENSE, One(int(match[1]), LayerNames.NESTED), rest)
    following = rest.names[0] if len(rest) else ""
    if name == REMAINDER and _CYCLE.fullmatch(following):
        return LayerPlace(parent, LAYERS, Left(following), rest[1:])
    if name not in GROUPS or not len(rest):
        return None
    if name == LAYERS and following.isdecimal():
        return LayerPlace(parent, LAYERS, One(int(following), LayerNames.NESTED), rest[1:])
    if _CYCLE.fullmatch(following):
        return LayerPlace(parent, name, Slice(following), rest[1:])
    return LayerPlace(parent, name, Slice(None), rest)


def number_of(name: str) -> int:
    """The number at the end of a layer's name."""
    return int(name.rpartition("_")[2])


def stacked_path(group: LayerGroup, layer: int) -> KeyPath:
    """Where layer `layer` of a group stands when its blocks are stacked (without its slice number)."""
    filled = group.blocks * group.width
    if layer >= filled:
        return group.parent / REMAINDER / group.remainder[layer - filled]
    return group.at / group.cycle[layer % group.width] if group.cycle else group.at


def unstacked_path(group: LayerGroup, layer: int, names: LayerNames) -> KeyPath:
    """Where layer `layer` of a group stands on its own.

    DeepSeek's MoE layers are numbered from 0 in `moe_layers_0`, but by their place in the whole decoder
    in `layers/2`; its dense layers are `dense_layers_0` and `dense_layer_0`.
    """
    match names:
        case LayerNames.UNDERSCORE:
            return group.parent / f"{group.name}_{layer}"
        case LayerNames.NESTED if group.name == DENSE:
            return group.parent / f"dense_layer_{layer}"
        case LayerNames.NESTED:
            return group.parent / LAYERS / str(group.first + layer)
        case _:
            assert_never(names)
