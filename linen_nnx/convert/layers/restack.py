"""Move leaves between stacked and unstacked layers. Parameters and moments go through the same code."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from linen_nnx.convert.layers.names import Left, One, Slice, read, stacked_path, unstacked_path
from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.ir import Leaf
from linen_nnx.schema.layout import LayerGroup, LayerNames, LayerStacking
from linen_nnx.schema.ops import Stack, Take, logical_rank, stacked_spec, taken_spec
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem


@dataclass(frozen=True, slots=True)
class Restacking:
    """One group as it is and as it shall be, with the layer axis on both sides."""

    before: LayerGroup
    after: LayerGroup
    axis_before: int
    axis_after: int

    @property
    def moves_slices(self) -> bool:
        """False if arrays stay whole and only names change."""
        stacked = LayerStacking.STACKED
        both = self.before.stacking is stacked and self.after.stacking is stacked
        return not both or self.axis_before != self.axis_after


@dataclass(frozen=True, slots=True)
class Restacked:
    """Leaves at their new paths; `apart` could not be stacked and stand layer by layer."""

    leaves: dict[KeyPath, Leaf]
    apart: dict[KeyPath, Leaf]
    problems: list[Problem]


_Layers = dict[KeyPath, dict[int, Leaf]]


def restack(leaves: Mapping[KeyPath, Leaf], how: Restacking) -> Restacked:
    """Restack the leaves of one group. All of them stand in it (`belongs`)."""
    if not how.moves_slices:
        return Restacked(dict(leaves), {}, [])
    layers: _Layers = defaultdict(dict)
    for path, leaf in leaves.items():
        for layer, rest, one in _expanded(path, leaf, how):
            layers[rest][layer] = one
    if how.after.stacking is LayerStacking.UNSTACKED:
        names = how.after.names
        flat = {
            unstacked_path(how.after, layer, names) + rest: leaf
            for rest, by_layer in layers.items()
            for layer, leaf in by_layer.items()
        }
        return Restacked(flat, {}, [])
    return _collapsed(layers, how)


def belongs(path: KeyPath, group: LayerGroup) -> bool:
    """Whether `path` stands in `group`, under any of the names that the group may have."""
    place = read(path)
    if place is None or place.parent != group.parent:
        return False
    if isinstance(place.where, One) and place.where.names is LayerNames.NESTED:
        return _nested_belongs(place.group, place.where.number, group)
    return place.group == group.name


def _nested_belongs(name: str, number: int, group: LayerGroup) -> bool:
    if name == "layers" and group.first:
        return number >= group.first
    return name == group.name


def _expanded(path: KeyPath, leaf: Leaf, how: Restacking) -> Iterator[tuple[int, KeyPath, Leaf]]:
    """The layers that a leaf holds: one, or a slice a block."""
    place = read(path)
    assert place is not None
    before = how.before
    match place.where:
        case One(number, names):
            yield number - (before.first if names is LayerNames.NESTED else 0), place.rest, leaf
        case Left(name):
            yield before.blocks * before.width + before.remainder.index(name), place.rest, leaf
        case Slice(slot):
            offset = before.cycle.index(slot) if slot is not None and before.cycle else 0
            for block in range(before.blocks):
                yield block * before.width + offset, place.rest, take(leaf, how.axis_before, block)


def take(leaf: Leaf, axis: int, index: int) -> Leaf:
    """One slice of a leaf. An empty stands for every layer alike."""
    return Leaf(value=_taken(leaf.value, axis), op=Take(of=leaf.op, axis=axis, index=index))


def _taken(value: Value, axis: int) -> Value:
    if not isinstance(value, ArrayValue):
        return value
    return ArrayValue(spec=taken_spec(value.spec, axis), holder=value.holder)


def _collapsed(layers: _Layers, how: Restacking) -> Restacked:
    after, out = how.after, Restacked({}, {}, [])
    filled = after.blocks * after.width
    for rest, by_layer in layers.items():
        for slot in range(after.width):
            wanted = range(slot, filled, after.width)
            _stack_slot(rest, {n: by_layer[n] for n in wanted if n in by_layer}, wanted, how, out)
        for layer in range(filled, after.count):
            if layer in by_layer:
                out.leaves[stacked_path(after, layer) + rest] = by_layer[layer]
    return out


def _stack_slot(
    rest: KeyPath, found: dict[int, Leaf], wanted: range, how: Restacking, out: Restacked
) -> None:
    if not found:
        return
    values = {layer: leaf.value for layer, leaf in found.items()}
    problems = [*_missing(rest, found, wanted, how), *_unequal(rest, values, how)]
    first = next(iter(values.values()))
    if isinstance(first, ArrayValue) and logical_rank(first.spec) < how.axis_after:
        problems.append(
            Problem(
                code=Code.LAYERS_NOT_STACKABLE,
                path=unstacked_path(how.after, wanted[0], how.before.names) + rest,
                expected=f"at least {how.axis_after} axes, to stack on axis {how.axis_after}",
                found=str(first),
                hint="name another axis with --layer-axis",
            )
        )
    if problems:
        out.problems.extend(problems)
        names = how.before.names
        out.apart.update({unstacked_path(how.after, n, names) + rest: leaf for n, leaf in found.items()})
        return
    path = stacked_path(how.after, wanted[0]) + rest
    out.leaves[path] = _stacked([found[layer] for layer in wanted], how.axis_after)


def _stacked(parts: list[Leaf], axis: int) -> Leaf:
    value = parts[0].value
    if isinstance(value, ArrayValue):
        value = ArrayValue(spec=stacked_spec(value.spec, axis, len(parts)), holder=value.holder)
    return Leaf(value=value, op=Stack(parts=tuple(part.op for part in parts), axis=axis))


def _missing(rest: KeyPath, found: dict[int, Leaf], wanted: range, how: Restacking) -> Iterator[Problem]:
    for layer in wanted:
        if layer not in found:
            yield Problem(
                code=Code.LAYER_LEAF_MISSING,
                path=unstacked_path(how.after, layer, how.before.names) + rest,
                expected=f"{next(iter(found.values())).value}, as in {len(found)} of {len(wanted)} layers",
                found="nothing",
                hint="a stack needs it in every layer; convert with --no-scan-layers to keep them apart",
            )


def _unequal(rest: KeyPath, values: dict[int, Value], how: Restacking) -> Iterator[Problem]:
    kinds = list(values.values())
    common = max(kinds, key=kinds.count)
    for layer, value in values.items():
        if value == common:
            continue
        same_shape = (
            isinstance(value, ArrayValue)
            and isinstance(common, ArrayValue)
            and value.spec.shape == common.spec.shape
        )
        yield Problem(
            code=Code.DTYPE_MISMATCH if same_shape else Code.SHAPE_MISMATCH,
            path=unstacked_path(how.after, layer, how.before.names) + rest,
            expected=f"{common}, as in {kinds.count(common)} of {len(kinds)} layers",
            found=str(value),
            hint="layers must agree to be stacked; convert with --no-scan-layers to keep them apart",
        )
