"""Find the subtrees of an optimizer state that mirror the parameters, by structure, never by name.

A subtree mirrors the parameters if its paths, without a leading collection level, are a subset of the
model's paths (holes allowed) and its arrays have their parameters' shapes. Outside of mirrors, a dict
whose keys are all digits is an optax chain, whatever the writer called its positions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

from linen_nnx.schema.array import ArrayValue, EmptyValue, Value
from linen_nnx.schema.inventory import Entry
from linen_nnx.schema.ir import LABELLED, Slot, Variable
from linen_nnx.schema.path import ROOT, AttributeKey, DictKey, Key, KeyPath, SequenceKey


class Matched(NamedTuple):
    """An optimizer entry, the variable that it mirrors, and what that holds; None if there is none."""

    entry: Entry
    slot: Slot
    parameter: Value | None


Mirror = list[Matched]


class Placed(NamedTuple):
    """One optimizer entry: its canonical place, and the variable it mirrors."""

    entry: Entry
    at: KeyPath
    mirrors: Slot | None
    factored: bool = False


@dataclass(frozen=True, slots=True)
class Subtree:
    """What stands below one node of the optimizer state: entries whose first `depth` keys are the same."""

    entries: Sequence[Entry]
    depth: int

    def children(self) -> "dict[Key, Subtree]":
        """What stands below each key; a leaf is a subtree of one entry that has no more keys."""
        below: dict[Key, list[Entry]] = {}
        for entry in self.entries:
            if len(entry.path) > self.depth:
                below.setdefault(entry.path[self.depth], []).append(entry)
        return {key: Subtree(entries, self.depth + 1) for key, entries in below.items()}

    @property
    def leaf(self) -> Entry | None:
        """The entry that it is, if it has none below."""
        return self.entries[0] if len(self.entries[0].path) == self.depth else None


class Collection:
    """The variables of one collection, by their paths."""

    def __init__(self, name: str, variables: Iterable[Variable]) -> None:
        self.name = name
        self.by_path = {v.slot.path: v for v in variables if len(v.slot.path)}

    @cached_property
    def tops(self) -> frozenset[Key]:
        """The first keys."""
        return frozenset([path[0] for path in self.by_path])

    @cached_property
    def modules(self) -> frozenset[KeyPath]:
        """Every path that has a variable below it."""
        return frozenset([path[:depth] for path in self.by_path for depth in range(len(path))])


class Chains(StrEnum):
    """How a layout writes the positions of an optax chain."""

    LISTS = "lists"
    DIGITS = "digits"
    """As dicts of digits; lists may stand beside them."""


def place(opt_state: Sequence[Entry], variables: Sequence[Variable], chains: Chains) -> list[Placed]:
    """Give every optimizer entry its canonical place; `variables` are the model's."""
    if not opt_state:
        return []
    by_name: dict[str, list[Variable]] = {}
    for variable in variables:
        by_name.setdefault(variable.slot.collection, []).append(variable)
    model = {name: Collection(name, found) for name, found in by_name.items()}
    whole = [Placed(entry, ROOT, None) for entry in opt_state if len(entry.path) == 0]
    root = Subtree(opt_state, 0)
    children = root.children()
    if (found := _mirror(children, model)) and _is_exact(found):
        digits = _is_chain(children, chains)
        return [_as_a_whole(one, digits=digits) for one in found]
    return [*whole, *_walk(children, ROOT, model, chains)]


Children = dict[Key, Subtree]
Model = Mapping[str, Collection]
"""The variables, by collection."""


def _is_chain(children: Children, chains: Chains) -> bool:
    """Whether the keys are positions of a chain, where dicts of digits are."""
    return chains is Chains.DIGITS and all(
        isinstance(key, DictKey) and key.name.isdecimal() for key in children
    )


def _is_exact(found: Mirror) -> bool:
    """Whether every array has its parameter's shape."""
    arrays = [one for one in found if isinstance(one.entry.value, ArrayValue)]
    return bool(arrays) and all(map(_same_shape, arrays))


def _as_a_whole(one: Matched, *, digits: bool) -> Placed:
    """A state that is itself like the parameters. Digits may be layers or a chain: those stay unread."""
    return Placed(one.entry, one.entry.path, None) if digits else Placed(one.entry, ROOT, one.slot)


def _walk(children: Children, at: KeyPath, model: Model, chains: Chains) -> Iterator[Placed]:
    # The labels of a partition are a dict's, whatever they are called.
    chain = _is_chain(children, chains) and at[-1:].names != (LABELLED,)
    inside = {key: child.children() for key, child in children.items()}
    mirrors = {key: _mirror(below, model) for key, below in inside.items()}
    factors = _factored([found for found in mirrors.values() if found])
    for key, child in children.items():
        place = KeyPath((*at.keys, _canonical(key, chain=chain)))
        found = mirrors[key]
        if found is not None:
            reduced = factors or _all_numbers(found)
            for one in found:
                yield Placed(one.entry, place, one.slot, reduced and _is_reduced(one))
        elif child.leaf is not None:
            yield Placed(child.leaf, place, None)
        else:
            yield from _walk(inside[key], place, model, chains)


def _canonical(key: Key, *, chain: bool) -> Key:
    match key:
        case DictKey(name) if chain:
            return SequenceKey(int(name))
        case AttributeKey(name):
            return DictKey(name)
        case _:
            return key


def _mirror(children: Children, model: Model) -> Mirror | None:
    """The slots of a subtree that mirrors variables, else None.

    A few paths that no variable has do not unmake a mirror: they get a slot like the rest, and are refused
    for what they are, moments of no parameter.
    """
    candidates = [_matched(children, collection) for collection in model.values()]
    candidates.append(_matched_by_level(children, model))
    found, foreign = max(candidates, key=lambda candidate: len(candidate[0]))
    if not found or len(found) < sum(len(part.entries) for part in foreign) or not _shapes_agree(found):
        return None
    return [*found, *(one for part in foreign for one in part.moments())]


class _Foreign(NamedTuple):
    """Entries whose paths behind the first `depth` keys no variable of the collection has."""

    entries: Sequence[Entry]
    depth: int
    collection: str

    def moments(self) -> Iterator[Matched]:
        for entry in self.entries:
            slot = Slot(collection=self.collection, path=entry.path[self.depth :])
            yield Matched(entry, slot, None)


_Candidate = tuple[Mirror, list[_Foreign]]
"""Optimizer entries whose paths variables have, and those whose paths none has; the last ones first."""


def _matched(children: Children, collection: Collection) -> _Candidate:
    found: Mirror = []
    foreign: list[_Foreign] = []
    for key, child in reversed(children.items()):
        if key in collection.tops:
            _match(child, child.depth - 1, collection, found, foreign)
        else:
            foreign.append(_Foreign(child.entries, child.depth - 1, collection.name))
    return found, foreign


def _matched_by_level(children: Children, model: Model) -> _Candidate:
    """Where the first keys are the names of collections."""
    found: Mirror = []
    foreign: list[_Foreign] = []
    for key, child in reversed(children.items()):
        if (collection := model.get(key.name)) is not None:
            _match(child, child.depth, collection, found, foreign)
        else:
            foreign.append(_Foreign(child.entries, child.depth, key.name))
    return found, foreign


def _match(
    subtree: Subtree, depth: int, collection: Collection, found: Mirror, foreign: list[_Foreign]
) -> None:
    """Look for each entry's path behind its first `depth` keys among the variables."""
    by_path, others = collection.by_path, []
    for entry in reversed(subtree.entries):
        path = entry.path[depth:]
        if (variable := by_path.get(path)) is not None:
            found.append(Matched(entry, variable.slot, variable.leaf.value))
        elif isinstance(entry.value, EmptyValue) and path in collection.modules:
            # An empty may stand for a whole module; an array stands for one parameter.
            found.append(Matched(entry, Slot(collection=collection.name, path=path), None))
        else:
            others.append(entry)
    for _, together in groupby(others, lambda entry: _unknown(entry.path[depth:], collection)):
        foreign.append(_Foreign([*together][::-1], depth, collection.name))


def _unknown(path: KeyPath, collection: Collection) -> KeyPath:
    """The first part of a path that is no module's."""
    return next((path[:end] for end in range(len(path)) if path[:end] not in collection.modules), path)


def _shapes_agree(found: Mirror) -> bool:
    """Whether paths and shapes are evidence enough. Single disagreements are reported later, not hidden."""
    arrays = [one for one in found if isinstance(one.entry.value, ArrayValue)]
    if not arrays:
        return all(isinstance(one.parameter, ArrayValue) for one in found)
    if any(map(_same_shape, arrays)):
        return True
    return max(len(one.slot.path) for one in arrays) > 1 or len(arrays) > 1


def _same_shape(one: Matched) -> bool:
    value, parameter = one.entry.value, one.parameter
    return (
        isinstance(value, ArrayValue)
        and isinstance(parameter, ArrayValue)
        and (value is parameter or value.spec.shape == parameter.spec.shape)
    )


def _factored(mirrors: list[Mirror]) -> bool:
    """Whether sibling mirrors are the factors of a factored second moment, as adafactor keeps it.

    Its row and column factors lack one axis of their parameter, and where one form is used the other
    holds a placeholder of shape (1,).
    """
    return any(
        isinstance(one.entry.value, ArrayValue) and one.entry.value.spec.shape == (1,) and _is_reduced(one)
        for mirror in mirrors
        for one in mirror
    )


def _all_numbers(mirror: Mirror) -> bool:
    """Whether it holds one number a parameter, as novograd does: a norm of the whole array."""
    arrays = [one.entry.value for one in mirror if isinstance(one.entry.value, ArrayValue)]
    return bool(arrays) and all(array.spec.shape == () for array in arrays)


def _is_reduced(one: Matched) -> bool:
    value, parameter = one.entry.value, one.parameter
    if not (isinstance(value, ArrayValue) and isinstance(parameter, ArrayValue)):
        return False
    full, shape = parameter.spec.shape, value.spec.shape
    if shape == full:
        return False
    return shape in ((), (1,)) or shape in {full[:axis] + full[axis + 1 :] for axis in range(len(full))}
