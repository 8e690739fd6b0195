"""Where the script that this tool replaces went wrong, each fault as the law that it broke.

The faults were found by running that script and by reading it; the second half states what its own tests
named as its job, here with real orbax files instead of mocks.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from flax.training.train_state import TrainState

from linen_nnx import (
    Code,
    ConversionOptions,
    Direction,
    LayerNames,
    LayerStacking,
    Layout,
    Leaves,
    ProblemsError,
    convert,
    inspect,
    validate,
    verify,
)
from tests.support.checkpoints import Storage, random_tree, save_item, save_run
from tests.support.conversions import ITEM
from tests.support.entries import Array, Entries, Keys, differences, read, specs
from tests.support.live import NnxModel, batch, linen_state, nnx_tree, optimizer, save_linen, save_nnx
from tests.support.small import (
    STACKED,
    Specs,
    below,
    item_of,
    linen,
    model,
    native,
    save,
    with_entries,
    without,
)

STACK = ConversionOptions(stacking=LayerStacking.STACKED, leaves=Leaves.BARE)
UNSTACK = ConversionOptions(stacking=LayerStacking.UNSTACKED, leaves=Leaves.BARE)
BARE = ConversionOptions(leaves=Leaves.BARE)
KERNEL: Keys = ("mlp", "wo", "kernel")


def into(
    source: Path, target: Path, to: Layout | None = None, options: ConversionOptions | None = None
) -> Entries:
    """Convert a run, and read the target with orbax."""
    convert(source, target, to, options)
    return read(target / ITEM)


def data(entries: Entries, *path: str | int) -> Array:
    """The array at a path."""
    found = entries[path].data
    assert found is not None
    return found


def refused(source: Path, target: Path, to: Layout, options: ConversionOptions | None = None) -> set[Code]:
    """The codes that a conversion is refused with; it leaves nothing."""
    with pytest.raises(ProblemsError) as caught:
        convert(source, target, to, options)
    assert not target.exists()
    return {problem.code for problem in caught.value.problems}


# What was found by running the script.


@pytest.mark.parametrize("moment", ["mu", "nu"])
def test_moments_are_stacked_with_their_parameters(moment: str, tmp_path: Path) -> None:
    run = save(linen(), tmp_path)
    source, found = read(item_of(run)), into(run, tmp_path / "target", Layout.NNX, STACK)
    for base, origin in [
        (("model",), ("params", "params")),
        (("optimizer", "opt_state", "0", moment), ("opt_state", 0, moment, "params")),
    ]:
        layers = [data(source, *origin, "decoder", f"layers_{n}", *KERNEL) for n in range(3)]
        assert data(found, *base, "decoder", "layers", *KERNEL).tobytes() == np.stack(layers, 1).tobytes()
    assert not [path for path in found if "layers_0" in path]


def test_moments_are_renamed_with_their_parameters_when_layers_stay_apart(tmp_path: Path) -> None:
    found = into(save(linen(), tmp_path), tmp_path / "target", Layout.NNX, BARE)
    for base in [("model",), ("optimizer", "opt_state", "0", "mu"), ("optimizer", "opt_state", "0", "nu")]:
        below_base = {path[len(base) :] for path in found if path[: len(base)] == base}
        assert below_base == set(model(name=lambda n: ("layers", str(n))))


@pytest.mark.parametrize("specs_of", [linen(STACKED), linen()], ids=["stacked", "apart"])
def test_linen_to_nnx_to_linen_is_the_identity(specs_of: Specs, tmp_path: Path) -> None:
    run = save(specs_of, tmp_path)
    into(run, tmp_path / "nnx", Layout.NNX)
    back = into(tmp_path / "nnx", tmp_path / "back", Layout.LINEN)
    assert differences(back, read(item_of(run))) == []


@pytest.mark.parametrize("options", [BARE, STACK, UNSTACK], ids=["keep", "stack", "unstack"])
def test_a_missing_layer_is_refused_and_the_others_are_not_renumbered(
    options: ConversionOptions, tmp_path: Path
) -> None:
    run = save(without(linen(model(layers=4)), "layers_1"), tmp_path)
    assert refused(run, tmp_path / "target", Layout.NNX, options) == {Code.LAYER_GAP}


def test_a_leaf_missing_in_one_layer_does_not_vanish_from_all(tmp_path: Path) -> None:
    run = save(without(linen(), "layers_2/norm"), tmp_path)
    assert Code.LAYER_LEAF_MISSING in refused(run, tmp_path / "target", Layout.NNX, STACK)


def test_layers_of_no_common_form_can_be_kept_apart_without_loss(tmp_path: Path) -> None:
    run = save(without(linen(), "layers_2/norm"), tmp_path)
    found = into(run, tmp_path / "target", Layout.NNX, UNSTACK)
    assert ("model", "decoder", "layers", "1", "norm", "scale") in found
    assert ("model", "decoder", "layers", "2", "norm", "scale") not in found
    back = into(tmp_path / "target", tmp_path / "back", Layout.LINEN, UNSTACK)
    assert differences(back, read(item_of(run))) == []


def test_every_collection_of_linen_arrives_in_nnx_and_returns(tmp_path: Path) -> None:
    collections: Specs = {
        ("params", "batch_stats", "norm", "mean"): "float32[5]",
        ("params", "_overwrite_with_gradient", "dense", "input_scale"): "float32[1]",
        ("params", "Tid2EidVar", "gate", "tid2eid"): "int32[7]",
    }
    run = save({**linen(), **collections}, tmp_path)
    source, found = read(item_of(run)), into(run, tmp_path / "nnx", Layout.NNX, BARE)
    for path in collections:
        assert found["model", *path[2:]].content == source[path].content, path
    back = into(tmp_path / "nnx", tmp_path / "back", Layout.LINEN)
    assert differences(back, source) == []


def test_batch_statistics_and_dropout_streams_of_nnx_are_not_parameters_of_linen(tmp_path: Path) -> None:
    source = save_nnx(tmp_path / "nnx", wrapped=True)
    convert(source, tmp_path / "linen", Layout.LINEN)
    found = read(tmp_path / "linen")
    inside = {path[2:] for path in found if path[:2] == ("params", "params")}
    assert inside == {
        (module, leaf)
        for module, leaves in {
            "first": ["kernel", "bias"],
            "norm": ["scale", "bias"],
            "second": ["kernel", "bias"],
        }.items()
        for leaf in leaves
    }
    assert not [path for path in found if "value" in path or "rngs" in path]
    assert found["step",].spec == "int32[]"


def test_what_linen_has_no_place_for_returns_to_nnx(tmp_path: Path) -> None:
    source = save_nnx(tmp_path / "nnx", wrapped=True)
    convert(source, tmp_path / "linen", Layout.LINEN)
    convert(tmp_path / "linen", tmp_path / "back", Layout.NNX)
    assert differences(read(tmp_path / "back"), read(source)) == []


def test_a_relative_path_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(linen(), tmp_path)
    monkeypatch.chdir(tmp_path)
    convert("run", "target", Layout.NNX)
    assert validate("target") == []
    assert validate(Path(os.curdir) / "target" / "2" / "items") == []


def test_an_existing_target_is_not_overwritten_unasked(tmp_path: Path) -> None:
    run = save(linen(), tmp_path)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "precious").write_text("data")
    with pytest.raises(ProblemsError):
        convert(run, tmp_path / "target", Layout.NNX)
    assert (tmp_path / "target" / "precious").read_text() == "data"


def test_a_model_needs_neither_decoder_nor_encoder(tmp_path: Path) -> None:
    params: Specs = {("encoderish", "dense", "kernel"): "float32[3,2]", ("head", "bias"): "float32[2]"}
    run = save(linen(params), tmp_path)
    found = into(run, tmp_path / "target", Layout.NNX, BARE)
    assert {path[1:] for path in found if path[0] == "model"} == set(params)


# What was found by reading it.


def test_a_native_state_without_wrappers_is_nnx_and_not_linen(tmp_path: Path) -> None:
    assert layout_of(save_nnx(tmp_path / "bare", wrapped=False)) is Layout.NNX


def test_an_unknown_part_of_the_state_is_never_dropped_in_silence(tmp_path: Path) -> None:
    run = save(with_entries(linen(), reference__kernel="float32[3]"), tmp_path)
    value = read(item_of(run))["reference", "kernel"].content
    found: Entries = {}
    said = ""
    try:
        found = into(run, tmp_path / "target", Layout.NNX)
    except ProblemsError as error:
        said = str(error)
    assert "reference" in said or value in {leaf.content for leaf in found.values()}


def test_bare_leaves_hold_no_value_and_wrapped_ones_all_do(tmp_path: Path) -> None:
    run = save(linen(), tmp_path)
    bare = into(run, tmp_path / "bare", Layout.NNX, BARE)
    wrapped = into(run, tmp_path / "wrapped", Layout.NNX, ConversionOptions(leaves=Leaves.WRAPPED))
    half = into(run, tmp_path / "half", Layout.NNX, ConversionOptions(leaves=Leaves.MODEL_WRAPPED))
    assert not [path for path in bare if "value" in path]
    assert {path[:-1]: leaf.content for path, leaf in wrapped.items() if path[-1] == "value"} == {
        path: leaf.content for path, leaf in bare.items()
    }
    assert {path for path in half if path[-1] == "value"} == {p for p in wrapped if p[0] == "model"}


def test_a_chain_is_a_dict_of_digits_in_nnx_and_a_list_with_its_empties_in_linen(tmp_path: Path) -> None:
    run = save(linen(STACKED), tmp_path)
    found = into(run, tmp_path / "nnx", Layout.NNX, BARE)
    assert {path[2] for path in found if path[:2] == ("optimizer", "opt_state")} == {"0", "2"}
    back = into(tmp_path / "nnx", tmp_path / "back", Layout.LINEN)
    assert {path[1] for path in back if path[0] == "opt_state"} == {0, 1, 2}
    assert back["opt_state", 1].kind == "None"


def test_an_empty_state_in_the_middle_of_a_native_chain_is_made_for_linen(tmp_path: Path) -> None:
    found = into(save(native(), tmp_path), tmp_path / "target", Layout.LINEN)
    assert found["opt_state", 1].kind == "None"
    assert set(found) == set(linen())


@pytest.mark.parametrize("field", ["trace", "acc_grads", "ema_of_anything"])
def test_a_field_that_mirrors_the_parameters_is_known_by_its_shape_and_not_by_its_name(
    field: str, tmp_path: Path
) -> None:
    params = model()
    state: Specs = {
        ("step",): "int32[]",
        **below(params, "params", "params"),
        **below(params, "opt_state", 0, field, "params"),
        ("opt_state", 1): "None",
    }
    run = save(state, tmp_path)
    found = into(run, tmp_path / "target", Layout.NNX, STACK)
    base = ("optimizer", "opt_state", "0", field)
    assert {path[len(base) :] for path in found if path[: len(base)] == base} == {
        path[1:] for path in found if path[0] == "model"
    }
    back = into(tmp_path / "target", tmp_path / "back", Layout.LINEN, UNSTACK)
    assert differences(back, read(item_of(run))) == []


def test_a_module_named_params_is_a_module(tmp_path: Path) -> None:
    params: Specs = {("params", "kernel"): "float32[3,2]", ("kernel",): "float32[3,2]"}
    run = save(linen(params), tmp_path)
    found = into(run, tmp_path / "target", Layout.NNX, BARE)
    for base in [("model",), ("optimizer", "opt_state", "0", "mu")]:
        assert {path[len(base) :] for path in found if path[: len(base)] == base} == set(params)
    assert differences(into(tmp_path / "target", tmp_path / "back", Layout.LINEN), read(item_of(run))) == []


def test_a_variable_named_value_is_a_variable(tmp_path: Path) -> None:
    params: Specs = {("value", "kernel"): "float32[3,2]", ("table", "cached_value"): "float32[4]"}
    run = save(linen(params), tmp_path)
    for leaves in (Leaves.BARE, Leaves.WRAPPED):
        into(run, tmp_path / leaves, Layout.NNX, ConversionOptions(leaves=leaves))
        back = into(tmp_path / leaves, tmp_path / f"{leaves}-back", Layout.LINEN)
        assert differences(back, read(item_of(run))) == []


@pytest.mark.parametrize(
    ("specs_of", "to"),
    [(linen(STACKED), Layout.NNX), (native(STACKED), Layout.LINEN), (native(STACKED), Layout.MAXTEXT)],
    ids=["linen", "nnx", "nnx-to-maxtext"],
)
def test_scanned_layers_stay_scanned_unless_asked(specs_of: Specs, to: Layout, tmp_path: Path) -> None:
    found = into(save(specs_of, tmp_path), tmp_path / "target", to, BARE if to is Layout.NNX else None)
    base = ("model",) if to is Layout.NNX else ("params", "params")
    assert {path[len(base) :] for path in found if path[: len(base)] == base} - {
        path for path in found if "rngs" in path
    } == set(STACKED)


def test_groups_of_dense_and_of_moe_layers_are_stacked_apart(tmp_path: Path) -> None:
    params: Specs = {
        **{("decoder", f"dense_layers_{n}", "kernel"): "float32[8,6]" for n in range(2)},
        **{("decoder", f"dense_layers_{n}", "scale"): "float32[4]" for n in range(2)},
        **{("decoder", f"moe_layers_{n}", "experts"): "float32[7,8,6]" for n in range(3)},
        **{("decoder", f"moe_layers_{n}", "scale"): "float32[4]" for n in range(3)},
    }
    run = save(linen(params), tmp_path)
    found = specs(into(run, tmp_path / "target", Layout.NNX, STACK))
    assert found["model/decoder/dense_layers/kernel"] == "float32[8,2,6]"
    assert found["model/decoder/moe_layers/experts"] == "float32[7,3,8,6]"
    apart = specs(into(run, tmp_path / "apart", Layout.NNX, BARE))
    assert "model/decoder/dense_layer_1/kernel" in apart
    assert {"model/decoder/layers/2/experts", "model/decoder/layers/4/experts"} <= set(apart)


def test_eleven_layers_and_more_are_stacked_in_numeric_order(tmp_path: Path) -> None:
    run = save(linen(model(layers=13)), tmp_path)
    source = read(item_of(run))
    found = into(run, tmp_path / "target", Layout.NNX, STACK)
    stack = data(found, "model", "decoder", "layers", *KERNEL)
    for n in range(13):
        layer = data(source, "params", "params", "decoder", f"layers_{n}", *KERNEL)
        assert stack[:, n].tobytes() == layer.tobytes(), n


@pytest.mark.parametrize("axis", [0, 1])
def test_the_layer_axis_is_the_one_asked_for(axis: int, tmp_path: Path) -> None:
    run = save(linen(), tmp_path)
    source = read(item_of(run))
    options = STACK.model_copy(update={"layer_axis": axis})
    found = into(run, tmp_path / "target", Layout.NNX, options)
    layers = [data(source, "params", "params", "decoder", f"layers_{n}", *KERNEL) for n in range(3)]
    stack = data(found, "model", "decoder", "layers", *KERNEL)
    assert stack.tobytes() == np.stack(layers, axis).tobytes()
    assert stack.shape == ((3, 8, 6), (8, 3, 6))[axis]


def test_streams_of_a_scanned_stack_are_split_on_their_first_axis(tmp_path: Path) -> None:
    streams: Specs = {
        ("model", "decoder", "layers", "dropout", "rngs", "count"): "uint32[3]",
        ("model", "decoder", "layers", "dropout", "rngs", "key"): "key<unsafe_rbg>[3]",
        ("model", "decoder", "layers", "norm", "rngs", "key"): "key<threefry2x32>[3]",
        # As a run without a PRNG implementation of its own writes them.
        ("model", "decoder", "layers", "raw", "rngs", "key"): "uint32[3,2]",
    }
    run = save({**native(STACKED), **streams}, tmp_path)
    source = read(item_of(run))
    found = into(run, tmp_path / "target", Layout.NNX, UNSTACK)
    for path in streams:
        stack = data(source, *path)
        for n in range(3):
            one = found[(*path[:2], "layers", str(n), *path[3:])]
            assert one.key_impl == source[path].key_impl
            assert one.content == stack[n].tobytes()


def test_a_raw_key_of_two_words_does_not_decide_the_number_of_layers(tmp_path: Path) -> None:
    raw: Specs = {("model", "decoder", "layers", "dropout", "rngs", "key"): "uint32[3,2]"}
    run = save({**native(STACKED), **raw}, tmp_path)
    assert [group.count for group in inspect(run).groups] == [3]


def test_an_empty_dict_is_no_chain_and_is_kept(tmp_path: Path) -> None:
    run = save(with_entries(linen(), params__params__unused="{}"), tmp_path)
    into(run, tmp_path / "nnx", Layout.NNX)
    back = into(tmp_path / "nnx", tmp_path / "back", Layout.LINEN)
    assert back["params", "params", "unused"].kind == "Dict"


def test_typed_keys_keep_their_implementation(tmp_path: Path) -> None:
    keys: Specs = {
        ("model", "rngs", impl, "key"): f"key<{impl}>[]" for impl in ("threefry2x32", "rbg", "unsafe_rbg")
    }
    run = save({**native(), **keys}, tmp_path)
    there = into(run, tmp_path / "maxtext", Layout.MAXTEXT)
    for path, spec in keys.items():
        assert there["nnx_aux", *path].spec == spec
        assert there["nnx_aux", *path].content == read(item_of(run))[path].content


def test_the_step_is_signed_in_linen_and_unsigned_in_nnx_and_the_same_number(tmp_path: Path) -> None:
    run = save(linen(), tmp_path)
    there = into(run, tmp_path / "nnx", Layout.NNX, BARE)
    back = into(tmp_path / "nnx", tmp_path / "back", Layout.LINEN)
    assert there["optimizer", "step"].spec == "uint32[]"
    assert back["step",].spec == "int32[]"
    assert int(data(there, "optimizer", "step")) == int(data(back, "step")) == 3


@pytest.mark.parametrize("ocdbt", [True, False])
@pytest.mark.parametrize("zarr", [2, 3])
def test_the_step_folder_keeps_its_form_its_storage_and_all_that_lies_beside_the_state(
    ocdbt: bool, zarr: int, tmp_path: Path
) -> None:
    custom = {"scan_layers": True, "lora": {"rank": 0}}
    tree = random_tree(linen(STACKED), "state")
    run = save_run({"items": tree}, tmp_path / "run", Storage(ocdbt, zarr), custom_metadata=custom)
    (run / "2" / "iter").mkdir()
    (run / "2" / "iter" / "process_0-of-1.json").write_text('{"next": 17}')
    convert(run, tmp_path / "target", Layout.NNX, UNSTACK)
    step = tmp_path / "target" / "2"
    metadata = json.loads((step / "items" / "_METADATA").read_text())
    assert (metadata["use_ocdbt"], metadata["use_zarr3"]) == (ocdbt, zarr == 3)
    assert (step / "iter" / "process_0-of-1.json").read_text() == '{"next": 17}'
    told = json.loads((step / "_CHECKPOINT_METADATA").read_text())["custom_metadata"]
    assert told == {**custom, "scan_layers": False}


def test_the_target_is_never_the_source(tmp_path: Path) -> None:
    run = save(linen(), tmp_path)
    with pytest.raises(ProblemsError) as caught:
        convert(run, run, Layout.NNX, overwrite=True)
    assert {problem.code for problem in caught.value.problems} == {Code.TARGET_INSIDE_SOURCE}
    assert validate(run) == []


@pytest.mark.parametrize(
    ("specs_of", "direction"),
    [(native(), Direction.LINEN_TO_NNX), (linen(), Direction.NNX_TO_LINEN)],
    ids=["nnx", "linen"],
)
def test_a_direction_against_the_source_is_refused(
    specs_of: Specs, direction: Direction, tmp_path: Path
) -> None:
    run = save(specs_of, tmp_path)
    options = ConversionOptions(direction=direction)
    with pytest.raises(ProblemsError) as caught:
        convert(run, tmp_path / "target", options=options)
    assert {problem.code for problem in caught.value.problems} == {Code.DIRECTION_CONTRADICTION}


# What its comparator let pass.


@pytest.mark.parametrize("field", ["mu", "nu"])
def test_one_flipped_bit_of_a_tiny_moment_is_seen(field: str, tmp_path: Path) -> None:
    tree = random_tree(linen(STACKED), "state")
    moment = tree["opt_state"][0][field]["params"]["decoder"]["layers"]["norm"]
    moment["scale"] = jax.numpy.full((4, 3), 1e-30, "float32")
    save_item(tree, tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "target", Layout.NNX)
    assert verify(tmp_path / "target", against=tmp_path / "source") == []
    bits = np.asarray(moment["scale"]).copy().view(np.uint32)
    bits[2, 1] ^= 1
    moment["scale"] = jax.numpy.asarray(bits.view(np.float32))
    save_item(tree, tmp_path / "other")
    problems = verify(tmp_path / "target", against=tmp_path / "other")
    assert [problem.code for problem in problems] == [Code.VALUE_DIFFERS]
    assert "norm/scale" in str(problems[0].path)


def test_nan_equals_nan_and_minus_zero_differs_from_zero(tmp_path: Path) -> None:
    tree = random_tree(linen(STACKED), "state")
    norm = tree["params"]["params"]["decoder"]["layers"]["norm"]
    norm["scale"] = jax.numpy.full((4, 3), np.nan, "float32").at[0, 0].set(0.0)
    save_item(tree, tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "target", Layout.NNX)
    assert verify(tmp_path / "target", against=tmp_path / "source") == []
    norm["scale"] = norm["scale"].at[0, 0].set(-0.0)
    save_item(tree, tmp_path / "other")
    problems = verify(tmp_path / "target", against=tmp_path / "other")
    assert [problem.code for problem in problems] == [Code.VALUE_DIFFERS]


# What the script's own tests name as its job.


def layout_of(path: Path) -> Layout | None:
    """The layout that is detected."""
    found = inspect(path).detection
    return None if found is None else found.layout


def test_the_format_is_detected_with_evidence(tmp_path: Path) -> None:
    cases = {
        Layout.LINEN: linen(),
        Layout.NNX: native(),
        Layout.MAXTEXT: {**linen(), ("nnx_aux", "model", "rngs", "count"): "uint32[]"},
    }
    for layout, specs_of in cases.items():
        run = save(specs_of, tmp_path / layout)
        assert layout_of(run) is layout
        detection = inspect(run).detection
        assert detection is not None
        assert detection.evidence
        assert {against.layout for against in detection.against} == set(cases) - {layout}


def test_the_other_layout_is_the_target_if_none_is_named(tmp_path: Path) -> None:
    for name, specs_of in {"linen": linen(), "nnx": native()}.items():
        run = save(specs_of, tmp_path / name)
        convert(run, tmp_path / f"{name}-target")
        wanted = Layout.NNX if name == "linen" else Layout.LINEN
        assert layout_of(tmp_path / f"{name}-target") is wanted


@pytest.mark.parametrize("wrapped", [True, False])
def test_value_wrappers_are_stripped(wrapped: bool, tmp_path: Path) -> None:
    source = save_nnx(tmp_path / "nnx", wrapped=wrapped)
    convert(source, tmp_path / "linen", Layout.LINEN)
    assert not [path for path in read(tmp_path / "linen") if "value" in path]


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 0)])
def test_the_layer_axis_of_a_stack_is_moved_for_parameters_and_moments(
    before: int, after: int, tmp_path: Path
) -> None:
    # Layer axis 0: the other dimensions differ, so the shapes prove it.
    first: Specs = {
        ("decoder", "layers", "kernel"): "float32[3,8,6]",
        ("decoder", "layers", "scale"): "float32[3,4]",
    }
    second: Specs = {
        ("decoder", "layers", "kernel"): "float32[8,3,6]",
        ("decoder", "layers", "scale"): "float32[4,3]",
    }
    run = save(linen((first, second)[before]), tmp_path)
    source = read(item_of(run))
    options = BARE.model_copy(update={"layer_axis": after})
    found = into(run, tmp_path / "target", Layout.NNX, options)
    for base, origin in [
        (("model",), ("params", "params")),
        (("optimizer", "opt_state", "0", "mu"), ("opt_state", 0, "mu", "params")),
    ]:
        for path in first:
            wanted = np.moveaxis(data(source, *origin, *path), before, after)
            assert data(found, *base, *path).tobytes() == np.ascontiguousarray(wanted).tobytes()


@pytest.mark.parametrize("names", list(LayerNames))
def test_stacked_layers_are_unstacked_under_the_names_asked_for(names: LayerNames, tmp_path: Path) -> None:
    run = save(linen(STACKED), tmp_path)
    source = read(item_of(run))
    options = UNSTACK.model_copy(update={"layer_names": names})
    found = into(run, tmp_path / "target", Layout.NNX, options)
    stack = data(source, "params", "params", "decoder", "layers", *KERNEL)
    for n in range(3):
        name = (f"layers_{n}",) if names is LayerNames.UNDERSCORE else ("layers", str(n))
        assert data(found, "model", "decoder", *name, *KERNEL).tobytes() == stack[:, n].tobytes()


def test_a_whole_linen_state_becomes_the_nnx_state_of_the_same_model(tmp_path: Path) -> None:
    source = read(save_linen(tmp_path / "linen"))
    convert(tmp_path / "linen", tmp_path / "nnx", Layout.NNX)
    found = read(tmp_path / "nnx")
    wanted = read(save_nnx(tmp_path / "like", wrapped=True))
    structure = {path: spec for path, spec in specs(wanted).items() if "rngs" not in path}
    assert specs(found) == structure
    for path, leaf in source.items():
        if path[:2] in {("params", "params"), ("params", "batch_stats")}:
            assert found["model", *path[2:], "value"].content == leaf.content


def test_a_whole_nnx_state_becomes_the_linen_state_of_the_same_model(tmp_path: Path) -> None:
    source = read(save_nnx(tmp_path / "nnx", wrapped=False))
    convert(tmp_path / "nnx", tmp_path / "linen", Layout.LINEN)
    found = read(tmp_path / "linen")
    wanted = specs(read(save_linen(tmp_path / "like")))
    # Linen keeps moments of every collection; NNX has none of batch statistics to give.
    missing = {path for path in wanted if "/batch_stats/" in path and path.startswith("opt_state")}
    wanted["step"] = "int32[]"
    assert specs(found) == {path: spec for path, spec in wanted.items() if path not in missing}
    for path, leaf in source.items():
        if path[0] == "model" and "rngs" not in path:
            collection = "batch_stats" if path[-1] in {"mean", "var"} else "params"
            assert found["params", collection, *path[1:]].content == leaf.content


def test_an_optimizer_is_converted_in_both_directions(tmp_path: Path) -> None:
    nested: Specs = {
        ("step",): "int32[]",
        **below(model(), "params", "params"),
        ("opt_state", "mini_step"): "int32[]",
        ("opt_state", "skip_state"): "()",
        **below(model(), "opt_state", "acc_grads", "params"),
        ("opt_state", "inner_opt_state", 0): "None",
        ("opt_state", "inner_opt_state", 1, 0, "count"): "int32[]",
        **below(model(), "opt_state", "inner_opt_state", 1, 0, "mu", "params"),
        **below(model(), "opt_state", "inner_opt_state", 1, 0, "nu", "params"),
        ("opt_state", "inner_opt_state", 1, 1): "None",
        ("opt_state", "inner_opt_state", 1, 2, "count"): "int32[]",
    }
    run = save(nested, tmp_path)
    there = into(run, tmp_path / "nnx", Layout.NNX, STACK)
    inner = ("optimizer", "opt_state", "inner_opt_state", "1", "0", "mu")
    assert (*inner, "decoder", "layers", *KERNEL) in there
    assert ("optimizer", "opt_state", "inner_opt_state", "0") not in there
    back = into(tmp_path / "nnx", tmp_path / "back", Layout.LINEN, UNSTACK)
    assert differences(back, read(item_of(run))) == []


def test_orbax_restores_the_converted_state_into_a_live_linen_train_state(tmp_path: Path) -> None:
    save_linen(tmp_path / "linen")
    convert(tmp_path / "linen", tmp_path / "nnx", Layout.NNX)
    convert(tmp_path / "nnx", tmp_path / "back", Layout.LINEN)
    live = linen_state()
    empty = jax.tree.map(jax.numpy.zeros_like, live)
    restored = restore(tmp_path / "back", empty)
    assert isinstance(restored, TrainState)
    same = jax.tree.map(lambda a, b: np.array_equal(np.asarray(a), np.asarray(b)), restored, live)
    assert all(jax.tree.leaves(same))


def test_a_live_nnx_model_with_the_converted_state_computes_what_linen_does(tmp_path: Path) -> None:
    save_linen(tmp_path / "linen")
    like = save_item(nnx_tree(wrapped=True), tmp_path / "like")
    convert(tmp_path / "linen", tmp_path / "nnx", Layout.NNX, template=like)
    fresh = NnxModel(nnx.Rngs(17))
    trainer = nnx.Optimizer(fresh, optimizer(), wrt=nnx.Param)
    empty = {"model": nnx.state(fresh), "optimizer": nnx.state(trainer, nnx.OptState)}
    restored = restore(tmp_path / "nnx", empty)
    nnx.update(fresh, restored["model"])
    nnx.update(trainer, restored["optimizer"])
    fresh.set_attributes(deterministic=True, use_running_average=True)
    state = linen_state()
    wanted = state.apply_fn(state.params, batch(), train=False)
    assert np.array_equal(np.asarray(fresh(batch())), np.asarray(wanted))
    assert int(trainer.step.get_value()) == int(state.step)


def restore(item: Path, target: Any) -> Any:
    """Orbax's own way into a live tree."""
    arguments = ocp.checkpoint_utils.construct_restore_args(target)
    return ocp.PyTreeCheckpointer().restore(
        item, args=ocp.args.PyTreeRestore(item=target, restore_args=arguments)
    )


def test_storage_forms_do_not_matter_to_the_values(tmp_path: Path) -> None:
    tree = random_tree(linen(STACKED), "state")
    found = []
    for storage in (Storage(True, 3), Storage(False, 2)):
        save_item(tree, tmp_path / f"{storage}", storage)
        convert(tmp_path / f"{storage}", tmp_path / f"{storage}-nnx", Layout.NNX)
        found.append(read(tmp_path / f"{storage}-nnx"))
    assert differences(found[0], found[1]) == []
    assert replace(found[0]["optimizer", "step", "value"], data=None).kind == "jax.Array"


# What our own first version did wrong.


@pytest.mark.parametrize("first", ["inspect", "validate", "plan", "verify", "to_nnx"])
def test_convert_is_the_function_whatever_was_used_before_it(first: str) -> None:
    lines = [
        "import linen_nnx",
        f"linen_nnx.{first}",
        "from linen_nnx import convert",
        "assert callable(convert)",
    ]
    subprocess.run([sys.executable, "-c", "; ".join(lines)], check=True)


def test_fields_of_a_train_state_of_ones_own_return(tmp_path: Path) -> None:
    params = model()
    own: Specs = {
        ("step",): "int32[]",
        **below(params, "params"),
        ("batch_stats", "token_embedder", "mean"): "float32[4]",
        ("dropout_rng",): "key<threefry2x32>[]",
        **below(params, "ema_params"),
        ("opt_state", 0, "count"): "int32[]",
        **below(params, "opt_state", 0, "mu"),
        **below(params, "opt_state", 0, "nu"),
        ("opt_state", 1): "None",
    }
    run = save(own, tmp_path)
    there = into(run, tmp_path / "nnx", Layout.NNX, STACK)
    assert data(there, "model", "decoder", "layers", *KERNEL).shape == (8, 3, 6)
    back = into(tmp_path / "nnx", tmp_path / "back", Layout.LINEN, UNSTACK)
    assert differences(back, read(item_of(run))) == []


def test_a_linen_module_called_rngs_comes_back_from_maxtext_as_parameters(tmp_path: Path) -> None:
    run = save({**linen(), ("params", "params", "rngs", "bias"): "float32[4]"}, tmp_path)
    into(run, tmp_path / "maxtext", Layout.MAXTEXT)
    back = into(tmp_path / "maxtext", tmp_path / "back", Layout.LINEN)
    assert differences(back, read(item_of(run))) == []


def test_a_list_in_a_chain_of_digits_is_refused(tmp_path: Path) -> None:
    wrapped = {(*path, "value") if path[0] == "model" else path: spec for path, spec in native().items()}
    run = save({**wrapped, ("optimizer", "opt_state", "1", 0): "float32[]"}, tmp_path)
    assert refused(run, tmp_path / "target", Layout.LINEN) == {Code.WRONG_KIND}
