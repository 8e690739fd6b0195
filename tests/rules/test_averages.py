"""Averages of the parameters: `ema_params` of a Linen state, and what `nnx.EMA` keeps beside an NNX model."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx

from linen_nnx import Code, ConversionError, ConversionOptions, Layout, convert, infer_rules, load, spec_of
from linen_nnx.convert.mapping.writing import written
from linen_nnx.convert.rules.reading import parse_rules
from linen_nnx.schema.rules import Mirroring, Rules
from tests.live.pair import Renamed, linen_state, nnx_pair
from tests.support.checkpoints import save_item
from tests.support.entries import differences, read

MIRROR = Mirroring(mirror="params", to="ema/params")


def restored(item: Path) -> Any:
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        return checkpointer.restore(item)


@pytest.mark.parametrize("kinds", [(nnx.Param,), (nnx.Param, nnx.BatchStat)], ids=["params", "stats"])
def test_what_an_nnx_ema_keeps_goes_to_linen_and_comes_back(kinds: Any, tmp_path: Path) -> None:
    model, optimizer = nnx_pair()
    ema = nnx.EMA(model, 0.9, only=nnx.Any(*kinds))
    state = {"model": nnx.state(model), "optimizer": nnx.state(optimizer), "ema": nnx.state(ema)}
    source = save_item(state, tmp_path / "nnx")
    convert(source, tmp_path / "linen", Layout.LINEN)
    kept = restored(tmp_path / "linen")["ema"]
    kept = kept.get("params", kept)["first"]["kernel"]
    np.testing.assert_array_equal(kept, ema.params["first"]["kernel"][...])
    convert(tmp_path / "linen", tmp_path / "back", Layout.NNX)
    assert differences(read(tmp_path / "back"), read(source)) == []


def renamed_rules(averages: dict[str, str | Mirroring]) -> Rules:
    shapes: Any = jax.eval_shape(linen_state)
    found = infer_rules(shapes, spec_of(lambda: Renamed(nnx.Rngs(0))))
    assert found.problems == ()
    return found.rules.model_copy(update={"collections": averages})


def test_an_average_follows_the_rules_of_the_parameters_into_an_nnx_ema(tmp_path: Path) -> None:
    state = linen_state()
    source = save_item(state, tmp_path / "linen")
    rules = renamed_rules({"ema_params": MIRROR})
    options = ConversionOptions(rules=rules)
    convert(source, tmp_path / "nnx", Layout.NNX, options)
    ema = nnx.EMA(Renamed(nnx.Rngs(0)), 0.9, only=nnx.Param)
    nnx.replace_by_pure_dict(
        flat := nnx.state(ema), jax.tree.map(jnp.asarray, unwrapped(restored(tmp_path / "nnx")["ema"]))
    )
    nnx.update(ema, flat)
    mean = state.ema_params
    np.testing.assert_array_equal(ema.params["body"]["dense"]["kernel"][...], mean["first"]["kernel"])
    np.testing.assert_array_equal(ema.params["head"]["bias"][...], mean["second"]["bias"])
    back = options.model_copy(update={"inverse": True})
    convert(tmp_path / "nnx", tmp_path / "back", Layout.LINEN, back)
    assert differences(read(tmp_path / "back"), read(source)) == []


def unwrapped(tree: Any) -> Any:
    if set(tree) == {"value"}:
        return tree["value"]
    return {name: unwrapped(child) for name, child in tree.items()}


def test_the_rule_of_an_average_is_written_and_read() -> None:
    text = '[collections]\nema_params = { mirror = "params", to = "ema/params" }\n'
    rules = parse_rules("version = 1\n" + text)
    assert rules.collections == {"ema_params": MIRROR}
    found = infer_rules(jax.eval_shape(linen_state), spec_of(lambda: Renamed(nnx.Rngs(0))))
    made = found.model_copy(update={"rules": renamed_rules({"ema_params": MIRROR})})
    assert text in written(made)
    assert parse_rules(written(made)) == made.rules


def test_two_averages_of_one_place_are_refused(tmp_path: Path) -> None:
    state = linen_state()
    tree = {"step": state.step, "params": state.params, "ema_params": state.params, "ema": state.params}
    source = save_item(tree, tmp_path / "linen")
    rules = Rules(
        rules=parse_rules('version = 1\n[[rule]]\nfrom = "params/*"\nto = "*"\n').rules,
        collections={"ema_params": MIRROR},
    )
    with pytest.raises(ConversionError) as refused:
        convert(source, tmp_path / "nnx", Layout.NNX, ConversionOptions(rules=rules))
    assert [problem.code for problem in refused.value.problems] == [Code.TWO_WRITERS]


def test_an_average_of_the_whole_variables_comes_back_with_its_collections(tmp_path: Path) -> None:
    state = linen_state()
    whole = {"params": state.params, "batch_stats": state.batch_stats}
    tree = {"step": state.step, "params": whole, "ema": whole}
    source = save_item(tree, tmp_path / "linen")
    convert(source, tmp_path / "nnx", Layout.NNX)
    convert(tmp_path / "nnx", tmp_path / "back", Layout.LINEN)
    assert differences(read(tmp_path / "back"), read(source)) == []


def test_a_live_model_leaves_the_average_behind_and_says_so(tmp_path: Path) -> None:
    model, optimizer = nnx_pair(1)
    ema = nnx.EMA(model, 0.9, only=nnx.Param)
    state = {"model": nnx.state(model), "optimizer": nnx.state(optimizer), "ema": nnx.state(ema)}
    source = save_item(state, tmp_path / "nnx")
    fresh, its = nnx_pair(2)
    receipt = load(source, fresh, its)
    assert {left.path.names[0] for left in receipt.left if "average" in left.reason} == {"ema"}
    np.testing.assert_array_equal(fresh.first.kernel[...], model.first.kernel[...])
