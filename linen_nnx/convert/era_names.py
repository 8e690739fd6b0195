"""Names that MaxText has changed: inside, a state has today's; on disk, those of its era.

| part | Linen until | its name then, below the decoder or the model | and since |
|---|---|---|---|
| MTP's transformer layer | April 2026 | `mtp_block/mtp_1_transformer_layer` | below `mtp_block/mtp_layer_1` |
| layers of a pipeline stage | June 2026 | `layers_per_stage` | `pipeline_module/layers/scanned_layers` |
| MoE layers outside of it | its end | `moe_layers` | `moe_layers_outside_pipeline`, in NNX alone |

NNX runs have never written the older names. Which of them a checkpoint has is part of its form.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import assert_never

from linen_nnx.convert.layers.recognise import recognise
from linen_nnx.schema.ir import Slot, TrainState, Variable
from linen_nnx.schema.layout import OldName
from linen_nnx.schema.path import DictKey, Key, KeyPath

Keys = tuple[Key, ...]
Rename = Callable[[Keys], Keys]

_MTP, _STACK, _PIPELINE = DictKey("mtp_block"), DictKey("layers_per_stage"), DictKey("pipeline_module")
_TODAYS_STACK = (_PIPELINE, DictKey("layers"), DictKey("scanned_layers"))
_MTP_LAYER = re.compile(r"mtp_(\d+)_transformer_layer")
_MOE, _TODAYS_MOE = "moe_layers", "moe_layers_outside_pipeline"
_HEAD = 4
"""All that tells an era stands among the first keys of a path."""


def old_names(paths: Iterable[KeyPath]) -> tuple[OldName, ...]:
    """The older names that stand in a model of these paths."""
    found: set[OldName] = set()
    pipelines, moe = set(), set()
    heads = {path.keys[:_HEAD] for path in paths}
    if not any(
        key in (_MTP, _STACK, _PIPELINE) or _is_moe(key, _MOE) for key in frozenset[Key]().union(*heads)
    ):
        return ()
    for keys in heads:
        for depth, key in enumerate(keys):
            if key == _MTP and depth + 1 < len(keys) and _number(keys[depth + 1]):
                found.add(OldName.MTP_TRANSFORMER)
            elif key in (_STACK, _PIPELINE):
                pipelines.add(keys[:depth])
            elif _is_moe(key, _MOE):
                moe.add(keys[:depth])
            if key == _STACK:
                found.add(OldName.PIPELINE_STACK)
    if moe & pipelines:
        found.add(OldName.PIPELINE_MOE)
    return tuple(sorted(found))


def linens_own(variables: Iterable[Variable]) -> tuple[OldName, ...]:
    """The names that a Linen state of these variables has, where no earlier form of it is known."""
    heads = frozenset[Key]().union(*[v.slot.path.keys[:_HEAD] for v in variables])
    return (OldName.PIPELINE_MOE,) if any(_is_moe(key, _TODAYS_MOE) for key in heads) else ()


def renewed(state: TrainState, names: Sequence[OldName]) -> TrainState:
    """The state with today's names instead of `names`."""
    return _renamed(state, [_renew(name) for name in names])


def aged(state: TrainState, names: Sequence[OldName]) -> TrainState:
    """The state with `names` instead of today's."""
    return _renamed(state, [_age(name) for name in names])


def _renamed(state: TrainState, renames: Sequence[Rename]) -> TrainState:
    if not renames:
        return state

    def at(slot: Slot) -> Slot:
        keys = slot.path.keys
        for rename in renames:
            keys = rename(keys)
        return slot if keys == slot.path.keys else Slot(collection=slot.collection, path=KeyPath(keys))

    variables = tuple(replace(v, slot=at(v.slot)) for v in state.variables)
    optimizer = tuple(
        item if item.mirrors is None else replace(item, mirrors=at(item.mirrors)) for item in state.optimizer
    )
    groups = recognise(variables)
    return state.model_copy(update={"variables": variables, "optimizer": optimizer, "groups": groups})


def _renew(name: OldName) -> Rename:
    match name:
        case OldName.MTP_TRANSFORMER:
            return _into_mtp_layer
        case OldName.PIPELINE_STACK:
            return lambda keys: _replaced(keys, (_STACK,), _TODAYS_STACK)
        case OldName.PIPELINE_MOE:
            return lambda keys: _moe(keys, _MOE, _TODAYS_MOE)
        case _:
            assert_never(name)


def _age(name: OldName) -> Rename:
    match name:
        case OldName.MTP_TRANSFORMER:
            return _out_of_mtp_layer
        case OldName.PIPELINE_STACK:
            return lambda keys: _replaced(keys, _TODAYS_STACK, (_STACK,))
        case OldName.PIPELINE_MOE:
            return lambda keys: _moe(keys, _TODAYS_MOE, _MOE)
        case _:
            assert_never(name)


def _number(key: Key) -> str | None:
    match = _MTP_LAYER.fullmatch(key.name) if isinstance(key, DictKey) else None
    return None if match is None else match[1]


def _into_mtp_layer(keys: Keys) -> Keys:
    depth = keys.index(_MTP) + 1 if _MTP in keys else len(keys)
    number = _number(keys[depth]) if depth < len(keys) else None
    return keys if number is None else (*keys[:depth], DictKey(f"mtp_layer_{number}"), *keys[depth:])


def _out_of_mtp_layer(keys: Keys) -> Keys:
    depth = keys.index(_MTP) + 1 if _MTP in keys else len(keys)
    number = _number(keys[depth + 1]) if depth + 1 < len(keys) else None
    if number is None or keys[depth] != DictKey(f"mtp_layer_{number}"):
        return keys
    return (*keys[:depth], *keys[depth + 1 :])


def _replaced(keys: Keys, old: Keys, new: Keys) -> Keys:
    """With the first run of keys that is `old` replaced by `new`."""
    for depth in range(len(keys)):
        if keys[depth : depth + len(old)] == old:
            return (*keys[:depth], *new, *keys[depth + len(old) :])
    return keys


def _is_moe(key: Key, name: str) -> bool:
    if not isinstance(key, DictKey) or not key.name.startswith(name):
        return False
    rest = key.name[len(name) :]
    return not rest or (rest[0] == "_" and rest[1:].isdecimal())


def _moe(keys: Keys, old: str, new: str) -> Keys:
    return tuple(
        DictKey(new + key.name[len(old) :]) if isinstance(key, DictKey) and _is_moe(key, old) else key
        for key in keys
    )
