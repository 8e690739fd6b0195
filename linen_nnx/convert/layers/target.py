"""What a layer group shall become: its names, its blocks, its axis."""

from collections.abc import Sequence

from linen_nnx.convert.layers.check import period_of
from linen_nnx.schema.ir import Variable
from linen_nnx.schema.layout import LayerGroup, LayerNames, LayerStacking
from linen_nnx.schema.model import Model
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


def axis_before(
    group: LayerGroup, stacking: LayerStacking | None, choice: AxisChoice
) -> tuple[int, list[Problem]]:
    """The axis that a group is stacked on. A problem where it is needed and not proved."""
    if group.stacking is LayerStacking.UNSTACKED:
        return (choice.source if choice.source is not None else DEFAULT_AXIS), []
    if group.axis is not None and (choice.stated is None or stacking is not LayerStacking.UNSTACKED):
        return group.axis, []
    if choice.stated is not None and choice.stated in group.axes:
        return choice.stated, []
    if stacking is not LayerStacking.UNSTACKED and choice.stated is None:
        # Nothing is restacked, so no axis is needed.
        return DEFAULT_AXIS, []
    return DEFAULT_AXIS, [_axis_problem(group, choice)]


def _axis_problem(group: LayerGroup, choice: AxisChoice) -> Problem:
    allowed = ", ".join(map(str, group.axes))
    if not group.axes:
        return Problem(
            code=Code.AXIS_NOT_FOUND,
            path=group.at,
            expected="an axis on which all arrays of the stack are equally long",
            found="none",
            hint="look at the shapes with inspect; the layers may not be stacked at all",
        )
    if choice.stated is not None:
        return Problem(
            code=Code.AXIS_NOT_FOUND,
            path=group.at,
            expected=f"layers stacked on axis {choice.stated}, as --layer-axis says",
            found=f"shapes that allow only axis {allowed}",
        )
    return Problem(
        code=Code.AXIS_AMBIGUOUS,
        path=group.at,
        expected="shapes that prove on which axis the layers are stacked",
        found=f"shapes that allow axis {allowed}",
        hint="name the axis with --layer-axis",
    )


def target_group(
    group: LayerGroup,
    stacking: LayerStacking | None,
    names: LayerNames,
    like: Sequence[LayerGroup],
    variables: Sequence[Variable],
) -> tuple[LayerGroup, list[Problem]]:
    """The group as it shall be."""
    wanted = stacking or group.stacking
    if wanted is LayerStacking.UNSTACKED:
        update = {"stacking": wanted, "names": names, "cycle": (), "remainder": (), "axes": ()}
        return group.model_copy(update=update), []
    if group.stacking is LayerStacking.STACKED:
        return group, []
    for other in like:
        same = other.parent == group.parent and other.name == group.name and other.count == group.count
        if same and other.stacking is LayerStacking.STACKED:
            return other, []
    return _new_stack(group, variables), []


def _new_stack(group: LayerGroup, variables: Sequence[Variable]) -> LayerGroup:
    """The blocks that the layers themselves show: the shortest cycle of like layers."""
    period = period_of(group, variables) or 1
    cycle = tuple(f"layers_{slot}" for slot in range(period)) if period > 1 else ()
    left = group.count % period
    remainder = tuple(f"layers_{slot}" for slot in range(left))
    update = {"stacking": LayerStacking.STACKED, "cycle": cycle, "remainder": remainder, "axes": ()}
    return group.model_copy(update=update)
