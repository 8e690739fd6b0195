"""What plain flax puts around a train state, by its release and by what was handed to orbax: taken off.

```
raw_value          flax 0.8 keeps an NNX variable under `raw_value`, later releases under `value`
[0], [1], …        the tuple of nnx.split: the graphdef, which is stored as None, and states
model, step, opt_state   nnx.state(optimizer) of an optimizer that holds its model (0.8 to 0.10)
optimizer/model    the same beside the model itself: every weight stands twice
<name>/None        0.8 to 0.10.2: an absent bias is a variable that holds None
_pytree__state     a Module handed to orbax as it is; its lists are then sequences
<name>/value/[0]   values that a forward pass sowed
model/<Linen>, …   a TrainState under a key of a dict, with a configuration or data beside it
```
What is taken off is a drop by name; what is moved is remembered, so that a plan and its problems speak of the
paths on disk. The readers of the layouts see only what flax 0.12 itself would have written.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from linen_nnx.convert.quantised import FROZEN
from linen_nnx.schema.array import ArrayValue, Empty, EmptyValue, Value
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.ir import BESIDE, Leaf, OptimizerLeaf, TrainState, is_beside
from linen_nnx.schema.layout import Form
from linen_nnx.schema.ops import Copy, Origin, Ref
from linen_nnx.schema.path import ROOT, DictKey, KeyPath, SequenceKey
from linen_nnx.schema.plan import Drop, DropRule, Write
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.wire import VALUE

_RAW = DictKey("raw_value")
_MODULE_STATE = "_pytree__state"
_STATE, _PARAMS = DictKey(_MODULE_STATE), DictKey("params")
_MODEL, _OPTIMIZER, _OPT_STATE, _STEP = (ROOT / n for n in ("model", "optimizer", "opt_state", "step"))
_HOLDER = {DictKey("model"), DictKey("step")}
"""The root of `nnx.state(optimizer)`, where the optimizer holds its model and no state of its own."""


@dataclass(frozen=True, slots=True)
class _At:
    """An entry on its way: the path that the layout's reader will see, and that on disk."""

    path: KeyPath
    origin: KeyPath
    value: Value


@dataclass(frozen=True)
class Framed:
    """The entries as a layout's reader takes them, and what became of the others."""

    entries: tuple[_At, ...]
    drops: tuple[tuple[KeyPath, DropRule], ...] = ()
    beside: tuple[Entry, ...] = ()
    """What stands beside a state that has a key of its own, by its path on disk."""
    nested: str | None = None
    """The key under which a Linen state stands."""
    evidence: tuple[str, ...] = ()
    whole: Inventory | None = None
    """The entries as they are, where nothing stands around them."""

    @cached_property
    def inventory(self) -> Inventory:
        """What detection and the readers take."""
        if self.whole is not None:
            return self.whole
        return Inventory.of(Entry(path=at.path, value=at.value) for at in self.entries)

    def dropped(self, origin: Origin) -> tuple[Drop, ...]:
        """The entries that were taken off."""
        return tuple(Drop(source=Ref(origin=origin, path=path), rule=rule) for path, rule in self.drops)

    def placed(self, state: TrainState, origin: Origin) -> TrainState:
        """The state with its leaves read from where they stand on disk, and with what stands beside it."""
        moved = {at.path: at.origin for at in self.entries if at.path != at.origin}
        if not moved and not self.beside:
            return state
        beside = tuple(
            OptimizerLeaf(
                at=KeyPath((BESIDE, *entry.path.keys)),
                leaf=Leaf(value=entry.value, op=Copy(source=Ref(origin=origin, path=entry.path))),
            )
            for entry in self.beside
        )
        return state.model_copy(
            update={
                "step": None if state.step is None else _reread(state.step, moved),
                "variables": tuple(replace(v, leaf=_reread(v.leaf, moved)) for v in state.variables),
                "optimizer": (
                    *(replace(o, leaf=_reread(o.leaf, moved)) for o in state.optimizer),
                    *beside,
                ),
            }
        )

    def on_disk(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems with the paths that stand on disk."""
        exact = {at.path: at.origin for at in self.entries}
        heads = {head: origin for at in self.entries for head, origin in _heads(at)}

        def outer(path: KeyPath) -> KeyPath:
            if path in exact:
                return exact[path]
            for depth in range(len(path), -1, -1):
                if path[:depth] in heads:
                    return heads[path[:depth]] + path[depth:]
            return path

        return [problem.model_copy(update={"path": outer(problem.path)}) for problem in problems]


def _reread(leaf: Leaf, moved: dict[KeyPath, KeyPath]) -> Leaf:
    if not isinstance(leaf.op, Copy) or leaf.op.source.path not in moved:
        return leaf
    source = replace(leaf.op.source, path=moved[leaf.op.source.path])
    return replace(leaf, op=Copy(source=source))


def _heads(at: _At) -> Iterable[tuple[KeyPath, KeyPath]]:
    """The part of a path that was exchanged, without the rest that both have."""
    one, other = len(at.path), len(at.origin)
    while one and other and at.path.keys[one - 1] == at.origin.keys[other - 1]:
        one, other = one - 1, other - 1
    if one or other:
        yield at.path[:one], at.origin[:other]


def framed(inventory: Inventory) -> Framed:
    """Take off all that is known to stand around a train state; most states have nothing of it."""
    if not _is_framed(inventory):
        return Framed((), whole=inventory)
    state = Framed(tuple(_At(entry.path, entry.path, entry.value) for entry in inventory.entries))
    steps: Sequence[Callable[[Framed], Framed]] = (
        _unsplit,
        _unwrapped,
        _without_module_states,
        _unnested,
        _unnested_nnx,
        _from_optimizer,
        _without_second_model,
        _without_sown,
        _without_absent,
    )
    for step in steps:
        state = step(state)
    return state


def framed_as(inventory: Inventory, form: Form) -> Framed:
    """The entries of an item that is on record for `form`: nothing but its key stands around the state."""
    if form.nested is None:
        return Framed((), whole=inventory)
    return _unnested(Framed(tuple(_At(entry.path, entry.path, entry.value) for entry in inventory.entries)))


def _is_framed(inventory: Inventory) -> bool:
    """Whether there is any sign of what `framed` takes off; one look at each entry."""
    heads = {entry.path.keys[:2] for entry in inventory.entries}
    if () in heads:
        return False
    top = {keys[0] for keys in heads if keys}
    if any(isinstance(key, SequenceKey) for key in top):
        return True
    if any((key, _STEP.keys[0]) in heads and (key, _PARAMS) in heads for key in top):
        return True
    if any((key, _MODEL.keys[0]) in heads and (key, _OPTIMIZER.keys[0]) in heads for key in top):
        return True
    if (*_OPTIMIZER.keys, *_MODEL.keys) in heads or top in (_HOLDER, _HOLDER | {_OPT_STATE.keys[0]}):
        return True
    linen = bool(top & {_PARAMS, _OPT_STATE.keys[0]})
    return any(_is_sign(entry, linen=linen) for entry in inventory.entries)


def _is_sign(entry: Entry, *, linen: bool) -> bool:
    """Of an entry by itself. Tuples and None are usual in a Linen state."""
    last = entry.path.keys[-2:]
    if _RAW in last or last[-1:] == (_STATE,):
        return True
    return not linen and (isinstance(last[-1], SequenceKey) or _is_none(entry.value))


def _top(state: Framed) -> set[str]:
    return {at.path.names[0] for at in state.entries if len(at.path)}


def _without(state: Framed, drop: Callable[[_At], bool], rule: DropRule, evidence: str) -> Framed:
    """Without the entries that `drop` names."""
    gone = [at for at in state.entries if drop(at)]
    if not gone:
        return state
    ids = {at.origin for at in gone}
    return replace(
        state,
        entries=tuple(at for at in state.entries if at.origin not in ids),
        drops=(*state.drops, *((at.origin, rule) for at in gone)),
        evidence=(*state.evidence, evidence),
    )


def _moved(state: Framed, move: Callable[[KeyPath], KeyPath], evidence: str) -> Framed:
    entries = tuple(replace(at, path=move(at.path)) for at in state.entries)
    if entries == state.entries or len({at.path for at in entries}) != len(entries):
        return state
    return replace(state, entries=entries, evidence=(*state.evidence, evidence))


def _is_none(value: Value) -> bool:
    return isinstance(value, EmptyValue) and value.empty is Empty.NONE


def _unsplit(state: Framed) -> Framed:
    """States of a tuple whose first part, the graphdef, became None; a model alone goes below `model`."""
    heads = {at.path.keys[0] for at in state.entries if len(at.path)}
    graphdef = [at for at in state.entries if at.path == ROOT / 0]
    if not graphdef or not _is_none(graphdef[0].value) or not all(isinstance(k, SequenceKey) for k in heads):
        return state
    text = "the tuple of nnx.split: a graphdef, which is stored as None, and states"
    state = _without(state, lambda at: at.path == ROOT / 0, DropRule.GRAPHDEF, text)
    names = {at.path.names[1] for at in state.entries if len(at.path) > 1}
    base = ROOT if names <= {"model", "optimizer"} else _MODEL
    return _moved(state, lambda path: base + path[1:], "the states of a model stand below [1] and on")


def _is_module_state(at: _At) -> bool:
    return at.path.names[-1] == _MODULE_STATE and not isinstance(at.value, ArrayValue)


def _unwrapped(state: Framed) -> Framed:
    """Only where all of a model stands so: a single variable may be *named* `raw_value`."""
    models = [
        [_wrapper(at.path) is not None for at in state.entries if at.path.startswith(base)]
        for base in (ROOT, _MODEL, _OPTIMIZER + _MODEL)
    ]
    if not any(model and all(model) for model in models):
        return state

    def wrapped(path: KeyPath) -> KeyPath:
        last = _wrapper(path)
        return path if last is None else KeyPath((*path[:last], DictKey(VALUE), *path[last + 1 :]))

    return _moved(state, wrapped, "variables stand under raw_value, as flax 0.8 saves them")


def _wrapper(path: KeyPath) -> int | None:
    """Where `raw_value` stands: the last key, or the last but one of values that a pass sowed."""
    last = len(path) - 2 if len(path) and isinstance(path[-1], SequenceKey) else len(path) - 1
    return last if last >= 1 and path[last] == _RAW else None


def _without_module_states(state: Framed) -> Framed:
    """Lists of a Module are sequences only where it was saved as it is; its own state says nothing."""
    text = f"a Module was saved as it is: {_MODULE_STATE} stands in it"
    after = _without(state, _is_module_state, DropRule.MODULE_STATE, text)
    if after is state:
        return state

    def digits(path: KeyPath) -> KeyPath:
        inner = tuple(DictKey(str(k.index)) if isinstance(k, SequenceKey) else k for k in path.keys[:-1])
        return KeyPath((*inner, path.keys[-1]))

    return _moved(after, digits, "its lists stand as sequences")


def _unnested(state: Framed) -> Framed:
    """A Linen `TrainState` below one key: there are its parameters and its step."""
    leaves = {at.path for at in state.entries if isinstance(at.value, ArrayValue)}
    top = _top(state)
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


def _unnested_nnx(state: Framed) -> Framed:
    """A model and its optimizer below one key; what stands beside it is kept aside."""
    heads = {at.path.names[:2] for at in state.entries}
    holders = {name for name, *below in heads if below == ["model"] and (name, "optimizer") in heads}
    if state.nested is not None or len(holders) != 1 or "model" in _top(state):
        return state
    (name,) = holders
    inside = tuple(replace(at, path=at.path[1:]) for at in state.entries if at.path.names[0] == name)
    beside = [Entry(path=at.origin, value=at.value) for at in state.entries if at.path.names[0] != name]
    text = f"model and optimizer stand below {name}"
    return replace(state, entries=inside, beside=tuple(beside), evidence=(*state.evidence, text))


def _from_optimizer(state: Framed) -> Framed:
    """`nnx.state(optimizer)` alone, or under `optimizer` alone, where the optimizer holds its model."""
    top = _top(state)
    if state.nested is not None:
        return state
    text = "an nnx.Optimizer that holds its model"
    if top == {"optimizer"} and any(at.path.startswith(_OPTIMIZER + _MODEL) for at in state.entries):
        held = _OPTIMIZER + _MODEL
        return _moved(state, lambda p: p[1:] if p.startswith(held) else p, text)
    chain = [at.path for at in state.entries if at.path.startswith(_OPT_STATE)]
    positions = any(len(path) > 1 and isinstance(path.keys[1], SequenceKey) for path in chain)
    if top not in ({"model", "step"}, {"model", "step", "opt_state"}) or positions:
        return state
    return _moved(state, lambda path: path if path.startswith(_MODEL) else _OPTIMIZER + path, text)


def _without_second_model(state: Framed) -> Framed:
    """The optimizer's own model, where it is entry for entry the model beside it."""
    second = _OPTIMIZER + _MODEL
    ours = {at.path[1:]: at.value for at in state.entries if at.path.startswith(_MODEL)}
    theirs = {at.path[2:]: at.value for at in state.entries if at.path.startswith(second)}
    if state.nested is not None or not theirs or ours != theirs:
        return state
    text = "the optimizer holds the model a second time, as flax saves it up to 0.10"
    return _without(state, lambda at: at.path.startswith(second), DropRule.SECOND_MODEL, text)


def _holds_nnx(state: Framed) -> bool:
    if state.nested is not None or not state.entries:
        return False
    wrapped = all(VALUE in at.path.names for at in state.entries)
    return wrapped or ("model" in _top(state) and not {"params", "opt_state"} & _top(state))


def _without_sown(state: Framed) -> Framed:
    """NNX stores no sequences: only what a forward pass sowed is a tuple of arrays, and AQT's scales."""
    if not _holds_nnx(state):
        return state

    def is_sown(at: _At) -> bool:
        return (
            isinstance(at.path.keys[-1], SequenceKey)
            and isinstance(at.value, ArrayValue)
            and not at.path.startswith(_OPTIMIZER)
            and FROZEN not in at.path
        )

    return _without(state, is_sown, DropRule.SOWN, "values that a forward pass sowed stand in tuples")


def _without_absent(state: Framed) -> Framed:
    """Variables that hold None, and their moments."""
    if not _holds_nnx(state):
        return state

    def bare(path: KeyPath) -> KeyPath:
        return path[:-1] if path.names[-1] == VALUE else path

    nones = [at for at in state.entries if _is_none(at.value)]
    absent = {bare(at.path)[1:].keys for at in nones if at.path.startswith(_MODEL)}
    if "model" not in _top(state):
        absent |= {bare(at.path).keys for at in nones if not at.path.startswith(_OPTIMIZER)}

    def is_absent(at: _At) -> bool:
        keys = bare(at.path).keys
        return _is_none(at.value) and any(keys[start:] in absent for start in range(len(keys)))

    text = "variables that hold None: biases that are absent, as flax saves them up to 0.10.2"
    return _without(state, is_absent, DropRule.ABSENT, text)


def nested(writes: Iterable[Write], form: Form) -> list[Write]:
    """The writes of a state, with the key under which it stands, and what stands beside it."""
    if form.nested is None:
        return list(writes)
    base = ROOT / form.nested
    return [
        replace(write, target=write.target[1:] if is_beside(write.target) else base + write.target)
        for write in writes
    ]
