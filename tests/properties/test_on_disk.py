"""The same laws through real orbax checkpoints, in every storage form."""

import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linen_nnx import inspect, inventory_of, plan
from linen_nnx.convert.converting import convert
from linen_nnx.schema.array import ArrayValue, Holder
from linen_nnx.schema.layout import LayerStacking, Layout, Leaves
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.path import DictKey, KeyPath
from linen_nnx.schema.plan import Plan
from linen_nnx.schema.tree import flatten
from tests.properties.held import Held
from tests.properties.states import EMPTIES, Content, Form, State, Tree, linen, live, nnx, seen_in_nnx
from tests.properties.strategies import FORMS, LEAVES, states
from tests.support.checkpoints import STORAGES, Storage, save_item
from tests.support.profiles import WITHOUT_SHRINKING

STACKINGS = st.sampled_from([None, LayerStacking.STACKED, LayerStacking.UNSTACKED])
by_storage = pytest.mark.parametrize("storage", STORAGES, ids=str)


def leaf(content: Content) -> object:
    """As a training run holds it."""
    if content.value.kind == "empty":
        return EMPTIES[content.value.empty]()
    assert isinstance(content.value, ArrayValue)
    if content.value.spec.key_impl is not None:
        return jax.random.wrap_key_data(jnp.asarray(content.data), impl=content.value.spec.key_impl)
    if content.value.holder is Holder.SCALAR:
        assert content.data is not None
        return int(content.data)
    return jnp.asarray(content.data)


def bytes_of(found: Any) -> bytes:
    """The bits of a restored leaf."""
    if isinstance(found, jax.Array) and jnp.issubdtype(found.dtype, jax.dtypes.prng_key):
        found = jax.random.key_data(found)
    return np.asarray(found).tobytes()


def as_numpy(folder: Path) -> Any:
    """What orbax restores, with arrays of numpy."""
    with ocp.PyTreeCheckpointer() as checkpointer:
        metadata = checkpointer.metadata(folder).item_metadata.tree
        arguments = ocp.checkpoint_utils.construct_restore_args(metadata)
        return checkpointer.restore(folder, restore_args=arguments)


def unlike(folder: Path, expected: Tree) -> list[str]:
    """Paths at which a checkpoint, restored by orbax, differs from `expected`."""
    restored = dict(flatten(as_numpy(folder)))
    values = inspect(folder).inventory.by_path
    out = []
    for path in dict.fromkeys((*expected, *restored)):
        content, found = expected.get(path), restored.get(path, "nothing")
        if content is None or path not in restored or values[path] != content.value:
            out.append(f"{path}: {values.get(path)}, expected {content!r}")
        elif content.data is not None and bytes_of(found) != content.data.tobytes():
            out.append(f"{path}: other bytes")
    return out


def asked(state: State, form: Form, to: Layout, stacking: LayerStacking | None) -> ConversionOptions:
    layers = any(var.group for var in state.variables)
    return ConversionOptions(
        to=to, stacking=stacking if layers else None, layer_axis=form.axis if layers else None
    )


def named_for(tree: Tree, storage: Storage) -> Tree:
    """Slashes in a name make folders where there is no database, and orbax does not find them again."""
    if storage.ocdbt:
        return tree

    def plain(path: KeyPath) -> KeyPath:
        keys = (
            DictKey(key.name.replace("/", "-").replace("\\", "+")) if isinstance(key, DictKey) else key
            for key in path
        )
        return KeyPath(tuple(keys))

    return {plain(path): content for path, content in tree.items()}


def back(form: Form) -> LayerStacking:
    """The stacking that a source had."""
    return LayerStacking.STACKED if form.stacked else LayerStacking.UNSTACKED


@by_storage
@settings(max_examples=4, phases=WITHOUT_SHRINKING)
@given(data=st.data())
def test_a_saved_nnx_state_converts_to_linen_and_back_with_every_byte(
    storage: Storage, data: st.DataObject
) -> None:
    state, form = data.draw(states()), data.draw(FORMS)
    leaves, stacking = data.draw(LEAVES), data.draw(STACKINGS)
    tree = named_for(nnx(state, form, leaves), storage)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        source = save_item(live(tree, leaf), root / "source", storage)
        assert inventory_of(live(tree, leaf)) == inspect(source).inventory
        convert(source, root / "linen", options=asked(state, form, Layout.LINEN, stacking))
        held = Held(tree).converted(asked(state, form, Layout.LINEN, stacking))
        assert unlike(root / "linen", held.tree) == []
        convert(root / "linen", root / "nnx", options=asked(state, form, Layout.NNX, back(form)))
        assert unlike(root / "nnx", tree) == []
        assert inspect(root / "nnx").inventory == inspect(source).inventory
        assert inspect(root / "nnx").storage == inspect(source).storage


@by_storage
@settings(max_examples=4, phases=WITHOUT_SHRINKING)
@given(data=st.data())
def test_a_saved_linen_state_converts_to_nnx_and_back_with_every_byte(
    storage: Storage, data: st.DataObject
) -> None:
    state, form = data.draw(states(rngs=False)), data.draw(FORMS)
    leaves, stacking = data.draw(LEAVES), data.draw(STACKINGS)
    form = Form(stacked=form.stacked, axis=form.axis)
    tree = named_for(linen(state, form), storage)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        source = save_item(live(tree, leaf), root / "source", storage)
        there = asked(state, form, Layout.NNX, stacking).model_copy(update={"leaves": leaves})
        convert(source, root / "nnx", options=there)
        stacked = form.stacked if stacking is None else stacking is LayerStacking.STACKED
        expected = nnx(state, Form(stacked=stacked, axis=form.axis, nested=True), leaves)
        assert unlike(root / "nnx", named_for(expected, storage)) == []
        convert(root / "nnx", root / "linen", options=asked(state, form, Layout.LINEN, back(form)))
        assert unlike(root / "linen", tree) == []
        assert inspect(root / "linen").inventory == inspect(source).inventory


@settings(max_examples=4, phases=WITHOUT_SHRINKING)
@given(states(), FORMS, LEAVES)
def test_the_plan_of_a_checkpoint_is_the_plan_of_its_tree(state: State, form: Form, leaves: Leaves) -> None:
    tree = nnx(state, form, leaves)
    held = Held(tree).converted(asked(state, form, Layout.LINEN, None))
    with tempfile.TemporaryDirectory() as name:
        source = save_item(live(tree, leaf), Path(name) / "source")
        made = plan(source, options=asked(state, form, Layout.LINEN, None))
    assert held.plan is not None
    for field in Plan.model_fields:
        assert getattr(made, field) == getattr(held.plan, field), field


@settings(max_examples=4, phases=WITHOUT_SHRINKING)
@given(states(), FORMS, LEAVES)
def test_converting_leaves_every_file_of_the_source_as_it_was(
    state: State, form: Form, leaves: Leaves
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        source = save_item(live(nnx(state, form, leaves), leaf), root / "source")
        before = files(source)
        convert(source, root / "target")
        assert files(source) == before
        assert {child.name for child in root.iterdir()} == {"source", "target"}


def files(folder: Path) -> dict[str, bytes]:
    """Every file and its bytes."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@settings(max_examples=4, phases=WITHOUT_SHRINKING)
@given(states(rngs=False), FORMS, LEAVES)
def test_a_target_needs_nothing_of_its_source(state: State, form: Form, leaves: Leaves) -> None:
    """The source may be deleted as soon as the conversion is done."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        tree = nnx(state, form, leaves)
        source = save_item(live(tree, leaf), root / "source")
        convert(source, root / "target")
        source.rename(root / "moved")
        visible = State(state.variables, seen_in_nnx(state.optimizer), state.step)
        layers = Form(stacked=form.stacked, axis=form.axis)
        assert unlike(root / "target", linen(visible, layers)) == []


def test_a_tree_of_every_empty_is_restored_as_it_was(tmp_path: Path) -> None:
    """The comparison above sees containers, not leaves alone."""
    tree: dict[str, Any] = {"a": {}, "b": [], "c": None, "d": [None, {"e": np.ones(2, np.float32)}]}
    found = dict(flatten(as_numpy(save_item(tree, tmp_path / "item"))))
    assert set(found) == {KeyPath.of(*p) for p in [("a",), ("b",), ("c",), ("d", 0), ("d", 1, "e")]}
    assert (found[KeyPath.of("a")], found[KeyPath.of("b")], found[KeyPath.of("c")]) == ({}, [], None)
