"""MaxText's Linen-shaped NNX train state: lift and lower."""

from collections.abc import Iterator, Mapping

from linen_nnx.convert.layers.recognise import recognise
from linen_nnx.convert.lifting import copied, lift_optimizer, lift_variables
from linen_nnx.convert.variables import BATCH_STATS, classify, classify_aux
from linen_nnx.schema.array import ArrayValue, EmptyValue
from linen_nnx.schema.ir import PARAMS, REFERENCE, RNGS, OptimizerLeaf, Slot, TrainState, Variable, is_field
from linen_nnx.schema.layout import Form, Layout
from linen_nnx.schema.maxtext import AUX_BASE, OPT_STATE, PARAMS_BASE, WRAPPED_FIELDS, MaxtextTrainState
from linen_nnx.schema.ops import Origin
from linen_nnx.schema.path import ROOT, KeyPath, SequenceKey
from linen_nnx.schema.placed import STEP
from linen_nnx.schema.plan import Write


def lift_maxtext(
    state: MaxtextTrainState, routes: Mapping[KeyPath, str], origin: Origin = Origin.SOURCE
) -> TrainState:
    """To the intermediate representation."""
    weights = lift_variables(PARAMS, state.params, PARAMS_BASE.__add__, origin)
    optimizer = lift_optimizer(state.opt_state, weights, OPT_STATE.__add__, origin)
    strays = {} if state.aux else _strays(state, optimizer)
    params = tuple(
        v if v.slot.path not in strays else _in_collection(v, strays[v.slot.path]) for v in weights
    )
    kinds = classify_aux(state.aux, routes)
    aux = tuple(
        _in_collection(v, kinds[v.slot.path])
        for v in lift_variables("aux", state.aux, AUX_BASE.__add__, origin)
    )
    variables = (*params, *aux)
    return TrainState(
        step=None if state.step is None else copied(state.step, STEP, origin),
        variables=variables,
        optimizer=optimizer,
        groups=recognise(variables),
    )


def _in_collection(variable: Variable, collection: str) -> Variable:
    return Variable(slot=Slot(collection=collection, path=variable.slot.path), leaf=variable.leaf)


def _strays(state: MaxtextTrainState, optimizer: tuple[OptimizerLeaf, ...]) -> dict[KeyPath, str]:
    """What runs of May to July 2026 left among the parameters: they took out keys named `rngs` alone.

    So what stands below that very key is none of theirs: a Linen module may be called so.
    """
    trained = {item.mirrors.path for item in optimizer if item.mirrors is not None}
    left = [entry for entry in state.params if RNGS not in entry.path.names and entry.path not in trained]
    kinds = classify(left, set(), {}).collections
    return {path: kind for path, kind in kinds.items() if kind in (RNGS, BATCH_STATS)}


def form_of_maxtext(state: MaxtextTrainState, lifted: TrainState) -> Form:
    """What is needed to write another like it."""
    return Form(
        layout=Layout.MAXTEXT,
        empties=tuple(item.at for item in lifted.optimizer if _is_empty_position(item)),
        groups=lifted.groups,
        step=state.step if isinstance(state.step, ArrayValue) else None,
    )


def maxtext_holds(item: Variable | OptimizerLeaf, form: Form, last_used: int) -> bool:
    """MaxText pads the top of the chain up to its last used entry, and stores no other empty state."""
    if isinstance(item, Variable):
        return item.slot.collection != REFERENCE
    if is_field(item):
        return False
    if item.mirrors is not None:
        return item.mirrors.collection == PARAMS
    used = is_top_position(item.at) and _index(item.at) < last_used
    return used or item.at in form.empties or not isinstance(item.leaf.value, EmptyValue)


def is_top_position(at: KeyPath) -> bool:
    """Whether `at` is a position of the outermost chain itself."""
    return len(at) == 1 and isinstance(at.keys[0], SequenceKey)


def _index(at: KeyPath) -> int:
    key = at.keys[0]
    return key.index if isinstance(key, SequenceKey) else -1


def last_used_position(optimizer: tuple[OptimizerLeaf, ...]) -> int:
    """The highest position of the outermost chain that holds a state; -1 if there is none."""
    used = [_index(item.at) for item in optimizer if len(item.at) and not _is_empty_position(item)]
    return max(used, default=-1)


def _is_empty_position(item: OptimizerLeaf) -> bool:
    return item.mirrors is None and isinstance(item.leaf.value, EmptyValue)


def lower_maxtext(state: TrainState, form: Form) -> Iterator[Write]:
    """To entries on disk."""
    del form
    if state.step is not None:
        yield Write(target=STEP, value=state.step.value, op=state.step.op)
    for variable in state.variables:
        base = PARAMS_BASE if variable.slot.collection == PARAMS else AUX_BASE
        yield Write(target=base + variable.slot.path, value=variable.leaf.value, op=variable.leaf.op)
    for item in state.optimizer:
        yield Write(target=OPT_STATE + _position(item), value=item.leaf.value, op=item.leaf.op)


def _position(item: OptimizerLeaf) -> KeyPath:
    top = item.at[:1] if len(item.at) and isinstance(item.at.keys[0], SequenceKey) else ROOT
    field = item.at[len(top) :]
    path = top + field.with_digits
    if item.mirrors is None:
        return path
    wrapped = len(field) == 1 and field.names[0] in WRAPPED_FIELDS
    return (path / PARAMS if wrapped else path) + item.mirrors.path
