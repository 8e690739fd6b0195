"""What cannot be held: into a side item on the way there, back into the state on the way back."""

from collections.abc import Sequence

from linen_nnx.convert.diloco import with_replicas
from linen_nnx.convert.layers.recognise import collect, recount
from linen_nnx.convert.passes.optimizer import is_gap
from linen_nnx.convert.store.protocol import Side
from linen_nnx.convert.variables import classify, classify_aux
from linen_nnx.schema.inventory import Entry
from linen_nnx.schema.ir import PARAMS, REFERENCE, Leaf, OptimizerLeaf, TrainState, Variable, is_field
from linen_nnx.schema.layout import Form, LayerStacking, Layout, Route
from linen_nnx.schema.ops import Copy, Fill, Origin, Ref
from linen_nnx.schema.path import ROOT, AttributeKey, DictKey, KeyPath
from linen_nnx.schema.plan import Place, Write
from linen_nnx.schema.residue import Filled, Kept, OptimizerAddress, Residue, VariableAddress


def with_side(state: TrainState, side: Side | None) -> TrainState:
    """The state with what an earlier conversion kept beside it, and with what it knew of the layers."""
    if side is None:
        return state
    axis = side.residue.layer_axis
    groups = recount(state.groups, collect(state.variables), [axis] * len(state.groups))
    state = _with(state.model_copy(update={"groups": groups}), side, inner=False)
    if state.inner is None:
        return state
    within = with_replicas(state.inner, groups, state.inner.replicas)
    return state.model_copy(update={"inner": _with(within, side, inner=True)})


def _with(state: TrainState, side: Side, *, inner: bool) -> TrainState:
    variables, optimizer = list(state.variables), list(state.optimizer)
    for kept in side.residue.kept:
        if kept.inner is not inner:
            continue
        leaf = Leaf(value=kept.value, op=Copy(source=Ref(origin=Origin.SIDE, path=kept.path)))
        match kept.address:
            case VariableAddress(slot=slot):
                variables.append(Variable(slot=slot, leaf=leaf))
            case OptimizerAddress(at=at, mirrors=mirrors):
                optimizer.append(OptimizerLeaf(at=at, mirrors=mirrors, leaf=leaf))
    return state.model_copy(update={"variables": tuple(variables), "optimizer": tuple(optimizer)})


def side_writes(state: TrainState) -> tuple[list[Write], list[Kept]]:
    """Writes into the side item for all that was set aside, and their addresses."""
    within = () if state.inner is None else state.inner.aside
    writes, kept = [], []
    for item, inner in (*((item, False) for item in state.aside), *((item, True) for item in within)):
        path, address = _address(item)
        path, leaf = (ROOT / "inner" + path if inner else path), item.leaf
        writes.append(Write(place=Place.SIDE, target=path, value=leaf.value, op=leaf.op))
        kept.append(Kept(path=path, value=leaf.value, address=address, inner=inner))
    return writes, kept


def _address(item: Variable | OptimizerLeaf) -> tuple[KeyPath, VariableAddress | OptimizerAddress]:
    if isinstance(item, Variable):
        return ROOT / "variables" / item.slot.collection + item.slot.path, VariableAddress(slot=item.slot)
    # On disk an attribute is a dict key, so a field of the state gets a place of its own.
    part = "fields" if is_field(item) else "optimizer"
    at = KeyPath(tuple(DictKey(k.name) if isinstance(k, AttributeKey) else k for k in item.at))
    if item.mirrors is None:
        return ROOT / part + at, OptimizerAddress(at=item.at)
    path = ROOT / f"{part}_moments" + at / item.mirrors.collection + item.mirrors.path
    return path, OptimizerAddress(at=item.at, mirrors=item.mirrors)


def put_in(side: Side | None, *, inner: bool = False) -> tuple[KeyPath, ...]:
    """Where a conversion put empty states into the source that this is the side of, for a layout's sake."""
    return () if side is None else tuple(one.at for one in side.residue.filled if one.inner is inner)


def _filled(state: TrainState, before: Side | None, *, inner: bool = False) -> list[Filled]:
    """Those of the target: what this conversion puts in, and what an earlier one did."""
    earlier = set(put_in(before, inner=inner))
    own = [] if state.inner is None else _filled(state.inner, before, inner=True)
    gaps = [item for item in state.optimizer if is_gap(item)]
    return [
        *(Filled(at=i.at, inner=inner) for i in gaps if isinstance(i.leaf.op, Fill) or i.at in earlier),
        *own,
    ]


def residue_of(
    source: Form, before: Side | None, state: TrainState, target: Form, kept: Sequence[Kept]
) -> Residue:
    """What the target's folder will say; `before` is what the source's says."""
    earlier = () if before is None else before.residue.origins
    within = None if source.inner is None else source.inner.layout
    origins = (source, *(form for form in earlier if not form.is_of(source.layout, within)))
    axes = {g.axis for g in state.groups if g.stacking is LayerStacking.STACKED and g.axis is not None}
    return Residue(
        form=target,
        origins=origins,
        routes=_routes(state, target),
        layer_axis=axes.pop() if len(axes) == 1 else None,
        kept=tuple(kept),
        filled=tuple(_filled(state, before)),
    )


def _routes(state: TrainState, target: Form) -> tuple[Route, ...]:
    """Collections that a reader of the target would not find by itself."""
    if state.inner is not None and target.inner is not None:
        return _routes(state.inner, target.inner)
    if target.layout is Layout.LINEN:
        return ()
    # Reference weights stand in a root of their own, at the very paths of the parameters.
    variables = [v for v in state.variables if v.slot.collection != REFERENCE]
    model = [
        Entry(path=v.slot.path, value=v.leaf.value)
        for v in variables
        if target.layout.is_nnx or v.slot.collection != PARAMS
    ]
    moments = {item.mirrors.path for item in state.optimizer if item.mirrors is not None}
    found = classify(model, moments, {}).collections if target.layout.is_nnx else classify_aux(model, {})
    return tuple(
        Route(path=v.slot.path, collection=v.slot.collection)
        for v in variables
        if found.get(v.slot.path, v.slot.collection) != v.slot.collection
    )
