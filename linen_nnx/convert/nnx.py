"""States of NNX variables (`nnx`, `tunix`, `params`): lift and lower."""

from collections.abc import Iterator, Mapping

from linen_nnx.convert.layers.recognise import recognise
from linen_nnx.convert.lifting import Where, copied, lift_optimizer, lift_variables
from linen_nnx.convert.variables import classify
from linen_nnx.schema.array import ArrayValue, EmptyValue
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.ir import (
    AVERAGE,
    PARAMS,
    REFERENCE,
    OptimizerLeaf,
    Slot,
    TrainState,
    Variable,
    is_field,
)
from linen_nnx.schema.layout import Form, Layout
from linen_nnx.schema.nnx import BASE, NnxShaped, Roots
from linen_nnx.schema.ops import Origin, refs
from linen_nnx.schema.path import ROOT, KeyPath, SequenceKey
from linen_nnx.schema.plan import Note, Write
from linen_nnx.schema.wire import VALUE


def _on_disk(inventory: Inventory, base: KeyPath | None) -> Where:
    """From a path below `base` to where it stands, with its last key `value` if it has one."""

    def where(path: KeyPath) -> KeyPath:
        bare = (base or ROOT) + path
        return bare if bare in inventory.by_path else bare / VALUE

    return where


def lift_nnx(
    state: NnxShaped,
    inventory: Inventory,
    routes: Mapping[KeyPath, str],
    origin: Origin = Origin.SOURCE,
) -> tuple[TrainState, tuple[Note, ...]]:
    """To the intermediate representation; `routes` name collections that earlier metadata knows."""
    whole, roots = "model", state.roots
    model = lift_variables(whole, state.model, _on_disk(inventory, roots.model), origin)
    optimizer = lift_optimizer(state.opt_state, model, _on_disk(inventory, roots.opt_state), origin)
    trained = {item.mirrors.path for item in optimizer if item.mirrors is not None}
    classified = classify(state.model, trained, routes)
    collections = classified.collections
    slots = {v.slot.path: _slot(state, collections[v.slot.path], v.slot.path) for v in model}
    variables = tuple([Variable(slot=slots[v.slot.path], leaf=v.leaf) for v in model])
    reference = lift_variables(REFERENCE, state.reference, _on_disk(inventory, roots.reference), origin)
    step = None
    if state.step is not None:
        step = copied(state.step, _on_disk(inventory, roots.step)(ROOT), origin)
    average = _average(state, _on_disk(inventory, roots.average), origin)
    lifted = TrainState(
        step=step,
        variables=(*variables, *reference),
        optimizer=tuple([_routed(item, slots, state) for item in (*optimizer, *average)]),
        groups=recognise(variables),
    )
    return lifted, classified.notes


def _average(state: NnxShaped, where: Where, origin: Origin) -> Iterator[OptimizerLeaf]:
    """What `nnx.EMA` keeps of the variables, each of which it mirrors."""
    for entry in state.average:
        slot = Slot(collection=PARAMS, path=entry.path)
        leaf = copied(entry.value, where(entry.path), origin)
        yield OptimizerLeaf(at=KeyPath((AVERAGE,)), mirrors=slot, leaf=leaf)


def _slot(state: NnxShaped, collection: str, path: KeyPath) -> Slot:
    return Slot(collection=collection, path=path[1:] if state.base else path)


def _routed(item: OptimizerLeaf, slots: Mapping[KeyPath, Slot], state: NnxShaped) -> OptimizerLeaf:
    if item.mirrors is None:
        return item
    path = item.mirrors.path
    # An empty may stand for a whole module, whose path is no variable's.
    slot = slots.get(path) or _slot(state, PARAMS, path)
    return OptimizerLeaf(at=item.at, mirrors=slot, factored=item.factored, leaf=item.leaf)


def form_of_nnx(state: NnxShaped, layout: Layout, lifted: TrainState) -> Form:
    """What is needed to write another like it."""
    return Form(
        layout=layout,
        leaves=state.leaves,
        wrapped=state.wrapped,
        base=state.base,
        empties=tuple(
            item.at
            for item in lifted.optimizer
            if item.mirrors is None
            and isinstance(item.leaf.value, EmptyValue)
            and not any(SequenceKey in map(type, ref.path) for ref in refs(item.leaf.op))
        ),
        groups=lifted.groups,
        step=state.step if isinstance(state.step, ArrayValue) else None,
    )


def nnx_holds(item: Variable | OptimizerLeaf, roots: Roots, form: Form) -> bool:
    """NNX stores no empty optimizer states, and moments of trained parameters only."""
    if isinstance(item, Variable):
        return item.slot.collection != REFERENCE or roots.reference is not None
    if is_field(item):
        mirrors = item.mirrors is not None and not isinstance(item.leaf.value, EmptyValue)
        return roots.average is not None and item.at.keys == (AVERAGE,) and mirrors
    if item.mirrors is None:
        return item.at in form.empties or not isinstance(item.leaf.value, EmptyValue)
    return item.mirrors.collection == PARAMS


def lower_nnx(state: TrainState, form: Form, roots: Roots) -> Iterator[Write]:
    """To entries on disk, each leaf bare."""
    below = KeyPath((BASE,)) if form.base else ROOT
    if state.step is not None and roots.step is not None:
        yield Write(target=roots.step, value=state.step.value, op=state.step.op)
    model = roots.model + below
    for variable in state.variables:
        root = model
        if variable.slot.collection == REFERENCE and roots.reference is not None:
            root = roots.reference
        target = root + variable.slot.path
        yield Write(target=target, value=variable.leaf.value, op=variable.leaf.op)
    # Moments stand in a few places, each of them as many as there are parameters.
    heads = {item.at: _head(item, roots) for item in {item.at: item for item in state.optimizer}.values()}
    bases = {at: head + below for at, head in heads.items()}
    for item in state.optimizer:
        target = heads[item.at] if item.mirrors is None else bases[item.at] + item.mirrors.path
        yield Write(target=target, value=item.leaf.value, op=item.leaf.op)


def _head(item: OptimizerLeaf, roots: Roots) -> KeyPath:
    """Where a place of the optimizer stands, or an average beside it."""
    place = item.at.with_digits
    if is_field(item) and roots.average is not None:
        return roots.average + place[1:]
    return (roots.opt_state or ROOT) + place
