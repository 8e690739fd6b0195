"""Linen `TrainState`: parse, lift, lower."""

from collections.abc import Iterator

from linen_nnx.convert.layers.recognise import recognise
from linen_nnx.convert.lifting import copied, lift_optimizer, lift_variables
from linen_nnx.convert.split import leaf_at, unknown_entries
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.errors import LayoutError, raise_if
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.ir import PARAMS, RNGS, UNKNOWN, OptimizerLeaf, TrainState, Variable
from linen_nnx.schema.layout import Form, Layout
from linen_nnx.schema.linen import TOP, LinenCollection, LinenTrainState
from linen_nnx.schema.ops import Origin
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.plan import Write
from linen_nnx.schema.problem import Problem

_PARAMS = ROOT / "params"
_OPT_STATE = ROOT / "opt_state"


def validate_linen(inventory: Inventory) -> list[Problem]:
    """Every way in which the entries are not a Linen train state."""
    return [*unknown_entries(inventory, [ROOT / name for name in TOP]), *_wire(inventory).check()]


def parse_linen(inventory: Inventory) -> LinenTrainState:
    """Read the layout. Raises `LayoutError` with every problem."""
    raise_if(validate_linen(inventory), LayoutError)
    return _wire(inventory)


def _wire(inventory: Inventory) -> LinenTrainState:
    entries = inventory.below(_PARAMS)
    names = tuple(dict.fromkeys(entry.path.names[0] for entry in entries if len(entry.path)))
    nested = PARAMS in names
    if nested:
        collections = tuple(LinenCollection(name=n, entries=inventory.below(_PARAMS / n)) for n in names)
    else:
        collections = (LinenCollection(name=PARAMS, entries=entries),) if entries else ()
    return LinenTrainState(
        step=leaf_at(inventory, ROOT / "step"),
        nested_params=nested or not entries,
        collections=collections,
        opt_state=inventory.below(_OPT_STATE),
    )


def lift_linen(state: LinenTrainState, origin: Origin = Origin.SOURCE) -> TrainState:
    """To the intermediate representation."""

    def where(collection: str, path: KeyPath) -> KeyPath:
        return (_PARAMS / collection if state.nested_params else _PARAMS) + path

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
        step=None if state.step is None else copied(state.step, ROOT / "step", origin),
        variables=variables,
        optimizer=lift_optimizer(
            state.opt_state, {c.name: c.entries for c in state.collections}, _OPT_STATE.__add__, origin
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
        yield Write(target=ROOT / "step", value=state.step.value, op=state.step.op)
    for variable in state.variables:
        base = _PARAMS / variable.slot.collection if form.nested_params else _PARAMS
        yield Write(target=base + variable.slot.path, value=variable.leaf.value, op=variable.leaf.op)
    for item in state.optimizer:
        target = _OPT_STATE + item.at
        if item.mirrors is not None:
            level = ROOT / item.mirrors.collection if form.nested_params else ROOT
            target = target + level + item.mirrors.path
        yield Write(target=target, value=item.leaf.value, op=item.leaf.op)
