"""Find the layer groups of a model: which layers there are, stacked or one by one, and on which axis.

The axis is never guessed. An axis is possible if the arrays of every stack are equally long on it; it is
proved if only one axis is possible for all stacks of the state. A lone square array proves nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from linen_nnx.convert.layers.names import DECODERS, DENSE, LAYERS, MOE, LayerPlace, One, Role, read
from linen_nnx.convert.layers.slots import axes_of, slots_of
from linen_nnx.schema.array import ArraySpec, ArrayValue
from linen_nnx.schema.ir import PARAMS, Variable
from linen_nnx.schema.layout import LayerGroup, LayerNames, LayerStacking
from linen_nnx.schema.ops import logical_rank
from linen_nnx.schema.path import KeyPath

Specs = dict[KeyPath, ArraySpec]
"""Parameters by their path inside a layer."""
_Key = tuple[KeyPath, str]


@dataclass
class Seen:
    """What stands below one parent in one group."""

    stacks: dict[KeyPath, tuple[Role, Specs]] = field(default_factory=dict)
    """By where they stand inside the parent."""
    layers: dict[int, Specs] = field(default_factory=lambda: defaultdict(dict))
    """Layers of their own, by number."""
    names: set[LayerNames] = field(default_factory=set)
    aux: set[int] = field(default_factory=set)
    """Lengths of the first axis of stacked variables that are no parameters: always the layer axis."""


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
    groups: Sequence[LayerGroup], variables: Sequence[Variable], axes: Sequence[int | None]
) -> tuple[LayerGroup, ...]:
    """The groups as they are if each is stacked on the axis given for it, one that its shapes allow.

    A group for which no axis is given stays as it is. Another axis may mean another number of layers, and
    then the layers that follow begin at another number.
    """
    seen = collect(variables)
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


def collect(variables: Sequence[Variable]) -> dict[_Key, Seen]:
    """What stands in layers, by parent and group name."""
    seen: dict[_Key, Seen] = defaultdict(Seen)
    aux: list[tuple[_Key, ArraySpec]] = []
    for variable in variables:
        place = read(variable.slot.path)
        value = variable.leaf.value
        if place is None or not isinstance(value, ArrayValue):
            continue
        if variable.slot.collection == PARAMS:
            _note(seen[place.parent, place.group], place, value.spec)
        elif not isinstance(place.role, One) and logical_rank(value.spec):
            aux.append(((place.parent, place.group), value.spec))
    for key, spec in aux:
        if key in seen:
            seen[key].aux.add(spec.shape[0])
    return _with_moe(seen)


def _note(found: Seen, place: LayerPlace, spec: ArraySpec) -> None:
    match place.role:
        case One(number, names):
            found.layers[number][place.rest] = spec
            found.names.add(names)
        case role:
            found.stacks.setdefault(place.inside, (role, {}))[1][place.rest] = spec


def _with_moe(seen: dict[_Key, Seen]) -> dict[_Key, Seen]:
    """DeepSeek's `layers/2 …` beside `dense_layer_0 …` are its MoE layers."""
    out: dict[_Key, Seen] = {}
    for (parent, name), found in seen.items():
        dense = seen.get((parent, DENSE))
        is_moe = name == LAYERS and dense is not None and dense.names == {LayerNames.NESTED}
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
    names = LayerNames.NESTED if LayerNames.NESTED in found.names else LayerNames.UNDERSCORE
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
    return whole and len(found.names) == 1 and all(layer == layers[0] for layer in layers)


def is_decoder(parent: KeyPath) -> bool:
    """Whether layers below `parent` are a decoder's for certain."""
    return len(parent) > 0 and parent.names[-1] in DECODERS
