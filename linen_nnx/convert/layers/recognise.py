"""Find the layer groups of a model: which layers there are, stacked or one by one, and on which axis.

The axis is never guessed. An axis is possible if the arrays of every stack are equally long on it; it is
proved if only one axis is possible for all stacks of the state. A lone square array proves nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from linen_nnx.convert.layers.names import DECODERS, DENSE, LAYERS, MOE, LayerPlace, One, Role, read
from linen_nnx.convert.layers.slots import axes_of, slots_of
from linen_nnx.schema.array import ArraySpec, ArrayValue
from linen_nnx.schema.ir import PARAMS, Variable
from linen_nnx.schema.layout import LayerGroup, LayerNames, LayerStacking
from linen_nnx.schema.ops import logical_rank
from linen_nnx.schema.path import KeyPath

Specs = dict[KeyPath, ArraySpec]
"""Parameters by their path inside a layer."""
GroupKey = tuple[KeyPath, str]
"""The parent of a group, and its name."""


@dataclass
class Seen:
    """What stands below one parent in one group."""

    stacks: dict[KeyPath, tuple[Role, Specs]] = field(default_factory=dict)
    """By where they stand inside the parent."""
    layers: dict[int, Specs] = field(default_factory=lambda: defaultdict(dict))
    """Layers of their own, by number."""
    styles: set[LayerNames] = field(default_factory=set)
    aux: set[int] = field(default_factory=set)
    """Lengths of the first axis of stacked variables that are no parameters: always the layer axis."""
    marks: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Names inside layers of their own of what is no parameter, by number."""
    beside: set[str] = field(default_factory=set)
    """Names of parameters beside the layers."""

    def names_of(self, number: int) -> set[str]:
        """Every name inside one layer of its own."""
        inside = {name for rest in self.layers[number] for name in rest.names}
        return inside | self.marks.get(number, set())

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name of a parameter inside a layer."""
        leaves = (*self.layers.values(), *(specs for _, specs in self.stacks.values()))
        return frozenset(name for specs in leaves for rest in specs for name in rest.names)


def recognise(variables: Sequence[Variable]) -> tuple[LayerGroup, ...]:
    """The layer groups of a model. Names propose, shapes decide."""
    seen = collect(variables)
    possible = {key: set(axes_of(found.stacks, found.aux)) for key, found in seen.items() if found.stacks}
    common = _common(possible.values())
    groups: list[LayerGroup] = []
    for (parent, name), found in sorted(seen.items(), key=lambda item: item[0][1] == MOE):
        first = sum(g.count for g in groups if g.parent == parent and g.name == DENSE) if name == MOE else 0
        if found.stacks:
            group = _stacked(parent, name, found, common, first)
        else:
            group = _unstacked(parent, name, found, first)
        if group is not None:
            groups.append(group)
    return tuple(groups)


def recount(
    groups: Sequence[LayerGroup], seen: Mapping[GroupKey, Seen], axes: Sequence[int | None]
) -> tuple[LayerGroup, ...]:
    """The groups as they are if each is stacked on the axis given for it, one that its shapes allow.

    A group for which no axis is given stays as it is. Another axis may mean another number of layers, and
    then the layers that follow begin at another number.
    """
    counted: list[LayerGroup] = []
    for group, axis in zip(groups, axes, strict=True):
        update: dict[str, object] = {}
        if axis is not None and axis in group.axes:
            found = seen[group.parent, group.name]
            slots = slots_of(found.stacks, sorted(found.layers), group.name, axis)
            update = {"slots": slots, "count": len(slots), "axes": (axis,)}
        if group.name == MOE:
            update["first"] = sum(g.count for g in counted if g.parent == group.parent and g.name == DENSE)
        counted.append(group.model_copy(update=update))
    return tuple(counted)


def collect(variables: Sequence[Variable]) -> dict[GroupKey, Seen]:
    """What stands in layers, by parent and group name."""
    seen: dict[GroupKey, Seen] = defaultdict(Seen)
    aux: list[tuple[LayerPlace, ArraySpec]] = []
    outside: list[KeyPath] = []
    for variable in variables:
        place = read(variable.slot.path)
        value = variable.leaf.value
        if not isinstance(value, ArrayValue):
            continue
        if place is None:
            outside.append(variable.slot.path)
        elif variable.slot.collection == PARAMS:
            _note(seen[place.parent, place.group], place, value.spec)
        else:
            aux.append((place, value.spec))
    for place, spec in aux:
        _note_aux(seen, place, spec)
    for path in outside:
        for (parent, _), found in seen.items():
            if len(path) > len(parent) and path.startswith(parent):
                found.beside.add(path[len(parent)].name)
    return _with_moe(seen)


def _note_aux(seen: dict[GroupKey, Seen], place: LayerPlace, spec: ArraySpec) -> None:
    if (found := seen.get((place.parent, place.group))) is None:
        return
    if isinstance(place.role, One):
        found.marks[place.role.number].update(place.rest.names)
    elif logical_rank(spec):
        found.aux.add(spec.shape[0])


def _note(found: Seen, place: LayerPlace, spec: ArraySpec) -> None:
    match place.role:
        case One(number, names):
            found.layers[number][place.rest] = spec
            found.styles.add(names)
        case role:
            found.stacks.setdefault(place.inside, (role, {}))[1][place.rest] = spec


def _with_moe(seen: dict[GroupKey, Seen]) -> dict[GroupKey, Seen]:
    """DeepSeek's `layers/2 …` beside `dense_layer_0 …` are its MoE layers."""
    out: dict[GroupKey, Seen] = {}
    for (parent, name), found in seen.items():
        dense = seen.get((parent, DENSE))
        is_moe = name == LAYERS and dense is not None and dense.styles == {LayerNames.NESTED}
        out[parent, MOE if is_moe else name] = found
    return out


def _common(possible: Iterable[set[int]]) -> set[int]:
    sets = [axes for axes in possible if axes]
    return set.intersection(*sets) if sets else set()


def _stacked(parent: KeyPath, name: str, found: Seen, common: set[int], first: int) -> LayerGroup | None:
    possible = axes_of(found.stacks, found.aux)
    if not (possible or is_decoder(parent)):
        return None
    axes = tuple(axis for axis in possible if axis in common) or tuple(possible)
    slots = slots_of(found.stacks, sorted(found.layers), name, axes[0] if axes else None)
    return LayerGroup(
        parent=parent,
        name=name,
        stacking=LayerStacking.STACKED,
        first=first,
        count=len(slots),
        slots=slots,
        axes=axes,
    )


def _unstacked(parent: KeyPath, name: str, found: Seen, first: int) -> LayerGroup | None:
    if not found.layers:
        return None
    names = LayerNames.NESTED if LayerNames.NESTED in found.styles else LayerNames.UNDERSCORE
    base = first if names is LayerNames.NESTED else 0
    count = max(found.layers) - base + 1
    if count < 1 or not (is_decoder(parent) or _is_regular(found, base)):
        return None
    return LayerGroup(
        parent=parent, name=name, stacking=LayerStacking.UNSTACKED, names=names, first=first, count=count
    )


def _is_regular(found: Seen, base: int) -> bool:
    """Numbered without a gap, all alike: outside of a decoder nothing less shows that these are layers."""
    layers = list(found.layers.values())
    whole = found.layers.keys() == set(range(base, base + len(layers)))
    return whole and len(found.styles) == 1 and all(layer == layers[0] for layer in layers)


def is_decoder(parent: KeyPath) -> bool:
    """Whether layers below `parent` are a decoder's for certain."""
    return len(parent) > 0 and parent.names[-1] in DECODERS


def period_of(found: Seen) -> int | None:
    """The length of the shortest cycle of like layers, seen at least twice; None if there is none."""
    kinds = [found.layers[number] for number in sorted(found.layers)]
    for period in range(1, max(1, len(kinds) // 2) + 1):
        if all(kind == kinds[index % period] for index, kind in enumerate(kinds)):
            return period
    return None
