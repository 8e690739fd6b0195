"""Live trees convert as checkpoints do: by the same plan, to the same bytes."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linen_nnx import convert_tree, to_linen, to_nnx
from linen_nnx.convert.memory import LeftOutWarning
from linen_nnx.schema.array import ArrayValue, Holder
from linen_nnx.schema.layout import LayerStacking, Layout, Leaves
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.tree import flatten
from tests.properties.held import Held
from tests.properties.states import EMPTIES, Content, Form, State, Tree, linen, live, nnx
from tests.properties.strategies import FORMS, LEAVES, states
from tests.support.profiles import WITHOUT_SHRINKING

STACKINGS = st.sampled_from([None, LayerStacking.STACKED, LayerStacking.UNSTACKED])
Make = Callable[[Content], object]


def numpy_leaf(content: Content) -> object:
    """Numpy all through; a typed key is its words."""
    if content.value.kind == "empty":
        return EMPTIES[content.value.empty]()
    return content.data


def jax_leaf(content: Content) -> object:
    """Jax arrays and typed keys."""
    if not isinstance(content.value, ArrayValue):
        return numpy_leaf(content)
    if content.value.spec.key_impl is not None:
        return jax.random.wrap_key_data(jnp.asarray(content.data), impl=content.value.spec.key_impl)
    return jnp.asarray(content.data)


def spec_leaf(content: Content) -> object:
    """Shapes without values."""
    leaf = jax_leaf(content)
    if not isinstance(leaf, jax.Array):
        return leaf
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)  # type: ignore[no-untyped-call]


def untyped(tree: Tree) -> Tree:
    """Numpy has no typed keys."""
    out: Tree = {}
    for path, content in tree.items():
        value = content.value
        if isinstance(value, ArrayValue):
            spec = value.spec.model_copy(update={"key_impl": None})
            value = ArrayValue(spec=spec, holder=Holder.NUMPY)
        out[path] = Content(value, content.data)
    return out


def flat(tree: object) -> dict[KeyPath, Any]:
    """Leaves by path."""
    return dict(flatten(tree))


def same_leaf(leaf: Any, content: Content) -> bool:
    """Whether a live leaf is what stands at the same path of a converted checkpoint."""
    if not isinstance(content.value, ArrayValue):
        return bool(leaf == EMPTIES[content.value.empty]()) if content.value.kind == "empty" else False
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        impl = content.value.spec.key_impl
        return impl == str(jax.random.key_impl(leaf)) and same_leaf_bytes(jax.random.key_data(leaf), content)
    return same_leaf_bytes(leaf, content)


def same_leaf_bytes(leaf: Any, content: Content) -> bool:
    data, expected = np.asarray(leaf), content.data
    assert expected is not None
    same = data.shape == expected.shape and data.dtype == expected.dtype
    return same and data.tobytes() == expected.tobytes()


def options_for(state: State, form: Form, to: Layout, stacking: LayerStacking | None) -> ConversionOptions:
    layers = any(var.group for var in state.variables)
    return ConversionOptions(
        to=to, stacking=stacking if layers else None, layer_axis=form.axis if layers else None
    )


def check(tree: Tree, options: ConversionOptions, leaf: Make) -> None:
    """Convert as a live tree and as a checkpoint, and compare item and side item."""
    expected = Held(tree).converted(options)
    assert expected.plan is not None
    made = convert_tree(live(tree, leaf), options=options)
    targets = {write.target for write in made.plan.writes}
    assert targets == {write.target for write in expected.plan.writes}
    found = flat(made.tree)
    assert set(found) == set(expected.tree)
    assert [str(path) for path, content in expected.tree.items() if not same_leaf(found[path], content)] == []
    aside = expected.side.tree if expected.side else {}
    assert set(made.aside) == set(aside)
    assert [str(path) for path, content in aside.items() if not same_leaf(made.aside[path], content)] == []


@given(states(), FORMS, LEAVES, STACKINGS)
def test_a_numpy_nnx_state_converts_as_its_checkpoint_does(
    state: State, form: Form, leaves: Leaves, stacking: LayerStacking | None
) -> None:
    check(untyped(nnx(state, form, leaves)), options_for(state, form, Layout.LINEN, stacking), numpy_leaf)


@given(states(rngs=False), FORMS, STACKINGS)
def test_a_numpy_linen_state_converts_as_its_checkpoint_does(
    state: State, form: Form, stacking: LayerStacking | None
) -> None:
    form = Form(stacked=form.stacked, axis=form.axis)
    check(untyped(linen(state, form)), options_for(state, form, Layout.NNX, stacking), numpy_leaf)


@settings(max_examples=12, phases=WITHOUT_SHRINKING)
@given(states(rngs=True), FORMS, LEAVES, STACKINGS)
def test_a_jax_nnx_state_converts_as_its_checkpoint_does_typed_keys_too(
    state: State, form: Form, leaves: Leaves, stacking: LayerStacking | None
) -> None:
    check(nnx(state, form, leaves), options_for(state, form, Layout.LINEN, stacking), jax_leaf)


@settings(max_examples=12, phases=WITHOUT_SHRINKING)
@given(states(rngs=False), FORMS, STACKINGS)
def test_a_jax_linen_state_converts_as_its_checkpoint_does(
    state: State, form: Form, stacking: LayerStacking | None
) -> None:
    form = Form(stacked=form.stacked, axis=form.axis)
    check(linen(state, form), options_for(state, form, Layout.NNX, stacking), jax_leaf)


@settings(max_examples=12, phases=WITHOUT_SHRINKING)
@given(states(), FORMS, LEAVES, STACKINGS)
def test_shapes_convert_to_the_shapes_of_what_values_convert_to(
    state: State, form: Form, leaves: Leaves, stacking: LayerStacking | None
) -> None:
    tree, options = nnx(state, form, leaves), options_for(state, form, Layout.LINEN, stacking)
    shapes = flat(convert_tree(live(tree, spec_leaf), options=options).tree)
    values = flat(convert_tree(live(tree, jax_leaf), options=options).tree)
    assert set(shapes) == set(values)
    for path, shape in shapes.items():
        value = values[path]
        if isinstance(value, jax.Array):
            assert (shape.shape, shape.dtype) == (value.shape, value.dtype), path
        else:
            assert shape == value


@settings(max_examples=20)
@given(states(rngs=False), FORMS)
def test_converting_does_not_touch_the_tree_it_is_given(state: State, form: Form) -> None:
    tree = untyped(linen(state, Form(stacked=form.stacked, axis=form.axis)))
    source = live(tree, numpy_leaf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftOutWarning)
        to_nnx(source)
    assert flat(source).keys() == tree.keys()
    assert all(same_leaf(leaf, tree[path]) for path, leaf in flat(source).items())


@settings(max_examples=20)
@given(states(rngs=True), FORMS, LEAVES)
def test_to_linen_warns_of_streams_that_it_leaves_out(state: State, form: Form, leaves: Leaves) -> None:
    source = live(untyped(nnx(state, form, leaves)), numpy_leaf)
    with pytest.warns(LeftOutWarning, match="left out"):
        made = to_linen(source)
    assert "rngs" not in {name for path in flat(made) for name in path.names}


@settings(max_examples=20)
@given(states(rngs=False, stats=False), FORMS)
def test_both_ways_in_memory_are_the_identity_where_nothing_is_left_out(state: State, form: Form) -> None:
    tree = untyped(nnx(state, form, Leaves.WRAPPED))
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeftOutWarning)
        there = to_linen(live(tree, numpy_leaf))
        names = options_for(state, form, Layout.NNX, None)
        again = flat(convert_tree(there, options=names).tree)
    if form.nested or form.stacked:
        assert again.keys() == tree.keys()
        assert all(same_leaf(leaf, tree[path]) for path, leaf in again.items())
    else:
        assert sorted(np.asarray(v).tobytes() for v in again.values() if v is not None) == sorted(
            c.data.tobytes() for c in tree.values() if c.data is not None
        )
