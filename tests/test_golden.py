"""Real orbax checkpoints with the entries of real ones: conversion between all forms, bit for bit.

The content is random; the inventories in `golden/` are what MaxText wrote. `test_ground_truth.py` does the
same with MaxText's own files, where they are there.
"""

import json
from pathlib import Path

import pytest

from linen_nnx import ConversionOptions, DType, LayerStacking, Layout, Leaves, convert
from tests.support import golden
from tests.support.checkpoints import STORAGES, Cache, Storage, random_leaf, save_item, tree_of
from tests.support.conversions import (
    ITEM,
    Case,
    Trip,
    cases,
    check_case,
    check_trip,
    converted,
    expected,
    trips,
)
from tests.support.entries import Entries, Keys, differences, read
from tests.support.states import Form, Style, form_of, is_aux, stacked

DISTINCT = [
    "old-linen-scan-llama2-adamw",
    "old-linen-unscan-llama2-adamw",
    "old-nnx-scan-llama2-adamw",
    "old-nnx-unscan-llama2-adamw",
    "mid-nnx-unscan-llama2-adamw",
    "head-nnx-scan-llama2-adamw",
    "now-nnx-unscan-llama2-adamw",
    "old-linen-scan-deepseek-adamw",
    "old-nnx-unscan-deepseek-adamw",
    "mid-nnx-unscan-deepseek-adamw",
    "old-linen-scan-gemma3-adamw",
    "old-nnx-scan-gemma3-adamw",
    "old-linen-scan-llama2-muon",
    "mid-nnx-scan-llama2-muon",
    "old-linen-scan-llama2-sgd",
    "old-nnx-scan-llama2-sgd",
    "old-linen-scan-llama2-adampax",
    "old-nnx-scan-llama2-adampax",
]
"""One of each inventory that differs from the others."""


def golden_cases() -> list[Case]:
    """Every form for adamw; what MaxText has written at all for the other optimizers and Gemma 3."""
    return [
        case
        for case in cases(DISTINCT)
        if (case.target.optimizer == "adamw" and case.target.family != "gemma3")
        or case.target.layout != "maxtext"
        or case.target.style is Style.STACKED
    ]


@pytest.mark.parametrize("case", golden_cases(), ids=str)
def test_conversion_has_every_entry_of_the_other_form_bit_for_bit(
    case: Case, cache: Cache, tmp_path: Path
) -> None:
    check_case(case, cache.golden(golden.load(case.source)), tmp_path / "target")


L_STACKED, L_APART = ("linen", Style.STACKED), ("linen", Style.UNDERSCORE)
N_STACKED, N_APART = ("nnx", Style.STACKED), ("nnx", Style.NESTED)
M_STACKED, M_APART = ("maxtext", Style.STACKED), ("maxtext", Style.UNDERSCORE)

TRIPS = {
    "old-nnx-scan-llama2-adamw": [L_STACKED, L_APART, M_STACKED, M_APART, N_APART],
    "old-nnx-unscan-llama2-adamw": [L_STACKED, L_APART, M_STACKED, M_APART, N_STACKED],
    "old-linen-scan-llama2-adamw": [N_STACKED, N_APART, M_STACKED, M_APART, L_APART],
    "old-linen-unscan-llama2-adamw": [N_STACKED, N_APART, M_STACKED, M_APART, L_STACKED],
    "mid-nnx-unscan-llama2-adamw": [L_STACKED, L_APART, N_APART],
    "head-nnx-scan-llama2-adamw": [L_APART, N_STACKED],
    "now-nnx-unscan-llama2-adamw": [L_STACKED, N_APART, M_STACKED],
    "old-nnx-scan-deepseek-adamw": [L_STACKED, L_APART],
    "old-nnx-unscan-deepseek-adamw": [L_STACKED, L_APART],
    "old-linen-scan-deepseek-adamw": [N_STACKED, N_APART],
    "old-linen-unscan-deepseek-adamw": [N_STACKED, N_APART],
    "mid-nnx-unscan-deepseek-adamw": [L_STACKED, L_APART],
    "old-nnx-scan-gemma3-adamw": [L_STACKED, L_APART],
    "old-linen-scan-gemma3-adamw": [N_STACKED, N_APART],
    "old-nnx-scan-llama2-sgd": [L_STACKED, L_APART],
    "old-linen-scan-llama2-sgd": [N_STACKED],
    "old-nnx-scan-llama2-adampax": [L_STACKED, L_APART],
    "old-linen-scan-llama2-adampax": [N_APART],
    "old-linen-scan-llama2-muon": [N_STACKED, N_APART, M_STACKED, M_APART],
    "mid-nnx-scan-llama2-muon": [L_STACKED, L_APART, N_STACKED],
}


@pytest.mark.parametrize("trip", trips(TRIPS), ids=str)
def test_there_and_back_again_restores_every_entry_and_byte(trip: Trip, cache: Cache, tmp_path: Path) -> None:
    check_trip(trip, cache.golden(golden.load(trip.source)), tmp_path)


TEMPLATES = [
    ("old-linen-scan-llama2-adamw", "old-nnx-scan-llama2-adamw"),
    ("old-linen-unscan-llama2-adamw", "old-nnx-unscan-llama2-adamw"),
    ("old-linen-scan-llama2-adamw", "mid-nnx-scan-llama2-adamw"),
    ("old-linen-unscan-llama2-adamw", "now-nnx-unscan-llama2-adamw"),
    ("old-linen-scan-deepseek-adamw", "old-nnx-scan-deepseek-adamw"),
    ("old-linen-unscan-deepseek-adamw", "old-nnx-unscan-deepseek-adamw"),
    ("old-linen-scan-gemma3-adamw", "old-nnx-scan-gemma3-adamw"),
    ("old-linen-scan-llama2-sgd", "old-nnx-scan-llama2-sgd"),
    ("old-linen-scan-llama2-adampax", "old-nnx-scan-llama2-adampax"),
    ("old-linen-scan-llama2-muon", "mid-nnx-scan-llama2-muon"),
]


@pytest.mark.parametrize(("name", "template"), TEMPLATES, ids=lambda name: str(name))
def test_a_template_gives_the_rngs_and_the_form_that_linen_lacks(
    name: str, template: str, cache: Cache, tmp_path: Path
) -> None:
    source, like = cache.golden(golden.load(name)), cache.golden(golden.load(template))
    form = form_of(template)
    convert(source, tmp_path / "target", to=Layout(form.layout), template=like)
    streams = {path: leaf for path, leaf in read(like / ITEM).items() if is_aux(path)}
    assert streams
    found = read(tmp_path / "target" / ITEM)
    assert differences(found, {**expected(source, name, form), **streams}) == []
    assert set(found) == set(golden.load(template).entries)


def test_a_template_of_unscanned_layers_gives_its_rngs_to_a_scanned_source(
    cache: Cache, tmp_path: Path
) -> None:
    name, template = "old-linen-scan-llama2-adamw", "old-nnx-unscan-llama2-adamw"
    source, like = cache.golden(golden.load(name)), cache.golden(golden.load(template))
    options = ConversionOptions(to=Layout.NNX, stacking=LayerStacking.UNSTACKED)
    convert(source, tmp_path / "target", options=options, template=like)
    streams = {path: leaf for path, leaf in read(like / ITEM).items() if is_aux(path)}
    wanted = {**expected(source, name, form_of(template)), **streams}
    assert differences(read(tmp_path / "target" / ITEM), wanted) == []


@pytest.mark.parametrize("name", ["old-linen-scan-llama2-adamw", "mid-nnx-unscan-deepseek-adamw"])
def test_wrapped_nnx_leaves_stand_under_value_and_are_unwrapped_on_the_way_back(
    name: str, cache: Cache, tmp_path: Path
) -> None:
    source, home = cache.golden(golden.load(name)), form_of(name)
    style = Style.STACKED if home.style is Style.STACKED else Style.NESTED
    wrapped = Form("nnx", style, home.family, home.optimizer, wrapped=True)
    found = converted(source, tmp_path / "there", wrapped)
    assert all(path[-1] == "value" for path in found)
    assert differences(found, expected(source, name, wrapped)) == []
    other = Form("maxtext", Style.STACKED, home.family, home.optimizer)
    for form in (other, home):
        back = converted(tmp_path / "there", tmp_path / str(form), form)
        assert differences(back, expected(source, name, form)) == []


@pytest.mark.parametrize("storage", STORAGES, ids=str)
@pytest.mark.parametrize("name", ["old-linen-scan-llama2-adamw", "old-nnx-unscan-llama2-adamw"])
def test_every_storage_form_is_converted_bit_for_bit_and_kept(
    name: str, storage: Storage, cache: Cache, tmp_path: Path
) -> None:
    source, home = cache.golden(golden.load(name), storage), form_of(name)
    for style in (Style.STACKED, Style.NESTED if home.layout == "linen" else Style.UNDERSCORE):
        form = Form("nnx" if home.layout == "linen" else "linen", style, home.family, home.optimizer)
        target = tmp_path / style
        assert differences(converted(source, target, form), expected(source, name, form)) == []
        metadata = json.loads((target / ITEM / "_METADATA").read_text())
        assert metadata["use_zarr3"] is (storage.zarr_format == 3)
        assert metadata["use_ocdbt"] is storage.ocdbt


NOT_STORED_BY_TENSORSTORE = {"uint2", "uint4", "float8_e4m3"}
WITHOUT_X64_NUMPY_ONLY = {"int64", "uint64", "float64", "complex128"}
DTYPES = {
    dtype.value: "[3,2] (np.ndarray)" if dtype.value in WITHOUT_X64_NUMPY_ONLY else "[3,2]"
    for dtype in DType
    if dtype.value not in NOT_STORED_BY_TENSORSTORE
}
# A second shape, so that the shapes prove the layer axis.
DTYPES["uint8"] = "[5]"


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_arrays_of_every_dtype_are_restacked_bit_for_bit(storage: Storage, tmp_path: Path) -> None:
    specs: dict[Keys, str] = {
        ("params", "params", "decoder", f"layers_{n}", "block", dtype): f"{dtype}{rest}"
        for dtype, rest in DTYPES.items()
        for n in range(4)
    }
    leaves = {path: random_leaf(spec, str(path)) for path, spec in specs.items()}
    save_item(tree_of(leaves), tmp_path / "source", storage)
    source = read(tmp_path / "source")
    assert {leaf.spec for leaf in source.values()} == set(specs.values())
    options = ConversionOptions(to=Layout.NNX, stacking=LayerStacking.STACKED, leaves=Leaves.BARE)
    convert(tmp_path / "source", tmp_path / "target", options=options)
    assert differences(read(tmp_path / "target"), _stacked_by_dtype(source)) == []
    back = ConversionOptions(to=Layout.LINEN, stacking=LayerStacking.UNSTACKED)
    convert(tmp_path / "target", tmp_path / "back", options=back)
    assert differences(read(tmp_path / "back"), source) == []


def _stacked_by_dtype(source: Entries) -> Entries:
    out: Entries = {}
    for dtype in DTYPES:
        rest: Keys = ("block", dtype)
        parts = [source["params", "params", "decoder", f"layers_{n}", *rest] for n in range(4)]
        out["model", "decoder", "layers", *rest] = stacked(parts, 1)
    return out
