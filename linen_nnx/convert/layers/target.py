"""What a layer group shall become: its names, its slots, its axis."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from linen_nnx.convert.layers.eras import Inside, Left, era_in, era_of, slots_in, today
from linen_nnx.convert.layers.families import Family, family_of
from linen_nnx.convert.layers.faults import in_params
from linen_nnx.convert.layers.fresh import fresh_slots
from linen_nnx.convert.layers.names import AUTO_REMAINDER, GLOBAL, LAYERS, LOCAL, REMAINDER
from linen_nnx.convert.layers.recognise import GroupKey, Seen, is_decoder
from linen_nnx.schema.choices import Decoder
from linen_nnx.schema.layout import LayerGroup, LayerNames, LayerSlot, LayerStacking, Layout
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


class LayerForm(Model):
    """The form asked for. `stacking` None keeps what is; `like` are the groups of a state to be imitated."""

    stacking: LayerStacking | None = None
    names: LayerNames
    axis: AxisChoice = AxisChoice()
    cycle: Annotated[int, Field(ge=1)] | None = None
    """Layers in one block of a new stack, as the user states it."""
    decoder: Decoder | None = None
    """Whose layers they are, as the user states it."""
    like: tuple[LayerGroup, ...] = ()
    once: tuple[LayerGroup, ...] = ()
    """Groups of the same layers in other layouts, as earlier conversions saw them: they tell the blocks."""
    layout: Layout = Layout.NNX
    """Gemma 4's layers stand elsewhere in each."""
    imitate: bool = True
    """Whether `like` are taken as they are; else names of an era that MaxText reads no more are renewed."""


def axis_before(group: LayerGroup, form: LayerForm) -> tuple[int, list[Problem]]:
    """The axis that a group is stacked on. A problem where it is needed and not proved."""
    if group.stacking is LayerStacking.UNSTACKED:
        return (form.axis.source if form.axis.source is not None else DEFAULT_AXIS), []
    stated, unstack = form.axis.stated, form.stacking is LayerStacking.UNSTACKED
    if group.axis is not None and (stated is None or not unstack):
        return group.axis, []
    if not group.has_stacks:
        return (stated if stated is not None else DEFAULT_AXIS), []
    if stated is not None and stated in group.axes:
        return stated, []
    if not unstack and stated is None:
        # Nothing is restacked, so no axis is needed.
        return DEFAULT_AXIS, []
    return DEFAULT_AXIS, [axis_problem(group, stated)]


def axis_problem(group: LayerGroup, stated: int | None) -> Problem:
    """The axis of a group is needed, and shapes do not prove it."""
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
    group: LayerGroup, form: LayerForm, seen: Mapping[GroupKey, Seen]
) -> tuple[LayerGroup, list[Problem]]:
    """The group as it shall be."""
    found = seen[group.parent, group.name]
    if (problem := _other_decoder(group, form.decoder, found)) is not None:
        return group, [problem]
    if (form.stacking or group.stacking) is LayerStacking.UNSTACKED:
        update = {"stacking": LayerStacking.UNSTACKED, "names": form.names, "slots": (), "axes": ()}
        return group.model_copy(update=update), []
    slots = like = _slots_like(group, form.like)
    if slots is None:
        slots = group.slots if group.stacking is LayerStacking.STACKED else _slots_like(group, form.once)
    if slots is None:
        newest = form.layout is not Layout.LINEN
        slots, problem = fresh_slots(group, seen, form.cycle, form.decoder, newest=newest)
        if problem is not None:
            return group, [problem]
    if like is None or not form.imitate:
        slots, problem = _of_era(group, slots, form, found)
        if problem is not None:
            return group, [problem]
    axes = group.axes if group.stacking is LayerStacking.STACKED else ()
    return group.model_copy(update={"stacking": LayerStacking.STACKED, "slots": slots, "axes": axes}), []


def unsettled(group: LayerGroup, form: LayerForm, seen: Mapping[GroupKey, Seen]) -> Family | None:
    """The family whose newest runs may not read these stacks, where a twin of it reads no others."""
    if form.layout is not Layout.MAXTEXT or form.decoder is not None or not _in_slots(group):
        return None
    found = seen[group.parent, group.name]
    family = family_of(found.names, found.beside)
    return family if family is not None and family.twin is not None else None


def _in_slots(group: LayerGroup) -> bool:
    """Whether it stands in blocks with an array for each of their layers."""
    return any(len(slot.path) > 1 for slot in group.slots) and not _has_parts(group)


def _has_parts(group: LayerGroup) -> bool:
    return any(slot.path.names[-1] in (LOCAL, GLOBAL) for slot in group.slots)


def _other_decoder(group: LayerGroup, stated: Decoder | None, found: Seen) -> Problem | None:
    """The user names a decoder whose layers these are not."""
    if stated is None or group.name != LAYERS or not is_decoder(group.parent):
        return None
    family = family_of(found.names, found.beside, stated)
    fits = family is not None and family.name is stated and (family.local_stack or not _has_parts(group))
    if fits:
        return None
    return Problem(
        code=Code.LAYERS_NOT_STACKABLE,
        path=in_params(group.at),
        expected=f"the layers of {stated}, as --decoder says",
        found="layers of other names",
    )


def _slots_like(group: LayerGroup, groups: Sequence[LayerGroup]) -> tuple[LayerSlot, ...] | None:
    """The slots that one of `groups` has for the same layers."""
    for other in groups:
        same = other.parent == group.parent and other.name == group.name and other.count == group.count
        if same and other.stacking is LayerStacking.STACKED:
            return other.slots
    return None


def _of_era(
    group: LayerGroup, slots: tuple[LayerSlot, ...], form: LayerForm, found: Seen
) -> tuple[tuple[LayerSlot, ...], Problem | None]:
    """The slots of a block that has changed in the target's way."""
    if not any(len(slot.path) > 1 or slot.path.names[0].startswith(AUTO_REMAINDER) for slot in slots):
        return slots, None
    family = family_of(found.names, found.beside, form.decoder)
    if family is None or not family.local_stack:
        return slots, None
    before = era_of(family, slots)
    if family.twin is not None and form.decoder is None and before.inside is Inside.SLOTS:
        return slots, None
    in_block = sum(slot.index[:1] == (0,) and slot.path.names[0] != REMAINDER for slot in slots)
    cycle = in_block or family.cycle or group.count + 1
    renew = form.decoder is not None and form.layout is not Layout.LINEN
    era = today(family) if renew else era_in(family, form.layout, before)
    if era.left is Left.AUTO and not family.linen_parts and group.count % cycle:
        return slots, _no_remainder(group, family, cycle)
    return slots_in(era, group.count, cycle), None


def _no_remainder(group: LayerGroup, family: Family, cycle: int) -> Problem:
    return Problem(
        code=Code.LAYERS_NOT_STACKABLE,
        path=in_params(group.at),
        expected=f"whole blocks of {cycle} layers: Linen runs of {family.name} stack no others",
        found=f"{group.count} layers",
        hint="convert with --no-scan-layers",
    )
