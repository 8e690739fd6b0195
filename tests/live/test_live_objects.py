"""`to_nnx`, `to_linen`, `load` and `check_forward` on live models and optimizers."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, serialization

from linen_nnx import Code, ConversionError, check_forward, load, spec_of, to_linen, to_nnx
from linen_nnx.schema.tree import flatten
from tests.live.pair import (
    LinenNet,
    LinenSquare,
    NnxNet,
    NnxSquare,
    Renamed,
    batch,
    linen_state,
    linen_step,
    nnx_pair,
    nnx_step,
    transform,
    variables_of,
)
from tests.support.checkpoints import save_item


def content(node: Any) -> dict[str, bytes]:
    """Every array of a tree or of an NNX object, by path."""
    tree = nnx.state(node) if isinstance(node, nnx.Module | nnx.Optimizer) else node
    return {str(path): _bytes(leaf) for path, leaf in flatten(tree) if hasattr(leaf, "dtype")}


def _bytes(leaf: Any) -> bytes:
    data = jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    return str(data.dtype).encode() + np.asarray(data).tobytes()


def assert_same_training(model: NnxNet, optimizer: Any) -> None:
    """The next losses of the filled pair are those of the Linen state."""
    state = linen_state()
    assert check_forward(LinenNet(), variables_of(state), model, batch(), train=False) == 0.0
    for _ in range(3):
        state, wanted = linen_step(state)
        assert float(abs(nnx_step(model, optimizer) - wanted)) <= 1e-7
    assert check_forward(LinenNet(), variables_of(state), model, batch(), train=False) <= 1e-6


def test_a_filled_pair_goes_on_as_the_linen_state_does() -> None:
    model, optimizer = nnx_pair()
    receipt = to_nnx(linen_state(), model, optimizer)
    assert receipt.filled == len(content(model)) + len(content(optimizer)) - 2
    assert {left.path.names[-1] for left in receipt.kept} == {"count", "key"}
    reasons = {str(left.path).partition("/")[0] for left in receipt.left}
    assert reasons == {"fields", "fields_moments"}
    assert_same_training(model, optimizer)


def test_variables_keep_their_type_and_metadata_and_the_model_its_streams() -> None:
    model, optimizer = nnx_pair()
    spec, streams = spec_of(model, optimizer), content(model.drop)
    to_nnx(linen_state(), model, optimizer)
    assert spec_of(model, optimizer) == spec
    assert content(model.drop) == streams
    assert model.norm.mean.__class__ is nnx.BatchStat


def test_streams_are_taken_from_a_source_that_has_them() -> None:
    source, target = nnx_pair(1), nnx_pair(2)
    nnx_step(*source)
    tree = {"model": nnx.state(source[0]), "optimizer": nnx.state(source[1])}
    to_nnx(tree, *target, rngs="take")
    assert content(target[0]) == content(source[0])
    with pytest.raises(ConversionError) as refused:
        to_nnx(linen_state(), *target, rngs="take")
    assert {str(p.path) for p in refused.value.problems} == {"model/drop/rngs/count", "model/drop/rngs/key"}


def test_a_model_alone_is_filled_and_the_rest_is_said_to_be_left() -> None:
    model, _ = nnx_pair()
    receipt = to_nnx(linen_state(), model)
    assert check_forward(LinenNet(), variables_of(linen_state()), model, batch(), train=False) == 0.0
    assert {left.reason for left in receipt.left} >= {"no optimizer was given"}


def test_all_is_checked_before_anything_changes() -> None:
    model, optimizer = nnx_pair()
    before = content(model) | content(optimizer)
    state = linen_state()
    params = {
        "first": {**state.params["first"], "kernel": jnp.zeros((FEATURES_WRONG, 4))},
        "norm": state.params["norm"],
        "third": state.params["second"],
    }
    bad = state.replace(params=params, opt_state=state.tx.init(params), ema_params=None)
    with pytest.raises(ConversionError) as refused:
        to_nnx(bad, model, optimizer)
    found = {(problem.code, str(problem.path)) for problem in refused.value.problems}
    assert {
        (Code.SHAPE_MISMATCH, "model/first/kernel"),
        (Code.SHAPE_MISMATCH, "optimizer/opt_state/0/mu/first/kernel"),
        (Code.MISSING_ENTRY, "model/second/bias"),
        (Code.UNEXPECTED_ENTRY, "model/third/bias"),
    } <= found
    assert content(model) | content(optimizer) == before


FEATURES_WRONG = 5


@pytest.mark.parametrize("abstract", [True, False])
def test_a_linen_state_comes_back_bit_for_bit(abstract: bool) -> None:
    state = linen_state()
    model, optimizer = nnx_pair()
    to_nnx(state, model, optimizer)
    template: Any = linen_state(0)
    if abstract:
        # Fields of its own are given, for NNX has none of them.
        shapes: Any = jax.eval_shape(lambda: template)
        template = shapes.replace(dropout_rng=state.dropout_rng, ema_params=state.ema_params)
    back = to_linen(model, optimizer, template=template)
    assert type(back) is type(state)
    structures: list[Any] = [jax.tree.structure(one.opt_state) for one in (back, state)]
    assert structures[0] == structures[1]
    ours, theirs = content(back), content(state.replace(step=jnp.int32(2)))
    own = ("ema_params", "dropout_rng")
    assert {p: b for p, b in ours.items() if not p.startswith(own) and p != "step"} == {
        p: b for p, b in theirs.items() if not p.startswith(own) and p != "step"
    }
    assert int(back.step) == 2


def test_a_template_that_does_not_fit_is_refused_with_every_difference() -> None:
    model, optimizer = nnx_pair()
    state = linen_state()
    first = {"kernel": jnp.zeros((FEATURES_WRONG, 4)), "bias": state.params["first"]["bias"]}
    params = {"first": first, "norm": state.params["norm"], "last": state.params["second"]}
    template = state.replace(params=params, opt_state=state.tx.init(params), ema_params=None)
    with pytest.raises(ConversionError) as refused:
        to_linen(model, optimizer, template=template)
    found = {(problem.code, str(problem.path)) for problem in refused.value.problems}
    assert {
        (Code.SHAPE_MISMATCH, "model/first/kernel"),
        (Code.UNEXPECTED_ENTRY, "model/second/bias"),
        (Code.MISSING_ENTRY, "model/last/bias"),
    } <= found


SOURCES = ("linen", "nnx", "msgpack")


def saved(kind: str, folder: Path) -> Path:
    state = linen_state()
    if kind == "msgpack":
        (folder / "checkpoint_2").write_bytes(serialization.to_bytes(state.replace(dropout_rng=None)))
        return folder / "checkpoint_2"
    if kind == "linen":
        return save_item(state, folder / "item")
    model, optimizer = nnx_pair()
    to_nnx(state, model, optimizer)
    return save_item({"model": nnx.state(model), "optimizer": nnx.state(optimizer)}, folder / "item")


@pytest.mark.parametrize("kind", SOURCES)
def test_a_checkpoint_of_any_layout_is_loaded_into_live_objects(kind: str, tmp_path: Path) -> None:
    model, optimizer = nnx_pair()
    load(saved(kind, tmp_path), model, optimizer)
    assert_same_training(model, optimizer)


def test_an_abstract_model_is_filled_too(tmp_path: Path) -> None:
    model, optimizer = nnx.eval_shape(nnx_pair)
    receipt = load(saved("nnx", tmp_path), model, optimizer, rngs="take")
    assert receipt.kept == ()
    assert_same_training(model, optimizer)


def test_sharded_models_are_loaded_shard_by_shard(tmp_path: Path) -> None:
    """In a process of its own, with eight devices."""
    item = saved("linen", tmp_path)
    command = [sys.executable, "-m", "tests.live.sharded", str(item)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "loaded"


def test_other_names_are_found_by_structure_both_ways(tmp_path: Path) -> None:
    state = linen_state()
    pairs: list[Any] = [Renamed(nnx.Rngs(seed)) for seed in (0, 1)]
    model, other = pairs
    optimizer, others = (nnx.Optimizer(one, transform(), wrt=nnx.Param) for one in pairs)
    receipts = [to_nnx(state, model, optimizer), load(saved("linen", tmp_path), other, others)]
    assert receipts[0].rules == receipts[1].rules
    assert receipts[0].rules is not None
    for one in pairs:
        assert check_forward(LinenNet(), variables_of(state), one, batch(), train=False) == 0.0
    back = to_linen(model, optimizer, template=linen_state(0))
    assert content(back.params) == content(state.params)
    assert content(back.opt_state) == content(state.opt_state)


def test_what_structure_cannot_tell_apart_is_refused_until_names_are_accepted() -> None:
    module, x = LinenSquare(), batch()
    variables: Any = module.init(jax.random.key(0), x)
    state = {"step": 0, "params": variables["params"], "opt_state": transform().init(variables["params"])}
    model = NnxSquare(nnx.Rngs(1))
    optimizer = nnx.Optimizer(model, transform(), wrt=nnx.Param)
    before = content(model)
    with pytest.raises(ConversionError) as refused:
        to_nnx(state, model, optimizer)
    assert {problem.code for problem in refused.value.problems} == {Code.AMBIGUOUS_MAPPING}
    assert content(model) == before
    to_nnx(state, model, optimizer, accept="names")
    assert check_forward(module, variables, model, x) == 0.0


def test_exchanged_names_are_seen_by_the_forward_check() -> None:
    state = linen_state()
    model, optimizer = nnx_pair()
    to_nnx(state, model, optimizer)
    norm: Any = model.norm
    norm.scale.set_value(norm.bias.get_value())
    before = content(model)
    assert check_forward(LinenNet(), variables_of(state), model, batch(), train=False) > 1e-3
    assert content(model) == before
