"""Whether anything stands around a train state: one look at each entry."""

from linen_nnx.convert.framing.state import MODEL, MODULE_STATE, OPT_STATE, OPTIMIZER, RAW, STEP, is_none
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.path import DictKey, SequenceKey

_STATE, _PARAMS = DictKey(MODULE_STATE), DictKey("params")
_HOLDER = {DictKey("model"), DictKey("step")}
"""The root of `nnx.state(optimizer)`, where the optimizer holds its model and no state of its own."""


def is_framed(inventory: Inventory) -> bool:
    """Whether there is any sign of what `framed` takes off; one look at each entry."""
    heads = {entry.path.keys[:2] for entry in inventory.entries}
    if () in heads:
        return False
    top = {keys[0] for keys in heads if keys}
    if any(isinstance(key, SequenceKey) for key in top):
        return True
    if any((key, STEP.keys[0]) in heads and (key, _PARAMS) in heads for key in top):
        return True
    if any((key, MODEL.keys[0]) in heads and (key, OPTIMIZER.keys[0]) in heads for key in top):
        return True
    if (*OPTIMIZER.keys, *MODEL.keys) in heads or top in (_HOLDER, _HOLDER | {OPT_STATE.keys[0]}):
        return True
    linen = bool(top & {_PARAMS, OPT_STATE.keys[0]})
    if linen and inventory.keys.isdisjoint((RAW, _STATE)):
        return False
    return any(_is_sign(entry, linen=linen) for entry in inventory.entries)


def _is_sign(entry: Entry, *, linen: bool) -> bool:
    """Of an entry by itself. Tuples and None are usual in a Linen state."""
    last = entry.path.keys[-2:]
    if RAW in last or last[-1:] == (_STATE,):
        return True
    return not linen and (isinstance(last[-1], SequenceKey) or is_none(entry.value))
