"""Linen `TrainState`: lift and lower."""

from collections.abc import Iterator

from linen_nnx.convert.layers.recognise import recognise
from linen_nnx.convert.lifting import copied, lift_optimizer, lift_variables
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.ir import PARAMS, RNGS, UNKNOWN, OptimizerLeaf, TrainState, Variable
from linen_nnx.schema.layout import Form, Layout
from linen_nnx.schema.linen import OPT_STATE, STEP, LinenTrainState
from linen_nnx.schema.linen import PARAMS as PARAMS_BASE
from linen_nnx.schema.ops import Origin
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.plan import Write


def lift_linen(state: LinenTrainState, origin: Origin = Origin.SOURCE) -> TrainState:
    """To the intermediate representation."""

    def where(collection: str, path: KeyPath) -> KeyPath:
        return (PARAMS_BASE / collection if state.nested_params else PARAMS_BASE) + path

    variables = tuple(
        variable
        for collection in state.collections
        for variable in lift_variables(
            collection.name,
            collection.entries,
            lambda path, name=collection.name: where(name, path),  # type: ignore[misc]
            origin,
        )
    )
    return TrainState(
        step=None if state.step is None else copied(state.step, STEP, origin),
        variables=variables,
        optimizer=lift_optimizer(
            state.opt_state, {c.name: c.entries for c in state.collections}, OPT_STATE.__add__, origin
        ),
        groups=recognise(variables),
    )


def form_of_linen(state: LinenTrainState, lifted: TrainState) -> Form:
    """What is needed to write another like it."""
    return Form(
        layout=Layout.LINEN,
        nested_params=state.nested_params,
        groups=lifted.groups,
        step=state.step if isinstance(state.step, ArrayValue) else None,
    )


def linen_holds(item: Variable | OptimizerLeaf, form: Form) -> bool:
    """Linen has no place for PRNG streams, nor for variables of an unknown collection."""
    slot = item.slot if isinstance(item, Variable) else item.mirrors
    if slot is None:
        return True
    return slot.collection not in (RNGS, UNKNOWN) and (form.nested_params or slot.collection == PARAMS)


def lower_linen(state: TrainState, form: Form) -> Iterator[Write]:
    """To entries on disk."""
    if state.step is not None:
        yield Write(target=STEP, value=state.step.value, op=state.step.op)
    for variable in state.variables:
        base = PARAMS_BASE / variable.slot.collection if form.nested_params else PARAMS_BASE
        yield Write(target=base + variable.slot.path, value=variable.leaf.value, op=variable.leaf.op)
    for item in state.optimizer:
        target = OPT_STATE + item.at
        if item.mirrors is not None:
            level = ROOT / item.mirrors.collection if form.nested_params else ROOT
            target = target + level + item.mirrors.path
        yield Write(target=target, value=item.leaf.value, op=item.leaf.op)
