"""What may be read in two ways is refused by name, and converts as soon as something tells."""

from pathlib import Path

import pytest

from linen_nnx import Code, ConversionOptions, LayerStacking, Layout, ProblemsError, convert
from tests.support.conversions import ITEM
from tests.support.entries import Entries, differences, read
from tests.support.small import Specs, below, linen, native, save, with_entries, without

APART = ConversionOptions(to=Layout.LINEN, stacking=LayerStacking.UNSTACKED)
SQUARE: Specs = {("decoder", "layers", name, "kernel"): "float32[3,3]" for name in ("a", "b")}
LAYERED: Specs = {("0", "kernel"): "float32[2,3]", ("1", "kernel"): "float32[3,4]"}
"""A model that is a list of layers."""


def bare(params: Specs, opt_state: Specs) -> Specs:
    """A native NNX state."""
    return {
        **below(params, "model"),
        ("optimizer", "step"): "uint32[]",
        **below(opt_state, "optimizer", "opt_state"),
    }


def converted(specs: Specs, folder: Path, options: ConversionOptions) -> Entries:
    """Save, convert, and read the target with orbax."""
    convert(save(specs, folder), folder / "target", options=options)
    return read(folder / "target" / ITEM)


def refused(specs: Specs, folder: Path, options: ConversionOptions) -> dict[str, tuple[Code, str | None]]:
    """Code and hint of each problem by its path; nothing is written."""
    with pytest.raises(ProblemsError) as caught:
        convert(save(specs, folder), folder / "target", options=options)
    assert not (folder / "target").exists()
    return {str(problem.path): (problem.code, problem.hint) for problem in caught.value.problems}


def test_square_shapes_without_another_witness_of_the_layer_axis_are_refused(tmp_path: Path) -> None:
    found = refused(linen(SQUARE), tmp_path, APART)
    code, hint = found["params/params/decoder/layers"]
    assert code is Code.AXIS_AMBIGUOUS
    assert "--layer-axis" in (hint or "")


def test_one_weight_that_is_stacked_on_one_axis_only_settles_square_shapes(tmp_path: Path) -> None:
    specs = with_entries(linen(SQUARE), params__params__decoder__layers__c__scale="float32[4,3]")
    found = converted(without(specs, "opt_state"), tmp_path, APART)
    assert ("params", "params", "decoder", "layers_2", "c", "scale") in found
    before = read(tmp_path / "run" / ITEM)["params", "params", "decoder", "layers", "a", "kernel"].data
    last = found["params", "params", "decoder", "layers_2", "a", "kernel"].data
    assert before is not None
    assert last is not None
    assert last.tobytes() == before.take(2, 1).tobytes()


def test_a_witness_that_contradicts_every_axis_settles_nothing(tmp_path: Path) -> None:
    """Statistics are stacked on axis 0, here two layers of them: the weights have three on either axis."""
    specs = with_entries(linen(SQUARE), params__batch_stats__decoder__layers__n__mean="float32[2,4]")
    found = refused(without(specs, "opt_state"), tmp_path, APART)
    assert {code for code, _ in found.values()} <= {Code.AXIS_NOT_FOUND, Code.AXIS_AMBIGUOUS}


@pytest.mark.parametrize("axis", [0, 1])
def test_the_option_settles_square_shapes(tmp_path: Path, axis: int) -> None:
    options = APART.model_copy(update={"layer_axis": axis})
    found = converted(linen(SQUARE), tmp_path, options)
    before = read(tmp_path / "run" / ITEM)
    kernel = before["params", "params", "decoder", "layers", "a", "kernel"].data
    first = found["params", "params", "decoder", "layers_0", "a", "kernel"].data
    assert kernel is not None
    assert first is not None
    assert first.tobytes() == kernel.take(0, axis).tobytes()


def test_digits_that_may_be_layers_of_the_model_or_positions_of_a_chain_are_refused(tmp_path: Path) -> None:
    found = refused(bare(LAYERED, LAYERED), tmp_path, ConversionOptions(to=Layout.LINEN))
    assert {path: code for path, (code, _) in found.items()} == {
        "optimizer/opt_state/0": Code.AMBIGUOUS_CHAIN,
        "optimizer/opt_state/1": Code.AMBIGUOUS_CHAIN,
    }


def test_the_same_digits_below_a_field_are_layers(tmp_path: Path) -> None:
    """A chain of one state, whose moments repeat the model: only one reading is left."""
    found = converted(
        bare(LAYERED, below(LAYERED, "0", "trace")), tmp_path, ConversionOptions(to=Layout.LINEN)
    )
    assert ("opt_state", 0, "trace", "params", "0", "kernel") in found
    assert ("opt_state", 0, "trace", "params", "1", "kernel") in found


def test_the_same_digits_with_arrays_of_no_layer_are_a_chain(tmp_path: Path) -> None:
    counts: Specs = {("0", "count"): "int32[]", ("1", "count"): "int32[]"}
    found = converted(bare(LAYERED, counts), tmp_path, ConversionOptions(to=Layout.LINEN))
    assert ("opt_state", 0, "count") in found
    assert ("opt_state", 1, "count") in found


def test_a_digit_among_the_names_of_fields_is_refused(tmp_path: Path) -> None:
    specs = with_entries(native(), optimizer__opt_state__0__7="float32[]")
    found = refused(specs, tmp_path, ConversionOptions(to=Layout.LINEN))
    assert {code for code, _ in found.values()} == {Code.WRONG_KIND}
    assert "optimizer/opt_state/0/7" in found


def test_labels_of_a_partition_may_be_digits(tmp_path: Path) -> None:
    """They are names of a dict in both frameworks: the chain begins below them."""
    model: Specs = {("decoder", "w", "kernel"): "float32[2,3]"}
    states = {
        **below({("count",): "int32[]", **below(model, "mu")}, "inner_states", "0", "inner_state", "0"),
        ("inner_states", "1", "inner_state", "0", "count"): "int32[]",
    }
    source = bare(model, states)
    there = converted(source, tmp_path, ConversionOptions(to=Layout.LINEN))
    assert ("opt_state", "inner_states", "1", "inner_state", 0, "count") in there
    convert(tmp_path / "target", tmp_path / "back", Layout.NNX)
    assert differences(read(tmp_path / "back" / ITEM), read(tmp_path / "run" / ITEM)) == []


def test_a_state_that_is_itself_like_the_parameters_goes_where_they_go(tmp_path: Path) -> None:
    """A transformation of one's own may keep no field around its average."""
    model: Specs = {("decoder", "layers", str(n), "w"): "float32[2,3]" for n in range(3)}
    options = ConversionOptions(to=Layout.LINEN, stacking=LayerStacking.STACKED, layer_axis=1)
    found = converted(bare(model, model), tmp_path, options)
    assert ("opt_state", "params", "decoder", "layers", "w") in found


def test_two_layouts_that_both_fit_are_refused(tmp_path: Path) -> None:
    found = refused({**linen(), **native()}, tmp_path, ConversionOptions(to=Layout.LINEN))
    assert {code for code, _ in found.values()} == {Code.AMBIGUOUS_LAYOUT}


def test_the_items_of_tunix_beside_another_state_are_refused(tmp_path: Path) -> None:
    specs = {**linen(), **below(LAYERED, "model_params")}
    found = refused(specs, tmp_path, ConversionOptions(to=Layout.NNX))
    assert found["model_params"][0] in (Code.UNKNOWN_ENTRY, Code.AMBIGUOUS_LAYOUT)
