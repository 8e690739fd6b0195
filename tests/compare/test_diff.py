"""`diff`: equal whatever the layouts, and each difference named as what it is."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flax import serialization

from linen_nnx import (
    Aux,
    Code,
    ConversionOptions,
    Difference,
    LayerStacking,
    Layout,
    ProblemsError,
    Tolerance,
    convert,
    diff,
    fingerprint,
)
from linen_nnx.cli import render
from linen_nnx.cli.render.differences import finding_text, line
from linen_nnx.convert.compare import reading, units
from linen_nnx.schema.difference import (
    EmptiesDiffer,
    LayersDiffer,
    Missing,
    SpecDiffers,
    Unexpected,
    ValuesDiffer,
    Verdict,
)
from linen_nnx.schema.finding import (
    DTypeChanged,
    FactorsApart,
    FieldsMoved,
    LayersMissing,
    LayersMoved,
    LeavesMoved,
    PartMissing,
    RngsMissing,
    Which,
    Zeroed,
)
from linen_nnx.schema.inspection import PartName
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.routing import Effort
from tests.compare.content import KERNEL, MU, NU, PARAMS, Content, changed, content, layer, saved, swapped
from tests.support import golden
from tests.support.checkpoints import STORAGES, Cache, Storage
from tests.support.entries import Keys
from tests.support.golden import GROUND_TRUTH
from tests.support.small import STACKED, Specs, linen, native

UNSTACKED = ConversionOptions(stacking=LayerStacking.UNSTACKED)


@pytest.fixture(scope="module")
def state() -> Content:
    return content()


@pytest.fixture(scope="module")
def a(state: Content, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(state, tmp_path_factory.mktemp("a") / "item")


@pytest.fixture
def against(a: Path, tmp_path: Path) -> Callable[[Content], Difference]:
    """The difference between `a` and another state, which is saved, and converted into other forms too.

    Whatever the forms, the difference is the same.
    """

    def difference(other: Content) -> Difference:
        b = saved(other, tmp_path / "b")
        found = diff(a, b)
        convert(b, tmp_path / "nnx", to=Layout.NNX)
        again = diff(a, tmp_path / "nnx")
        assert again.findings == found.findings
        kept = [one for one in found.differences if not isinstance(one, EmptiesDiffer)]
        assert [(one.kind, one.path) for one in again.differences] == [(d.kind, d.path) for d in kept]
        return found

    return difference


def paths(found: Difference) -> set[str]:
    return {str(one.path) for one in found.differences}


# Equal


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_a_state_equals_itself_in_every_layout_stacking_and_storage(storage: Storage, tmp_path: Path) -> None:
    one = saved(content(linen(STACKED)), tmp_path / "one", storage)
    convert(one, tmp_path / "apart", to=Layout.NNX, options=UNSTACKED)
    convert(tmp_path / "apart", tmp_path / "back", to=Layout.MAXTEXT)
    for other in ("apart", "back"):
        found = diff(one, tmp_path / other)
        assert found.verdict is Verdict.EQUAL, found.differences
        assert diff(tmp_path / other, one).equal
    assert diff(tmp_path / "apart", tmp_path / "back").equal
    assert fingerprint(one) == fingerprint(tmp_path / "apart") == fingerprint(tmp_path / "back")


MADE = [
    "old-linen-scan-llama2-adamw",
    "old-nnx-unscan-deepseek-adamw",
    "mid-nnx-scan-llama2-muon",
    "tunix-inject",
]
REAL = [
    *MADE,
    "old-nnx-scan-llama2-adamw-drop",
    "old-linen-scan-gemma3-adamw",
    "old-nnx-scan-llama2-adampax",
    "old-linen-scan-llama2-sgd",
]
SOURCES = [
    *(pytest.param(name, False, id=name) for name in MADE),
    *(
        pytest.param(
            name,
            True,
            id=f"{name}-of-maxtext",
            marks=pytest.mark.skipif(not GROUND_TRUTH.is_dir(), reason="needs ../shared/ground-truth"),
        )
        for name in REAL
    ),
]


@pytest.mark.parametrize(("name", "real"), SOURCES)
def test_a_real_state_equals_what_it_was_converted_to(
    name: str, real: bool, cache: Cache, tmp_path: Path
) -> None:
    source = GROUND_TRUTH / name if real else cache.golden(golden.load(name))
    to = Layout.LINEN if "-nnx-" in name else Layout.NNX
    apart = "-scan-" in name
    stacking = LayerStacking.UNSTACKED if apart else None
    convert(source, tmp_path / "target", to=to, options=ConversionOptions(stacking=stacking))
    found = diff(source, tmp_path / "target")
    assert found.verdict is Verdict.EQUAL, [line(one) for one in found.differences[:5]]
    assert fingerprint(source) == fingerprint(tmp_path / "target")


def test_chunks_that_are_stored_alike_are_equal_without_decoding(a: Path, tmp_path: Path) -> None:
    shutil.copytree(a, tmp_path / "copy")
    shutil.copytree(a, tmp_path / "links", copy_function=os.link)
    for other in (a, tmp_path / "copy", tmp_path / "links"):
        found = diff(a, other)
        assert found.verdict is Verdict.EQUAL
        assert sum(p.undecoded for p in found.parts) == sum(p.nbytes for p in found.parts) - 4  # the step


def test_a_nan_equals_its_own_bits_and_minus_zero_differs_from_zero(
    state: Content, tmp_path: Path, against: Callable[[Content], Difference]
) -> None:
    path = (*layer(1, *PARAMS), *KERNEL)
    nan = changed(changed(state, path, (0, 0), np.nan), path, (2, 3), 0.0)
    one = saved(nan, tmp_path / "one", STORAGES[0])
    assert diff(one, saved(nan, tmp_path / "plain", STORAGES[3])).verdict is Verdict.EQUAL
    (found,) = diff(one, saved(changed(nan, path, (2, 3), -0.0), tmp_path / "signed")).differences
    assert isinstance(found, ValuesDiffer)
    assert (found.statistics.differing, found.statistics.zero_signs, found.statistics.max_abs) == (1, 1, 0.0)
    (found,) = against(changed(state, path, (0, 0), np.nan)).differences
    assert isinstance(found, ValuesDiffer)
    assert (found.statistics.nans, found.statistics.max_abs) == (1, None)


# Named as what it is


def test_one_ulp_in_one_element_of_nu_is_found_and_its_place_told(
    state: Content, against: Callable[[Content], Difference], capsys: pytest.CaptureFixture[str]
) -> None:
    path = (*layer(2, *NU), *KERNEL)
    value = np.nextafter(state[path][5, 4], np.float32(1))
    found = against(changed(state, path, (5, 4), value))
    (one,) = found.differences
    assert isinstance(one, ValuesDiffer)
    assert str(one.path) == "optimizer/[0]/nu/decoder/layers_2/mlp/wo/kernel"
    counted = one.statistics
    assert (counted.differing, counted.elements, counted.ulps) == (1, 48, 1)
    assert counted.first is not None
    assert counted.first.index == (5, 4)
    assert found.findings == ()
    render.difference(found)
    out = capsys.readouterr().out
    assert f"{one.path}: 1 of 48 elements differ, by 1 ulp" in out
    assert "first at [5, 4]: " in out
    assert out.splitlines()[-1].startswith("different: 1 of ")


@pytest.mark.parametrize(
    ("bases", "parts"),
    [
        ([PARAMS, MU, NU], (PartName.OPTIMIZER, PartName.PARAMS)),
        ([PARAMS], (PartName.PARAMS,)),
        ([NU], (PartName.OPTIMIZER,)),
    ],
    ids=["whole", "weights", "moments"],
)
def test_swapped_layers_are_named(
    bases: list[tuple[str | int, ...]],
    parts: tuple[PartName, ...],
    state: Content,
    against: Callable[[Content], Difference],
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = state
    for base in bases:
        other = swapped(other, layer(0, *base), layer(2, *base))
    found = against(other)
    (finding,) = found.findings
    assert isinstance(finding, LayersMoved)
    assert [(move.a, move.b) for move in finding.moves] == [(0, 2), (2, 0)]
    assert set(finding.parts) == set(parts)
    assert {str(path) for path in finding.paths} == paths(found)
    render.difference(found)
    assert "layers 0 and 2 of decoder/layers are swapped" in capsys.readouterr().out


def test_layers_in_another_order_are_named(state: Content, against: Callable[[Content], Difference]) -> None:
    other = swapped(state, layer(0, *PARAMS), layer(1, *PARAMS))
    other = swapped(other, layer(1, *PARAMS), layer(2, *PARAMS))
    (finding,) = against(other).findings
    assert isinstance(finding, LayersMoved)
    assert len(finding.moves) == 3
    assert all(move.a != move.b for move in finding.moves)


def test_swapped_moments_are_named(
    state: Content, against: Callable[[Content], Difference], capsys: pytest.CaptureFixture[str]
) -> None:
    found = against(swapped(state, MU, NU))
    (finding,) = found.findings
    assert isinstance(finding, FieldsMoved)
    assert {(str(move.a), str(move.b)) for move in finding.moves} == {
        ("[0]/mu", "[0]/nu"),
        ("[0]/nu", "[0]/mu"),
    }
    assert {str(path) for path in finding.paths} == paths(found)
    render.difference(found)
    assert "the optimizer's [0]/mu and [0]/nu are swapped" in capsys.readouterr().out


@pytest.mark.parametrize("lacks", Which)
def test_a_dropped_stream_of_random_numbers_is_named(lacks: Which, tmp_path: Path) -> None:
    nnx = saved(content(native()), tmp_path / "nnx")
    convert(nnx, tmp_path / "kept", to=Layout.LINEN)
    convert(nnx, tmp_path / "dropped", to=Layout.LINEN, options=ConversionOptions(aux=Aux.DROP))
    assert diff(nnx, tmp_path / "kept").equal
    assert fingerprint(nnx) == fingerprint(tmp_path / "kept") == fingerprint(tmp_path / "dropped")
    sides = (nnx, tmp_path / "dropped")
    found = diff(*sides) if lacks is Which.B else diff(*reversed(sides))
    (finding,) = found.findings
    assert isinstance(finding, RngsMissing)
    assert (finding.missing_in, finding.no_place, len(finding.paths)) == (lacks, True, 2)
    kind = Missing if lacks is Which.B else Unexpected
    assert all(isinstance(one, kind) and one.part is PartName.AUX for one in found.differences)
    assert diff(*sides, only=["params", "optimizer", "step"]).equal


@pytest.mark.parametrize("same", [True, False])
def test_another_dtype_is_named_with_what_became_of_the_values(
    same: bool, state: Content, tmp_path: Path
) -> None:
    weights = {path: leaf.astype("bfloat16") for path, leaf in state.items() if path[:2] == PARAMS}
    wide = {path: leaf.astype("float32") for path, leaf in weights.items()} if same else {}
    one = saved({**state, **wide}, tmp_path / "one")
    other = saved({**state, **weights}, tmp_path / "other")
    convert(other, tmp_path / "nnx", to=Layout.NNX)
    for found in (diff(one, other), diff(one, tmp_path / "nnx", tolerance=Tolerance(atol=1, rtol=1))):
        (finding,) = found.findings
        assert isinstance(finding, DTypeChanged)
        assert (finding.a, finding.b, finding.part) == ("float32", "bfloat16", PartName.PARAMS)
        assert finding.same_values is same
        assert len(finding.paths) == len(weights) == len(found.differences)
        assert all(isinstance(difference, SpecDiffers) for difference in found.differences)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_missing_layer_is_named_wherever_it_stood(
    lost: int, state: Content, a: Path, tmp_path: Path
) -> None:
    other = {path: leaf for path, leaf in state.items() if f"layers_{lost}" not in path}
    found = diff(a, saved(other, tmp_path / "b"))
    (finding,) = found.findings
    assert isinstance(finding, LayersMissing)
    assert (finding.layers, finding.missing_in) == ((lost,), Which.B)
    counts = [one for one in found.differences if isinstance(one, LayersDiffer)]
    assert [(one.a, one.b, str(one.path)) for one in counts] == [(3, 2, "params/decoder/layers")]
    assert {one.path for one in found.differences if isinstance(one, Missing)} == set(finding.paths)


def test_a_layer_that_was_dropped_and_the_rest_renumbered_is_told(
    state: Content, against: Callable[[Content], Difference]
) -> None:
    other = {path: leaf for path, leaf in state.items() if "layers_2" not in path}
    for base in (PARAMS, MU, NU):
        for name in (KERNEL, ("norm", "scale")):
            other[(*layer(0, *base), *name)] = state[(*layer(1, *base), *name)]
            other[(*layer(1, *base), *name)] = state[(*layer(2, *base), *name)]
    missing, moved = against(other).findings
    assert isinstance(missing, LayersMissing)
    assert isinstance(moved, LayersMoved)
    assert [(move.a, move.b) for move in moved.moves] == [(1, 0), (2, 1)]


def test_a_leaf_under_another_name_is_named(state: Content, against: Callable[[Content], Difference]) -> None:
    bases = (PARAMS, MU, NU)
    other = state
    for base in bases:
        other = swapped(other, (*base, "token_embedder"), (*base, "embedder"))
    (finding,) = against(other).findings
    assert isinstance(finding, LeavesMoved)
    assert (
        KeyPath.of("params", "token_embedder", "embedding"),
        KeyPath.of("params", "embedder", "embedding"),
    ) in [(move.a, move.b) for move in finding.moves]


def test_moments_that_were_reset_are_named(state: Content, against: Callable[[Content], Difference]) -> None:
    zero = {path: np.zeros_like(leaf) if path[:4] == NU else leaf for path, leaf in state.items()}
    (finding,) = against(zero).findings
    assert isinstance(finding, Zeroed)
    assert (finding.zero_in, finding.part, len(finding.paths)) == (Which.B, PartName.OPTIMIZER, 7)


def test_an_optimizer_that_is_not_there_is_named(a: Path, tmp_path: Path) -> None:
    convert(a, tmp_path / "weights", to=Layout.PARAMS)
    found = diff(a, tmp_path / "weights")
    assert {f.part for f in found.findings if isinstance(f, PartMissing)} == {
        PartName.OPTIMIZER,
        PartName.STEP,
    }
    assert diff(a, tmp_path / "weights", only=["params"]).equal


def test_empties_count_where_both_sides_have_one_layout(state: Content, a: Path, tmp_path: Path) -> None:
    other = {**state, ("opt_state", 3): None}
    (found,) = diff(a, saved(other, tmp_path / "b")).differences
    assert isinstance(found, EmptiesDiffer)
    assert (found.a, str(found.path)) == (None, "optimizer/[3]")


def test_another_step_is_a_difference_and_its_integer_type_is_none(
    state: Content, against: Callable[[Content], Difference]
) -> None:
    (found,) = against({**state, ("step",): np.asarray(4, np.int32)}).differences
    assert isinstance(found, ValuesDiffer)
    assert found.part is PartName.STEP
    assert found.statistics.first is not None
    assert (found.statistics.first.a, found.statistics.first.b) == ("3", "4")


def test_two_collections_may_hold_variables_of_one_path(state: Content, tmp_path: Path) -> None:
    more = {**state, ("params", "batch_stats", "token_embedder", "embedding"): np.ones((7, 4), np.float32)}
    other = changed(more, ("params", "batch_stats", "token_embedder", "embedding"), (0, 0), 2.0)
    found = diff(saved(more, tmp_path / "one"), saved(other, tmp_path / "other"))
    assert paths(found) == {"aux/batch_stats/token_embedder/embedding"}


# Tolerances


def test_a_tolerance_does_not_swallow_moments_that_are_smaller_than_it(
    state: Content, a: Path, tmp_path: Path
) -> None:
    path = (*layer(1, *NU), *KERNEL)
    assert np.abs(state[path]).max() < 1e-8
    b = saved({**state, path: state[path] * np.float32(1.5)}, tmp_path / "b")
    found = diff(a, b, tolerance=Tolerance(atol=1e-3, rtol=1e-3))
    (one,) = found.differences
    assert isinstance(one, ValuesDiffer)
    assert one.statistics.scale == float(np.abs(state[path]).max())
    assert 0 < one.statistics.beyond <= one.statistics.differing


@pytest.mark.parametrize("tolerance", [Tolerance(rtol=1e-5), Tolerance(atol=1e-5)], ids=["rtol", "atol"])
def test_what_is_within_tolerance_is_equal_and_still_told(
    tolerance: Tolerance, state: Content, a: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = (*layer(1, *MU), *KERNEL)
    b = saved({**state, path: state[path] * np.float32(1.000001)}, tmp_path / "b")
    assert not diff(a, b).equal
    found = diff(a, b, tolerance=tolerance)
    assert (found.verdict, found.differences) == (Verdict.WITHIN, ())
    (one,) = found.within
    assert str(one.path) == "optimizer/[0]/mu/decoder/layers_1/mlp/wo/kernel"
    (part,) = [part for part in found.parts if part.part is PartName.OPTIMIZER]
    assert (part.within, part.different, part.max_rel_at) == (1, 0, one.path)
    render.difference(found)
    out = capsys.readouterr().out
    assert f"within tolerance: {one.path}: " in out
    assert f"max rel {one.statistics.max_rel:.6g} at {one.path}" in out


def test_counts_are_exact_under_any_tolerance(state: Content, a: Path, tmp_path: Path) -> None:
    other = {**state, ("opt_state", 0, "count"): np.asarray(state["opt_state", 0, "count"]) + 1}
    found = diff(a, saved(other, tmp_path / "b"), tolerance=Tolerance(atol=1, rtol=1))
    assert paths(found) == {"optimizer/[0]/count"}


# What is asked


def test_structure_alone_reads_no_array(state: Content, a: Path, tmp_path: Path) -> None:
    b = saved(content(seed="other"), tmp_path / "b", Storage(ocdbt=False, zarr_format=2))
    for chunk in b.glob("params.*/0*"):
        chunk.write_bytes(b"no chunk that could be decoded")
    found = diff(a, b, structure=True)
    assert found.verdict is Verdict.EQUAL
    fewer = {path: leaf for path, leaf in state.items() if path[-1] != "embedding"}
    assert len(diff(a, saved(fewer, tmp_path / "c"), structure=True).differences) == 3


def test_square_stacks_alike_are_compared_and_others_want_their_axis_named(tmp_path: Path) -> None:
    square = {**STACKED, ("decoder", "layers", "mlp", "wo", "kernel"): "float32[3,3,6]"}
    square[("decoder", "layers", "norm", "scale")] = "float32[3,3]"
    square_state = content(linen(square))
    one = saved(square_state, tmp_path / "one")
    assert diff(one, saved(square_state, tmp_path / "two", STORAGES[2])).equal
    options = ConversionOptions(stacking=LayerStacking.UNSTACKED, layer_axis=1)
    convert(one, tmp_path / "apart", options=options)
    for refused in (lambda: diff(one, tmp_path / "apart"), lambda: fingerprint(one)):
        with pytest.raises(ProblemsError) as error:
            refused()
        assert {problem.code for problem in error.value.problems} == {Code.AXIS_AMBIGUOUS}
    assert diff(one, tmp_path / "apart", layer_axis=1).equal
    assert fingerprint(one, layer_axis=1) == fingerprint(tmp_path / "apart")
    assert not diff(one, tmp_path / "apart", layer_axis=0).equal


@pytest.mark.parametrize("tolerance", [None, Tolerance(atol=1e-3, rtol=1e-3)], ids=["bits", "tolerance"])
def test_what_is_found_does_not_depend_on_how_many_threads_share_an_array(
    tolerance: Tolerance | None, state: Content, a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = (*layer(1, *MU), *KERNEL)
    other = {**state, kernel: state[kernel] * np.float32(1.0001)}
    other = changed(changed(other, kernel, (3, 2), np.nan), (*layer(2, *NU), *KERNEL), (7, 5), 1.0)
    convert(a, tmp_path / "stack", to=Layout.NNX, options=ConversionOptions(stacking=LayerStacking.STACKED))
    b = saved(other, tmp_path / "b", Storage(ocdbt=False, zarr_format=2))
    found = [diff(one, b, tolerance=tolerance) for one in (a, tmp_path / "stack")]
    monkeypatch.setattr(reading, "_PIECE", 1)
    monkeypatch.setattr(reading, "_SLAB", 40)
    monkeypatch.setattr(units, "TILE", 1)
    for before, one in zip(found, (a, tmp_path / "stack"), strict=True):
        for workers in (1, 3):
            after = diff(one, b, tolerance=tolerance, effort=Effort(workers=workers))
            assert (after.differences, after.within) == (before.differences, before.within)
            assert after.findings == before.findings
    assert len(found[0].differences) == 2


def test_the_document_says_where_a_leaf_stands_on_each_side(a: Path, state: Content, tmp_path: Path) -> None:
    path = (*layer(1, *NU), *KERNEL)
    b = saved(changed(state, path, (0, 0), 7.0), tmp_path / "b")
    options = ConversionOptions(stacking=LayerStacking.STACKED)
    convert(b, tmp_path / "nnx", to=Layout.NNX, options=options)
    document = json.loads(diff(a, tmp_path / "nnx").model_dump_json())
    (one,) = document["differences"]
    assert one["a"]["op"]["source"]["path"] == "opt_state/[0]/nu/params/decoder/layers_1/mlp/wo/kernel"
    assert one["b"]["op"]["kind"] == "take"
    assert one["b"]["op"]["index"] == 1
    assert (
        one["b"]["op"]["of"]["source"]["path"]
        == "optimizer/opt_state/0/nu/decoder/layers/mlp/wo/kernel/value"
    )


def test_a_legacy_file_is_compared_by_its_values(tmp_path: Path) -> None:
    params = {"first": {"kernel": np.ones((2, 3), np.float32), "none": np.ones((2, 0), np.float32)}}
    state = {"step": 7, "params": params, "opt_state": {"0": {"count": np.int32(7), "mu": params}}}
    file, other = tmp_path / "checkpoint_7", tmp_path / "checkpoint_8"
    file.write_bytes(serialization.to_bytes(state))
    convert(file, tmp_path / "nnx", to=Layout.NNX)
    assert diff(file, tmp_path / "nnx").equal
    assert fingerprint(file) == fingerprint(tmp_path / "nnx")
    state["opt_state"] = {"0": {"count": np.int32(8), "mu": params}}
    other.write_bytes(serialization.to_bytes(state))
    assert paths(diff(file, other)) == {"optimizer/[0]/count"}


@pytest.mark.parametrize("axis", [0, 2])
def test_the_axis_on_which_layers_are_stacked_is_no_difference(axis: int, tmp_path: Path) -> None:
    specs: Specs = {
        ("decoder", "layers", "mlp", "wo", "kernel"): "float32[8,3,6]",
        ("decoder", "layers", "mlp", "wi", "kernel"): "float32[6,3,8]",
    }
    one = saved(content(linen(specs)), tmp_path / "one")
    options = ConversionOptions(stacking=LayerStacking.UNSTACKED)
    convert(one, tmp_path / "apart", options=options)
    again = ConversionOptions(stacking=LayerStacking.STACKED, layer_axis=axis)
    convert(tmp_path / "apart", tmp_path / "other", to=Layout.NNX, options=again)
    assert diff(one, tmp_path / "other").equal
    assert fingerprint(one) == fingerprint(tmp_path / "other")


def test_a_checkpoint_that_lost_chunks_is_refused(a: Path, tmp_path: Path) -> None:
    b = saved(content(), tmp_path / "b", Storage(ocdbt=False, zarr_format=2))
    (b / "params.params.token_embedder.embedding" / "0.0").unlink()
    for refused in (lambda: diff(a, b), lambda: fingerprint(b)):
        with pytest.raises(ProblemsError) as error:
            refused()
        assert [problem.code for problem in error.value.problems] == [Code.CHUNK_MISSING]


Factored = dict[Keys, tuple[str, str, str, str]]


def _factored(shapes: Factored) -> Specs:
    """A state with adafactor's moments: of each parameter its shape, and those of v_row, v_col and v."""
    specs: Specs = {("step",): "int32[]", ("opt_state", 0, "count"): "int32[]", ("opt_state", 1): "None"}
    for path, (of_parameter, *of_moments) in shapes.items():
        specs["params", "params", *path] = f"float32[{of_parameter}]"
        for field, shape in zip(("v_row", "v_col", "v"), of_moments, strict=True):
            specs["opt_state", 0, field, "params", *path] = f"float32[{shape}]"
    return specs


def test_factored_moments_are_compared_as_they_stand_and_never_passed_over(tmp_path: Path) -> None:
    embedding: Keys = ("token_embedder", "embedding")
    stack: Factored = {
        embedding: ("40,16", "16", "40", "1"),
        ("decoder", "layers", *KERNEL): ("24,3,16", "3,16", "24,3", "1"),
        ("decoder", "layers", "norm", "scale"): ("20,3", "1", "1", "20,3"),
    }
    apart: Factored = {embedding: stack[embedding]}
    for n in range(3):
        apart[(*layer(n), *KERNEL)] = ("24,16", "16", "24", "1")
        apart[(*layer(n), "norm", "scale")] = ("20", "1", "1", "20")
    state = content(_factored(stack))
    a = saved(state, tmp_path / "a")
    convert(a, tmp_path / "nnx", to=Layout.NNX)
    assert diff(a, tmp_path / "nnx").equal
    row: Keys = ("opt_state", 0, "v_row", "params", "decoder", "layers", *KERNEL)
    b = saved(changed(state, row, (2, 7), 1.0), tmp_path / "b")
    assert paths(diff(tmp_path / "nnx", b)) == {"optimizer/[0]/v_row/decoder/layers/mlp/wo/kernel"}
    found = diff(a, saved(content(_factored(apart)), tmp_path / "apart"))
    (apart_alone,) = [one for one in found.findings if isinstance(one, FactorsApart)]
    assert [str(field) for field in apart_alone.fields] == ["[0]/v", "[0]/v_col", "[0]/v_row"]
    assert "not comparable" in finding_text(apart_alone)
    named = {str(one.path) for one in found.differences if not isinstance(one, ValuesDiffer)}
    assert {str(path) for path in apart_alone.paths} <= named
    for field in ("v_row", "v"):
        stacked = f"optimizer/[0]/{field}/decoder/layers/mlp/wo/kernel"
        assert {stacked, stacked.replace("layers", "layers_2")} <= named
