"""What a layer group shall become: its names, its slots, its axis."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from linen_nnx.convert.layers.check import in_params, period_of
from linen_nnx.convert.layers.families import Family, blocks, family_of
from linen_nnx.convert.layers.names import AUTO_REMAINDER, LOCAL, REMAINDER, read
from linen_nnx.schema.ir import PARAMS, Variable
from linen_nnx.schema.layout import LayerGroup, LayerNames, LayerSlot, LayerStacking
from linen_nnx.schema.model import Model
from linen_nnx.schema.path import ROOT
from linen_nnx.schema.problem import Code, Problem

DEFAULT_AXIS = 1
"""Where MaxText stacks parameters (`param_scan_axis`) unless told otherwise."""


class AxisChoice(Model):
    """`stated` by the user; `source` as shapes prove it, for layers that are stacked anew."""

    stated: int | None = None
    source: int | None = None

    def after(self, before: int) -> int:
        """The axis of the target: stated, else as it was."""
        return before if self.stated is None else self.stated


class LayerForm(Model):
    """The form asked for. `stacking` None keeps what is; `like` are the groups of a state to be imitated."""

    stacking: LayerStacking | None = None
    names: LayerNames
    axis: AxisChoice = AxisChoice()
    cycle: Annotated[int, Field(ge=1)] | None = None
    """Layers in one block of a new stack, as the user states it."""
    like: tuple[LayerGroup, ...] = ()
    auto_remainder: bool = False
    """Linen gives Gemma 4's remainder automatic names; NNX stacks it."""


def axis_before(group: LayerGroup, form: LayerForm) -> tuple[int, list[Problem]]:
    """The axis that a group is stacked on. A problem where it is needed and not proved."""
    if group.stacking is LayerStacking.UNSTACKED:
        return (form.axis.source if form.axis.source is not None else DEFAULT_AXIS), []
    stated, unstack = form.axis.stated, form.stacking is LayerStacking.UNSTACKED
    if group.axis is not None and (stated is None or not unstack):
        return group.axis, []
    if stated is not None and stated in group.axes:
        return stated, []
    if not unstack and stated is None:
        # Nothing is restacked, so no axis is needed.
        return DEFAULT_AXIS, []
    return DEFAULT_AXIS, [_axis_problem(group, stated)]


def _axis_problem(group: LayerGroup, stated: int | None) -> Problem:
    allowed = ", ".join(map(str, group.axes))
    if not group.axes:
        return Problem(
            code=Code.AXIS_NOT_FOUND,
            path=in_params(group.at),
            expected="an axis on which all arrays of the stack are equally long",
            found="none",
            hint="look at the shapes with inspect; the layers may not be stacked at all",
        )
    if stated is not None:
        return Problem(
            code=Code.AXIS_NOT_FOUND,
            path=in_params(group.at),
            expected=f"layers stacked on axis {stated}, as --layer-axis says",
            found=f"shapes that allow only axis {allowed}",
        )
    return Problem(
        code=Code.AXIS_AMBIGUOUS,
        path=in_params(group.at),
        expected="shapes that prove on which axis the layers are stacked",
        found=f"shapes that allow axis {allowed}",
        hint="name the axis with --layer-axis",
    )


def target_group(
    group: LayerGroup, form: LayerForm, variables: Sequence[Variable]
) -> tuple[LayerGroup, list[Problem]]:
    """The group as it shall be."""
    if (form.stacking or group.stacking) is LayerStacking.UNSTACKED:
        update = {"stacking": LayerStacking.UNSTACKED, "names": form.names, "slots": (), "axes": ()}
        return group.model_copy(update=update), []
    if group.stacking is LayerStacking.STACKED:
        return group.model_copy(update={"slots": _remainder(group.slots, form)}), []
    for other in form.like:
        same = other.parent == group.parent and other.name == group.name and other.count == group.count
        if same and other.stacking is LayerStacking.STACKED:
            return other, []
    return _new_stack(group, form, variables)


def _new_stack(
    group: LayerGroup, form: LayerForm, variables: Sequence[Variable]
) -> tuple[LayerGroup, list[Problem]]:
    """Blocks as the user states them, as the family has them, or as the layers themselves show."""
    family = family_of(_names_inside(group, variables))
    period = period_of(group, variables)
    cycle = form.cycle or (family.cycle if family is not None else None)
    if cycle is None and family is not None and period == 1:
        return group, [_cycle_problem(group, family)]
    slots = blocks(group.count, cycle or period or 1, family)
    if group.name != "layers":
        slots = tuple(LayerSlot(path=ROOT / group.name + s.path[1:], index=s.index) for s in slots)
    update = {"stacking": LayerStacking.STACKED, "slots": _remainder(slots, form), "axes": ()}
    return group.model_copy(update=update), []


def _names_inside(group: LayerGroup, variables: Sequence[Variable]) -> frozenset[str]:
    names: set[str] = set()
    for variable in variables:
        place = read(variable.slot.path)
        if variable.slot.collection == PARAMS and place is not None and place.parent == group.parent:
            names.update(place.rest.names)
    return frozenset(names)


def _cycle_problem(group: LayerGroup, family: Family) -> Problem:
    return Problem(
        code=Code.LAYERS_NOT_STACKABLE,
        path=in_params(group.at),
        expected=f"to know how many layers of {family.name} make a block: a run may choose it",
        found="layers that are all alike, which do not tell",
        hint="name it with --layer-cycle, or give a --template with stacked layers",
    )


def _remainder(slots: tuple[LayerSlot, ...], form: LayerForm) -> tuple[LayerSlot, ...]:
    """Gemma 4's remainder in the target's way."""
    stacked, auto = ROOT / REMAINDER / LOCAL, 0
    out = []
    for slot in slots:
        is_auto = len(slot.path) == 1 and slot.path.names[0].startswith(AUTO_REMAINDER)
        if is_auto or slot.path == stacked:
            named = LayerSlot(path=ROOT / f"{AUTO_REMAINDER}_{auto}")
            out.append(named if form.auto_remainder else LayerSlot(path=stacked, index=(auto,)))
            auto += 1
        else:
            out.append(slot)
    return tuple(out)
