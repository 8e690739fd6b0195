"""The entries on their way from the disk to a layout's reader, and how they are moved and taken off."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from linen_nnx.schema.array import Empty, EmptyValue, Value
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.ir import BESIDE, Leaf, OptimizerLeaf, TrainState
from linen_nnx.schema.ops import Copy, Origin, Ref
from linen_nnx.schema.path import ROOT, DictKey, KeyPath
from linen_nnx.schema.plan import Drop, DropRule
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.wire import VALUE

RAW = DictKey("raw_value")
MODULE_STATE = "_pytree__state"
MODEL, OPTIMIZER, OPT_STATE, STEP = (ROOT / n for n in ("model", "optimizer", "opt_state", "step"))


@dataclass(frozen=True, slots=True)
class At:
    """An entry on its way: the path that the layout's reader will see, and that on disk."""

    path: KeyPath
    origin: KeyPath
    value: Value


@dataclass(frozen=True)
class Framed:
    """The entries as a layout's reader takes them, and what became of the others."""

    entries: tuple[At, ...]
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


def _heads(at: At) -> Iterable[tuple[KeyPath, KeyPath]]:
    """The part of a path that was exchanged, without the rest that both have."""
    one, other = len(at.path), len(at.origin)
    while one and other and at.path.keys[one - 1] == at.origin.keys[other - 1]:
        one, other = one - 1, other - 1
    if one or other:
        yield at.path[:one], at.origin[:other]


def tops(state: Framed) -> set[str]:
    """The first names of all paths."""
    return {at.path.names[0] for at in state.entries if len(at.path)}


def without(state: Framed, drop: Callable[[At], bool], rule: DropRule, evidence: str) -> Framed:
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


def moved(state: Framed, move: Callable[[KeyPath], KeyPath], evidence: str) -> Framed:
    """With every path moved, unless two would meet."""
    entries = tuple(replace(at, path=move(at.path)) for at in state.entries)
    if entries == state.entries or len({at.path for at in entries}) != len(entries):
        return state
    return replace(state, entries=entries, evidence=(*state.evidence, evidence))


def is_none(value: Value) -> bool:
    """Whether the entry is None."""
    return isinstance(value, EmptyValue) and value.empty is Empty.NONE


def holds_nnx(state: Framed) -> bool:
    """Whether it is a state of NNX: all leaves are wrapped, or it stands below `model`."""
    if state.nested is not None or not state.entries:
        return False
    wrapped = all(VALUE in at.path.names for at in state.entries)
    return wrapped or ("model" in tops(state) and not {"params", "opt_state"} & tops(state))
