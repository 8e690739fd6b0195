"""The laws of conservation, held against every layout and every variant of one."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from linen_nnx.schema.errors import ProblemsError
from linen_nnx.schema.layout import LayerNames, LayerStacking, Layout
from linen_nnx.schema.options import Aux, ConversionOptions
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import DropRule, Plan
from tests.properties.held import Held, converted_or_refused, difference, without_frame
from tests.properties.layouts import Rendered, rendered
from tests.properties.planting import PLANTS, Plant, assert_accounted_for
from tests.properties.states import Tree

TO = st.sampled_from([layout for layout in Layout if layout is not Layout.DILOCO])
"""Replicas are not made up: only a DiLoCo state becomes one."""


def names_of(source: Rendered) -> LayerNames:
    """The style of layers that stand one by one."""
    return LayerNames.NESTED if source.form.nested else LayerNames.UNDERSCORE


def origin(made: Plan) -> Layout:
    """What to ask for to come back: of replicas, the framework of each."""
    form = made.source
    return form.layout if form.inner is None else form.inner.layout


def has_place(source: Rendered, to: Layout) -> bool:
    """Whether the target holds the source: replicas stand in none but their own, in either framework."""
    return not source.name.startswith("diloco") or to in (Layout.LINEN, Layout.MAXTEXT)


def as_of_june(tree: Tree, source: Rendered) -> Tree:
    """Statistics stand among the parameters here; they come back where each layout keeps them."""
    if source.name != "maxtext without aux":
        return tree
    own = (KeyPath.of("nnx_aux", "model"), KeyPath.of("params", "batch_stats"))
    params = KeyPath.of("params", "params")
    return {params + path[2:] if path[:2] in own else path: content for path, content in tree.items()}


def is_seen(source: Rendered) -> bool:
    """Whether weights alone can be told for what they are: a model tree at the root has no root name."""
    if not source.tree:
        return False
    if "params" not in {v.collection for v in source.state.variables}:
        return False
    return source.name not in ("weights", "adapters") or bool(
        {path.names[0] for path in source.tree} & {"decoder", "encoder", "token_embedder"}
    )


@settings(max_examples=max(150, settings().max_examples))
@given(rendered(), TO)
def test_every_layout_comes_back_whole_from_every_other(source: Rendered, to: Layout) -> None:
    assume(is_seen(source) and has_place(source, to))
    # Weights alone hold nothing else, so nothing else comes back from them.
    assume(to is not Layout.PARAMS or source.name in ("weights", "weights below base", "adapters"))
    held = Held(source.tree)
    there = held.converted(ConversionOptions(to=to))
    assert there.plan is not None
    again = there.converted(ConversionOptions(to=origin(there.plan), layer_names=names_of(source)))
    assert difference(as_of_june(again.tree, source), as_of_june(source.tree, source)) == []
    assert again.side is not None
    assert again.side.tree == {}, "what the way there put in is not kept beside what comes back"


@settings(max_examples=max(300, settings().max_examples))
@given(PLANTS, rendered(), TO, st.sampled_from([None, *LayerStacking]), st.sampled_from(Aux))
def test_whatever_is_planted_anywhere_arrives_or_is_dropped_by_name_or_is_refused(
    plant: Plant, source: Rendered, to: Layout, stacking: LayerStacking | None, aux: Aux
) -> None:
    assume(is_seen(source) and (has_place(source, to) or to is Layout.PARAMS))
    layers = any(var.group for var in source.state.variables)
    options = ConversionOptions(
        to=to,
        aux=aux,
        stacking=stacking if layers else None,
        layer_axis=source.form.axis if layers else None,
    )
    assert_accounted_for(plant, source.tree, options)


@settings(max_examples=max(150, settings().max_examples))
@given(PLANTS, rendered(), TO)
def test_what_is_accepted_in_any_layout_with_a_planted_entry_still_comes_back_whole(
    plant: Plant, source: Rendered, to: Layout
) -> None:
    assume(is_seen(source) and has_place(source, to))
    path, content = plant.into(source.tree), plant.content
    held = Held({**source.tree, path: content})
    there = converted_or_refused(held, ConversionOptions(to=to))
    if isinstance(there, ProblemsError) or to is Layout.PARAMS:
        return
    assert there.plan is not None
    again = there.converted(ConversionOptions(to=origin(there.plan), layer_names=names_of(source)))
    assert again.plan is not None
    # Weights alone are told to be nothing else: a PRNG stream among them is dropped by that name.
    if again.plan.target.layout is Layout.PARAMS and again.plan.drops:
        assert {drop.rule for drop in again.plan.drops} == {DropRule.PARAMS_ONLY}
        return
    kept = without_frame(held.tree, there.plan)
    assert difference(as_of_june(again.tree, source), as_of_june(kept, source)) == []
