"""Variables that one release of a model trains and another does not: they change their collection.

DeepSeek 3's gate bias was a parameter until MaxText 0.2.4 and is a variable of its own since 0.2.5; DeepSeek
4's was one until August 2026. Its path is the same; but a parameter is stacked on the layer axis, all else on
axis 0, and what is no parameter has no moments. Only a template tells which of the two a target has.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from linen_nnx.convert.passes.runner import Passed
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.ir import PARAMS, RNGS, Leaf, Slot, TrainState, address
from linen_nnx.schema.layout import LayerGroup
from linen_nnx.schema.ops import MoveAxis, moved_value
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Note, NoteCode
from linen_nnx.schema.problem import Code, Problem


class Promote:
    """`template` is the lifted template, in the layer form of the target."""

    name = "promote"

    def __init__(self, template: TrainState) -> None:
        """Follow `template`."""
        self._template = template

    def apply(self, state: TrainState) -> Passed:
        """Bring each variable into the collection that it has in the template."""
        theirs = {v.slot.path: v.slot for v in self._template.variables if v.slot.collection != RNGS}
        moving = {
            v.slot: theirs[v.slot.path]
            for v in state.variables
            if v.slot.path in theirs and PARAMS in (v.slot.collection, theirs[v.slot.path].collection)
            if v.slot != theirs[v.slot.path]
        }
        if not moving:
            return Passed(state)
        trained = {item.mirrors for item in state.optimizer}
        problems = [_untrained(to) for slot, to in moving.items() if slot not in trained and self._trains(to)]
        problems += [_unknown_axis(slot) for slot in moving if _axes(slot.path, state.groups) is None]
        if problems:
            return Passed(state, problems=problems)
        variables = tuple(
            replace(v, slot=moving[v.slot], leaf=_moved(v.leaf, v.slot, state.groups))
            if v.slot in moving
            else v
            for v in state.variables
        )
        optimizer = tuple(
            item
            if item.mirrors is None or item.mirrors not in moving
            else replace(
                item, mirrors=moving[item.mirrors], leaf=_moved(item.leaf, item.mirrors, state.groups)
            )
            for item in state.optimizer
        )
        moved = state.model_copy(update={"variables": variables, "optimizer": optimizer})
        return Passed(moved, notes=[_note(moving.values())])

    def _trains(self, slot: Slot) -> bool:
        return any(item.mirrors == slot for item in self._template.optimizer)


def _axes(path: KeyPath, groups: Sequence[LayerGroup]) -> tuple[int, int] | None:
    """Where a parameter and another variable at `path` are stacked; (0, 0) where nothing moves.

    None where it is not known.
    """
    for group in groups:
        for slot in group.slots:
            if slot.index and path.startswith(group.parent + slot.path):
                return None if group.axis is None or len(slot.index) > 1 else (group.axis, 0)
    return 0, 0


def _moved(leaf: Leaf, slot: Slot, groups: Sequence[LayerGroup]) -> Leaf:
    """A leaf of the variable that stood at `slot`, with its layers on the axis of the other collection."""
    axes = _axes(slot.path, groups)
    assert axes is not None
    before, after = axes if slot.collection == PARAMS else axes[::-1]
    if before == after or not isinstance(leaf.value, ArrayValue):
        return leaf
    op = MoveAxis(of=leaf.op, source=before, destination=after)
    return Leaf(value=moved_value(leaf.value, before, after), op=op)


def _note(slots: Iterable[Slot]) -> Note:
    paths = tuple(slot.path for slot in slots)
    text = (
        f"{len(paths)} variables go to the collection that they have in the template, with their layers on "
        "its axis: one release trains them, the other does not"
    )
    return Note(code=NoteCode.OTHER_COLLECTION, text=text, paths=paths[:5])


def _untrained(slot: Slot) -> Problem:
    return Problem(
        code=Code.MISSING_ENTRY,
        path=address(slot),
        expected="moments, as the template has them: it trains this variable",
        found="none: the source does not train it",
        hint="convert without --template, or with --params-only",
    )


def _unknown_axis(slot: Slot) -> Problem:
    return Problem(
        code=Code.AXIS_AMBIGUOUS,
        path=address(slot),
        expected="one axis on which the layers are stacked, to move the variable to that of its collection",
        found="shapes that do not prove it",
        hint="name the axis with --layer-axis",
    )
