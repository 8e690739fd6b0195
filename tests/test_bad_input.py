"""Bad input is refused with its own code, place, both sides and a hint; nothing is left or touched."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from linen_nnx import (
    Code,
    ConversionError,
    ConversionOptions,
    Direction,
    LayerStacking,
    Layout,
    Problem,
    ProblemsError,
    convert,
    inspect,
    plan,
    validate,
)
from tests.support.checkpoints import Storage, files_of, random_tree, save_run
from tests.support.small import (
    STACKED,
    Specs,
    changed,
    delete_stored,
    edit_metadata,
    item_of,
    linen,
    model,
    native,
    save,
    with_entries,
    without,
)

STACK = ConversionOptions(stacking=LayerStacking.STACKED)
UNSTACK = ConversionOptions(stacking=LayerStacking.UNSTACKED)
SQUARE: Specs = {("decoder", "layers", name, "kernel"): "float32[3,3]" for name in ("a", "b")}
EMBEDDING = "params.params.token_embedder.embedding"

Make = Callable[[Path], Path]
"""Makes the source below an empty folder, and returns the path that a user gives."""


def state(specs: Specs, storage: Storage | None = None) -> Make:
    """A run that holds `specs`."""
    return lambda folder: save(specs, folder, storage) if storage else save(specs, folder)


@dataclass(frozen=True)
class Bad:
    """One fault: how it is made, what is asked, and every part of the answer (each a part of the text)."""

    name: str
    make: Make
    code: Code
    path: str
    expected: str
    found: str
    hint: str | None = None
    options: ConversionOptions = field(default_factory=ConversionOptions)
    target: str = "target"
    step: int | None = None
    item: str | None = None
    in_source: bool = True
    """Whether the source itself is at fault, so that `validate` says the same."""

    def matches(self, problem: Problem) -> bool:
        """Whether a problem is the one expected."""
        return (
            problem.code is self.code
            and str(problem.path) == self.path
            and self.expected in problem.expected
            and self.found in problem.found
            and (self.hint in problem.hint if self.hint and problem.hint else not self.hint)
        )


def empty_folder(folder: Path) -> Path:
    (folder / "run").mkdir()
    return folder / "run"


def file_of_another_kind(folder: Path) -> Path:
    (folder / "run").write_text("not a folder")
    return folder / "run"


def folder_of_other_things(folder: Path) -> Path:
    (folder / "run" / "logs").mkdir(parents=True)
    return folder / "run"


def without_metadata(folder: Path) -> Path:
    run = save(linen(), folder, Storage())
    (item_of(run) / "_METADATA").unlink()
    return item_of(run)


def only_temporary(folder: Path) -> Path:
    run = save(linen(), folder)
    (run / "2").rename(run / "2.orbax-checkpoint-tmp-17")
    return run


def cut_short(folder: Path) -> Path:
    run = save(linen(), folder)
    file = item_of(run) / "_METADATA"
    file.write_bytes(file.read_bytes()[:500])
    return run


def array_removed(folder: Path) -> Path:
    run = save(linen(), folder)
    shutil.rmtree(item_of(run) / EMBEDDING)
    return run


def chunk_removed(folder: Path) -> Path:
    run = save(linen(), folder)
    (item_of(run) / EMBEDDING / "0.0").unlink()
    return run


def unlist_embedding(tree: dict[str, Any]) -> None:
    del tree["('params', 'params', 'token_embedder', 'embedding')"]


def two_items(folder: Path) -> Path:
    trees = {"actor": random_tree(linen(), "actor"), "critic": random_tree(native(), "critic")}
    return save_run(trees, folder / "run")


def with_target(folder: Path) -> Path:
    (folder / "target").mkdir()
    return save(linen(), folder)


BAD = [
    Bad(
        "no folder",
        lambda folder: folder / "run",
        Code.NOT_A_CHECKPOINT,
        "",
        "an orbax checkpoint",
        "nothing",
    ),
    Bad("a file", file_of_another_kind, Code.NOT_A_CHECKPOINT, "", "an orbax checkpoint", "a file"),
    Bad("an empty folder", empty_folder, Code.NOT_A_CHECKPOINT, "", "an orbax checkpoint", "an empty folder"),
    Bad("other things", folder_of_other_things, Code.NOT_A_CHECKPOINT, "", "an orbax checkpoint", "logs"),
    Bad(
        "arrays without metadata",
        without_metadata,
        Code.NOT_A_CHECKPOINT,
        "",
        "an orbax checkpoint",
        "without _METADATA",
    ),
    Bad("only an unfinished save", only_temporary, Code.UNCOMMITTED, "", "an orbax checkpoint", "temporary"),
    Bad(
        "an unfinished step",
        lambda folder: only_temporary(folder) / "2.orbax-checkpoint-tmp-17",
        Code.UNCOMMITTED,
        "",
        "a committed checkpoint",
        "the temporary folder 2.orbax-checkpoint-tmp-17",
        hint="earlier step",
    ),
    Bad(
        "an item of an unfinished step",
        lambda folder: only_temporary(folder) / "2.orbax-checkpoint-tmp-17" / "items",
        Code.UNCOMMITTED,
        "",
        "a committed checkpoint",
        "the temporary folder 2.orbax-checkpoint-tmp-17",
        hint="earlier step",
    ),
    Bad(
        "both layouts at once",
        state({**linen(), **native()}),
        Code.AMBIGUOUS_LAYOUT,
        "",
        "one train state",
        "opt_state, params of a Linen state beside model, optimizer of an NNX one",
        hint="save them apart",
    ),
    Bad(
        "no known layout",
        state({("weights", "kernel"): "float32[3]"}),
        Code.UNKNOWN_LAYOUT,
        "",
        "params (Linen, MaxText) or model (NNX)",
        "weights",
    ),
    Bad(
        "a missing layer",
        state(without(linen(), "layers_1")),
        Code.LAYER_GAP,
        "params/params/decoder/layers_1",
        "3 layers",
        "no such layer",
        hint="do not renumber",
    ),
    Bad(
        "a missing layer, to be stacked",
        state(without(linen(), "layers_1")),
        Code.LAYER_GAP,
        "params/params/decoder/layers_1",
        "3 layers",
        "no such layer",
        hint="do not renumber",
        options=STACK,
    ),
    Bad(
        "a missing first layer",
        state(without(linen(), "layers_0")),
        Code.LAYER_GAP,
        "params/params/decoder/layers_0",
        "3 layers",
        "no such layer",
        hint="do not renumber",
    ),
    Bad(
        "a missing layer of an nnx.List",
        state(without(native(), "layers/1/")),
        Code.LAYER_GAP,
        "model/decoder/layers/1",
        "3 layers",
        "no such layer",
        hint="do not renumber",
    ),
    Bad(
        "a layer of another shape",
        state(changed(linen(), layers_1__mlp="float32[8,5]")),
        Code.SHAPE_MISMATCH,
        "params/params/decoder/layers_1/mlp/wo/kernel",
        "float32[8,6], as in 2 of 3 layers",
        "float32[8,5]",
        hint="--no-scan-layers",
        options=STACK,
    ),
    Bad(
        "a layer of another dtype",
        state(changed(linen(), layers_1__mlp="bfloat16[8,6]")),
        Code.DTYPE_MISMATCH,
        "params/params/decoder/layers_1/mlp/wo/kernel",
        "float32[8,6], as in 2 of 3 layers",
        "bfloat16[8,6]",
        hint="--no-scan-layers",
        options=STACK,
    ),
    Bad(
        "a leaf missing in one layer",
        state(without(linen(), "layers_1/norm")),
        Code.LAYER_LEAF_MISSING,
        "params/params/decoder/layers_1/norm/scale",
        "float32[4], as in 2 of 3 layers",
        "nothing",
        hint="--no-scan-layers",
        options=STACK,
    ),
    Bad(
        "a leaf missing in one layer of an nnx.List",
        state(without(native(), "layers/2/norm")),
        Code.LAYER_LEAF_MISSING,
        "model/decoder/layers/2/norm/scale",
        "float32[4], as in 2 of 3 layers",
        "nothing",
        hint="--no-scan-layers",
        options=STACK,
    ),
    Bad(
        "a moment of another shape than its parameter",
        state(changed(linen(), mu__params__decoder__layers_1__mlp="float32[8,5]")),
        Code.MOMENT_MISMATCH,
        "opt_state/[0]/mu/params/decoder/layers_1/mlp/wo/kernel",
        "the shape of its parameter, float32[8,6]",
        "float32[8,5]",
    ),
    Bad(
        "a moment of NNX of another shape than its parameter",
        state(changed(native(), nu__decoder__layers__2__mlp="float32[6,8]")),
        Code.MOMENT_MISMATCH,
        "optimizer/opt_state/0/nu/decoder/layers/2/mlp/wo/kernel",
        "the shape of its parameter, float32[8,6]",
        "float32[6,8]",
    ),
    Bad(
        "a moment of another dtype than all others",
        state(changed(linen(), mu__params__decoder__layers_1__mlp="bfloat16[8,6]")),
        Code.DTYPE_MISMATCH,
        "opt_state/[0]/mu/params/decoder/layers_1/mlp/wo/kernel",
        "float32",
        "bfloat16",
    ),
    Bad(
        "a moment that is missing beside its sibling",
        state(without(linen(), "mu/params/decoder/layers_1/mlp")),
        Code.MISSING_ENTRY,
        "opt_state/[0]/mu/params/decoder/layers_1/mlp/wo/kernel",
        "a moment",
        "nothing",
    ),
    Bad(
        "an unknown top-level key of Linen",
        state(with_entries(linen(), shadow__kernel="float32[3]")),
        Code.UNKNOWN_ENTRY,
        "shadow",
        "only step, params, opt_state",
        "shadow/kernel: float32[3]",
    ),
    Bad(
        "an unknown top-level key of NNX",
        state(with_entries(native(), shadow__kernel="float32[3]")),
        Code.UNKNOWN_ENTRY,
        "shadow",
        "only model, optimizer/step, optimizer/opt_state",
        "shadow/kernel: float32[3]",
    ),
    Bad(
        "_METADATA cut short",
        cut_short,
        Code.METADATA_UNREADABLE,
        "",
        "_METADATA",
        "500 bytes",
        hint="cut short or damaged",
    ),
    Bad(
        "an array listed but not stored",
        array_removed,
        Code.NOT_STORED,
        "params/params/token_embedder/embedding",
        f"a stored array {EMBEDDING}",
        "no zarr metadata",
    ),
    Bad(
        "an array listed but not stored in ocdbt",
        lambda folder: delete_stored(save(linen(), folder, Storage()), f"{EMBEDDING}/"),
        Code.NOT_STORED,
        "params/params/token_embedder/embedding",
        f"a stored array {EMBEDDING}",
        "no zarr metadata",
    ),
    Bad(
        "an array stored but not listed",
        lambda folder: edit_metadata(save(linen(), folder), unlist_embedding),
        Code.NOT_LISTED,
        EMBEDDING,
        "an entry for it in _METADATA",
        "(7, 4)",
    ),
    Bad(
        "an array stored but not listed in ocdbt",
        lambda folder: edit_metadata(save(linen(), folder, Storage()), unlist_embedding),
        Code.NOT_LISTED,
        EMBEDDING,
        "an entry for it in _METADATA",
        "(7, 4)",
    ),
    Bad(
        "a missing chunk",
        chunk_removed,
        Code.CHUNK_MISSING,
        "params/params/token_embedder/embedding",
        "every chunk",
        "1 missing, first 0.0",
    ),
    Bad(
        "a missing chunk in ocdbt",
        lambda folder: delete_stored(save(linen(), folder, Storage()), f"{EMBEDDING}/c"),
        Code.CHUNK_MISSING,
        "params/params/token_embedder/embedding",
        "every chunk",
        "1 missing, first c/0/0",
    ),
    Bad(
        "several items",
        two_items,
        Code.SEVERAL_ITEMS,
        "",
        "one item",
        "actor, critic",
        hint="--item",
    ),
    Bad(
        "an item that is not there",
        two_items,
        Code.NOT_A_CHECKPOINT,
        "",
        "an item learner",
        "actor, critic",
        item="learner",
        in_source=False,
    ),
    Bad(
        "a step that is not there",
        state(linen()),
        Code.STEP_NOT_FOUND,
        "",
        "step 7",
        "steps 2",
        hint="--step",
        step=7,
        in_source=False,
    ),
    Bad(
        "target exists",
        with_target,
        Code.TARGET_EXISTS,
        "",
        "target yet",
        "a folder or file of that name",
        hint="--overwrite",
        in_source=False,
    ),
    Bad(
        "target inside source",
        state(linen()),
        Code.TARGET_INSIDE_SOURCE,
        "",
        "apart from the source",
        "a place inside the source",
        hint="beside the source",
        target="run/target",
        in_source=False,
    ),
    Bad(
        "target beside the source item, in its step",
        lambda folder: item_of(save(linen(), folder)),
        Code.TARGET_INSIDE_SOURCE,
        "",
        "apart from the source",
        "run/2/target",
        hint="beside the source",
        target="run/2/target",
        in_source=False,
    ),
    Bad(
        "target is source",
        state(linen()),
        Code.TARGET_INSIDE_SOURCE,
        "",
        "apart from the source",
        "a place inside the source",
        hint="beside the source",
        target="run",
        in_source=False,
    ),
    Bad(
        "source inside target",
        state(linen()),
        Code.TARGET_INSIDE_SOURCE,
        "",
        "apart from the source",
        "a folder that holds the source",
        hint="beside the source",
        target=".",
        in_source=False,
    ),
    Bad(
        "nnx-to-linen of a Linen state",
        state(linen()),
        Code.DIRECTION_CONTRADICTION,
        "",
        "a source that is nnx",
        "a source in the layout linen",
        hint="--direction",
        options=ConversionOptions(direction=Direction.NNX_TO_LINEN),
        in_source=False,
    ),
    Bad(
        "linen-to-nnx of an NNX state",
        state(native()),
        Code.DIRECTION_CONTRADICTION,
        "",
        "a source that is linen",
        "a source in the layout nnx",
        hint="--direction",
        options=ConversionOptions(direction=Direction.LINEN_TO_NNX),
        in_source=False,
    ),
    Bad(
        "a direction against --to",
        state(linen()),
        Code.DIRECTION_CONTRADICTION,
        "",
        "linen-to-nnx",
        "--to linen",
        hint="--direction",
        options=ConversionOptions(direction=Direction.LINEN_TO_NNX, to=Layout.LINEN),
        in_source=False,
    ),
    Bad(
        "square arrays, of which any axis may be that of the layers",
        state(linen(SQUARE)),
        Code.AXIS_AMBIGUOUS,
        "params/params/decoder/layers",
        "shapes that prove",
        "axis 0, 1",
        hint="--layer-axis",
        options=UNSTACK,
        in_source=False,
    ),
    Bad(
        "a layer axis that the shapes rule out",
        state(linen(STACKED)),
        Code.AXIS_NOT_FOUND,
        "params/params/decoder/layers",
        "axis 0",
        "only axis 1",
        options=ConversionOptions(stacking=LayerStacking.UNSTACKED, layer_axis=0),
        in_source=False,
    ),
    Bad(
        "a scalar in every layer, to be stacked on axis 1",
        state(linen(model({("norm", "scale"): "float32[4]", ("gate",): "float32[]"}))),
        Code.LAYERS_NOT_STACKABLE,
        "params/params/decoder/layers_0/gate",
        "at least 1 axes",
        "float32[]",
        hint="--layer-axis",
        options=STACK,
        in_source=False,
    ),
]


def all_of(folder: Path) -> dict[str, str]:
    """Every file and folder below, temporary ones too."""
    return files_of(folder)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_input_is_refused_with_code_path_both_sides_and_hint_and_nothing_changes(
    bad: Bad, tmp_path: Path
) -> None:
    source = bad.make(tmp_path)
    before = all_of(tmp_path)
    with pytest.raises(ProblemsError) as caught:
        convert(source, tmp_path / bad.target, options=bad.options, step=bad.step, item=bad.item)
    assert any(map(bad.matches, caught.value.problems)), str(caught.value)
    assert all_of(tmp_path) == before


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.in_source], ids=lambda bad: bad.name)
def test_validate_reports_what_convert_refuses(bad: Bad, tmp_path: Path) -> None:
    problems = validate(bad.make(tmp_path))
    # Without a conversion there is no hint of how to convert.
    assert [str(p.path) for p in problems if p.code is bad.code and bad.found in p.found] == [bad.path]


@pytest.mark.parametrize(
    "bad", [bad for bad in BAD if not bad.code.value.startswith("target")], ids=lambda bad: bad.name
)
def test_plan_refuses_what_convert_refuses(bad: Bad, tmp_path: Path) -> None:
    source = bad.make(tmp_path)
    with pytest.raises(ProblemsError) as caught:
        plan(source, options=bad.options, step=bad.step, item=bad.item)
    assert any(map(bad.matches, caught.value.problems)), str(caught.value)


def removed_and_moment_of_another_shape(array: str) -> Make:
    def make(folder: Path) -> Path:
        run = save(changed(linen(), mu__params__decoder__layers_2__mlp="float32[8,5]"), folder)
        shutil.rmtree(item_of(run) / array)
        return run

    return make


TWICE: list[tuple[str, Make, ConversionOptions, set[Code]]] = [
    (
        "two missing layers",
        state(without(linen(model(layers=5)), "layers_1", "layers_3")),
        ConversionOptions(),
        {Code.LAYER_GAP},
    ),
    (
        "a missing layer and an unknown key",
        state(with_entries(without(linen(), "layers_1"), shadow="float32[2]")),
        ConversionOptions(),
        {Code.LAYER_GAP, Code.UNKNOWN_ENTRY},
    ),
    (
        "a layer of another shape and a leaf missing in another",
        state(without(changed(linen(), layers_1__mlp="float32[8,5]"), "layers_2/norm")),
        STACK,
        {Code.SHAPE_MISMATCH, Code.LAYER_LEAF_MISSING},
    ),
    (
        "two moments of other shapes",
        state(changed(linen(), mu__params__decoder__layers_1="float32[5]")),
        ConversionOptions(),
        {Code.MOMENT_MISMATCH},
    ),
    *(
        (
            f"{array} not stored and a moment of another shape",
            removed_and_moment_of_another_shape(array),
            ConversionOptions(),
            {Code.NOT_STORED, Code.MOMENT_MISMATCH},
        )
        for array in ("opt_state.2.count", EMBEDDING)
    ),
    (
        "target exists and the direction is wrong",
        with_target,
        ConversionOptions(direction=Direction.NNX_TO_LINEN),
        {Code.TARGET_EXISTS, Code.DIRECTION_CONTRADICTION},
    ),
]


@pytest.mark.parametrize(("make", "options", "codes"), [t[1:] for t in TWICE], ids=[t[0] for t in TWICE])
def test_all_problems_are_reported_at_once(
    make: Make, options: ConversionOptions, codes: set[Code], tmp_path: Path
) -> None:
    with pytest.raises(ProblemsError) as caught:
        convert(make(tmp_path), tmp_path / "target", options=options)
    problems = caught.value.problems
    assert {problem.code for problem in problems} == codes
    assert len({(problem.code, problem.path) for problem in problems}) == 2


def test_each_fault_is_reported_once(tmp_path: Path) -> None:
    run = save(changed(linen(), mu__params__decoder__layers_1__mlp="bfloat16[8,6]"), tmp_path)
    assert len(validate(run)) == 1


@pytest.mark.parametrize("specs", [linen(), native(), linen(STACKED)], ids=["linen", "nnx", "stacked"])
@pytest.mark.parametrize("storage", [Storage(), Storage(ocdbt=False, zarr_format=2)], ids=str)
def test_the_source_is_byte_for_byte_unchanged_by_a_conversion(
    specs: Specs, storage: Storage, tmp_path: Path
) -> None:
    run = save(specs, tmp_path, storage)
    before = all_of(run)
    convert(run, tmp_path / "target")
    assert all_of(run) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "target"]


def test_overwrite_replaces_the_target_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    run = with_target(tmp_path)
    (tmp_path / "target" / "old").write_text("to be replaced")
    convert(run, tmp_path / "target", overwrite=True)
    assert not (tmp_path / "target" / "old").exists()
    assert validate(tmp_path / "target") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "target"]


def test_a_failed_conversion_does_not_remove_the_target_that_it_was_to_replace(tmp_path: Path) -> None:
    run = save(without(linen(), "layers_1"), tmp_path)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").write_text("still wanted")
    with pytest.raises(ProblemsError):
        convert(run, tmp_path / "target", overwrite=True)
    assert (tmp_path / "target" / "old").read_text() == "still wanted"


def test_a_square_stack_is_converted_when_the_axis_is_named(tmp_path: Path) -> None:
    run = save(linen(SQUARE), tmp_path)
    for axis in (0, 1):
        options = ConversionOptions(stacking=LayerStacking.UNSTACKED, layer_axis=axis)
        convert(run, tmp_path / f"axis{axis}", options=options)
        assert validate(tmp_path / f"axis{axis}") == []


def test_an_unfinished_save_beside_a_committed_step_is_passed_over(tmp_path: Path) -> None:
    run = save(linen(), tmp_path)
    shutil.copytree(run / "2", run / "3.orbax-checkpoint-tmp-0")
    assert inspect(run).step_folder == 2


def test_paths_that_climb_by_two_dots_are_read_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save(linen(), tmp_path, Storage())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    convert(f"../{source.name}", "../there", to=Layout.NNX)
    assert validate("../there") == []


def test_an_axis_that_nothing_proves_is_not_taken_as_known_after_a_conversion(tmp_path: Path) -> None:
    square: Specs = {("decoder", "layers", "norm", "scale"): "float32[3,3]"}
    source = save(linen(square), tmp_path, Storage())
    convert(source, tmp_path / "nnx", to=Layout.NNX)
    with pytest.raises(ConversionError) as error:
        convert(tmp_path / "nnx", tmp_path / "apart", options=UNSTACK)
    assert {problem.code for problem in error.value.problems} == {Code.AXIS_AMBIGUOUS}
    stated = ConversionOptions(layer_axis=0)
    convert(source, tmp_path / "stated", to=Layout.NNX, options=stated)
    convert(tmp_path / "stated", tmp_path / "apart", options=UNSTACK)
