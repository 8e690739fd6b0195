"""What else an NNX model may look like in Linen: gates apart, layers on another axis, stacked or one by one.

Each variant is the NNX tree as Linen would have it. Shapes say which fits; if two do, none is taken.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from linen_nnx.convert.mapping.colours import Colours
from linen_nnx.convert.mapping.library import FUSED_CELLS, GRU_GATES, stacked_axes
from linen_nnx.convert.mapping.modules import (
    AxisMoved,
    Cell,
    Keys,
    Leaf,
    Node,
    Restacked,
    Unstacked,
    contracted,
)
from linen_nnx.schema.array import ArraySpec
from linen_nnx.schema.ops import moved, resized

Signature = tuple[str, str, str]
Change = Callable[[Node], tuple[Node, ...] | None]
"""What stands in Linen in the place of a module; None where the shapes do not allow it."""
_MOST = 512
"""Combinations to try."""


@dataclass(frozen=True)
class Site:
    """Places that hold the same and change alike."""

    paths: frozenset[Keys]
    changes: tuple[Change, ...]


class TooManyError(Exception):
    """More forms than can be tried: that only one of them fits could not be said."""


def variants(root: Node, linen: Node) -> Iterator[Node]:
    """The tree as it is, first, and every other form of it that `linen` may have. Raises `TooManyError`."""
    there = _signatures(linen)
    choices = [(site, list(_choices(site, root, there))) for site in _sites(root)]
    if prod(len(chosen) for _, chosen in choices) > _MOST:
        raise TooManyError
    sites = [site for site, _ in choices]
    for chosen in product(*[options for _, options in choices]):
        by_path = {
            path: change for site, change in zip(sites, chosen, strict=True) if change for path in site.paths
        }
        changed = _changed(root, by_path)
        if changed is not None and len(changed) == 1:
            yield contracted(changed[0])


def _signatures(node: Node) -> Counter[Signature]:
    return Counter(leaf.signature for one in node.walk() for leaf in one.leaves)


def _choices(site: Site, root: Node, there: Counter[Signature]) -> Iterator[Change | None]:
    """As it is, or changed: what Linen has no variables for is not tried."""
    place = next(iter(site.paths))
    holders = [node for node in root.walk() if node.path == place]
    before = holders or [_holder(root, place)]
    # A list may hold what is changed in it, so that as it stands it need not be there.
    if not holders or _signatures(before[0]) <= there:
        yield None
    for change in site.changes:
        after = change(before[0])
        if after is not None and sum(map(_signatures, after), Counter()) <= there:
            yield change


def _holder(root: Node, path: Keys) -> Node:
    """The modules of the list at `path`, as one."""
    found = [
        child
        for node in root.walk()
        for key, group in _by_container(node).items()
        if key is not None and node.path + key == path
        for child in group
    ]
    return Node(path, path[-1:], None, (), tuple(found))


def _changed(node: Node, changes: dict[Keys, Change]) -> tuple[Node, ...] | None:
    if node.path in changes:
        return changes[node.path](node)
    lists = {node.path + key: change for key, change in _list_changes(node, changes).items()}
    children: list[Node] = []
    for key, group in _by_container(node).items():
        if key is not None and (change := lists.get(node.path + key)) is not None:
            after = change(replace(node, path=node.path + key, label=key, leaves=(), children=tuple(group)))
        else:
            parts = [_changed(child, changes) for child in group]
            after = (
                None
                if any(part is None for part in parts)
                else tuple(one for part in parts for one in part or ())
            )
        if after is None:
            return None
        children += after
    return (replace(node, children=tuple(children)),)


def _list_changes(node: Node, changes: dict[Keys, Change]) -> dict[Keys, Change]:
    return {
        key: changes[node.path + key]
        for key in _by_container(node)
        if key is not None and node.path + key in changes
    }


def _by_container(node: Node) -> dict[Keys | None, list[Node]]:
    """The modules of a list under the list's keys, all others under None."""
    out: dict[Keys | None, list[Node]] = {}
    for child in node.children:
        key = child.label[:-1] if len(child.label) > 1 and child.label[-1].isdecimal() else None
        out.setdefault(key, []).append(child)
    return out


def _sites(root: Node) -> Iterator[Site]:
    colours = Colours()
    found: dict[tuple[object, ...], tuple[set[Keys], tuple[Change, ...]]] = {}
    for key, path, changes in _places(root, None, colours):
        found.setdefault(key, (set(), changes))[0].add(path)
    for paths, changes in found.values():
        yield Site(frozenset(paths), changes)


def _places(
    node: Node, above: Node | None, colours: Colours
) -> Iterator[tuple[tuple[object, ...], Keys, tuple[Change, ...]]]:
    if is_stacked(node, above):
        yield ("stack", colours.of(node)), node.path, _STACK_CHANGES
        return
    if node.name in FUSED_CELLS:
        yield ("cell", node.name), node.path, (_unfused,)
        return
    for key, group in _by_container(node).items():
        if key is not None and _is_list(group, colours):
            yield ("list", colours.of(group[0]), len(group)), node.path + key, _LIST_CHANGES
    for child in node.children:
        yield from _places(child, node, colours)


def is_stacked(node: Node, above: Node | None) -> bool:
    """Whether all variables below whose rank is known have one axis too many."""
    levels = set(_levels(node, above))
    return levels == {1}


def _levels(node: Node, above: Node | None) -> Iterator[int]:
    for leaf in node.leaves:
        level = stacked_axes(leaf, node, above)
        if level is not None:
            yield level
    for child in node.children:
        yield from _levels(child, node)


def _is_list(group: Sequence[Node], colours: Colours) -> bool:
    numbers = [int(child.label[-1]) for child in group]
    alike = len({colours.of(child) for child in group}) == 1
    return len(group) > 1 and numbers == list(range(len(group))) and alike


def _unfused(node: Node) -> tuple[Node, ...] | None:
    """The gates of a cell one by one. Linen's GRU has a bias more, which must be zero."""
    gates = FUSED_CELLS[node.name or ""]
    parts = {child.label: child for child in node.children}
    if set(parts) != {("dense_i",), ("dense_h",)} or any(child.children for child in node.children):
        return None
    children = []
    for side in ("i", "h"):
        for gate in gates:
            leaves = _gate_leaves(parts[("dense_" + side,)], len(gates))
            if leaves is None:
                return None
            if (side, gate, gates) == ("h", "n", GRU_GATES):
                leaves = (*leaves, *_extra_bias(leaves))
            label = side + gate
            children.append(Node((*node.path, label), (label,), None, leaves, ()))
    return (replace(node, name="LSTMCell", children=tuple(children), variant=Cell(gates)),)


def _gate_leaves(part: Node, count: int) -> tuple[Leaf, ...] | None:
    out = []
    for leaf in part.leaves:
        shape = leaf.spec.shape
        if not shape or shape[-1] % count:
            return None
        out.append(_shaped(leaf, resized(shape, len(shape) - 1, shape[-1] // count)))
    return tuple(out)


def _extra_bias(leaves: Sequence[Leaf]) -> Iterator[Leaf]:
    if not any(leaf.name == "bias" for leaf in leaves):
        kernel = next(leaf for leaf in leaves if leaf.name == "kernel")
        yield replace(_shaped(kernel, kernel.spec.shape[-1:]), name="bias")


def _shaped(leaf: Leaf, shape: tuple[int, ...]) -> Leaf:
    return replace(leaf, spec=ArraySpec(shape=shape, dtype=leaf.spec.dtype, key_impl=leaf.spec.key_impl))


def _over(node: Node, change: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Node:
    leaves = tuple(_shaped(leaf, change(leaf.spec.shape)) for leaf in node.leaves)
    return replace(node, leaves=leaves, children=tuple(_over(child, change) for child in node.children))


def _sizes(node: Node, axis: int) -> set[int | None]:
    return {
        leaf.spec.shape[axis] if axis < len(leaf.spec.shape) else None
        for one in node.walk()
        for leaf in one.leaves
    }


def _moving(linen: int, nnx: int) -> Change:
    def change(node: Node) -> tuple[Node, ...] | None:
        if None in (sizes := _sizes(node, nnx)) or len(sizes) != 1 or None in _sizes(node, linen):
            return None
        return (replace(_over(node, lambda shape: moved(shape, nnx, linen)), variant=AxisMoved(linen, nnx)),)

    return change


def _one_by_one(axis: int) -> Change:
    def change(node: Node) -> tuple[Node, ...] | None:
        sizes = _sizes(node, axis)
        if len(sizes) != 1 or None in sizes or not node.label:
            return None
        layer = _over(node, lambda shape: shape[:axis] + shape[axis + 1 :])
        count = next(iter(sizes)) or 0
        return tuple(
            replace(layer, label=(*node.label, str(n)), variant=Restacked(axis, n)) for n in range(count)
        )

    return change


def _as_stack(axis: int) -> Change:
    def change(holder: Node) -> tuple[Node, ...] | None:
        first, count = holder.children[0], len(holder.children)
        if any(axis > len(leaf.spec.shape) for one in first.walk() for leaf in one.leaves):
            return None
        stack = _over(first, lambda shape: (*shape[:axis], count, *shape[axis:]))
        return (replace(stack, label=holder.label, variant=Unstacked(axis)),)

    return change


_STACK_CHANGES: tuple[Change, ...] = (_moving(1, 0), _one_by_one(0), _one_by_one(1))
_LIST_CHANGES: tuple[Change, ...] = (_as_stack(0), _as_stack(1))
