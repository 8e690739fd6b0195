"""Linen `TrainState`: lift and lower."""

from collections.abc import Iterator
from dataclasses import replace

from linen_nnx.convert.layers.recognise import recognise
from linen_nnx.convert.lifting import Where, copied, lift_optimizer, lift_variables
from linen_nnx.convert.mirrors import Chains
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.inventory import Entry
from linen_nnx.schema.ir import (
    PARAMS,
    RNGS,
    UNKNOWN,
    OptimizerLeaf,
    TrainState,
    Variable,
    is_beside,
    is_field,
)
from linen_nnx.schema.layout import Form, Layout
from linen_nnx.schema.linen import OPT_STATE, STEP, LinenTrainState
from linen_nnx.schema.linen import PARAMS as PARAMS_BASE
from linen_nnx.schema.ops import Copy, Origin
from linen_nnx.schema.path import ROOT, AttributeKey, KeyPath
from linen_nnx.schema.plan import Write
from linen_nnx.schema.wire import VALUE, joined


def lift_linen(state: LinenTrainState, origin: Origin = Origin.SOURCE) -> TrainState:
    """To the intermediate representation. Boxes are opened: their key `value` is no part of a path."""
    variables = tuple(
        variable
        for collection in state.collections
        for variable in lift_variables(
            collection.name,
            _unboxed(state, state.base_of(collection), collection.entries),
            _on_disk(state.base_of(collection), collection.entries),
            origin,
        )
    )
    return TrainState(
        step=None if state.step is None else copied(state.step, STEP, origin),
        variables=variables,
        optimizer=(
            *lift_optimizer(
                _unboxed(state, OPT_STATE, state.opt_state),
                variables,
                _on_disk(OPT_STATE, state.opt_state),
                origin,
                Chains.LISTS,
            ),
            *_lift_fields(state, variables, origin),
        ),
        groups=recognise(variables),
    )


def _lift_fields(
    state: LinenTrainState, variables: tuple[Variable, ...], origin: Origin
) -> Iterator[OptimizerLeaf]:
    """Fields of a subclass, each marked by an attribute key; averages mirror the parameters."""
    entries = tuple(entry for field in state.fields for entry in joined(ROOT / field.name, field.entries))
    for leaf in lift_optimizer(
        _unboxed(state, ROOT, entries), variables, _on_disk(ROOT, entries), origin, Chains.LISTS
    ):
        mark = AttributeKey(leaf.at.names[0])
        yield replace(leaf, at=KeyPath((mark, *leaf.at[1:])))


def _unboxed(state: LinenTrainState, base: KeyPath, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    if not state.boxed:
        return entries
    boxed = set(state.boxed)
    return tuple(
        Entry(path=e.path[:-1], value=e.value) if base + e.path[:-1] in boxed else e for e in entries
    )


def _on_disk(base: KeyPath, entries: tuple[Entry, ...]) -> Where:
    paths = {entry.path for entry in entries}

    def where(path: KeyPath) -> KeyPath:
        return base + (path if path in paths else path / VALUE)

    return where


def form_of_linen(state: LinenTrainState, lifted: TrainState) -> Form:
    """What is needed to write another like it."""
    return Form(
        layout=Layout.LINEN,
        nested_params=state.nested_params,
        collections=tuple(c.name for c in state.collections),
        field_collections=tuple(c.name for c in state.collections if c.is_field),
        odd_moments=_odd_moments(state, lifted),
        wrapped=state.boxed,
        groups=lifted.groups,
        step=state.step if isinstance(state.step, ArrayValue) else None,
    )


def _odd_moments(state: LinenTrainState, lifted: TrainState) -> tuple[KeyPath, ...]:
    boxed = set(state.boxed)
    odd, averages = set(), _averages_of_all(lifted)
    usual: dict[KeyPath, int] = {}
    """How much longer a moment's path is than its parameter's, where the layout keeps it as it should."""
    for item in lifted.optimizer:
        if item.mirrors is None:
            continue
        # As it was lifted.
        assert isinstance(item.leaf.op, Copy)
        path = item.leaf.op.source.path
        bare = path[:-1] if boxed and path[:-1] in boxed else path
        if item.at not in usual:
            collection = item.at in averages if is_field(item) else state.nested_params
            usual[item.at] = len(_optimizer_place(item)) + int(collection)
        if len(bare) - len(item.mirrors.path) != usual[item.at]:
            odd.add(item.at)
    return tuple(sorted(odd, key=KeyPath.natural))


def _averages_of_all(state: TrainState) -> set[KeyPath]:
    """Fields that mirror more than parameters: the collections of what they mirror stand in them."""
    return {
        item.at
        for item in state.optimizer
        if is_field(item) and item.mirrors is not None and item.mirrors.collection != PARAMS
    }


def linen_holds(item: Variable | OptimizerLeaf, form: Form) -> bool:
    """Linen has no place for PRNG streams, nor for variables of an unknown collection."""
    slot = item.slot if isinstance(item, Variable) else item.mirrors
    if isinstance(item, OptimizerLeaf) and is_beside(item.at):
        return form.nested is not None
    if slot is None or is_field(item):
        return True
    held = form.nested_params or slot.collection in (PARAMS, *form.field_collections)
    return held and (slot.collection in form.collections or slot.collection not in (RNGS, UNKNOWN))


def lower_linen(state: TrainState, form: Form) -> Iterator[Write]:
    """To entries on disk, without boxes."""
    odd, averages = set(form.odd_moments), _averages_of_all(state)
    if state.step is not None:
        yield Write(target=STEP, value=state.step.value, op=state.step.op)
    for variable in state.variables:
        target = _base(variable.slot.collection, form) + variable.slot.path
        yield Write(target=target, value=variable.leaf.value, op=variable.leaf.op)
    for item in state.optimizer:
        target = _optimizer_place(item)
        if item.mirrors is not None:
            usual = item.at in averages if is_field(item) else form.nested_params
            levels = usual != (item.at in odd)
            target = (target / item.mirrors.collection if levels else target) + item.mirrors.path
        yield Write(target=target, value=item.leaf.value, op=item.leaf.op)


def _optimizer_place(item: OptimizerLeaf) -> KeyPath:
    if is_beside(item.at):
        return item.at
    return ROOT / item.at.names[0] + item.at[1:] if is_field(item) else OPT_STATE + item.at


def _base(collection: str, form: Form) -> KeyPath:
    if collection in form.field_collections:
        return ROOT / collection
    return PARAMS_BASE / collection if form.nested_params else PARAMS_BASE
