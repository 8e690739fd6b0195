"""Casts that a user asks for: exactly those, rounded as numpy rounds, and counted."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from pydantic import ValidationError

from linen_nnx import ConversionError, ConversionOptions, convert, plan, verify
from linen_nnx.schema.array import DType
from linen_nnx.schema.layout import LayerStacking
from linen_nnx.schema.options import PartDType, PartName
from linen_nnx.schema.plan import NoteCode
from linen_nnx.schema.problem import Code
from linen_nnx.schema.receipt import Receipt
from tests.support.checkpoints import STORAGES, Storage, save_item
from tests.support.entries import Leaf, read
from tests.support.small import item_of, linen, native, save

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def casting(**dtypes: str) -> ConversionOptions:
    asked = tuple(PartDType(part=PartName(part), dtype=DType(dtype)) for part, dtype in dtypes.items())
    return ConversionOptions(dtypes=asked)


def train_state(step: int) -> Any:
    """Of one parameter."""
    kernel = np.ones((3, 2), np.float32)
    return {"step": np.int32(step), "params": {"params": {"kernel": kernel}}, "opt_state": [None]}


def rounded(before: Any) -> Any:
    """In bfloat16, whatever NaN or infinity is met."""
    with np.errstate(all="ignore"):
        return before.astype(BFLOAT16)


def said(done: Receipt, code: NoteCode) -> list[str]:
    return [note.text for note in done.notes if note.code is code]


def array(leaf: Leaf) -> Any:
    assert leaf.data is not None
    return leaf.data


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_a_part_is_rounded_as_numpy_rounds_it_and_no_other_is_touched(
    storage: Storage, tmp_path: Path
) -> None:
    source = save(linen(), tmp_path, storage)
    done = convert(source, tmp_path / "target", "linen", casting(params="bfloat16"))
    before, after = read(item_of(source)), read(item_of(tmp_path / "target"))
    assert before.keys() == after.keys()
    changed = 0
    for path, leaf in before.items():
        if path[0] != "params":
            assert (after[path].spec, after[path].content) == (leaf.spec, leaf.content)
            continue
        small = rounded(array(leaf))
        assert array(after[path]).dtype == BFLOAT16
        assert after[path].content == small.tobytes()
        back = small.astype(np.float32)
        changed += int(((back != array(leaf)) & ~(np.isnan(back) & np.isnan(array(leaf)))).sum())
    assert changed > 0
    assert done.traffic.rounded == changed
    assert said(done, NoteCode.ROUNDED)[0].startswith(f"{changed} elements")
    assert len(said(done, NoteCode.CAST)) == 1
    assert verify(tmp_path / "target") == []


def test_counts_and_keys_stay_when_their_part_is_cast(tmp_path: Path) -> None:
    source = save(native(), tmp_path)
    done = convert(source, tmp_path / "target", "nnx", casting(optimizer="bfloat16"))
    before, after = read(item_of(source)), read(item_of(tmp_path / "target"))
    for path, leaf in before.items():
        if "mu" in path or "nu" in path:
            assert after[path].content == rounded(array(leaf)).tobytes()
        else:
            assert (after[path].spec, after[path].content) == (leaf.spec, leaf.content)
    assert done.traffic.rounded > 0


def test_nothing_is_said_of_rounding_where_every_value_is_kept(tmp_path: Path) -> None:
    done = convert(save(linen(), tmp_path), tmp_path / "target", "nnx", casting(optimizer="float64"))
    assert len(said(done, NoteCode.CAST)) == 1
    assert said(done, NoteCode.ROUNDED) == []


def test_layers_are_cast_as_they_come_apart(tmp_path: Path) -> None:
    source = save(linen(), tmp_path)
    apart = casting(params="bfloat16").model_copy(update={"stacking": LayerStacking.UNSTACKED})
    convert(source, tmp_path / "cast-apart", "nnx", apart)
    convert(source, tmp_path / "apart", "nnx", ConversionOptions(stacking=LayerStacking.UNSTACKED))
    before, after = (read(item_of(tmp_path / name)) for name in ("apart", "cast-apart"))
    models = [path for path in before if path[0] == "model"]
    assert models
    for path in models:
        assert after[path].content == rounded(array(before[path])).tobytes()


def test_the_step_is_cast_exactly_or_refused(tmp_path: Path) -> None:
    source = save(linen(), tmp_path)
    convert(source, tmp_path / "target", "linen", casting(step="uint32"))
    before, after = (read(item_of(run))["step",] for run in (source, tmp_path / "target"))
    assert array(after).dtype == np.uint32
    assert array(after) == array(before)
    of_many_steps = save_item(train_state(300), tmp_path / "long")
    with pytest.raises(ConversionError) as caught:
        plan(of_many_steps, "linen", casting(step="uint8"))
    assert [problem.code for problem in caught.value.problems] == [Code.STEP_OUT_OF_RANGE]


def test_a_part_without_floats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError) as caught:
        plan(save(linen(), tmp_path), "nnx", casting(aux="bfloat16", params="bfloat16"))
    (problem,) = caught.value.problems
    assert problem.code is Code.MISSING_ENTRY
    assert "--dtype aux=bfloat16" in str(problem.hint)


def test_a_dtype_that_a_part_already_has_changes_nothing(tmp_path: Path) -> None:
    source = save(linen(), tmp_path)
    usual, asked = plan(source, "nnx"), plan(source, "nnx", casting(params="float32"))
    assert asked == usual


@pytest.mark.parametrize(
    "wrong", [("params", "int32"), ("step", "float32"), ("aux", "complex64"), ("step", "int4")]
)
def test_a_dtype_must_fit_its_part(wrong: tuple[str, str]) -> None:
    with pytest.raises(ValidationError, match="cannot be cast"):
        casting(**dict([wrong]))
