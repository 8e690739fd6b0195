"""One of the two checkpoints: opened, lifted, its layers taken apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from linen_nnx.convert.compare.leaves import Named, ambiguous, named
from linen_nnx.convert.layers.target import axis_problem
from linen_nnx.convert.reading import lift_as_it_is
from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.schema.errors import CheckpointError, LayoutError, raise_if
from linen_nnx.schema.ir import TrainState
from linen_nnx.schema.layout import LayerGroup, Layout
from linen_nnx.schema.ops import Copy, Origin, Ref
from linen_nnx.schema.problem import Problem


@dataclass(frozen=True)
class Side:
    """A checkpoint, its leaves named."""

    item: OrbaxItem
    layout: Layout
    state: TrainState
    leaves: tuple[Named, ...]

    def array(self, ref: Ref) -> StoredArray:
        """The stored array behind a reference."""
        return self._items[ref.origin].arrays[ref.path]

    @cached_property
    def _items(self) -> dict[Origin, OrbaxItem]:
        items = {Origin.SOURCE: self.item}
        if self.item.side is not None and self.item.side.item is not None:
            items[Origin.SIDE] = self.item.side.item
        return items

    @cached_property
    def step(self) -> int | None:
        """The number of steps; reads one scalar."""
        leaf = self.state.step
        return self.item.scalar(leaf.op.source.path) if leaf and isinstance(leaf.op, Copy) else None


def sides(items: Sequence[OrbaxItem], stated: int | None = None) -> list[Side]:
    """The items as sides whose leaves have the same names. Raises `CheckpointError`, `LayoutError`.

    `stated` is the layer axis where shapes do not prove it; without it, the axis that another item proves.
    Groups that are ambiguous on every side, and alike, are compared as stacks.
    """
    raise_if([problem for item in items for problem in item.problems], CheckpointError)
    found = [lift_as_it_is(item) for item in items]
    proved = {g.axis for one in found for g in one.state.groups if g.axis is not None}
    axis = stated
    if stated is None and len(proved) == 1 < len(found):
        axis = proved.pop()
    if len(found) == 1 or len({_shapes(one.state.groups) for one in found}) > 1:
        raise_if([p for one in found for p in unproved(one.state.groups, axis)], LayoutError)
    return [
        Side(item, one.form.layout, one.state, tuple(named(one.state, axis)))
        for item, one in zip(items, found, strict=True)
    ]


def unproved(groups: Sequence[LayerGroup], axis: int | None) -> list[Problem]:
    """The groups that cannot be taken apart: neither shapes nor `axis` say on which axis they are stacked."""
    return [axis_problem(group, axis) for group in ambiguous(groups) if axis not in group.axes]


def _shapes(groups: Sequence[LayerGroup]) -> frozenset[object]:
    return frozenset((g.parent, g.name, g.stacking, g.count, g.slots, g.axes) for g in groups)
