"""Plain flax of today: what users hand to orbax beside a state, and states with fields of their own."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
from flax import nnx

from linen_nnx import (
    Code,
    ConversionError,
    ConversionOptions,
    Layout,
    LayoutError,
    convert,
    inspect,
    plan,
    validate,
    verify,
)
from tests.live.pair import OwnState, linen_state, nnx_pair
from tests.support.checkpoints import save_item
from tests.support.entries import differences, read


class Unset(OwnState):  # type: ignore[no-untyped-call]
    """With more fields that are in general use."""

    metrics: Any = None
    target_params: Any = None


def states() -> dict[str, nnx.State[Any, Any]]:
    model, optimizer = nnx_pair()
    return {"model": nnx.state(model), "optimizer": nnx.state(optimizer)}


@pytest.mark.parametrize("unset", [None, {}], ids=["none", "empty"])
def test_fields_of_a_subclass_may_be_unset_and_come_back(unset: Any, tmp_path: Path) -> None:
    given = linen_state()
    state = Unset(
        step=given.step,
        apply_fn=given.apply_fn,
        tx=given.tx,
        params=given.params,
        opt_state=given.opt_state,
        batch_stats=unset,
        metrics={"loss": jnp.float32(0.5)},
        target_params=given.params,
    )
    item = save_item(state, tmp_path / "item")
    assert validate(item) == validate(state) == []
    convert(item, tmp_path / "nnx", Layout.NNX)
    convert(tmp_path / "nnx", tmp_path / "back", Layout.LINEN)
    assert differences(read(tmp_path / "back"), read(item)) == []


@pytest.mark.parametrize("to", [Layout.NNX, Layout.LINEN])
def test_a_native_state_below_a_key_is_read_and_what_stands_beside_it_kept(
    to: Layout, tmp_path: Path
) -> None:
    item = save_item({"state": states(), "config": {"width": 4}}, tmp_path / "item")
    found = inspect(item)
    assert found.detection is not None
    assert found.detection.layout is Layout.NNX
    assert "below state" in " ".join(found.detection.evidence)
    receipt = convert(item, tmp_path / "target", to)
    assert verify(tmp_path / "target", against=item) == []
    assert "config/width" in {
        str(ref.path) for e in receipt.entries if (ref := getattr(e.op, "source", None))
    }


def test_a_bare_model_tree_is_read_when_the_user_says_that_it_is_one(tmp_path: Path) -> None:
    model, _ = nnx_pair()
    item = save_item(nnx.to_pure_dict(nnx.state(model)), tmp_path / "item")
    with pytest.raises(LayoutError) as refused:
        plan(item, Layout.NNX)
    assert refused.value.problems[0].hint is not None
    assert "--from params" in refused.value.problems[0].hint
    assert validate(item, Layout.PARAMS) == []
    convert(item, tmp_path / "target", Layout.NNX, ConversionOptions(source=Layout.PARAMS))
    assert validate(tmp_path / "target", against={"model": states()["model"]}) == []


@pytest.mark.parametrize("name", ["alone", "under-its-name"])
def test_an_optimizer_without_its_model_is_no_train_state(name: str, tmp_path: Path) -> None:
    optimizer = states()["optimizer"]
    item = save_item(optimizer if name == "alone" else {"optimizer": optimizer}, tmp_path / "item")
    (problem,) = validate(item)
    assert problem.code is Code.UNKNOWN_LAYOUT
    with pytest.raises((ConversionError, LayoutError)):
        plan(item, Layout.LINEN)
