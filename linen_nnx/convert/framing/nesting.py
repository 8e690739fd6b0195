"""States below a key or in a tuple, and what stands beside them."""

from collections.abc import Iterable
from dataclasses import replace

from linen_nnx.convert.framing.state import MODEL, Framed, is_none, moved, tops, without
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.inventory import Entry
from linen_nnx.schema.ir import is_beside
from linen_nnx.schema.layout import Form
from linen_nnx.schema.path import ROOT, SequenceKey
from linen_nnx.schema.plan import DropRule, Write


def unsplit(state: Framed) -> Framed:
    """States of a tuple whose first part, the graphdef, became None; a model alone goes below `model`."""
    heads = {at.path.keys[0] for at in state.entries if len(at.path)}
    graphdef = [at for at in state.entries if at.path == ROOT / 0]
    if not graphdef or not is_none(graphdef[0].value) or not all(isinstance(k, SequenceKey) for k in heads):
        return state
    text = "the tuple of nnx.split: a graphdef, which is stored as None, and states"
    state = without(state, lambda at: at.path == ROOT / 0, DropRule.GRAPHDEF, text)
    names = {at.path.names[1] for at in state.entries if len(at.path) > 1}
    base = ROOT if names <= {"model", "optimizer"} else MODEL
    return moved(state, lambda path: base + path[1:], "the states of a model stand below [1] and on")


def unnested(state: Framed) -> Framed:
    """A Linen `TrainState` below one key: there are its parameters and its step."""
    leaves = {at.path for at in state.entries if isinstance(at.value, ArrayValue)}
    top = tops(state)
    if {"params", "opt_state", "step"} & top or {"model", "optimizer"} <= top:
        return state
    holders = {
        at.path.names[0]
        for at in state.entries
        if len(at.path) > 2
        and at.path in leaves
        and at.path.names[1] == "params"
        and ROOT / at.path.names[0] / "step" in leaves
    }
    if len(holders) != 1:
        return state
    (name,) = holders
    inside = tuple(replace(at, path=at.path[1:]) for at in state.entries if at.path.names[0] == name)
    beside = [Entry(path=at.origin, value=at.value) for at in state.entries if at.path.names[0] != name]
    text = f"a Linen TrainState stands below {name}, with params and a step of its own"
    return replace(state, entries=inside, beside=tuple(beside), nested=name, evidence=(*state.evidence, text))


def unnested_nnx(state: Framed) -> Framed:
    """A model and its optimizer below one key; what stands beside it is kept aside."""
    heads = {at.path.names[:2] for at in state.entries}
    holders = {name for name, *below in heads if below == ["model"] and (name, "optimizer") in heads}
    if state.nested is not None or len(holders) != 1 or "model" in tops(state):
        return state
    (name,) = holders
    inside = tuple(replace(at, path=at.path[1:]) for at in state.entries if at.path.names[0] == name)
    beside = [Entry(path=at.origin, value=at.value) for at in state.entries if at.path.names[0] != name]
    text = f"model and optimizer stand below {name}"
    return replace(state, entries=inside, beside=tuple(beside), evidence=(*state.evidence, text))


def nested(writes: Iterable[Write], form: Form) -> list[Write]:
    """The writes of a state, with the key under which it stands, and what stands beside it."""
    if form.nested is None:
        return list(writes)
    base = ROOT / form.nested
    return [
        replace(write, target=write.target[1:] if is_beside(write.target) else base + write.target)
        for write in writes
    ]
