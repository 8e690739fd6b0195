"""The closed table of layouts: each verb dispatched to the file of its layout."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, assert_never

from linen_nnx.convert.detect import inner_layout
from linen_nnx.convert.diloco import diloco_holds, lift_diloco, lower_diloco, part_problems, with_replicas
from linen_nnx.convert.era_names import aged, old_names, renewed
from linen_nnx.convert.linen import (
    form_of_linen,
    lift_linen,
    linen_holds,
    lower_linen,
)
from linen_nnx.convert.maxtext import (
    form_of_maxtext,
    last_used_position,
    lift_maxtext,
    lower_maxtext,
    maxtext_holds,
)
from linen_nnx.convert.nnx import form_of_nnx, lift_nnx, lower_nnx, nnx_holds
from linen_nnx.schema.array import EmptyValue
from linen_nnx.schema.diloco import INNER, DilocoTrainState
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.ir import Leaf, OptimizerLeaf, Slot, TrainState, Variable, outside, read_address
from linen_nnx.schema.layout import Form, Layout
from linen_nnx.schema.linen import LinenTrainState
from linen_nnx.schema.maxtext import MaxtextTrainState
from linen_nnx.schema.nnx import NnxTrainState, ParamsState, Roots, TunixTrainState
from linen_nnx.schema.ops import Fill, Origin
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Drop, Note, Write
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.wire import Wrapped

AnyState = (
    LinenTrainState | NnxTrainState | MaxtextTrainState | ParamsState | TunixTrainState | DilocoTrainState
)
"""A train state in any wire layout."""


@dataclass(frozen=True, slots=True)
class Lifted:
    """A checkpoint in the intermediate representation, and its form."""

    state: TrainState
    form: Form
    notes: tuple[Note, ...] = ()
    drops: tuple[Drop, ...] = ()
    """Entries that stand around the state and are no part of it."""


def nnx_roots(layout: Literal[Layout.NNX, Layout.PARAMS, Layout.TUNIX]) -> Roots:
    """Where the parts of a state of NNX variables stand."""
    match layout:
        case Layout.NNX:
            return NnxTrainState.roots
        case Layout.PARAMS:
            return ParamsState.roots
        case Layout.TUNIX:
            return TunixTrainState.roots
        case _:
            assert_never(layout)


def examine(
    inventory: Inventory, layout: Layout, wrapped: Wrapped | None = None
) -> tuple[AnyState, list[Problem]]:
    """What of the entries is of `layout`, and every way in which they are not."""
    wire, problems = model_of(layout).examine(inventory, wrapped)
    if isinstance(wire, DilocoTrainState):
        problems = [*problems, *part_problems(wire, inner_layout(wire))]
    return wire, problems


def model_of(layout: Layout) -> type[AnyState]:
    """The pydantic model of a layout."""
    match layout:
        case Layout.LINEN:
            return LinenTrainState
        case Layout.NNX:
            return NnxTrainState
        case Layout.MAXTEXT:
            return MaxtextTrainState
        case Layout.PARAMS:
            return ParamsState
        case Layout.TUNIX:
            return TunixTrainState
        case Layout.DILOCO:
            return DilocoTrainState
        case _:
            assert_never(layout)


def lift(
    wire: AnyState, inventory: Inventory, routes: Mapping[KeyPath, str], origin: Origin = Origin.SOURCE
) -> Lifted:
    """To the intermediate representation, with today's names."""
    lifted = _lift(wire, inventory, routes, origin)
    names = old_names(variable.slot.path for variable in lifted.state.variables)
    if not names:
        return lifted
    state = renewed(lifted.state, names)
    form = lifted.form.model_copy(update={"old_names": names, "groups": state.groups})
    if state.inner is not None and form.inner is not None:
        inner = with_replicas(renewed(state.inner, names), state.groups, state.inner.replicas)
        state = state.model_copy(update={"inner": inner})
        form = form.model_copy(update={"inner": form.inner.model_copy(update={"old_names": names})})
    return Lifted(state, form, lifted.notes)


def _lift(
    wire: AnyState, inventory: Inventory, routes: Mapping[KeyPath, str], origin: Origin = Origin.SOURCE
) -> Lifted:
    match wire:
        case LinenTrainState():
            state = lift_linen(wire, origin)
            return Lifted(state, form_of_linen(wire, state))
        case NnxTrainState() | ParamsState() | TunixTrainState():
            state, notes = lift_nnx(wire, inventory, routes, origin)
            return Lifted(state, form_of_nnx(wire, Layout(wire.layout), state), notes)
        case MaxtextTrainState():
            state = lift_maxtext(wire, routes, origin)
            return Lifted(state, form_of_maxtext(wire, state))
        case DilocoTrainState():
            return Lifted(*lift_diloco(wire, inner_layout(wire), routes, origin))
        case _:
            assert_never(wire)


Holds = Callable[[Variable | OptimizerLeaf], bool]
"""Whether a layout has a place for a leaf."""


def holder(state: TrainState, form: Form) -> Holds:
    """What of `state` the layout of `form` has a place for."""
    match form.layout:
        case Layout.LINEN:
            return lambda item: linen_holds(item, form)
        case Layout.NNX | Layout.PARAMS | Layout.TUNIX:
            roots = nnx_roots(form.layout)
            return lambda item: nnx_holds(item, roots, form)
        case Layout.MAXTEXT:
            last_used = last_used_position(state.optimizer)
            return lambda item: maxtext_holds(item, form, last_used)
        case Layout.DILOCO:
            return lambda item: diloco_holds(item, form)
        case _:
            assert_never(form.layout)


def lower(state: TrainState, form: Form) -> Iterator[Write]:
    """To entries on disk, under the names of the form's era, none in a wrapper yet.

    Total on a state that the layout holds.
    """
    state = aged(state, form.old_names)
    match form.layout:
        case Layout.LINEN:
            return lower_linen(state, form)
        case Layout.NNX | Layout.PARAMS | Layout.TUNIX:
            return lower_nnx(state, form, nnx_roots(form.layout))
        case Layout.MAXTEXT:
            return lower_maxtext(state, form)
        case Layout.DILOCO:
            return lower_diloco(state, form)
        case _:
            assert_never(form.layout)


def on_disk(problems: Iterable[Problem], form: Form) -> list[Problem]:
    """The problems of a state, each address replaced by the path where its leaf stands in `form`."""
    return [problem.model_copy(update={"path": _place(problem.path, form)}) for problem in problems]


def _place(path: KeyPath, form: Form) -> KeyPath:
    if (within := outside(path)) is not None and form.inner is not None:
        return INNER + _place(within, form.inner)
    named = read_address(path)
    if named is None:
        return path
    leaf = Leaf(value=EmptyValue(), op=Fill(value=EmptyValue()))
    if isinstance(named, Slot):
        state = TrainState(variables=(Variable(slot=named, leaf=leaf),))
    else:
        at, mirrors = named
        state = TrainState(variables=(), optimizer=(OptimizerLeaf(at=at, mirrors=mirrors, leaf=leaf),))
    # A problem may be of a whole layer, so leaves are not given their last key.
    return next(iter(lower(state, form))).target
