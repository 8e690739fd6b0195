"""There and back again: every entry and every byte of any train state."""

from dataclasses import replace

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from linen_nnx.schema.array import DType
from linen_nnx.schema.errors import ProblemsError
from linen_nnx.schema.layout import LayerNames, LayerStacking, Layout, Leaves
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.plan import Plan
from linen_nnx.schema.problem import Code
from tests.properties.held import Held, converted_or_refused, difference
from tests.properties.states import (
    Chain,
    Fields,
    Form,
    Group,
    Mirror,
    Node,
    State,
    Var,
    array,
    linen,
    nnx,
    seen_in_nnx,
)
from tests.properties.strategies import FORMS, LEAVES, states

STACKINGS = st.sampled_from([None, LayerStacking.STACKED, LayerStacking.UNSTACKED])


def asked(
    state: State,
    form: Form,
    to: Layout,
    stacking: LayerStacking | None,
    leaves: Leaves | None = None,
    names: LayerNames | None = None,
) -> ConversionOptions:
    """Options that say how layers stand, where there are layers at all."""
    layers = any(var.group for var in state.variables)
    return ConversionOptions(
        to=to,
        stacking=stacking if layers else None,
        layer_axis=form.axis if layers else None,
        leaves=leaves,
        layer_names=names,
    )


def after(form: Form, stacking: LayerStacking | None, *, nested: bool) -> Form:
    """The layer form of a target whose style for layers on their own is `nested`."""
    stacked = form.stacked if stacking is None else stacking is LayerStacking.STACKED
    return Form(stacked=stacked, axis=form.axis, nested=nested)


def back(form: Form) -> LayerStacking:
    """The stacking that a source had."""
    return LayerStacking.STACKED if form.stacked else LayerStacking.UNSTACKED


def one_collection(state: State) -> bool:
    """Whether a Linen state may leave the collection level out: only `params` is there."""
    return all(var.collection == "params" for var in state.variables)


@given(states(rngs=False), FORMS, STACKINGS, LEAVES)
def test_linen_becomes_the_nnx_state_of_the_same_model(
    state: State, form: Form, stacking: LayerStacking | None, leaves: Leaves
) -> None:
    form = replace(form, nested=False)
    options = asked(state, form, Layout.NNX, stacking, leaves)
    made = Held(linen(state, form)).converted(options)
    assert difference(made.tree, nnx(state, after(form, stacking, nested=True), leaves)) == []


@given(states(), FORMS, STACKINGS, LEAVES)
def test_nnx_becomes_the_linen_state_of_the_same_model(
    state: State, form: Form, stacking: LayerStacking | None, leaves: Leaves
) -> None:
    options = asked(state, form, Layout.LINEN, stacking)
    made = Held(nnx(state, form, leaves)).converted(options)
    visible = replace(state.without("rngs"), optimizer=seen_in_nnx(state.optimizer))
    assert difference(made.tree, linen(visible, after(form, stacking, nested=False))) == []


@given(
    states(rngs=False), FORMS, STACKINGS, LEAVES, st.booleans(), st.sampled_from([DType.INT32, DType.INT64])
)
def test_linen_to_nnx_and_back_gives_every_byte_back(
    state: State, form: Form, stacking: LayerStacking | None, leaves: Leaves, single: bool, step: DType
) -> None:
    form = replace(form, nested=False)
    double = not (single and one_collection(state))
    source = Held(linen(state, form, double=double, step=step))
    there = source.converted(asked(state, form, Layout.NNX, stacking, leaves))
    again = there.converted(asked(state, form, Layout.LINEN, back(form)))
    assert difference(again.tree, source.tree) == []
    assert again.inventory == source.inventory


@given(states(), FORMS, STACKINGS, LEAVES, st.sampled_from([DType.UINT32, DType.INT32]))
def test_nnx_to_linen_and_back_gives_every_byte_back(
    state: State, form: Form, stacking: LayerStacking | None, leaves: Leaves, step: DType
) -> None:
    source = Held(nnx(state, form, leaves, step=step))
    there = source.converted(asked(state, form, Layout.LINEN, stacking))
    again = there.converted(asked(state, form, Layout.NNX, back(form)))
    assert difference(again.tree, source.tree) == []
    assert again.inventory == source.inventory


@given(states(rngs=False), FORMS, STACKINGS)
def test_restacking_a_linen_state_gives_the_same_model_in_another_form(
    state: State, form: Form, stacking: LayerStacking | None
) -> None:
    form = replace(form, nested=False)
    source = Held(linen(state, form))
    made = source.converted(asked(state, form, Layout.LINEN, stacking))
    assert difference(made.tree, linen(state, after(form, stacking, nested=False))) == []
    again = made.converted(asked(state, form, Layout.LINEN, back(form)))
    assert difference(again.tree, source.tree) == []


@given(states(), FORMS, STACKINGS, LEAVES)
def test_restacking_an_nnx_state_gives_the_same_model_in_another_form(
    state: State, form: Form, stacking: LayerStacking | None, leaves: Leaves
) -> None:
    source = Held(nnx(state, form, leaves))
    names = LayerNames.NESTED if form.nested else LayerNames.UNDERSCORE
    made = source.converted(asked(state, form, Layout.NNX, stacking, names=names))
    assert difference(made.tree, nnx(state, after(form, stacking, nested=form.nested), leaves)) == []
    again = made.converted(asked(state, form, Layout.NNX, back(form), names=names))
    assert difference(again.tree, source.tree) == []


@given(states(), FORMS, LEAVES, LEAVES)
def test_leaves_are_wrapped_and_unwrapped_without_a_trace(
    state: State, form: Form, before: Leaves, wanted: Leaves
) -> None:
    source = Held(nnx(state, form, before))
    made = source.converted(asked(state, form, Layout.NNX, None, wanted))
    assert difference(made.tree, nnx(state, form, wanted)) == []


@given(states(rngs=False), st.sampled_from([0, 1]), st.sampled_from([0, 1]))
def test_the_layer_axis_of_a_stack_is_moved_in_parameters_and_moments_alike(
    state: State, before: int, wanted: int
) -> None:
    old, new = Form(stacked=True, axis=before), Form(stacked=True, axis=wanted)
    apart = Held(linen(state, old)).converted(asked(state, old, Layout.LINEN, LayerStacking.UNSTACKED))
    made = apart.converted(asked(state, new, Layout.LINEN, LayerStacking.STACKED))
    assert difference(made.tree, linen(state, new)) == []


def test_a_stated_axis_decides_how_many_layers_there_are() -> None:
    """Shapes (1, 2) allow one layer on axis 0 or two on axis 1: the user says which."""
    group = Group(("decoder",), "layers", 2)
    layers = [Var("params", ("w",), array(np.full((1,), n, np.float32)), group, n) for n in range(2)]
    state = State(tuple(layers), None, 0)
    source = Held(linen(state, Form(stacked=True, axis=1)))
    made = source.converted(
        ConversionOptions(to=Layout.LINEN, stacking=LayerStacking.UNSTACKED, layer_axis=1)
    )
    assert difference(made.tree, linen(state, Form(stacked=False))) == []


def test_a_stated_axis_decides_at_which_number_the_moe_layers_begin() -> None:
    """Dense layers of shape (2, 1) are one on axis 1: the MoE layer after them is number 1, not 2."""
    dense = Group(("decoder",), "dense_layers", 1)
    moe = Group(("decoder",), "moe_layers", 1, first=1)
    layers = (
        Var("params", ("w",), array(np.ones((2,), np.float32)), dense),
        Var("params", ("w",), array(np.ones((1,), np.float32)), moe),
    )
    state = State(layers, None, 0)
    source = Held(linen(state, Form(stacked=True, axis=1)))
    made = source.converted(
        ConversionOptions(to=Layout.NNX, stacking=LayerStacking.UNSTACKED, layer_axis=1, leaves=Leaves.BARE)
    )
    assert difference(made.tree, nnx(state, Form(stacked=False, nested=True), Leaves.BARE)) == []


@given(states(rngs=False), st.sampled_from([0, 1]), st.sampled_from([Layout.LINEN, Layout.NNX]))
def test_without_a_stated_axis_layers_are_cut_on_the_right_one_or_not_at_all(
    state: State, axis: int, to: Layout
) -> None:
    assume(any(var.group for var in state.variables))
    form = Form(stacked=True, axis=axis)
    options = ConversionOptions(to=to, stacking=LayerStacking.UNSTACKED, leaves=Leaves.BARE)
    made = converted_or_refused(Held(linen(state, form)), options)
    if isinstance(made, ProblemsError):
        assert {problem.code for problem in made.problems} == {Code.AXIS_AMBIGUOUS}
        return
    apart = Form(stacked=False, nested=to is Layout.NNX)
    expected = linen(state, apart) if to is Layout.LINEN else nnx(state, apart, Leaves.BARE)
    assert difference(made.tree, expected) == []


@given(states(), FORMS, STACKINGS, LEAVES)
def test_the_same_source_and_options_give_the_same_plan(
    state: State, form: Form, stacking: LayerStacking | None, leaves: Leaves
) -> None:
    options = asked(state, form, Layout.LINEN, stacking)
    tree = nnx(state, form, leaves)
    one = Held(tree).converted(options).plan
    other = Held(dict(reversed(tree.items()))).converted(options).plan
    assert one is not None
    assert other is not None
    assert one.model_dump_json() == other.model_dump_json()
    assert Plan.model_validate_json(one.model_dump_json()) == one


def has_mirrors(node: Node | None) -> bool:
    """Whether an optimizer keeps moments at all."""
    match node:
        case Chain(parts):
            return any(has_mirrors(part) for part in parts)
        case Fields(parts):
            return any(has_mirrors(part) for _, part in parts)
        case Mirror(moments):
            return any(var.data.data is not None for var in moments)
        case _:
            return False


@given(states(rngs=False), FORMS, LEAVES)
def test_moments_keep_the_shape_of_their_parameters_through_any_conversion(
    state: State, form: Form, leaves: Leaves
) -> None:
    assume(has_mirrors(state.optimizer))
    made = Held(nnx(state, form, leaves)).converted(asked(state, form, Layout.LINEN, None))
    assert made.plan is not None
    targets = {write.target: write.value for write in made.plan.item_writes}
    mirrored = 0
    for path, value in targets.items():
        names = path.names
        if names[0] != "opt_state" or "params" not in names or value.kind != "array":
            continue
        depth = names.index("params")
        parameter = targets.get(path[:0] / "params" + path[depth:])
        if parameter is not None and parameter.kind == "array":
            assert value.spec.shape == parameter.spec.shape
            mirrored += 1
    assert mirrored > 0
