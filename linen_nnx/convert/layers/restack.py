"""Move leaves between forms of a layer group. Parameters and moments go through the same code.

Every form of a group is a table: which layer stands below which path, at which index of the stacked axes.
Restacking takes arrays apart by the one table and puts layers together by the other.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from linen_nnx.convert.layers.names import unstacked_path
from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.ir import Leaf
from linen_nnx.schema.layout import LayerGroup, LayerNames, LayerSlot, LayerStacking
from linen_nnx.schema.ops import Stack, Take, logical_rank, stacked_spec, taken_spec
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem

Index = tuple[int, ...]


def table(group: LayerGroup) -> list[LayerSlot]:
    """The whole path and index of each layer, in the group's own form."""
    if group.stacking is LayerStacking.STACKED:
        return [LayerSlot(path=group.parent + slot.path, index=slot.index) for slot in group.slots]
    return [LayerSlot(path=unstacked_path(group, n, group.names)) for n in range(group.count)]


@dataclass(frozen=True)
class Restacking:
    """One group as it is and as it shall be, with the layer axis on both sides."""

    before: LayerGroup
    after: LayerGroup
    axis_before: int
    axis_after: int

    @cached_property
    def table_before(self) -> list[LayerSlot]:
        """The table that leaves are taken apart by."""
        return table(self.before)

    @cached_property
    def table_after(self) -> list[LayerSlot]:
        """The table that layers are put together by."""
        return table(self.after)

    @cached_property
    def wanted(self) -> dict[KeyPath, dict[Index, int]]:
        """The same, by the arrays that are made: which layer stands at each index."""
        arrays: dict[KeyPath, dict[Index, int]] = defaultdict(dict)
        for layer, slot in enumerate(self.table_after):
            arrays[slot.path][slot.index] = layer
        return dict(arrays)

    @cached_property
    def changes(self) -> bool:
        """False if every leaf stays where and what it is."""
        moved = self.table_before != self.table_after
        return moved or (self.axis_before != self.axis_after and self.has_stacks)

    @cached_property
    def renames(self) -> dict[KeyPath, KeyPath]:
        """Stacks that only change their name: the same layers at the same indices before and after."""
        if self.axis_before != self.axis_after:
            return {}
        after = {tuple(layers): path for path, layers in _arrays(self.table_after).items()}
        return {
            path: after[tuple(layers)]
            for path, layers in _arrays(self.table_before).items()
            if tuple(layers) in after and all(index for _, index in layers)
        }

    @cached_property
    def regroups(self) -> bool:
        """Whether stacked arrays are taken apart: then their axis must be known."""
        stacks = {slot.path for slot in self.table_before if slot.index}
        return not stacks <= self.renames.keys()

    @cached_property
    def has_stacks(self) -> bool:
        """Whether arrays hold several layers on either side; if not, only names change."""
        return any(slot.index for slot in (*self.table_before, *self.table_after))

    @cached_property
    def places(self) -> dict[KeyPath, list[tuple[int, Index]]]:
        """Which layers stand below a path, and at which index.

        Other variables than parameters may stand layer by layer in a stacked model, where only some
        layers have them, so the names of single layers are known in every form.
        """
        found: dict[KeyPath, list[tuple[int, Index]]] = {}
        for names in LayerNames:
            for layer in range(self.before.count):
                found[unstacked_path(self.before, layer, names)] = [(layer, ())]
        return {**found, **_arrays(self.table_before)}

    def place_of(self, path: KeyPath) -> KeyPath | None:
        """The longest known place that `path` stands below, if any."""
        # Moments have the paths of their parameters.
        if path not in self._found:
            tops = (path[:depth] for depth in self._depths if depth <= len(path))
            self._found[path] = next((top for top in tops if top in self.places), None)
        return self._found[path]

    @cached_property
    def _found(self) -> dict[KeyPath, KeyPath | None]:
        return {}

    @cached_property
    def _depths(self) -> list[int]:
        """Of the places, the deepest first."""
        return sorted({len(path) for path in self.places}, reverse=True)


def _arrays(slots: Sequence[LayerSlot]) -> dict[KeyPath, list[tuple[int, Index]]]:
    """The layers that stand below each path, and at which index."""
    arrays: dict[KeyPath, list[tuple[int, Index]]] = defaultdict(list)
    for layer, slot in enumerate(slots):
        arrays[slot.path].append((layer, slot.index))
    return dict(arrays)


@dataclass(frozen=True, slots=True)
class Restacked:
    """Leaves at their new paths; `apart` could not be stacked, as `problems` say, and stand layer by layer.

    `faults` are of leaves that could not even be taken apart.
    """

    leaves: dict[KeyPath, Leaf]
    apart: dict[KeyPath, Leaf]
    problems: list[Problem]
    faults: list[Problem]


def restack(leaves: Mapping[KeyPath, Leaf], how: Restacking) -> Restacked:
    """Restack the leaves of one group. All of them stand in it (`place_of`)."""
    layers: dict[KeyPath, dict[int, Leaf]] = defaultdict(dict)
    faults: list[Problem] = []
    renamed: dict[KeyPath, Leaf] = {}
    for path, leaf in leaves.items():
        place = how.place_of(path)
        assert place is not None
        if place in how.renames:
            renamed[how.renames[place] + path[len(place) :]] = leaf
            continue
        found = taken_apart(path, place, leaf, how)
        if isinstance(found, Problem):
            faults.append(found)
            continue
        into = layers[path[len(place) :]]
        faults.extend(_twice(path, leaf) for layer in found if layer in into)
        into.update(found)
    out = Restacked(renamed, {}, [], faults)
    for rest, by_layer in layers.items():
        for path, wanted in how.wanted.items():
            _put_together(path, rest, wanted, by_layer, how, out)
    return out


def taken_apart(path: KeyPath, place: KeyPath, leaf: Leaf, how: Restacking) -> dict[int, Leaf] | Problem:
    """The layers that a leaf below `place` holds, by number; or why it cannot be taken apart."""
    found = how.places[place]
    if found[0][1] == ():
        return {found[0][0]: leaf}
    if fault := _not_stacked(path, leaf, [index for _, index in found], how.axis_before):
        return fault
    # All slices of an array are alike: one object for each number of axes that were taken off.
    values = [leaf.value]
    for _ in max(found, key=lambda place: len(place[1]))[1]:
        values.append(_slice_of(values[-1], how.axis_before))
    layers = {}
    for layer, index in found:
        op = leaf.op
        for position in index:
            op = Take(of=op, axis=how.axis_before, index=position)
        layers[layer] = Leaf(value=values[len(index)], op=op)
    return layers


def _not_stacked(path: KeyPath, leaf: Leaf, indices: Sequence[Index], axis: int) -> Problem | None:
    """A leaf below a stack whose axes are not the stack's."""
    if not isinstance(leaf.value, ArrayValue):
        return None
    lengths = tuple(max(column) + 1 for column in zip(*indices, strict=True))
    spec = leaf.value.spec
    found = spec.shape[axis : axis + len(lengths)] if logical_rank(spec) >= axis + len(lengths) else ()
    if found == lengths:
        return None
    return Problem(
        code=Code.LAYERS_NOT_STACKABLE,
        path=path,
        expected=f"{' x '.join(map(str, lengths))} layers from axis {axis} on",
        found=str(leaf.value),
        hint="it is no slice of a stack; keep the layers as they are",
    )


def _twice(path: KeyPath, leaf: Leaf) -> Problem:
    """A leaf of a layer that stands under another name of the same layer too."""
    return Problem(
        code=Code.TWO_WRITERS,
        path=path,
        expected="each leaf of a layer once",
        found=f"{leaf.value}, which stands under another name of this layer too",
    )


def _slice_of(value: Value, axis: int) -> Value:
    """What a slice of a value is. An empty stands for every layer alike."""
    if not isinstance(value, ArrayValue):
        return value
    return ArrayValue(spec=taken_spec(value.spec, axis), holder=value.holder)


def _put_together(
    path: KeyPath,
    rest: KeyPath,
    wanted: Mapping[Index, int],
    by_layer: Mapping[int, Leaf],
    how: Restacking,
    out: Restacked,
) -> None:
    if () in wanted:
        if (one := by_layer.get(wanted[()])) is not None:
            out.leaves[path + rest] = one
        return
    found = {layer: by_layer[layer] for layer in wanted.values() if layer in by_layer}
    if not found:
        return
    problems = [*_missing(rest, found, wanted, how), *_unequal(rest, found, how), *_flat(rest, found, how)]
    if problems:
        out.problems.extend(problems)
        names = how.before.names
        out.apart.update({unstacked_path(how.after, n, names) + rest: leaf for n, leaf in found.items()})
        return
    out.leaves[path + rest] = _stack({i: by_layer[n] for i, n in wanted.items()}, how.axis_after)


def _stack(parts: Mapping[Index, Leaf], axis: int) -> Leaf:
    """Leaves by index into one; of two indices the outer axis comes first."""
    below: dict[int, dict[Index, Leaf]] = defaultdict(dict)
    for index, leaf in parts.items():
        below[index[0]][index[1:]] = leaf
    inner = [part[()] if () in part else _stack(part, axis) for _, part in sorted(below.items())]
    value = inner[0].value
    if isinstance(value, ArrayValue):
        value = ArrayValue(spec=stacked_spec(value.spec, axis, len(inner)), holder=value.holder)
    return Leaf(value=value, op=Stack(parts=tuple(leaf.op for leaf in inner), axis=axis))


def _missing(
    rest: KeyPath, found: Mapping[int, Leaf], wanted: Mapping[Index, int], how: Restacking
) -> list[Problem]:
    return [
        Problem(
            code=Code.LAYER_LEAF_MISSING,
            path=unstacked_path(how.after, layer, how.before.names) + rest,
            expected=f"{next(iter(found.values())).value}, as in {len(found)} of {len(wanted)} layers",
            found="nothing",
            hint="a stack needs it in every layer; convert with --no-scan-layers to keep them apart",
        )
        for layer in wanted.values()
        if layer not in found
    ]


def _unequal(rest: KeyPath, found: Mapping[int, Leaf], how: Restacking) -> list[Problem]:
    values = [leaf.value for leaf in found.values()]
    if all(value == values[0] for value in values):
        return []
    common = max(values, key=values.count)
    return [
        Problem(
            code=Code.DTYPE_MISMATCH if _same_shape(leaf.value, common) else Code.SHAPE_MISMATCH,
            path=unstacked_path(how.after, layer, how.before.names) + rest,
            expected=f"{common}, as in {values.count(common)} of {len(values)} layers",
            found=str(leaf.value),
            hint="layers must agree to be stacked; convert with --no-scan-layers to keep them apart",
        )
        for layer, leaf in found.items()
        if leaf.value != common
    ]


def _same_shape(one: Value, other: Value) -> bool:
    return (
        isinstance(one, ArrayValue) and isinstance(other, ArrayValue) and one.spec.shape == other.spec.shape
    )


def _flat(rest: KeyPath, found: Mapping[int, Leaf], how: Restacking) -> Sequence[Problem]:
    layer, leaf = next(iter(found.items()))
    if not isinstance(leaf.value, ArrayValue) or logical_rank(leaf.value.spec) >= how.axis_after:
        return ()
    return [
        Problem(
            code=Code.LAYERS_NOT_STACKABLE,
            path=unstacked_path(how.after, layer, how.before.names) + rest,
            expected=f"at least {how.axis_after} axes, to stack on axis {how.axis_after}",
            found=str(leaf.value),
            hint="name another axis with --layer-axis",
        )
    ]
