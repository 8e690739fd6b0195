"""How decoder layers are called on disk, and what a name says of their place.

One grammar for all writers and eras: a stacked group, its slots inside a block, ranges of layers, what is
left over, and layers one by one in the two styles. Source: checkpoints that MaxText wrote, May to October
2026, and its own naming.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import assert_never

from linen_nnx.schema.layout import LayerGroup, LayerNames
from linen_nnx.schema.model import record
from linen_nnx.schema.path import DictKey, Key, KeyPath

DENSE, MOE, LAYERS = "dense_layers", "moe_layers", "layers"
BLOCKS = "scanned_blocks"
"""Gemma 4's and DeepSeek 4's stack of blocks."""
REMAINDER = "layers_remainder"
"""Layers that do not fill a block of the cycle."""
AUTO_REMAINDER = "Gemma4DecoderLayerToLinen"
"""What Linen calls Gemma 4's remainder: it has no name of its own there."""
LOCAL, GLOBAL = "local_layers", "global_layer"
"""Gemma 4's block: a stack of local layers, then a global one."""
DECODERS = frozenset({"decoder", "encoder"})
"""Parents whose layers are a decoder's for certain; elsewhere `layers_2` may be any module's name."""
TOWERS = frozenset({"vision_encoder", "audio_encoder", "mtp_block"})
"""Parts of a model whose layers are never scanned with the decoder's."""
PIPELINE = frozenset({"pipeline_module", "layers_per_stage", "scanned_layers"})
"""Pipeline stages: stacked by stage and repeat. They are kept as they are."""
OUTSIDE, MOE_OUTSIDE = "layers_outside_pipeline", "moe_layers_outside_pipeline"
"""Layers that are in no stage of a pipeline; runs have stacked them, or one by one, as others."""

_UNDERSCORE = re.compile(rf"({LAYERS}|{DENSE}|{MOE}|{OUTSIDE}|{MOE_OUTSIDE})_(\d+)")
NESTED_DENSE = "dense_layer_"
_DENSE_NESTED = re.compile(rf"{NESTED_DENSE}(\d+)")
_RANGE = re.compile(rf"({DENSE}|{MOE})_(\d+)_(\d+)")
_ENGRAM = re.compile(rf"({DENSE}|{MOE})_engram_(\d+)")
_SLOT = re.compile(r"layers?_(\d+)")
_AUTO = re.compile(rf"{AUTO_REMAINDER}_(\d+)")
_PARTS = {LOCAL: 0, GLOBAL: 1}


@dataclass(frozen=True, slots=True)
class Block:
    """In arrays stacked over the blocks of a group; `inner` is a stack inside each block."""

    order: int
    inner: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """In arrays stacked over layers `start` to `end`, both included, of the whole decoder."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Alone:
    """A layer of the whole decoder that is never stacked."""

    number: int


@dataclass(frozen=True, slots=True)
class Left:
    """A layer, or a stack of layers, of the remainder."""

    order: int
    inner: bool = False


@dataclass(frozen=True, slots=True)
class One:
    """A layer of its own, by the number in its name."""

    number: int
    names: LayerNames


Role = Block | Range | Alone | Left | One


@record
class LayerPlace:
    """Where a path stands: `parent`, then `inside` of it; in which group and role; and what follows."""

    parent: KeyPath
    inside: KeyPath
    group: str
    role: Role
    rest: KeyPath


def read(path: KeyPath) -> LayerPlace | None:
    """What the names of `path` say, or None if it stands in no layer."""
    for depth, (key, following) in enumerate(pairwise((*path, None))):
        if key in _NEVER_SCANNED:
            return None
        if found := _read_key(key, following):
            group, role, length = found
            end = depth + length
            return LayerPlace(path[:depth], path[depth:end], group, role, path[end:])
    return None


_NEVER_SCANNED = frozenset(map(DictKey, TOWERS | PIPELINE))


@lru_cache(maxsize=65536)
def _read_key(key: Key | None, following: Key | None) -> tuple[str, Role, int] | None:
    """Group, role, and how many keys say it."""
    if not isinstance(key, DictKey):
        return None
    return _read(key.name, None if following is None else following.name)


def _read(name: str, following: str | None) -> tuple[str, Role, int] | None:
    if match := _UNDERSCORE.fullmatch(name):
        return match[1], One(int(match[2]), LayerNames.UNDERSCORE), 1
    if match := _DENSE_NESTED.fullmatch(name):
        return DENSE, One(int(match[1]), LayerNames.NESTED), 1
    if match := _RANGE.fullmatch(name):
        return match[1], Range(int(match[2]), int(match[3])), 1
    if match := _ENGRAM.fullmatch(name):
        return match[1], Alone(int(match[2])), 1
    if match := _AUTO.fullmatch(name):
        return LAYERS, Left(int(match[1])), 1
    return None if following is None else _read_two(name, following)


def _read_two(name: str, following: str) -> tuple[str, Role, int] | None:
    slot = _SLOT.fullmatch(following)
    if name == REMAINDER:
        if slot:
            return LAYERS, Left(int(slot[1])), 2
        return (LAYERS, Left(_PARTS[following], following == LOCAL), 2) if following in _PARTS else None
    if name not in (LAYERS, DENSE, MOE, BLOCKS, OUTSIDE, MOE_OUTSIDE):
        return None
    group = LAYERS if name == BLOCKS else name
    if following in _PARTS:
        return group, Block(_PARTS[following], following == LOCAL), 2
    if slot:
        return group, Block(int(slot[1])), 2
    if name == LAYERS and following.isdecimal():
        return group, One(int(following), LayerNames.NESTED), 2
    return None if name == BLOCKS else (group, Block(0), 1)


def unstacked_path(group: LayerGroup, layer: int, names: LayerNames) -> KeyPath:
    """Where layer `layer` of a group stands on its own.

    DeepSeek's MoE layers are numbered from 0 in `moe_layers_0`, but by their place in the whole decoder
    in `layers/2`; its dense layers are `dense_layers_0` and `dense_layer_0`.
    """
    match names:
        case _ if group.name in (OUTSIDE, MOE_OUTSIDE):
            return group.parent / f"{group.name}_{layer}"
        case LayerNames.UNDERSCORE:
            return group.parent / f"{group.name}_{layer}"
        case LayerNames.NESTED if group.name == DENSE:
            return group.parent / f"dense_layer_{layer}"
        case LayerNames.NESTED:
            return group.parent / LAYERS / str(group.first + layer)
        case _:
            assert_never(names)
