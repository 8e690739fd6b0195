"""What was written says itself how it stands: its own record decides, and not what it looks like."""

import json
import shutil
from pathlib import Path

import pytest

from linen_nnx import (
    Code,
    ConversionOptions,
    LayerStacking,
    Layout,
    LayoutError,
    Leaves,
    ProblemsError,
    convert,
    inspect,
    plan,
    validate,
)
from linen_nnx.schema.plan import NoteCode
from tests.support.conversions import ITEM
from tests.support.entries import Entries, differences, read
from tests.support.small import Specs, item_of, linen, model, native, save

NUMBERED = native(
    {
        **model(name=lambda n: ("layers", str(n))),
        ("tower", "layers", "0", "kernel"): "float32[2,3]",
        ("tower", "layers", "1", "bias"): "float32[5]",
    }
)
"""Beside the decoder's layers numbered modules that are none: they are unlike each other."""


def wrapped(specs: Specs, *parts: str) -> Specs:
    """The leaves whose path, as text, contains one of `parts` stand under `value`."""
    return {
        (*path, "value") if any(part in "/".join(map(str, path)) for part in parts) else path: spec
        for path, spec in specs.items()
    }


RESUMED = wrapped(native(), "rngs", "optimizer/step")
"""As a MaxText run leaves it that was resumed from a wrapped tree."""
BOXED = wrapped(linen(), "wo/kernel", "embedding")
"""A Linen state that was saved without opening its boxes: kernels have one, norms have none."""


def there_and_back(source: Path, folder: Path, to: Layout) -> tuple[Entries, Entries]:
    """The source, and what comes of it through the layout `to`."""
    origin = inspect(source).detection
    assert origin is not None
    convert(source, folder / "there", to)
    convert(folder / "there", folder / "back", origin.layout)
    return read(source / ITEM), read(folder / "back" / ITEM)


def test_numbered_modules_in_a_linen_state_are_no_sign_of_nnx_where_it_has_a_record(
    tmp_path: Path,
) -> None:
    source = save(NUMBERED, tmp_path)
    convert(source, tmp_path / "linen", Layout.LINEN)
    found = inspect(tmp_path / "linen").detection
    assert found is not None
    assert found.layout is Layout.LINEN
    assert "record" in found.evidence[0]
    shutil.rmtree(tmp_path / "linen" / ITEM / "linen_nnx")
    by_looks = inspect(tmp_path / "linen").detection
    assert by_looks is not None
    assert by_looks.layout is Layout.MAXTEXT


def test_numbered_modules_come_back_through_linen(tmp_path: Path) -> None:
    before, after = there_and_back(save(NUMBERED, tmp_path), tmp_path, Layout.LINEN)
    assert differences(after, before) == []


@pytest.mark.parametrize("leaves", [Leaves.BARE, Leaves.WRAPPED, Leaves.MODEL_WRAPPED])
def test_a_lone_parameter_called_value_is_no_box_on_the_way_back(tmp_path: Path, leaves: Leaves) -> None:
    params = {**model(), ("temperature", "value"): "float32[]"}
    source = save(linen(params), tmp_path)
    convert(source, tmp_path / "nnx", Layout.NNX, ConversionOptions(leaves=leaves))
    convert(tmp_path / "nnx", tmp_path / "back", Layout.LINEN)
    assert differences(read(tmp_path / "back" / ITEM), read(source / ITEM)) == []


@pytest.mark.parametrize("to", [Layout.LINEN, Layout.MAXTEXT, Layout.NNX])
def test_mixed_leaves_come_back_mixed(tmp_path: Path, to: Layout) -> None:
    before, after = there_and_back(save(RESUMED, tmp_path), tmp_path, to)
    assert differences(after, before) == []


def test_mixed_leaves_stay_mixed_where_layers_are_stacked(tmp_path: Path) -> None:
    source = save(RESUMED, tmp_path)
    options = ConversionOptions(to=Layout.NNX, stacking=LayerStacking.STACKED, layer_axis=1)
    convert(source, tmp_path / "target", options=options)
    ends = {path for path in read(tmp_path / "target" / ITEM) if path[-1] == "value"}
    assert ends == {path for path in RESUMED if path[-1] == "value"}


def test_mixed_leaves_are_wrapped_alike_where_that_is_asked_for(tmp_path: Path) -> None:
    options = ConversionOptions(to=Layout.NNX, leaves=Leaves.WRAPPED)
    convert(save(RESUMED, tmp_path), tmp_path / "target", options=options)
    assert {path[-1] for path in read(tmp_path / "target" / ITEM)} == {"value"}


def test_wrappers_that_have_lost_their_leaves_are_told_of(tmp_path: Path) -> None:
    source = save(wrapped(native(), "layers/1"), tmp_path)
    stacked = ConversionOptions(to=Layout.LINEN, stacking=LayerStacking.STACKED, layer_axis=1)
    convert(source, tmp_path / "linen", options=stacked)
    made = plan(tmp_path / "linen", Layout.NNX)
    assert made.target.leaves is Leaves.WRAPPED
    assert NoteCode.WRAPPERS_LOST in {note.code for note in made.notes}


@pytest.mark.parametrize("to", [Layout.NNX, Layout.MAXTEXT])
def test_flax_boxes_come_back_around_the_very_leaves_that_had_them(tmp_path: Path, to: Layout) -> None:
    before, after = there_and_back(save(BOXED, tmp_path), tmp_path, to)
    assert differences(after, before) == []


def test_flax_boxes_go_with_their_layers(tmp_path: Path) -> None:
    source = save(BOXED, tmp_path)
    options = ConversionOptions(to=Layout.LINEN, stacking=LayerStacking.STACKED, layer_axis=1)
    convert(source, tmp_path / "target", options=options)
    found = read(tmp_path / "target" / ITEM)
    assert ("params", "params", "decoder", "layers", "mlp", "wo", "kernel", "value") in found
    assert ("params", "params", "decoder", "layers", "norm", "scale") in found


def test_a_record_that_the_state_contradicts_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """Another state was put where the converted one stood."""
    convert(save(native(), tmp_path), tmp_path / "linen", Layout.LINEN)
    convert(save(linen(), tmp_path / "other"), tmp_path / "nnx", Layout.NNX)
    own = ITEM / "linen_nnx"
    shutil.rmtree(tmp_path / "nnx" / own)
    shutil.copytree(tmp_path / "linen" / own, tmp_path / "nnx" / own)
    with pytest.raises(LayoutError) as refused:
        convert(tmp_path / "nnx", tmp_path / "target")
    first = refused.value.problems[0]
    assert first.code is Code.AMBIGUOUS_LAYOUT
    assert "linen_nnx/" in (first.hint or "")
    assert Code.AMBIGUOUS_LAYOUT in {problem.code for problem in validate(tmp_path / "nnx")}


def test_a_leaf_that_is_not_wrapped_as_the_record_says_is_refused_by_its_path(tmp_path: Path) -> None:
    convert(save(linen(), tmp_path), tmp_path / "nnx", Layout.NNX, ConversionOptions(leaves=Leaves.BARE))
    file = tmp_path / "nnx" / ITEM / "linen_nnx" / "residue.json"
    record = json.loads(file.read_text())
    record["form"]["leaves"] = "wrapped"
    file.write_text(json.dumps(record))
    with pytest.raises(ProblemsError) as refused:
        convert(tmp_path / "nnx", tmp_path / "target")
    paths = {str(problem.path) for problem in refused.value.problems}
    assert "model/decoder/layers/0/mlp/wo/kernel" in paths


def test_a_state_from_before_records_is_read_by_its_looks(tmp_path: Path) -> None:
    convert(save(linen(), tmp_path), tmp_path / "nnx", Layout.NNX)
    file = tmp_path / "nnx" / ITEM / "linen_nnx" / "residue.json"
    record = json.loads(file.read_text())
    del record["form"]
    file.write_text(json.dumps(record))
    assert validate(tmp_path / "nnx") == []
    convert(tmp_path / "nnx", tmp_path / "back", Layout.LINEN)
    assert differences(read(tmp_path / "back" / ITEM), read(item_of(tmp_path / "run"))) == []
