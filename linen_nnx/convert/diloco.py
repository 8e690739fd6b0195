"""DiLoCo: lift and lower. Outside an ordinary state, inside one with a replica axis before all others."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import assert_never

from linen_nnx.convert.era_names import aged
from linen_nnx.convert.linen import form_of_linen, lift_linen, linen_holds, lower_linen
from linen_nnx.convert.maxtext import form_of_maxtext, lift_maxtext, lower_maxtext
from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.diloco import INNER, OUTER_OPT_STATE, DilocoTrainState
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.ir import PARAMS, Leaf, OptimizerLeaf, TrainState, Variable, is_field
from linen_nnx.schema.layout import Form, LayerGroup, Layout
from linen_nnx.schema.linen import OPT_STATE, STEP, LinenTrainState
from linen_nnx.schema.linen import PARAMS as PARAMS_BASE
from linen_nnx.schema.maxtext import PARAMS_BASE as NESTED_PARAMS
from linen_nnx.schema.maxtext import MaxtextTrainState
from linen_nnx.schema.ops import Copy, Origin, Ref, logical_rank, taken_spec
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Write
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.wire import joined

REPLICA_AXIS = 0
"""The axis of the replicas: all others, the layer axis too, stand one further back."""


def lift_diloco(
    wire: DilocoTrainState,
    inner_layout: Layout,
    routes: Mapping[KeyPath, str],
    origin: Origin = Origin.SOURCE,
) -> tuple[TrainState, Form]:
    """To the intermediate representation; `inner_layout` is `linen` or `maxtext`."""
    outer, form = _lift(_outer(wire), inner_layout, {}, origin)
    inner, inner_form = _lift(Inventory.of(wire.inner), inner_layout, routes, origin)
    outer = _relocated(outer, _outside)
    inner = with_replicas(_relocated(inner, INNER.__add__), outer.groups, wire.replicas)
    form = form.model_copy(update={"layout": Layout.DILOCO, "inner": inner_form, "step": None})
    return outer.model_copy(update={"inner": inner}), form


def with_replicas(inner: TrainState, groups: tuple[LayerGroup, ...], replicas: int | None) -> TrainState:
    """The inner state with the layers of the outer one, whose shapes have no replica axis in the way."""
    shifted = tuple(g.model_copy(update={"axes": tuple(axis + 1 for axis in g.axes)}) for g in groups)
    return inner.model_copy(update={"groups": shifted, "replicas": replicas})


def _outer(wire: DilocoTrainState) -> Inventory:
    """The outer state as if it were an ordinary one."""
    step = () if wire.step is None else (Entry(path=STEP, value=wire.step),)
    return Inventory.of([*step, *joined(PARAMS_BASE, wire.params), *joined(OPT_STATE, wire.outer_opt_state)])


def part_problems(wire: DilocoTrainState, layout: Layout) -> list[Problem]:
    """What is wrong with the outer state, and with one replica of the inner one, as states of `layout`."""
    model = LinenTrainState if layout is Layout.LINEN else MaxtextTrainState
    replica = Inventory.of(Entry(path=e.path, value=_of_one_replica(e.value)) for e in wire.inner)
    outer = [(problem, _outside) for problem in model.examine(_outer(wire))[1] if wire.params]
    inner = [(problem, INNER.__add__) for problem in model.examine(replica)[1] if wire.inner]
    return [problem.model_copy(update={"path": place(problem.path)}) for problem, place in [*outer, *inner]]


def _of_one_replica(value: Value) -> Value:
    if not isinstance(value, ArrayValue) or not logical_rank(value.spec):
        return value
    return ArrayValue(spec=taken_spec(value.spec, REPLICA_AXIS), holder=value.holder)


def _lift(
    inventory: Inventory, layout: Layout, routes: Mapping[KeyPath, str], origin: Origin
) -> tuple[TrainState, Form]:
    if layout is Layout.LINEN:
        linen = LinenTrainState.read(inventory)
        state = lift_linen(linen, origin)
        return state, form_of_linen(linen, state)
    maxtext = MaxtextTrainState.read(inventory)
    state = lift_maxtext(maxtext, routes, origin)
    return state, form_of_maxtext(maxtext, state)


def _outside(path: KeyPath) -> KeyPath:
    return OUTER_OPT_STATE + path[len(OPT_STATE) :] if path.startswith(OPT_STATE) else path


def _relocated(state: TrainState, place: Callable[[KeyPath], KeyPath]) -> TrainState:
    """The state, its leaves read from elsewhere."""

    def moved(leaf: Leaf) -> Leaf:
        match leaf.op:
            case Copy(source=Ref(origin=origin, path=path)):
                return replace(leaf, op=Copy(source=Ref(origin=origin, path=place(path))))
            case _:
                return leaf

    return state.model_copy(
        update={
            "step": None if state.step is None else moved(state.step),
            "variables": tuple(replace(v, leaf=moved(v.leaf)) for v in state.variables),
            "optimizer": tuple(replace(o, leaf=moved(o.leaf)) for o in state.optimizer),
        }
    )


def inner_form(form: Form) -> Form:
    """The form of the inner state."""
    assert form.inner is not None, "a form of DiLoCo has one"
    return form.inner


def diloco_holds(item: Variable | OptimizerLeaf, form: Form) -> bool:
    """Linen's outer state holds every collection, that of NNX the weights; both keep the chain as it is."""
    if inner_form(form).layout is Layout.LINEN:
        return linen_holds(item, form)
    if isinstance(item, Variable):
        return item.slot.collection == PARAMS
    return not is_field(item) and (item.mirrors is None or item.mirrors.collection == PARAMS)


def lower_diloco(state: TrainState, form: Form) -> Iterator[Write]:
    """To entries on disk."""
    inner = inner_form(form)
    match inner.layout:
        case Layout.LINEN:
            for write in lower_linen(state, form):
                yield replace(write, target=_outside(write.target))
            below = lower_linen(aged(state.inner, inner.old_names), inner) if state.inner else iter(())
        case Layout.MAXTEXT:
            yield from _lower_outer(state)
            below = lower_maxtext(state.inner, inner) if state.inner else iter(())
        case Layout.NNX | Layout.PARAMS | Layout.TUNIX | Layout.DILOCO:
            raise AssertionError(f"no inner state is {inner.layout}")
        case _:
            assert_never(inner.layout)
    for write in below:
        yield replace(write, target=INNER + write.target)


def _lower_outer(state: TrainState) -> Iterator[Write]:
    """The outer state of an NNX run: its momentum has no collection level, its chain stays a list."""
    if state.step is not None:
        yield Write(target=STEP, value=state.step.value, op=state.step.op)
    for variable in state.variables:
        leaf = variable.leaf
        yield Write(target=NESTED_PARAMS + variable.slot.path, value=leaf.value, op=leaf.op)
    for item in state.optimizer:
        path = item.at if item.mirrors is None else item.at + item.mirrors.path
        yield Write(target=OUTER_OPT_STATE + path, value=item.leaf.value, op=item.leaf.op)
