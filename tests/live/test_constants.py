"""Arrays that stand bare in an NNX module: no variable of Linen's, and the model's own whatever is loaded."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from linen_nnx import (
    Code,
    ConversionError,
    Probe,
    check_forward,
    infer_rules,
    load,
    spec_of,
    to_linen,
    to_nnx,
)
from linen_nnx.convert.rules.reading import parse_rules
from tests.support.checkpoints import save_item
from tests.support.command import run

X = jnp.linspace(-1.0, 1.0, 8).reshape(2, 4)


class Scaled(nn.Module):
    """By a table that is computed on every call."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.Dense(3)(jnp.tanh(nn.Dense(5)(x) * jnp.arange(5.0)))


class NnxScaled(nnx.Module):
    """By a table that the module holds."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first, self.last = nnx.Linear(4, 5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)
        self.table = nnx.data(jnp.arange(5.0))

    def __call__(self, x: Any) -> Any:
        return self.last(jnp.tanh(self.first(x) * self.table))


def state() -> dict[str, Any]:
    variables: Any = Scaled().init(jax.random.key(0), X)
    return {"step": jnp.int32(3), **variables}


def test_a_table_is_kept_by_a_rule_that_is_inferred() -> None:
    found = infer_rules(state(), spec_of(lambda: NnxScaled(nnx.Rngs(0))))
    assert (found.problems, found.ways) == ((), 1)
    assert [keep.to for keep in found.rules.keep] == ["table"]
    probe = Probe(Scaled(), lambda: NnxScaled(nnx.Rngs(0)), X)
    assert infer_rules(state(), spec_of(NnxScaled(nnx.Rngs(0))), probe=probe) == found


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_live_model_keeps_its_table_and_says_so(on_disk: bool, tmp_path: Path) -> None:
    linen, model = state(), NnxScaled(nnx.Rngs(7))
    receipt = load(save_item(linen, tmp_path / "linen"), model) if on_disk else to_nnx(linen, model)
    assert check_forward(Scaled(), {"params": linen["params"]}, model, X) <= 4e-7
    assert [str(left.path) for left in receipt.kept] == ["model/table"]
    np.testing.assert_array_equal(model.table, jnp.arange(5.0))
    back = to_linen(model, template={"params": linen["params"]})
    for ours, theirs in zip(jax.tree.leaves(back), jax.tree.leaves(linen["params"]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_rule_of_ones_own_keeps_what_it_names_and_nothing_else() -> None:
    text = """
version = 1
[[rule]]
from = "params/Dense_0/*"
to = "last/*"
[[rule]]
from = "params/Dense_1/*"
to = "first/*"
"""
    model = NnxScaled(nnx.Rngs(7))
    with pytest.raises(ConversionError) as refused:
        to_nnx(state(), model, rules=parse_rules(text))
    assert [problem.code for problem in refused.value.problems] == [Code.MISSING_ENTRY]
    receipt = to_nnx(state(), model, rules=parse_rules(text + '[[keep]]\nto = "table"\n'))
    assert [str(left.path) for left in receipt.kept] == ["model/table"]


def test_on_disk_the_table_is_the_template_s(tmp_path: Path) -> None:
    source = save_item(state(), tmp_path / "linen")
    fresh = save_item({"model": nnx.state(NnxScaled(nnx.Rngs(1)))}, tmp_path / "fresh")
    spec = tmp_path / "spec.json"
    spec.write_text(spec_of(lambda: NnxScaled(nnx.Rngs(0))).model_dump_json())
    assert run("convert", source, tmp_path / "bare", "--spec", spec) == 0
    with pytest.raises(ConversionError) as refused:
        load(tmp_path / "bare", NnxScaled(nnx.Rngs(2)))
    assert "--template" in (refused.value.problems[0].hint or "")
    assert run("convert", source, tmp_path / "whole", "--spec", spec, "--template", fresh) == 0
    model = NnxScaled(nnx.Rngs(2))
    load(tmp_path / "whole", model)
    assert check_forward(Scaled(), {"params": state()["params"]}, model, X) <= 4e-7
