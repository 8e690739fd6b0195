"""The checkpoints that MaxText itself wrote, where the whole workspace is there."""

from pathlib import Path

import pytest

from linen_nnx import ConversionOptions, LayerNames, Layout, convert, diff, inspect, validate
from tests.support import golden
from tests.support.checkpoints import STEP, STEP_FOLDER
from tests.support.conversions import Case, cases, check_case, options_for, siblings
from tests.support.entries import path_of
from tests.support.golden import GROUND_TRUTH
from tests.support.states import Form, Style, form_of

pytestmark = pytest.mark.skipif(
    not GROUND_TRUTH.is_dir(), reason="needs ../shared/ground-truth, the checkpoints that MaxText wrote"
)

RESTACKED = (
    "old-linen-scan-llama2-adamw",
    "old-linen-unscan-llama2-adamw",
    "old-nnx-scan-llama2-adamw",
    "old-nnx-unscan-llama2-adamw",
    "mid-nnx-unscan-llama2-adamw",
    "now-nnx-unscan-llama2-adamw",
    "old-linen-scan-deepseek-adamw",
    "old-linen-unscan-deepseek-adamw",
    "old-nnx-scan-deepseek-adamw",
    "old-nnx-unscan-deepseek-adamw",
    "mid-nnx-unscan-deepseek-adamw",
)
"""Of these, the layers are stacked and unstacked too; the others differ from one of them in values alone."""


def real_cases() -> list[Case]:
    """Every pair of one model, optimizer and variant; and old names of layers into today's."""
    today = Form("maxtext", Style.UNDERSCORE, "deepseek", "adamw")
    renamed = Case("mid-nnx-unscan-deepseek-adamw", today)
    return [*filter(is_pair, cases(golden.maxtext_names())), renamed]


def is_pair(case: Case) -> bool:
    """Whether a real checkpoint shows what must come out."""
    kept = (form_of(case.source).style is Style.STACKED) == (case.target.style is Style.STACKED)
    return bool(siblings(case)) and (kept or case.source in RESTACKED)


@pytest.mark.parametrize("case", real_cases(), ids=str)
def test_conversion_has_every_entry_of_the_other_form_bit_for_bit(case: Case, tmp_path: Path) -> None:
    check_case(case, GROUND_TRUTH / case.source, tmp_path / "target")


@pytest.mark.parametrize("name", golden.maxtext_names())
def test_inspect_lists_exactly_the_entries_that_the_writer_published(name: str) -> None:
    found = inspect(GROUND_TRUTH / name)
    entries = {path_of(str(entry.path)): str(entry.value) for entry in found.inventory.entries}
    assert entries == golden.load(name).entries
    assert found.detection is not None
    assert found.detection.layout is Layout(form_of(name).layout)
    assert (found.step, found.step_folder) == (STEP, STEP_FOLDER)


@pytest.mark.parametrize("name", golden.maxtext_names())
def test_a_checkpoint_that_maxtext_wrote_is_valid(name: str) -> None:
    assert validate(GROUND_TRUTH / name) == []


@pytest.mark.parametrize("name", golden.names())
def test_diff_finds_nothing_between_a_state_and_what_came_back_from_the_other_framework(
    name: str, tmp_path: Path
) -> None:
    home = detected(GROUND_TRUTH / name)
    away = Layout.LINEN if home.is_nnx else Layout.NNX
    convert(GROUND_TRUTH / name, tmp_path / "there", to=away)
    # Into the form of July 2026 nothing is converted unasked: today's MaxText refuses it.
    options = ConversionOptions(to=home, layer_names=names_of(name))
    convert(tmp_path / "there", tmp_path / "back", options=options)
    found = diff(GROUND_TRUTH / name, tmp_path / "back")
    assert found.equal, found.differences
    assert inspect(tmp_path / "back").kept_aside == 0


def test_a_converted_state_has_the_structure_of_one_of_the_other_framework(tmp_path: Path) -> None:
    native = GROUND_TRUTH / "old-nnx-scan-llama2-adamw"
    convert(GROUND_TRUTH / "old-linen-scan-llama2-adamw", tmp_path / "nnx", to=Layout.NNX, template=native)
    assert inspect(tmp_path / "nnx").kept_aside == 1
    assert diff(tmp_path / "nnx", native, structure=True).differences == ()


def detected(path: Path) -> Layout:
    """By its looks."""
    found = inspect(path).detection
    assert found is not None
    return found.layout


def names_of(name: str) -> LayerNames | None:
    """What layers that stand one by one must be told to be called, to be called so again."""
    return None if name.startswith("tunix") else options_for(form_of(name)).layer_names


@pytest.mark.parametrize("name", [name for name in golden.names() if name.startswith("tunix")])
@pytest.mark.parametrize("item", ["model_params", "optimizer_state"])
def test_inspect_reads_each_item_of_a_step_of_several(name: str, item: str) -> None:
    found = inspect(GROUND_TRUTH / name, item=item)
    entries = {path_of(str(entry.path)): str(entry.value) for entry in found.inventory.entries}
    assert entries == golden.load(name).items[item]
