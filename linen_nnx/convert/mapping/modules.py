"""Both models as trees of modules, in one form: collections merged, containers and wrappers taken away.

Linen keeps parameters and statistics of a module in two collections, and names a list's modules `stem_3`; NNX
has one module, and `stem/3`. Wrappers that hold one module and nothing else (remat, RNN, a scan's own level)
leave no trace in what is left.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from linen_nnx.schema.array import ArraySpec, ArrayValue
from linen_nnx.schema.ir import RNGS, Slot, Variable
from linen_nnx.schema.path import DictKey, KeyPath
from linen_nnx.schema.spec import Kind, Spec, SpecLeaf

Keys = tuple[str, ...]
_CONTAINERS = frozenset({"List", "Dict", "ModuleList", "list", "dict", "tuple"})


@dataclass(frozen=True, slots=True)
class Cell:
    """A recurrent cell whose gates NNX fuses: each stands for a part of `dense_i` or `dense_h`."""

    gates: Keys


@dataclass(frozen=True, slots=True)
class AxisMoved:
    """Stacked in both, on another axis of Linen's arrays than of NNX's."""

    linen: int
    nnx: int


@dataclass(frozen=True, slots=True)
class Unstacked:
    """Stacked in Linen on `axis`; in NNX a list."""

    axis: int


@dataclass(frozen=True, slots=True)
class Restacked:
    """One by one in Linen; in NNX stacked on `axis`, where this is layer `index`."""

    axis: int
    index: int


Variant = Cell | AxisMoved | Unstacked | Restacked


@dataclass(frozen=True, slots=True)
class Leaf:
    """One variable of a module."""

    name: str
    kind: Kind
    spec: ArraySpec
    collection: str

    @property
    def signature(self) -> tuple[str, str, str]:
        """What tells it from others, but for where it stands."""
        return self.name, self.kind.value, str(self.spec)


@dataclass(frozen=True, slots=True)
class Node:
    """One module: where it stands, its keys below the module above, its class where that is known."""

    path: Keys
    label: Keys
    name: str | None
    leaves: tuple[Leaf, ...]
    children: tuple["Node", ...]
    variant: Variant | None = None

    def walk(self) -> Iterator["Node"]:
        """This module and all below."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def collections(self) -> tuple[str, ...]:
        """Of every variable at or below."""
        return tuple(dict.fromkeys(leaf.collection for node in self.walk() for leaf in node.leaves))


def slot_of(path: Keys, leaf: Leaf) -> Slot:
    """The address of a variable of the module at `path`."""
    return Slot(collection=leaf.collection, path=KeyPath(tuple(map(DictKey, (*path, leaf.name)))))


def linen_tree(variables: Iterable[Variable]) -> Node:
    """The modules of a Linen state; PRNG streams that lie beside it are none of its own."""
    leaves = [
        (v.slot, Kind.of_collection(v.slot.collection), v.leaf.value.spec)
        for v in variables
        if isinstance(v.leaf.value, ArrayValue) and v.slot.collection != RNGS
    ]
    return contracted(_grown(leaves, {}))


def spec_tree(spec: Spec) -> Node:
    """The modules of a spec, without PRNG streams; containers that are no modules are taken away."""
    leaves = [(_slot(leaf), leaf.kind, leaf.spec) for leaf in spec.leaves if leaf.kind is not Kind.RNG]
    names = {module.path.names: module.name for module in spec.modules}
    grown = _grown(leaves, names)
    return contracted(_hoisted(grown, known=bool(names)) if spec.layout.is_nnx else grown)


def nnx_tree(variables: Iterable[Variable]) -> Node:
    """The modules of an NNX state, whose classes are not on disk."""
    leaves = [
        (v.slot, Kind.of_collection(v.slot.collection), v.leaf.value.spec)
        for v in variables
        if isinstance(v.leaf.value, ArrayValue) and v.slot.collection != RNGS
    ]
    return contracted(_hoisted(_grown(leaves, {}), known=False))


def _slot(leaf: SpecLeaf) -> Slot:
    return leaf.slot


def _grown(leaves: Iterable[tuple[Slot, Kind, ArraySpec]], names: Mapping[Keys, str]) -> Node:
    own: dict[Keys, list[Leaf]] = defaultdict(list)
    below: dict[Keys, dict[Keys, None]] = defaultdict(dict)
    ordered = sorted(leaves, key=lambda one: (one[0].path.natural(), one[0].collection))
    for slot, kind, spec in ordered:
        keys = slot.path.names
        own[keys[:-1]].append(Leaf(keys[-1], kind, spec, slot.collection))
        for depth in range(1, len(keys)):
            below[keys[: depth - 1]][keys[:depth]] = None

    def node(path: Keys) -> Node:
        children = tuple(node(child) for child in below[path])
        return Node(path, path[-1:], names.get(path), tuple(own[path]), children)

    return node(())


def _hoisted(node: Node, *, known: bool) -> Node:
    """Containers give their modules to the module that they stand in."""
    children: list[Node] = []
    for child in (_hoisted(one, known=known) for one in node.children):
        if _is_container(child, known=known):
            children += [replace(one, label=child.label + one.label) for one in child.children]
        else:
            children.append(child)
    return replace(node, children=tuple(children))


def _is_container(node: Node, *, known: bool) -> bool:
    if node.leaves or node.name not in (None, *_CONTAINERS):
        return False
    # Where classes are known, what has none is no module.
    return known or all(child.label[0].isdecimal() for child in node.children)


def contracted(node: Node) -> Node:
    """Modules with no variable and one module give way to that."""
    children = tuple(map(contracted, node.children))
    if not node.leaves and len(children) == 1 and node.variant is None:
        only = children[0]
        return replace(only, label=node.label + only.label)
    return replace(node, children=children)


def without(node: Node, paths: Collection[KeyPath]) -> Node:
    """Without some variables, and without modules that hold no other."""
    children = (without(child, paths) for child in node.children)
    leaves = tuple(leaf for leaf in node.leaves if slot_of(node.path, leaf).path not in paths)
    return replace(
        node, leaves=leaves, children=tuple(child for child in children if child.leaves or child.children)
    )


def flattened(root: Node) -> Node:
    """All modules that hold variables, side by side, however they are nested.

    The deepest are first: the rule of a module is also one for what stands in it, and the first is followed.
    """
    below = sorted(
        (node for node in root.walk() if node.leaves and node is not root), key=lambda node: -len(node.path)
    )
    children = tuple(replace(node, label=node.path, children=()) for node in below)
    return replace(root, children=children)
