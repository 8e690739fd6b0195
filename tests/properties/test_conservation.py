"""Nothing vanishes: what a source holds is written, kept aside, or dropped by name."""

from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from linen_nnx.schema.array import ArrayValue, DType
from linen_nnx.schema.errors import ConversionError, LayoutError, ProblemsError
from linen_nnx.schema.layout import LayerStacking, Layout, Leaves
from linen_nnx.schema.options import Aux, ConversionOptions, Parts
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import DropRule
from linen_nnx.schema.problem import Code
from tests.properties.held import Held, converted_or_refused, difference, without_frame
from tests.properties.planting import PLANTS, Plant, assert_accounted_for, words
from tests.properties.states import Form, State, Tree, array, linen, nnx, noise
from tests.properties.strategies import FORMS, LEAVES, states

STACKINGS = st.sampled_from([None, LayerStacking.STACKED, LayerStacking.UNSTACKED])


def options_for(
    state: State, form: Form, stacking: LayerStacking | None, aux: Aux, parts: Parts
) -> ConversionOptions:
    layers = any(var.group for var in state.variables)
    return ConversionOptions(
        stacking=stacking if layers else None,
        layer_axis=form.axis if layers else None,
        aux=aux,
        parts=parts,
    )


def elements(tree: Tree, *, skip: tuple[KeyPath, ...] = ()) -> Counter[bytes]:
    """How often each element's bits stand in a checkpoint."""
    total: Counter[bytes] = Counter()
    for path, content in tree.items():
        if content.data is not None and path not in skip:
            total += words(content.data)
    return total


@given(states(), FORMS, STACKINGS, LEAVES, st.sampled_from(Aux), st.booleans())
def test_every_element_of_the_source_is_in_the_target_or_aside_or_dropped_by_name(
    state: State, form: Form, stacking: LayerStacking | None, leaves: Leaves, aux: Aux, weights_only: bool
) -> None:
    parts = Parts.PARAMS if weights_only else Parts.ALL
    source = Held(nnx(state, form, leaves))
    made = source.converted(options_for(state, form, stacking, aux, parts))
    assert made.plan is not None
    dropped = tuple(drop.source.path for drop in made.plan.drops)
    step = KeyPath.of("optimizer", "step", *(("value",) if leaves is Leaves.WRAPPED else ()))
    found = elements(made.tree) + elements(made.side.tree if made.side else {})
    assert elements(source.tree, skip=(*dropped, step)) - found == Counter()
    assert {drop.rule for drop in made.plan.drops} <= {DropRule.NO_KEEP_AUX, DropRule.PARAMS_ONLY}
    assert weights_only or aux is Aux.DROP or not dropped


@given(states(rngs=False), FORMS, STACKINGS, st.booleans())
def test_without_drops_a_target_holds_as_many_elements_as_its_source(
    state: State, form: Form, stacking: LayerStacking | None, there: bool
) -> None:
    form = Form(stacked=form.stacked, axis=form.axis)
    options = options_for(state, form, stacking, Aux.KEEP, Parts.ALL)
    source = Held(linen(state, form) if there else nnx(state, form, Leaves.BARE))
    made = source.converted(options)
    aside = made.side.tree if made.side else {}
    assert sum(elements(source.tree).values()) == sum((elements(made.tree) + elements(aside)).values())


@given(states(), FORMS, LEAVES)
def test_weights_alone_are_just_the_weights(state: State, form: Form, leaves: Leaves) -> None:
    made = Held(nnx(state, form, leaves)).converted(ConversionOptions(to=Layout.LINEN, parts=Parts.PARAMS))
    layers = Form(stacked=form.stacked, axis=form.axis)
    weights = State(tuple(v for v in state.variables if v.collection == "params"), None, 0)
    expected = {path: c for path, c in linen(weights, layers).items() if path.names[0] == "params"}
    assert difference(made.tree, expected) == []


@given(states(rngs=True), FORMS, LEAVES)
def test_what_linen_cannot_hold_is_kept_aside_byte_for_byte(state: State, form: Form, leaves: Leaves) -> None:
    source = Held(nnx(state, form, leaves))
    made = source.converted(ConversionOptions(to=Layout.LINEN))
    assert made.side is not None
    streams = nnx(State(tuple(v for v in state.variables if v.collection == "rngs"), None, 0), form, leaves)
    wanted = Counter(
        c.data.tobytes() for p, c in streams.items() if p.names[0] == "model" and c.data is not None
    )
    kept = Counter(c.data.tobytes() for c in made.side.tree.values() if c.data is not None)
    assert wanted - kept == Counter()
    assert [kept.path for kept in made.side.residue.kept] == list(made.side.tree)


@settings(max_examples=max(250, settings().max_examples))
@given(PLANTS, states(), FORMS, LEAVES, STACKINGS, st.booleans(), st.sampled_from(Aux))
def test_a_planted_entry_arrives_or_is_dropped_by_name_or_is_refused(
    plant: Plant,
    state: State,
    form: Form,
    leaves: Leaves,
    stacking: LayerStacking | None,
    native: bool,
    aux: Aux,
) -> None:
    if native:
        tree = nnx(state, form, leaves)
    else:
        form = Form(stacked=form.stacked, axis=form.axis)
        tree = linen(state.without("rngs"), form)
    assert_accounted_for(plant, tree, options_for(state, form, stacking, aux, Parts.ALL))


@settings(max_examples=max(250, settings().max_examples))
@given(PLANTS, states(rngs=False), LEAVES, FORMS)
def test_what_is_accepted_with_a_planted_entry_still_comes_back_whole(
    plant: Plant, state: State, leaves: Leaves, form: Form
) -> None:
    form = Form(stacked=form.stacked, axis=form.axis)
    tree = linen(state, form)
    path, content = plant.into(tree), plant.content
    source = Held({**tree, path: content})
    there = converted_or_refused(source, ConversionOptions(to=Layout.NNX, leaves=leaves))
    if isinstance(there, ProblemsError):
        return
    again = there.converted(ConversionOptions(to=Layout.LINEN))
    assert there.plan is not None
    assert difference(again.tree, without_frame(source.tree, there.plan)) == []


@settings(max_examples=max(250, settings().max_examples))
@given(PLANTS, states(), LEAVES, FORMS)
def test_what_is_accepted_of_nnx_with_a_planted_entry_still_comes_back_whole(
    plant: Plant, state: State, leaves: Leaves, form: Form
) -> None:
    tree = nnx(state, form, leaves)
    path, content = plant.into(tree), plant.content
    source = Held({**tree, path: content})
    there = converted_or_refused(source, ConversionOptions(to=Layout.LINEN))
    if isinstance(there, ProblemsError):
        return
    again = there.converted(ConversionOptions(to=Layout.NNX))
    assert there.plan is not None
    assert difference(again.tree, without_frame(source.tree, there.plan)) == []


@given(
    states(),
    FORMS,
    LEAVES,
    st.booleans(),
    st.sampled_from(["extra", "nnx", "no_such_field"]),
)
def test_an_unknown_name_at_the_root_is_refused_by_its_path(
    state: State, form: Form, leaves: Leaves, native: bool, name: str
) -> None:
    tree = nnx(state, form, leaves) if native else linen(state.without("rngs"), Form(stacked=True))
    source = Held({**tree, KeyPath.of(name, "weight"): array(noise(1, (2,), DType.FLOAT32))})
    with pytest.raises(LayoutError) as refused:
        source.converted(ConversionOptions())
    assert KeyPath.of(name) in {problem.path for problem in refused.value.problems}
    assert {problem.code for problem in refused.value.problems} == {Code.UNKNOWN_ENTRY}


@given(st.data(), states(stats=False), FORMS, LEAVES)
def test_a_lost_layer_is_refused_as_a_gap(
    data: st.DataObject, state: State, form: Form, leaves: Leaves
) -> None:
    """Whatever else is asked, no layer is renumbered to close the gap."""
    form = Form(stacked=False, nested=form.nested)
    groups = [v.group for v in state.variables if v.group and v.group.count > 2]
    assume(groups)
    group = groups[data.draw(st.integers(0, len(groups) - 1))]
    assert group is not None
    lost = data.draw(st.integers(1, group.count - 2))
    variables = tuple(v for v in state.variables if v.group != group or v.layer != lost)
    source = Held(nnx(State(variables, None, state.step), form, leaves))
    with pytest.raises(ConversionError) as refused:
        source.converted(ConversionOptions(to=Layout.LINEN))
    assert Code.LAYER_GAP in {problem.code for problem in refused.value.problems}


def test_a_count_of_elements_sees_one_that_is_lost() -> None:
    """The measure that the laws above use."""
    data = noise(3, (4,), DType.FLOAT32)
    path = KeyPath.of("a")
    whole: Tree = {path: array(data)}
    part: Tree = {path: array(data[:3])}
    assert elements(whole) - elements(part) == Counter([data[3:].tobytes()])
    assert isinstance(whole[path].value, ArrayValue)
