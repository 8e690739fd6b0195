"""Modules that NNX trains otherwise: they convert by hand-written rules, and the plan says so aloud."""

from pathlib import Path
from typing import Any

import jax
import pytest

from linen_nnx import ConversionError, ConversionOptions, Layout, convert, plan
from linen_nnx.convert.rules.reading import parse_rules
from linen_nnx.schema.plan import NoteCode
from linen_nnx.schema.problem import Code
from tests.pairs import layered, library
from tests.pairs.pair import By, Pair
from tests.pairs.training import (
    adamw,
    distance,
    linen_forward,
    linen_trained,
    linen_variables,
    nnx_forward,
    nnx_restored,
    save_linen,
)
from tests.support.entries import differences, read

SPECTRAL = """
version = 1
[[rule]]
from = "params/Dense_0/*"
to = "sn/layer_instance/*"
[[rule]]
path = ["batch_stats", "SpectralNorm_0", "Dense_0/kernel/u"]
to_path = ["sn", "batch_stats", "('kernel', 'u')"]
[[rule]]
path = ["batch_stats", "SpectralNorm_0", "Dense_0/kernel/sigma"]
to_path = ["sn", "batch_stats", "('kernel', 'sigma')"]
"""


def test_a_spectral_norm_converts_by_key_lists_and_the_plan_warns(tmp_path: Path) -> None:
    pair = Pair("spectral_norm", library.Spectral, library.NnxSpectral, (2, library.D), By.RULES)
    state, _ = linen_trained(pair, adamw(), steps=1)
    save_linen(pair, state, tmp_path / "linen")
    options = ConversionOptions(rules=parse_rules(SPECTRAL))
    made = plan(tmp_path / "linen", Layout.NNX, options)
    assert NoteCode.NORM_WRITES_BACK in {note.code for note in made.notes}
    convert(tmp_path / "linen", tmp_path / "nnx", Layout.NNX, options)
    model, _ = nnx_restored(pair, tmp_path / "nnx")
    assert distance(nnx_forward(pair, model), linen_forward(pair, state["variables"])) <= 4e-7
    convert(tmp_path / "nnx", tmp_path / "back", Layout.LINEN, options.model_copy(update={"inverse": True}))
    assert differences(read(tmp_path / "back"), read(tmp_path / "linen")) == []


GRU = next(pair for pair in layered.PAIRS if pair.name == "gru")
GRU_RULES = """
version = 1
[[rule]]
from = "params/GRUCell_0/hn/bias"
op = { drop = { reason = "NNX's GRUCell has no bias there", require = "zero" } }
[[rule]]
from = ["params/GRUCell_0/ir/*", "params/GRUCell_0/iz/*", "params/GRUCell_0/in/*"]
to = "rnn/cell/dense_i/*"
op = { concat = { axis = -1 } }
[[rule]]
from = ["params/GRUCell_0/hr/*", "params/GRUCell_0/hz/*", "params/GRUCell_0/hn/*"]
to = "rnn/cell/dense_h/*"
op = { concat = { axis = -1 } }
"""


def gru_state(bias: float, folder: Path) -> Path:
    params: Any = linen_variables(GRU)["params"]
    params["GRUCell_0"]["hn"]["bias"] += bias
    state = {
        "variables": {"params": params},
        "opt_state": adamw().init(params),
        "step": jax.numpy.asarray(1, "int32"),
    }
    return save_linen(GRU, state, folder / "linen")


@pytest.mark.parametrize("bias", [0.25, -1e-30, float("nan")])
def test_a_bias_that_was_trained_is_refused_before_anything_is_written(bias: float, tmp_path: Path) -> None:
    source = gru_state(bias, tmp_path)
    options = ConversionOptions(rules=parse_rules(GRU_RULES))
    made = plan(source, Layout.NNX, options)
    assert [drop.require is not None for drop in made.drops] == [True, False, False]
    with pytest.raises(ConversionError) as refused:
        convert(source, tmp_path / "nnx", Layout.NNX, options)
    assert [(problem.code, str(problem.path)) for problem in refused.value.problems] == [
        (Code.NOT_ZERO, "params/GRUCell_0/hn/bias")
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["linen"]


def test_a_bias_of_zeros_goes_and_comes_back(tmp_path: Path) -> None:
    source = gru_state(0.0, tmp_path)
    options = ConversionOptions(rules=parse_rules(GRU_RULES))
    receipt = convert(source, tmp_path / "nnx", Layout.NNX, options)
    assert {note.code for note in receipt.notes} >= {NoteCode.DROPPED_WAS_TRAINED}
    back = options.model_copy(update={"inverse": True})
    with pytest.raises(ConversionError) as refused:
        convert(tmp_path / "nnx", tmp_path / "back", Layout.LINEN, back)
    assert [problem.code for problem in refused.value.problems] == [Code.NOT_INVERTIBLE]
    shaped = GRU_RULES.replace('require = "zero"', 'require = "zero", shape = [3], dtype = "float32"')
    convert(
        tmp_path / "nnx",
        tmp_path / "back",
        Layout.LINEN,
        back.model_copy(update={"rules": parse_rules(shaped)}),
    )
    assert differences(read(tmp_path / "back"), read(source)) == []
