"""Train states in memory: validated and converted by the same rules as checkpoints on disk."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from flax.training.train_state import TrainState

from linen_nnx import (
    Aux,
    Code,
    ConversionOptions,
    LayerStacking,
    Layout,
    LayoutError,
    Leaves,
    LeftOutWarning,
    LinenTrainState,
    NnxTrainState,
    convert,
    convert_tree,
    inventory_of,
    to_linen,
    to_nnx,
    validate,
)
from linen_nnx.convert.store.memory_source import JaxArrays
from linen_nnx.schema.array import DType, Holder
from tests.support.checkpoints import random_tree, save_item
from tests.support.entries import Entries, differences, read, text_of
from tests.support.small import STACKED, changed, linen, native, with_entries

Tree = dict[str, Any]
STACK = ConversionOptions(stacking=LayerStacking.STACKED)
UNSTACK = ConversionOptions(stacking=LayerStacking.UNSTACKED)
DROP = ConversionOptions(aux=Aux.DROP)


def is_leaf(node: Any) -> bool:
    return node is None


def numpy_of(tree: Tree) -> Tree:
    """The same tree of numpy arrays; PRNG keys have no numpy form."""
    made: Tree = jax.tree.map(lambda leaf: leaf if _is_key(leaf) else np.asarray(leaf), tree)
    return made


def specs_of(tree: Tree) -> Tree:
    """The same tree of shapes and dtypes alone."""
    made: Tree = jax.eval_shape(lambda: tree)
    return made


def jax_of(tree: Tree) -> Tree:
    return tree


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


KINDS: dict[str, Callable[[Tree], Tree]] = {"numpy": numpy_of, "jax": jax_of, "specs": specs_of}


def saved(tree: Any, folder: Path) -> Entries:
    """What orbax restores of a tree that it saved."""
    return read(save_item(tree, folder))


# validate


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", [None, Layout.LINEN, "linen"])
def test_a_nested_dict_of_any_arrays_is_valid(kind: str, layout: Layout | str | None) -> None:
    assert validate(KINDS[kind](random_tree(linen(), "state")), layout=layout) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_of_a_live_tree_is_told_at_once(kind: str) -> None:
    bad = changed(
        with_entries(linen(), optimizer_state="float32[2]"),
        params__params__decoder__layers_1__norm__scale="float32[5]",
        mu__params__token_embedder__embedding="float32[7,3]",
    )
    tree = KINDS[kind](random_tree(bad, "state"))
    found = {(problem.code, str(problem.path)) for problem in validate(tree, layout=Layout.LINEN)}
    assert {
        (Code.UNKNOWN_ENTRY, "optimizer_state"),
        (Code.SHAPE_MISMATCH, "params/params/decoder/layers_1/norm/scale"),
        (Code.MOMENT_MISMATCH, "opt_state/[0]/mu/params/token_embedder/embedding"),
    } <= found


def test_the_wrong_layout_is_a_problem_and_no_error() -> None:
    assert validate(random_tree(native(), "state"), layout=Layout.LINEN)
    assert validate(random_tree(linen(), "state"), layout=Layout.NNX)


def test_a_live_tree_is_held_against_another(tmp_path: Path) -> None:
    tree = random_tree(linen(), "state")
    other = random_tree(changed(linen(), norm__scale="float32[5]"), "other")
    assert validate(tree, against=specs_of(tree)) == []
    assert validate(tree, against=save_item(tree, tmp_path / "item")) == []
    assert {problem.code for problem in validate(tree, against=other)} == {Code.SHAPE_MISMATCH}


@pytest.mark.parametrize("kind", KINDS)
def test_a_layouts_model_takes_a_live_tree_and_gives_its_entries_back(kind: str) -> None:
    cases: list[tuple[Any, Any]] = [(linen(), LinenTrainState), (native(), NnxTrainState)]
    for specs, model in cases:
        tree = KINDS[kind](random_tree(specs, "state"))
        assert model.of(tree).inventory().by_path == inventory_of(tree).by_path


def test_a_layouts_model_refuses_a_live_tree_with_every_fault() -> None:
    tree = random_tree(with_entries(linen(), one="float32[2]", two="float32[2]"), "state")
    with pytest.raises(LayoutError) as refused:
        LinenTrainState.of(tree)
    assert {str(problem.path) for problem in refused.value.problems} == {"one", "two"}


# Live states

WIDTH = 5


class Mlp(nn.Module):
    """Two dense layers."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(3, name="second")(nn.relu(nn.Dense(4, name="first")(x)))


class NnxMlp(nnx.Module):
    """The same."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(WIDTH, 4, rngs=rngs)
        self.second = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(nnx.relu(self.first(x)))


class OwnState(TrainState):  # type: ignore[no-untyped-call]
    """With fields of its own, as many have."""

    batch_stats: Any = None
    dropout_rng: Any = None
    ema_params: Any = None


def optimizer() -> Any:
    return optax.adamw(optax.constant_schedule(1e-2))


def inputs() -> jax.Array:
    return jnp.linspace(-1.0, 1.0, 2 * WIDTH).reshape(2, WIDTH)


def live() -> TrainState:
    """Trained for one step; `params` is the whole variables dict."""
    model = Mlp()
    create: Any = TrainState.create
    state: TrainState = create(
        apply_fn=model.apply, params=model.init(jax.random.key(0), inputs()), tx=optimizer()
    )
    state = state.replace(step=jnp.asarray(0, "int32"))
    return trained(state)


def trained(state: TrainState) -> TrainState:
    def loss(params: Any) -> Any:
        return jnp.mean(state.apply_fn(params, inputs()) ** 2)

    step: Any = state.apply_gradients
    after: TrainState = step(grads=jax.grad(loss)(state.params))
    return after


def own() -> OwnState:
    """`params` is the collection alone."""
    base = live()
    params: Any = base.params["params"]
    create: Any = OwnState.create
    state: OwnState = create(
        apply_fn=base.apply_fn,
        params=params,
        tx=optimizer(),
        batch_stats={"norm": {"mean": jnp.zeros(4), "var": jnp.ones(4)}},
        dropout_rng=jax.random.key(3),
        ema_params=jax.tree.map(lambda leaf: leaf * 0.5, params),
    )
    state = state.replace(step=jnp.asarray(2, "int32"))
    return state


def live_nnx() -> Tree:
    """An `nnx.State` of the model and one of its optimizer."""
    model = NnxMlp(nnx.Rngs(0))
    trainer = nnx.Optimizer(model, optimizer(), wrt=nnx.Param)
    return {"model": nnx.state(model), "optimizer": nnx.state(trainer, nnx.OptState)}


def pure() -> Tree:
    return {name: nnx.to_pure_dict(state) for name, state in live_nnx().items()}


LIVE: dict[str, tuple[Callable[[], Any], Layout]] = {
    "train-state": (live, Layout.LINEN),
    "subclass": (own, Layout.LINEN),
    "nnx-state": (live_nnx, Layout.NNX),
    "whole-nnx-state": (lambda: nnx.State(live_nnx()), Layout.NNX),
    "pure-dict": (pure, Layout.NNX),
}


@pytest.mark.parametrize("name", LIVE)
def test_a_live_state_is_valid_and_has_the_entries_that_orbax_saves(name: str, tmp_path: Path) -> None:
    make, layout = LIVE[name]
    tree = make()
    assert validate(tree) == validate(tree, layout=layout) == []
    found = {str(entry.path): str(entry.value) for entry in inventory_of(tree).entries}
    assert found == {text_of(path): leaf.spec for path, leaf in saved(tree, tmp_path / "item").items()}


def test_two_faults_of_a_live_train_state_are_both_told() -> None:
    state = own()
    bad = state.replace(step=jnp.asarray(1.5), params={**state.params, "third": jnp.zeros(2)})
    adam: Any = state.opt_state[0]
    adam = adam._replace(mu={**adam.mu, "first": {**adam.mu["first"], "bias": jnp.zeros(9)}})
    bad = bad.replace(opt_state=(adam, *state.opt_state[1:]))
    found = {str(problem.path): problem.code for problem in validate(bad)}
    assert found["step"] is Code.WRONG_KIND
    assert found["opt_state/[0]/mu/first/bias"] is Code.MOMENT_MISMATCH


# Conversion

ROUTES: dict[str, tuple[dict[Any, str], Layout, ConversionOptions]] = {
    "linen-to-nnx": (linen(STACKED), Layout.NNX, ConversionOptions()),
    "linen-to-nnx-bare": (linen(STACKED), Layout.NNX, ConversionOptions(leaves=Leaves.BARE)),
    "linen-stacked": (linen(), Layout.NNX, STACK),
    "linen-unstacked": (linen(STACKED), Layout.NNX, UNSTACK),
    "linen-axis-0": (linen(STACKED), Layout.NNX, ConversionOptions(layer_axis=0)),
    "nnx-to-linen": (native(), Layout.LINEN, DROP),
    "nnx-stacked": (native(), Layout.LINEN, DROP.model_copy(update={"stacking": LayerStacking.STACKED})),
    "nnx-kept": (native(), Layout.NNX, STACK),
}


@pytest.mark.parametrize("kind", ["numpy", "jax"])
@pytest.mark.parametrize("name", ROUTES)
def test_in_memory_it_is_bit_for_bit_what_it_is_on_disk(name: str, kind: str, tmp_path: Path) -> None:
    specs, layout, options = ROUTES[name]
    tree = random_tree(specs, "state")
    save_item(tree, tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "target", layout, options)
    wanted = read(tmp_path / "target")
    converted = (to_nnx if layout is Layout.NNX else to_linen)(KINDS[kind](tree), options)
    found = saved(converted, tmp_path / "memory")
    assert contents(found) == contents(wanted)
    if kind == "jax":
        assert differences(found, wanted) == []


def contents(entries: Entries) -> dict[Any, bytes]:
    return {path: leaf.content for path, leaf in entries.items()}


@pytest.mark.parametrize("options", [ConversionOptions(), UNSTACK], ids=["kept", "unstacked"])
def test_orbax_restores_a_conversion_of_a_state_that_was_saved_from_numpy_arrays(
    options: ConversionOptions, tmp_path: Path
) -> None:
    save_item(numpy_of(random_tree(linen(STACKED), "state")), tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "target", Layout.NNX, options)
    # In a process of its own: a restore that fails leaves threads behind.
    code = "import sys, orbax.checkpoint as ocp; ocp.PyTreeCheckpointer().restore(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "target"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("name", ROUTES)
def test_specs_are_converted_as_the_arrays_are(name: str) -> None:
    specs, layout, options = ROUTES[name]
    tree = random_tree(specs, "state")
    arrays = convert_tree(tree, layout, options).tree
    found = convert_tree(specs_of(tree), layout, options).tree
    leaves = jax.tree.leaves(found)
    assert leaves
    assert {type(leaf) for leaf in leaves} == {jax.ShapeDtypeStruct}
    assert inventory_of(found).by_path == inventory_of(arrays).by_path


@pytest.mark.parametrize("kind", ["numpy", "jax"])
def test_arrays_keep_their_kind(kind: str) -> None:
    tree = KINDS[kind](random_tree(linen(STACKED), "state"))
    holder = Holder.NUMPY if kind == "numpy" else Holder.JAX
    for options in (ConversionOptions(), UNSTACK):
        entries = inventory_of(to_nnx(tree, options)).entries
        holders = {getattr(e.value, "holder", None) for e in entries if str(e.path) != "optimizer/step/value"}
        assert holders == {holder}


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_typed_keys_of_layers_are_stacked_and_unstacked(impl: str, tmp_path: Path) -> None:
    specs = native()
    for n in range(3):
        base = ("model", "decoder", "layers", str(n), "dropout", "rngs")
        specs[*base, "count"], specs[*base, "key"] = "uint32[]", f"key<{impl}>[]"
    tree = random_tree(specs, "state")
    stacked = to_nnx(tree, STACK)
    key = stacked["model"]["decoder"]["layers"]["dropout"]["rngs"]["key"]
    assert (key.shape, jax.random.key_impl(key)) == ((3,), jax.random.key_impl(jax.random.key(0, impl=impl)))
    back = to_nnx(stacked, UNSTACK)
    assert differences(saved(back, tmp_path / "back"), saved(tree, tmp_path / "source")) == []
    shapes = to_nnx(specs_of(tree), STACK)["model"]["decoder"]["layers"]["dropout"]["rngs"]["key"]
    assert (shapes.shape, shapes.dtype) == (key.shape, key.dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_leaves_that_are_not_restacked_are_shared_and_not_copied(kind: str) -> None:
    tree = KINDS[kind](random_tree(linen(STACKED), "state"))
    there = to_nnx(tree, ConversionOptions(leaves=Leaves.BARE))
    params, moments = tree["params"]["params"], tree["opt_state"][0]["mu"]["params"]
    for made, given in [(there["model"], params), (there["optimizer"]["opt_state"]["0"]["mu"], moments)]:
        made_leaves, given_leaves = (dict(jax.tree_util.tree_leaves_with_path(t)) for t in (made, given))
        assert made_leaves.keys() == given_leaves.keys()
        assert all(made_leaves[path] is leaf for path, leaf in given_leaves.items())
    apart = to_nnx(tree, UNSTACK.model_copy(update={"leaves": Leaves.BARE}))
    assert apart["model"]["token_embedder"]["embedding"] is params["token_embedder"]["embedding"]


def test_the_given_tree_is_left_as_it_was() -> None:
    tree = random_tree(linen(STACKED), "state")
    before = jax.tree.leaves(tree, is_leaf=is_leaf)
    structure: Any = jax.tree.structure(tree)
    to_nnx(tree, UNSTACK)
    assert jax.tree.structure(tree) == structure
    after = jax.tree.leaves(tree, is_leaf=is_leaf)
    assert all(one is other for one, other in zip(before, after, strict=True))


# What the target cannot hold


def test_arrays_that_are_left_out_are_warned_of_with_their_number() -> None:
    with pytest.warns(LeftOutWarning, match=r"^2 arrays have no place in the layout linen"):
        to_linen(random_tree(native(), "state"))


def test_what_is_dropped_on_purpose_or_only_empty_is_not_warned_of() -> None:
    # Warnings are errors here.
    assert "rngs" not in str(to_linen(random_tree(native(), "state"), DROP))
    assert to_nnx(random_tree(linen(), "state"))


def test_convert_tree_returns_what_it_leaves_out() -> None:
    tree = random_tree(native(), "state")
    converted = convert_tree(tree, Layout.LINEN)
    given = tree["model"]["decoder"]["dropout"]["rngs"]
    arrays = {path.names[-1]: leaf for path, leaf in converted.aside.items()}
    assert arrays["count"] is given["count"]
    assert arrays["key"] is given["key"]
    assert {str(write.target) for write in converted.plan.item_writes} == {
        str(entry.path) for entry in inventory_of(converted.tree).entries
    }


def test_a_live_template_gives_its_streams() -> None:
    like = random_tree(native(), "template")
    made = to_nnx(random_tree(linen(), "state"), template=like)
    streams, wanted = (tree["model"]["decoder"]["dropout"]["rngs"] for tree in (made, like))
    assert streams["key"] is wanted["key"]
    assert inventory_of(made).by_path.keys() == inventory_of(like).by_path.keys()


@pytest.mark.filterwarnings("ignore::linen_nnx.LeftOutWarning")
def test_a_subclass_goes_to_nnx_with_the_statistics_and_without_its_own_fields() -> None:
    state = own()
    made = to_nnx(state, ConversionOptions(leaves=Leaves.BARE))
    assert made["model"]["norm"]["mean"] is state.batch_stats["norm"]["mean"]
    assert set(made["model"]) == {"first", "second", "norm"}
    aside = [str(path) for path in convert_tree(state, Layout.NNX).aside]
    assert any("dropout_rng" in path for path in aside)
    assert any("ema_params" in path for path in aside)


# Live models


def put(values: Tree, state: Any, into: Any) -> None:
    """The way of flax from a pure dict into a live object."""
    nnx.replace_by_pure_dict(state, values)
    nnx.update(into, state)


def test_a_converted_state_in_a_live_nnx_model_computes_and_trains_as_linen_does(tmp_path: Path) -> None:
    state = live()
    converted = to_nnx(state, ConversionOptions(leaves=Leaves.BARE))
    model = NnxMlp(nnx.Rngs(9))
    trainer = nnx.Optimizer(model, optimizer(), wrt=nnx.Param)
    put(converted["model"], nnx.state(model), model)
    put(converted["optimizer"], nnx.state(trainer, nnx.OptState), trainer)
    assert np.array_equal(model(inputs()), np.asarray(state.apply_fn(state.params, inputs())))
    gradients = nnx.grad(lambda model: jnp.mean(model(inputs()) ** 2))(model)
    trainer.update(model, gradients)
    after = to_nnx(trained(state), ConversionOptions(leaves=Leaves.BARE))
    found = {
        "model": nnx.to_pure_dict(nnx.state(model)),
        "optimizer": nnx.to_pure_dict(nnx.state(trainer, nnx.OptState)),
    }
    assert differences(saved(found, tmp_path / "found"), saved(after, tmp_path / "after")) == []


def test_a_converted_nnx_state_in_a_live_train_state_computes_as_nnx_does() -> None:
    tree = live_nnx()
    converted = to_linen(tree)
    state = live()
    restored = state.replace(params=converted["params"])
    model = NnxMlp(nnx.Rngs(9))
    nnx.update(model, tree["model"])
    assert np.array_equal(np.asarray(restored.apply_fn(restored.params, inputs())), model(inputs()))


NARROW_FLOATS = ["float16", "bfloat16", *(d.value for d in DType if d.value.startswith("float8"))]


@pytest.mark.parametrize("dtype", NARROW_FLOATS)
def test_every_pattern_of_bits_of_a_narrow_float_survives_every_move(dtype: str) -> None:
    kind = np.dtype(dtype)
    words = np.dtype(f"uint{kind.itemsize * 8}")
    patterns = np.arange(2 ** (kind.itemsize * 8)).astype(words).reshape(2, -1)
    made = [jnp.asarray(row.view(kind)) for row in patterns]
    arrays = JaxArrays()
    stacked = arrays.stack(made, 1)
    results = {
        "stack": (stacked, patterns.T),
        "take": (arrays.take(stacked, 1, 1), patterns[1]),
        "move_axis": (arrays.move_axis(stacked, 0, 1), patterns),
        "concat": (arrays.concat(made, 0), patterns.reshape(-1)),
        "split": (arrays.split(arrays.concat(made, 0), 0, 1, 2), patterns[1]),
    }
    changed_by = [
        name for name, (array, bits) in results.items() if (np.asarray(array).view(words) != bits).any()
    ]
    assert changed_by == []
