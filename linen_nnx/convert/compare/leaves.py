"""The leaves of a state under names that do not depend on its layout: every layer taken apart.

Nothing is refused here: what cannot be taken apart keeps the name and the shape that it has.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from linen_nnx.convert.layers.names import One, read, unstacked_path
from linen_nnx.convert.layers.recognise import collect, recount
from linen_nnx.convert.layers.restack import Restacking, taken_apart
from linen_nnx.convert.passes.layers import AUX_AXIS
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.diloco import INNER
from linen_nnx.schema.inspection import PartName
from linen_nnx.schema.ir import PARAMS, REFERENCE, RNGS, Leaf, OptimizerLeaf, Slot, TrainState, Variable
from linen_nnx.schema.layout import LayerGroup, LayerNames, LayerStacking
from linen_nnx.schema.path import ROOT, KeyPath


@dataclass(frozen=True, slots=True)
class Layer:
    """The layer that a leaf stands in, and the leaf's path inside it."""

    group: KeyPath
    number: int
    rest: KeyPath


@dataclass(frozen=True, slots=True)
class Named:
    """One leaf of a state. `field` is the optimizer's field (`[0]/mu`) that it belongs to, if it is one."""

    part: PartName
    collection: str | None
    path: KeyPath
    """Inside the model; for an optimizer leaf that mirrors nothing, the root."""
    field: KeyPath | None
    layer: Layer | None
    leaf: Leaf
    factored: bool = False
    """A moment of reduced shape: rows or columns of what it mirrors."""

    @property
    def is_rng(self) -> bool:
        """Whether it belongs to a stream of random numbers."""
        value = self.leaf.value
        typed = isinstance(value, ArrayValue) and value.spec.key_impl is not None
        return self.part is PartName.AUX and (self.collection == RNGS or typed)


def named(state: TrainState, axis: int | None) -> list[Named]:
    """Every leaf of `state`; `axis` is the layer axis of groups whose shapes do not prove it."""
    apart = _Apart(state, axis, AUX_AXIS if state.replicas is None else AUX_AXIS + 1)
    step = [Named(PartName.STEP, None, ROOT / "step", None, None, state.step)] if state.step else []
    items = (*state.variables, *state.optimizer, *state.aside)
    found = [*step, *_each_once(items, [list(apart.leaves(item)) for item in items])]
    if state.inner is not None:
        found += map(_within, named(state.inner, None if axis is None else axis + 1))
    return found


def _within(leaf: Named) -> Named:
    """A leaf of the state inside a DiLoCo state. Its step is one of many counters."""
    if leaf.part is PartName.STEP:
        return replace(leaf, part=PartName.OPTIMIZER, path=ROOT, field=INNER + leaf.path)
    field = None if leaf.field is None else INNER + leaf.field
    layer = None if leaf.layer is None else replace(leaf.layer, group=INNER + leaf.layer.group)
    return replace(leaf, path=INNER + leaf.path, field=field, layer=layer)


def _each_once(items: Sequence[Variable | OptimizerLeaf], found: Sequence[list[Named]]) -> Iterator[Named]:
    """The leaves of each item; as it stands if one of its names is that of another item's leaf.

    A layer may stand in a list and under a name of its own at once.
    """
    names = Counter((leaf.collection, leaf.field, leaf.path) for leaves in found for leaf in leaves)
    for item, leaves in zip(items, found, strict=True):
        twice = any(names[leaf.collection, leaf.field, leaf.path] > 1 for leaf in leaves)
        if twice and (slot := _slot(item)) is not None:
            yield _named(item, slot.path, None, item.leaf)
        else:
            yield from leaves


def _slot(item: Variable | OptimizerLeaf) -> Slot | None:
    return item.slot if isinstance(item, Variable) else item.mirrors


def _named(item: Variable | OptimizerLeaf, path: KeyPath, layer: Layer | None, leaf: Leaf) -> Named:
    slot = _slot(item)
    collection = None if slot is None else slot.collection
    if isinstance(item, OptimizerLeaf):
        return Named(PartName.OPTIMIZER, collection, path, item.at, layer, leaf, item.factored)
    part = PartName.PARAMS if collection == PARAMS else PartName.AUX
    return Named(part, collection, path, None, layer, leaf)


def ambiguous(groups: Sequence[LayerGroup]) -> list[LayerGroup]:
    """The groups that are stacked on one of several axes: shapes do not prove which."""
    return [g for g in groups if g.stacking is LayerStacking.STACKED and len(g.axes) > 1]


class _Apart:
    """Takes the layers of one state apart."""

    def __init__(self, state: TrainState, axis: int | None, aux_axis: int) -> None:
        known = [g.axis if g.axis is not None else axis if axis in g.axes else None for g in state.groups]
        groups = recount(state.groups, collect(state.variables), known)
        self._tables = [
            (_one_by_one(group, on if on is not None else 0), _one_by_one(group, aux_axis))
            for group, on in zip(groups, known, strict=True)
            if on is not None or group.stacking is LayerStacking.UNSTACKED
        ]

    def leaves(self, item: Variable | OptimizerLeaf) -> Iterator[Named]:
        """Those of a variable, or of an optimizer's leaf, layer by layer."""
        slot = _slot(item)
        if slot is None:
            yield _named(item, ROOT, None, item.leaf)
            return
        for path, layer, leaf in self._leaves(slot, item.leaf):
            yield _named(item, path, layer, leaf)

    def _leaves(self, slot: Slot, leaf: Leaf) -> Iterator[tuple[KeyPath, Layer | None, Leaf]]:
        for params, aux in self._tables:
            how = params if slot.collection in (PARAMS, REFERENCE) else aux
            place = how.place_of(slot.path)
            if place is None:
                continue
            layers = taken_apart(slot.path, place, leaf, how)
            if not isinstance(layers, Mapping):
                break
            group, rest = how.after, slot.path[len(place) :]
            for number, one in layers.items():
                path = unstacked_path(group, number, LayerNames.UNDERSCORE) + rest
                yield path, Layer(group.at, number, rest), one
            return
        yield (*_by_its_name(slot.path), leaf)


def _by_its_name(path: KeyPath) -> tuple[KeyPath, Layer | None]:
    """A layer that stands in no group, as where one was lost: its name still says which it is."""
    place = read(path)
    if place is None or not isinstance(place.role, One):
        return path, None
    at = place.parent / place.group
    canonical = place.parent / f"{place.group}_{place.role.number}" + place.rest
    return canonical, Layer(at, place.role.number, place.rest)


def _one_by_one(group: LayerGroup, axis: int) -> Restacking:
    update = {"stacking": LayerStacking.UNSTACKED, "names": LayerNames.UNDERSCORE, "slots": (), "axes": ()}
    return Restacking(group, group.model_copy(update=update), axis, axis)


def repeated(leaves: Sequence[Named]) -> set[KeyPath]:
    """Model paths that several variables share, in collections of their own."""
    counts = Counter(leaf.path for leaf in leaves if leaf.field is None and leaf.part is not PartName.STEP)
    return {path for path, times in counts.items() if times > 1}
