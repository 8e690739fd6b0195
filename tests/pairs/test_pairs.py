"""Models of one's own: converted by the command line, they go on in NNX as they would have in Linen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from flax.nnx import bridge
from flax.nnx.bridge.variables import linen_vars_to_nnx_attrs

from linen_nnx import ConversionOptions, Layout, convert_tree, read_rules, spec_of
from tests.pairs import layered, library, plain
from tests.pairs.pair import Pair
from tests.pairs.training import (
    Tree,
    adamw,
    distance,
    linen_forward,
    linen_trained,
    nnx_forward,
    nnx_restored,
    nnx_step,
    nnx_tree,
    save_linen,
    train_state,
)
from tests.pairs.trees import arrays, unwrapped
from tests.support.command import run
from tests.support.entries import differences, read

PAIRS = [*plain.PAIRS, *library.PAIRS, *layered.PAIRS]


@dataclass(frozen=True)
class Converted:
    """A pair, trained in Linen and converted."""

    pair: Pair
    folder: Path
    state: Tree
    further: Tree
    """After one more step of Linen's."""


def spec_file(pair: Pair, folder: Path) -> Path:
    """What `spec` writes of the NNX model and its optimizer."""
    made = spec_of(lambda: _both(pair))
    file = folder / "spec.json"
    file.write_text(made.model_dump_json())
    return file


def _both(pair: Pair) -> Any:
    model = pair.nnx(nnx.Rngs(0))
    return model, nnx.Optimizer(model, adamw(), wrt=nnx.Param)


@pytest.fixture(scope="module", params=PAIRS, ids=str)
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    pair: Pair = request.param
    folder = tmp_path_factory.mktemp(pair.name)
    state, further = linen_trained(pair, adamw())
    save_linen(pair, state, folder / "linen")
    spec, rules = spec_file(pair, folder), folder / "rules.toml"
    if pair.rules is None:
        accept = pair.by.value
        assert run("map", folder / "linen", "--spec", spec, "--out", rules, "--accept", accept) == 0
    else:
        rules.write_text("version = 1\n" + pair.rules)
    assert run("convert", folder / "linen", folder / "nnx", "--rules", rules, "--spec", spec) == 0
    return Converted(pair, folder, state, further)


def test_the_converted_model_computes_what_linens_does_and_trains_on_alike(converted: Converted) -> None:
    pair = converted.pair
    model, optimizer = nnx_restored(pair, converted.folder / "nnx")
    wanted = linen_forward(pair, converted.state["variables"])
    assert distance(nnx_forward(pair, model), wanted) <= pair.forward
    after = nnx_tree(*nnx_step(pair, model, optimizer))
    options = ConversionOptions(rules=read_rules(converted.folder / "rules.toml"))
    linen = convert_tree(train_state(pair, converted.further), Layout.NNX, options).tree
    for part in ("model", "optimizer"):
        ours, theirs = arrays(nnx.to_pure_dict(after[part])), unwrapped(linen[part])
        assert distance([ours[name] for name in theirs], list(theirs.values())) <= pair.step, part


def test_the_way_back_by_the_same_rules_restores_every_byte(converted: Converted) -> None:
    folder = converted.folder
    rules = folder / "rules.toml"
    assert run("convert", folder / "nnx", folder / "back", "--rules", rules, "--inverse", "--overwrite") == 0
    assert differences(read(folder / "back"), read(folder / "linen")) == []


def test_the_bridge_of_flax_computes_the_same(converted: Converted) -> None:
    """`ToNNX` runs the Linen module itself as an NNX one: no rename of ours is in it."""
    pair = converted.pair
    wrapped = nnx.eval_shape(
        lambda: bridge.lazy_init(bridge.ToNNX(pair.linen(), rngs=nnx.Rngs(0)), pair.inputs())
    )
    graph, state = nnx.split(wrapped)
    attributes = linen_vars_to_nnx_attrs(converted.state["variables"])
    flat = dict(nnx.to_flat_state(nnx.State(attributes)))
    full = {path: flat.get(path, variable) for path, variable in nnx.to_flat_state(state)}
    filled = {
        path: variable.replace(jax.random.key(0)) if isinstance(variable, nnx.RngKey)
        else variable.replace(jnp.asarray(0, "uint32")) if isinstance(variable, nnx.RngCount) else variable
        for path, variable in full.items()
    }  # fmt: skip
    oracle = nnx.merge(graph, nnx.from_flat_state(filled))
    model, _ = nnx_restored(pair, converted.folder / "nnx")
    assert distance(nnx_forward(pair, model), oracle(pair.inputs())) <= max(pair.forward, 4e-7)


@pytest.mark.parametrize(("name", "accept"), [("mlp", "proved"), ("mlp_setup_names", "names")])
def test_with_a_spec_alone_what_is_proved_or_accepted_is_followed(
    name: str, accept: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = next(pair for pair in PAIRS if pair.name == name)
    state, _ = linen_trained(pair, adamw(), steps=1)
    source, spec = save_linen(pair, state, tmp_path / "linen"), spec_file(pair, tmp_path)
    rules = tmp_path / "rules.toml"
    proved = run("map", source, "--spec", spec, "--out", rules)
    assert proved == run("plan", source, "--spec", spec) == run("plan", source, "--rules", rules)
    assert proved == (0 if accept == "proved" else 1)
    assert ("TODO" in rules.read_text()) == bool(proved)
    assert run("convert", source, tmp_path / "nnx", "--spec", spec, "--accept", accept) == 0
    assert "inferred-rules" in capsys.readouterr().err
    assert run("verify", tmp_path / "nnx", "--against", source) == 0
