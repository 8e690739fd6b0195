"""Leaves unlike most: variables whose value is a tuple, specs beside arrays, what no checkpoint holds."""

import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linen_nnx import (
    Code,
    ConversionOptions,
    LayerStacking,
    Layout,
    LayoutError,
    Leaves,
    LinenTrainState,
    convert,
    convert_tree,
    diff,
    plan,
    to_nnx,
    validate,
)
from linen_nnx.schema.plan import DropRule
from tests.support.checkpoints import save_item

LAYERS = 3


def layer(number: int) -> dict[str, Any]:
    pair = (jnp.full(4, number, "float32"), [jnp.zeros((2, 5)), jnp.full((7,), number, "float32")])
    return {"kernel": jnp.arange(6.0).reshape(2, 3) + number, "pair": pair}


def with_tuples() -> dict[str, Any]:
    """A Linen state whose layers have a variable that is a tuple, trained as all others are."""
    layers = {f"layers_{number}": layer(number) for number in range(LAYERS)}
    params = {"params": {"decoder": layers, "parts": [jnp.ones(3), jnp.ones((4,))]}}
    chain = [{"count": jnp.int32(3), "mu": params, "nu": params}, None, {"count": jnp.int32(3)}]
    return {"step": jnp.int32(3), "params": params, "opt_state": chain}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_item(with_tuples(), tmp_path_factory.mktemp("tuples") / "source")


@pytest.mark.parametrize("stacking", [None, LayerStacking.STACKED])
@pytest.mark.parametrize(
    ("to", "leaves"),
    [
        (Layout.NNX, Leaves.WRAPPED),
        (Layout.NNX, Leaves.BARE),
        (Layout.MAXTEXT, None),
        (Layout.TUNIX, None),
    ],
)
def test_a_variable_that_is_a_tuple_goes_through_every_layout_with_its_moments(
    to: Layout, leaves: Leaves | None, stacking: LayerStacking | None, source: Path, tmp_path: Path
) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    convert(source, there, options=ConversionOptions(to=to, leaves=leaves, stacking=stacking))
    # Without the record of the conversion, its looks alone must do.
    for own in tmp_path.rglob("linen_nnx"):
        shutil.rmtree(own)
    assert validate(there) == []
    convert(there, back, options=ConversionOptions(to=Layout.LINEN, stacking=LayerStacking.UNSTACKED))
    assert diff(source, back).differences == ()


def test_only_what_has_no_moments_is_taken_for_what_a_forward_pass_sowed(tmp_path: Path) -> None:
    model: dict[str, Any] = {"d": {"kernel": jnp.ones((2, 3)), "pair": (jnp.ones(2), jnp.ones(4))}}
    moments = {"mu": model, "nu": model}
    sown = {"d": {**model["d"], "intermediates": (jnp.ones(5),)}}
    optimizer = {"step": jnp.uint32(3), "opt_state": {"0": moments}}
    made = plan(save_item({"model": sown, "optimizer": optimizer}, tmp_path / "item"), "linen")
    assert [(str(drop.source), drop.rule) for drop in made.drops] == [
        ("model/d/intermediates/[0]", DropRule.SOWN)
    ]


def state_of(**leaves: object) -> dict[str, Any]:
    return {"step": 3, "params": {"params": {"d": leaves}}, "opt_state": []}


NOT_HELD = {
    "number": 1j,
    "words": np.array(["a", "b"]),
    "objects": np.array([None, 1], dtype=object),
    "days": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "record": np.zeros(2, dtype=[("a", "i4")]),
    "swapped": np.ones(3, dtype=">f4"),
    "function": len,
}


def test_every_leaf_that_no_checkpoint_holds_is_told_by_its_path_at_once() -> None:
    tree = state_of(kernel=np.ones((2, 3), "float32"), **NOT_HELD)
    found = validate(tree)
    assert {str(problem.path) for problem in found} == {f"params/params/d/{name}" for name in NOT_HELD}
    assert {problem.code for problem in found} == {Code.WRONG_KIND}
    for read in (to_nnx, LinenTrainState.of):
        with pytest.raises(LayoutError) as refused:
            read(tree)
        assert len(refused.value.problems) == len(NOT_HELD)


def test_one_fault_of_a_live_tree_is_told_once() -> None:
    tree = state_of(kernel=np.ones((2, 3), "float32")) | {"step": 2.5}
    assert [str(problem.path) for problem in validate(tree)] == ["step"]


def test_arrays_beside_specs_keep_their_values() -> None:
    kernels = [np.full((2, 3), number, "float32") for number in range(LAYERS)]
    bias: Any = jax.eval_shape(lambda: jnp.ones(5))
    layers = {f"layers_{number}": {"kernel": kernel, "bias": bias} for number, kernel in enumerate(kernels)}
    tree = {"step": 3, "params": {"params": {"decoder": layers}}, "opt_state": []}
    options = ConversionOptions(to=Layout.NNX, stacking=LayerStacking.STACKED, leaves=Leaves.BARE)
    made = convert_tree(tree, options=options).tree
    stacked, step = made["model"]["decoder"]["layers"], made["optimizer"]["step"]
    assert np.array_equal(stacked["kernel"], np.stack(kernels, axis=1))
    assert (stacked["bias"].shape, type(stacked["bias"])) == ((5, LAYERS), jax.ShapeDtypeStruct)
    assert (int(step), step.dtype) == (3, np.uint32)
    apart = ConversionOptions(to=Layout.LINEN, stacking=LayerStacking.UNSTACKED)
    back = convert_tree(made, options=apart).tree["params"]["params"]["decoder"]
    for number, kernel in enumerate(kernels):
        assert np.array_equal(back[f"layers_{number}"]["kernel"], kernel)
        assert back[f"layers_{number}"]["bias"].shape == (5,)
