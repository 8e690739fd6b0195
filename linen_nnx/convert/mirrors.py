"""Find the subtrees of an optimizer state that mirror the parameters, by structure, never by name.

A subtree mirrors the parameters if its paths, without a leading collection level, are a subset of the
model's paths (holes allowed) and its arrays have their parameters' shapes. Outside of mirrors, a dict
whose keys are all digits is an optax chain, whatever the writer called its positions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from linen_nnx.schema.array import ArrayValue, EmptyValue, Value
from linen_nnx.schema.inventory import Entry
from linen_nnx.schema.ir import LABELLED, Slot
from linen_nnx.schema.path import ROOT, AttributeKey, DictKey, Key, KeyPath, SequenceKey

Tree = dict[Key, "Tree | Entry"]
"""Entries by their keys; leaves keep the whole path."""


Mirror = list[tuple[Entry, Slot]]
"""Optimizer entries, each with the variable that it mirrors."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One optimizer entry: its canonical place, and the variable it mirrors."""

    entry: Entry
    at: KeyPath
    mirrors: Slot | None
    factored: bool = False


def grow(entries: Sequence[Entry]) -> Tree:
    """The nested form of `entries`."""
    root: Tree = {}
    for entry in entries:
        node = root
        for key in entry.path.parent:
            child = node.setdefault(key, {})
            assert isinstance(child, dict)
            node = child
        if len(entry.path):
            node[entry.path[-1]] = entry
    return root


def leaves(node: "Tree | Entry") -> Iterator[Entry]:
    """Every entry below."""
    if isinstance(node, Entry):
        yield node
        return
    for child in node.values():
        yield from leaves(child)


class Chains(StrEnum):
    """How a layout writes the positions of an optax chain."""

    LISTS = "lists"
    DIGITS = "digits"
    """As dicts of digits; lists may stand beside them."""


def place(
    opt_state: Sequence[Entry], collections: Mapping[str, Sequence[Entry]], chains: Chains
) -> list[Placed]:
    """Give every optimizer entry its canonical place. `collections` hold the model's entries by name."""
    trees = {name: grow(entries) for name, entries in collections.items()}
    whole = [Placed(entry, ROOT, None) for entry in opt_state if len(entry.path) == 0]
    root = grow(opt_state)
    if (found := _mirror(root, trees)) and _is_exact(found, trees):
        return [_as_a_whole(entry, slot, _is_chain(root, chains)) for entry, slot in found]
    return [*whole, *_walk(root, ROOT, trees, chains)]


def _is_chain(node: Tree, chains: Chains) -> bool:
    """Whether the keys are positions of a chain, where dicts of digits are."""
    return chains is Chains.DIGITS and all(isinstance(key, DictKey) and key.name.isdecimal() for key in node)


def _is_exact(found: Mirror, trees: Mapping[str, Tree]) -> bool:
    """Whether every array has its parameter's shape."""
    arrays = [(entry.value, slot) for entry, slot in found if isinstance(entry.value, ArrayValue)]
    return bool(arrays) and all(_same_shape(value, _parameter(slot, trees)) for value, slot in arrays)


def _as_a_whole(entry: Entry, slot: Slot, digits: bool) -> Placed:
    """A state that is itself like the parameters. Digits may be layers or a chain: those stay unread."""
    return Placed(entry, entry.path, None) if digits else Placed(entry, ROOT, slot)


def _walk(node: "Tree | Entry", at: KeyPath, trees: Mapping[str, Tree], chains: Chains) -> Iterator[Placed]:
    if isinstance(node, Entry):
        yield Placed(node, at, None)
        return
    # The labels of a partition are a dict's, whatever they are called.
    chain = _is_chain(node, chains) and at[-1:].names != (LABELLED,)
    mirrors = {key: _mirror(child, trees) for key, child in node.items()}
    factors = _factored([found for found in mirrors.values() if found], trees)
    for key, child in node.items():
        below = KeyPath((*at.keys, _canonical(key, chain=chain)))
        found = mirrors[key]
        if found is None:
            yield from _walk(child, below, trees, chains)
            continue
        reduced = factors or _all_numbers(found)
        for entry, slot in found:
            yield Placed(entry, below, slot, reduced and _is_reduced(entry, slot, trees))


def _canonical(key: Key, *, chain: bool) -> Key:
    match key:
        case DictKey(name) if chain:
            return SequenceKey(int(name))
        case AttributeKey(name):
            return DictKey(name)
        case _:
            return key


def _mirror(node: "Tree | Entry", trees: Mapping[str, Tree]) -> Mirror | None:
    """The slots of a subtree that mirrors variables, else None.

    A few paths that no variable has do not unmake a mirror: they get a slot like the rest, and are refused
    for what they are, moments of no parameter.
    """
    if isinstance(node, Entry):
        return None
    candidates = [_matched([(node, tree, ROOT, name)]) for name, tree in trees.items()]
    levels: list[_Pending] = [(child, trees.get(key.name, {}), ROOT, key.name) for key, child in node.items()]
    candidates.append(_matched(levels))
    matched, rest = max(candidates, key=lambda candidate: len(candidate[0]))
    if not matched:
        return None
    found, foreign = _with_slots(matched), _with_slots(_leaves_of(rest))
    if len(found) < len(foreign) or not _shapes_agree(found, trees):
        return None
    return [*found, *foreign]


_Pending = tuple["Tree | Entry", "Tree | Entry", KeyPath, str]
"""Ours, theirs of the same path, that path, and the collection it is in."""
_Leaf = tuple[Entry, KeyPath, str]


def _matched(pending: "list[_Pending]") -> tuple[list[_Leaf], "list[_Pending]"]:
    """Optimizer entries whose paths variables have, and the subtrees whose paths none has."""
    found: list[_Leaf] = []
    foreign: list[_Pending] = []
    while pending:
        ours, theirs, path, collection = place = pending.pop()
        if isinstance(ours, Entry):
            # An empty may stand for a whole module; an array stands for one parameter.
            if isinstance(theirs, Entry) or (theirs and isinstance(ours.value, EmptyValue)):
                found.append((ours, path, collection))
            else:
                foreign.append(place)
        elif isinstance(theirs, dict) and theirs:
            for key, child in ours.items():
                pending.append((child, theirs.get(key, {}), KeyPath((*path, key)), collection))
        else:
            foreign.append(place)
    return found, foreign


def _leaves_of(pending: "list[_Pending]") -> Iterator[_Leaf]:
    for node, _, path, collection in pending:
        if isinstance(node, Entry):
            yield node, path, collection
            continue
        yield from _leaves_of([(child, {}, KeyPath((*path, key)), collection) for key, child in node.items()])


def _with_slots(leaves: Iterable[_Leaf]) -> Mirror:
    return [(entry, Slot(collection=collection, path=path)) for entry, path, collection in leaves]


def _parameter(slot: Slot, trees: Mapping[str, Tree]) -> Value | None:
    node: Tree | Entry = trees.get(slot.collection, {})
    for key in slot.path:
        if isinstance(node, Entry) or key not in node:
            return None
        node = node[key]
    return node.value if isinstance(node, Entry) else None


def _shapes_agree(found: Mirror, trees: Mapping[str, Tree]) -> bool:
    """Whether paths and shapes are evidence enough. Single disagreements are reported later, not hidden."""
    arrays = [(entry.value, slot) for entry, slot in found if isinstance(entry.value, ArrayValue)]
    if not arrays:
        return all(isinstance(_parameter(slot, trees), ArrayValue) for _, slot in found)
    if any(_same_shape(value, _parameter(slot, trees)) for value, slot in arrays):
        return True
    return max(len(slot.path) for _, slot in arrays) > 1 or len(arrays) > 1


def _same_shape(value: Value, parameter: Value | None) -> bool:
    return (
        isinstance(value, ArrayValue)
        and isinstance(parameter, ArrayValue)
        and value.spec.shape == parameter.spec.shape
    )


def _factored(mirrors: list[Mirror], trees: Mapping[str, Tree]) -> bool:
    """Whether sibling mirrors are the factors of a factored second moment, as adafactor keeps it.

    Its row and column factors lack one axis of their parameter, and where one form is used the other
    holds a placeholder of shape (1,).
    """
    pairs = [pair for mirror in mirrors for pair in mirror]
    odd = [(e, s) for e, s in pairs if _is_reduced(e, s, trees)]
    return any(isinstance(e.value, ArrayValue) and e.value.spec.shape == (1,) for e, _ in odd)


def _all_numbers(mirror: Mirror) -> bool:
    """Whether it holds one number a parameter, as novograd does: a norm of the whole array."""
    shapes = {entry.value.spec.shape for entry, _ in mirror if isinstance(entry.value, ArrayValue)}
    return shapes == {()}


def _is_reduced(entry: Entry, slot: Slot, trees: Mapping[str, Tree]) -> bool:
    parameter = _parameter(slot, trees)
    if not (isinstance(entry.value, ArrayValue) and isinstance(parameter, ArrayValue)):
        return False
    full, shape = parameter.spec.shape, entry.value.spec.shape
    if shape == full:
        return False
    return shape in ((), (1,)) or shape in {full[:axis] + full[axis + 1 :] for axis in range(len(full))}
