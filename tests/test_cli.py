"""The command line: what each command prints where, writes and ends with."""

import gc
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from typer.main import get_command

from linen_nnx import (
    Aux,
    Code,
    ConversionOptions,
    Difference,
    DilocoTrainState,
    Direction,
    Inference,
    Inspection,
    InvariantError,
    Inventory,
    LayerNames,
    LayerStacking,
    Layout,
    LinenTrainState,
    MaxtextTrainState,
    NnxTrainState,
    ParamsState,
    Parts,
    Problem,
    Receipt,
    Rules,
    Seal,
    Spec,
    TrainState,
    TunixTrainState,
    __version__,
    seal,
)
from linen_nnx.cli import main as command_line
from linen_nnx.cli.main import app
from linen_nnx.cli.options import nbytes
from linen_nnx.cli.schema import Document
from linen_nnx.convert import converting
from linen_nnx.convert.converting import convert
from linen_nnx.convert.store.location import Location
from linen_nnx.convert.store.orbax_source import open_item
from linen_nnx.schema.receipt import RECEIPT_FILE
from linen_nnx.schema.report import Problems
from linen_nnx.schema.residue import RESIDUE_FILE
from linen_nnx.schema.routing import RoutedPlan, Transfer
from tests.engine.states import level_of
from tests.support.checkpoints import files_of, random_tree, save_item, save_run
from tests.support.command import run as run_here
from tests.support.entries import Entries, differences, read, text_of
from tests.support.small import STACKED, Specs, edit_metadata, item_of, linen, native, save

COMMANDS = (
    "inspect",
    "validate",
    "plan",
    "convert",
    "diff",
    "verify",
    "seal",
    "report",
    "spec",
    "map",
    "schema",
    "demo",
)
README = Path(__file__).parent.parent / "README.md"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command line as the installed program does, in this process."""
    thresholds = gc.get_threshold()

    def command(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["linen-nnx", *map(str, arguments)])
        capfd.readouterr()
        try:
            command_line.main()
        except SystemExit as end:
            code = end.code
        else:
            code = 0
        captured = capfd.readouterr()
        assert code is None or isinstance(code, int)
        done = Done(code or 0, captured.out, captured.err)
        assert done.code == 4 or "Traceback" not in done.out + done.err
        return done

    yield command
    gc.set_threshold(*thresholds)


def process(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "linen_nnx.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@dataclass(frozen=True)
class Made:
    """Checkpoints that no test writes to."""

    stacked: Path
    """A Linen run, its layers stacked."""
    apart: Path
    """A Linen run, its layers one by one."""
    nnx: Path
    """A native NNX run with a PRNG stream, its layers one by one."""
    bad: Path
    """A Linen run with two faults."""
    steps: Path
    """A Linen run with the steps 1, 3 and 20."""
    items: Path
    """A run whose step holds a Linen state and an NNX state."""

    def __getitem__(self, name: str) -> Path:
        path: Path = getattr(self, name)
        return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("sources")
    bad = linen()
    bad["params", "params", "decoder", "layers_1", "norm", "scale"] = "float32[5]"
    bad["opt_state", 0, "mu", "params", "token_embedder", "embedding"] = "float32[7,3]"
    small = {"items": random_tree(linen(STACKED), "steps")}
    for step in (1, 3, 20):
        save_run(small, folder / "steps" / "run", step=step)
    several = {"actor": random_tree(linen(STACKED), "actor"), "critic": random_tree(native(), "critic")}
    made = Made(
        stacked=save(linen(STACKED), _folder(folder / "stacked")),
        apart=save(linen(), _folder(folder / "apart")),
        nnx=save(native(), _folder(folder / "nnx")),
        bad=save(bad, _folder(folder / "bad")),
        steps=folder / "steps" / "run",
        items=save_run(several, folder / "items" / "run"),
    )
    # So that a bare `verify` has something to hold them against.
    seal(made.nnx)
    seal(made.steps)
    seal(made.items, item="critic")
    return made


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def texts(entries: Entries) -> set[str]:
    return {text_of(path) for path in entries}


# inspect


@pytest.mark.parametrize(("source", "layout"), [("stacked", "linen"), ("apart", "linen"), ("nnx", "nnx")])
def test_inspect_tells_the_layout_with_its_evidence_and_the_step(
    source: str, layout: str, made: Made, run: Run
) -> None:
    done = run("inspect", made[source])
    assert done.code == 0
    assert re.search(rf"^layout +{layout}$", done.out, re.MULTILINE)
    assert re.search(r"^ +\+ \w", done.out, re.MULTILINE)
    assert re.search(r"^ +- not ", done.out, re.MULTILINE)
    assert re.search(r"^step +3$", done.out, re.MULTILINE)
    assert re.search(r"^storage +a folder an array, zarr v2$", done.out, re.MULTILINE)


def test_inspect_tells_count_and_axis_of_stacked_layers(made: Made, run: Run) -> None:
    assert "decoder/layers: 3 layers stacked on axis 1" in run("inspect", made.stacked).out
    assert "decoder/layers: 3 layers, one by one (underscore names)" in run("inspect", made.apart).out


@pytest.mark.parametrize("source", ["stacked", "nnx"])
def test_inspect_flat_has_one_line_for_every_entry(source: str, made: Made, run: Run) -> None:
    without, flat = (run("inspect", made[source], *more).out.splitlines() for more in ([], ["--flat"]))
    shared = without[: without.index("")]
    lines = flat[len(shared) :]
    assert flat[: len(shared)] == shared
    found = read(item_of(made[source]))
    assert sorted(lines) == sorted(f"{text_of(path)}: {leaf.spec}" for path, leaf in found.items())


def test_inspect_depth_bounds_the_tree(made: Made, run: Run) -> None:
    trees = []
    for depth in (1, 2, 9):
        lines = run("inspect", made.stacked, "--depth", str(depth)).out.splitlines()
        trees.append(lines[lines.index("") + 1 :])
    assert sorted(line.split()[0] for line in trees[0]) == ["opt_state", "params", "step"]
    assert max(_indents(trees[1])) == 1
    deepest = max(len(path) for path in read(item_of(made.stacked)))
    assert max(_indents(trees[2])) == deepest - 1


def _indents(lines: list[str]) -> list[int]:
    return [(len(line) - len(line.lstrip())) // 2 for line in lines]


def test_inspect_shows_the_problems_of_what_it_cannot_name_and_still_its_entries(
    run: Run, tmp_path: Path
) -> None:
    save_item({"weights": {"a": np.zeros(3, "float32")}}, tmp_path / "item")
    done = run("inspect", tmp_path / "item", "--flat")
    assert (done.code, "weights/a: float32[3]" in done.out) == (0, True)
    assert Code.UNKNOWN_LAYOUT in done.err


# Documents


@dataclass(frozen=True)
class Json:
    """A command with `--json`, the document that it prints, and how it ends."""

    command: str
    source: str
    document: Document
    model: type[BaseModel]
    code: int = 0


JSON = [
    *(Json("inspect", s, Document.INSPECTION, Inspection) for s in ("stacked", "apart", "nnx", "bad")),
    *(Json("validate", s, Document.PROBLEMS, Problems) for s in ("stacked", "nnx")),
    Json("validate", "bad", Document.PROBLEMS, Problems, 1),
    *(Json("plan", s, Document.PLAN, RoutedPlan) for s in ("stacked", "apart", "nnx")),
    Json("plan", "bad", Document.PROBLEMS, Problems, 1),
    *(Json("convert", s, Document.RECEIPT, Receipt) for s in ("stacked", "nnx")),
    Json("convert --dry-run", "nnx", Document.PLAN, RoutedPlan),
    Json("convert", "bad", Document.PROBLEMS, Problems, 1),
    Json("verify", "nnx", Document.PROBLEMS, Problems),
    Json("seal --overwrite", "apart", Document.SEAL, Seal),
    Json("seal", "nnx", Document.PROBLEMS, Problems, 1),
    Json("verify", "bad", Document.PROBLEMS, Problems, 1),
]


@pytest.mark.parametrize("case", JSON, ids=lambda case: f"{case.command}-{case.source}")
def test_json_is_one_document_that_schema_describes(case: Json, made: Made, run: Run, tmp_path: Path) -> None:
    command, *more = case.command.split()
    target = [tmp_path / "target"] if command == "convert" else []
    done = run(command, made[case.source], *target, *more, "--json")
    assert done.code == case.code
    document = json.loads(done.out)
    assert json.loads(case.model.model_validate_json(done.out).model_dump_json()) == document
    described = json.loads(run("schema", case.document).out)
    assert described == case.model.model_json_schema()
    assert set(document) <= set(described["properties"])
    assert set(described.get("required", [])) <= set(document)


MODELS: dict[Document, type[BaseModel]] = {
    Document.LINEN: LinenTrainState,
    Document.NNX: NnxTrainState,
    Document.MAXTEXT: MaxtextTrainState,
    Document.PARAMS: ParamsState,
    Document.TUNIX: TunixTrainState,
    Document.DILOCO: DilocoTrainState,
    Document.INSPECTION: Inspection,
    Document.RULES: Rules,
    Document.INFERENCE: Inference,
    Document.INVENTORY: Inventory,
    Document.PLAN: RoutedPlan,
    Document.RECEIPT: Receipt,
    Document.SEAL: Seal,
    Document.SPEC: Spec,
    Document.PROBLEMS: Problems,
    Document.DIFFERENCE: Difference,
    Document.STATE: TrainState,
}


@pytest.mark.parametrize("document", Document)
def test_schema_prints_the_json_schema_of_every_document(document: Document, run: Run) -> None:
    done = run("schema", document)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == MODELS[document].model_json_schema()


def test_schema_alone_lists_every_document_and_every_layout(run: Run) -> None:
    done = run("schema")
    assert (done.code, done.err) == (0, "")
    assert done.out.split() == [document.value for document in Document]
    assert {layout.value for layout in Layout} <= set(done.out.split())


def test_a_storage_fault_is_no_empty_list_of_problems(made: Made, run: Run, tmp_path: Path) -> None:
    done = run("convert", made.nnx, tmp_path / ("x" * 300), "--json")
    assert done.code == 3
    assert done.out == "" or Problems.model_validate_json(done.out).problems


def test_a_program_may_take_the_document_from_a_stream_of_its_own(made: Made) -> None:
    with redirect_stdout(io.StringIO()) as stream:
        assert run_here("inspect", made.nnx, "--json") == 0
    assert Inspection.model_validate_json(stream.getvalue()).path == str(made.nnx)


# What is printed where


@pytest.mark.parametrize("command", ["inspect", "validate", "plan", "convert", "verify"])
def test_a_result_stands_on_stdout_and_notes_and_hints_on_stderr(
    command: str, made: Made, run: Run, tmp_path: Path
) -> None:
    target = [tmp_path / "target"] if command == "convert" else []
    done = run(command, item_of(made.nnx), *target)
    assert done.code == 0
    assert done.out
    assert not re.search(r"^(note|hint)", done.out, re.MULTILINE)
    assert all(re.match(r"(note|hint): ", line) for line in done.err.splitlines())


@pytest.mark.parametrize("command", ["plan", "convert"])
def test_remarks_are_named_on_stderr(command: str, made: Made, run: Run, tmp_path: Path) -> None:
    target = [tmp_path / "target"] if command == "convert" else []
    assert "[no-rngs]" in run(command, made.stacked, *target).err
    assert "[kept-aside]" in run(command, made.nnx, *(path.with_name("other") for path in target)).err


def test_convert_hints_at_verify_with_both_paths(made: Made, run: Run, tmp_path: Path) -> None:
    done = run("convert", made.nnx, tmp_path / "target")
    assert f"hint: linen-nnx verify {tmp_path / 'target'} --against {made.nnx}" in done.err


def test_the_hint_of_convert_can_be_run_and_verifies(made: Made, run: Run, tmp_path: Path) -> None:
    done = run("convert", made.nnx, tmp_path / "target")
    (hint,) = re.findall(r"^hint: linen-nnx (.+)$", done.err, re.MULTILINE)
    assert run(*hint.split()).code == 0


@pytest.mark.parametrize("command", ["inspect", "validate", "plan", "convert", "verify"])
def test_the_step_that_was_taken_of_a_run_is_told(command: str, made: Made, run: Run, tmp_path: Path) -> None:
    target = [tmp_path / "target"] if command == "convert" else []
    done = run(command, made.steps, *target)
    assert done.code == 0
    assert re.search(r"\bstep (folder )?20\b", done.err)


# Steps and items


def test_the_latest_step_of_a_run_is_taken_unless_one_is_named(made: Made, run: Run) -> None:
    for more, folder in [([], 20), (["--step", "3"], 3), (["--step", "1"], 1)]:
        found = Inspection.model_validate_json(run("inspect", made.steps, *more, "--json").out)
        assert found.step_folder == folder
        assert Path(found.item) == made.steps / str(folder) / "items"


@pytest.mark.parametrize("command", ["inspect", "validate", "plan", "convert", "verify"])
def test_a_step_that_is_not_there_is_refused_with_those_that_are(
    command: str, made: Made, run: Run, tmp_path: Path
) -> None:
    target = [tmp_path / "target"] if command == "convert" else []
    done = run(command, made.steps, *target, "--step", "2")
    assert done.code == 1
    assert "steps 1, 3, 20" in done.out + done.err
    assert f"[{Code.STEP_NOT_FOUND}]" in done.out + done.err


def test_convert_writes_the_step_that_was_named_and_no_other(made: Made, run: Run, tmp_path: Path) -> None:
    assert run("convert", made.steps, tmp_path / "target", "--step", "3").code == 0
    assert [path.name for path in (tmp_path / "target").iterdir() if path.is_dir()] == ["3"]


@pytest.mark.parametrize("command", ["inspect", "validate", "plan", "convert", "verify"])
def test_one_of_several_items_must_be_named(command: str, made: Made, run: Run, tmp_path: Path) -> None:
    target = [tmp_path / "target"] if command == "convert" else []
    done = run(command, made.items, *target)
    assert done.code == 1
    assert "actor, critic" in done.out + done.err
    assert "--item" in done.out + done.err
    assert run(command, made.items, *target, "--item", "critic").code == 0
    wrong = run(command, made.items, *target, "--item", "teacher")
    assert (wrong.code, "actor, critic" in wrong.out + wrong.err) == (1, True)


def test_the_item_that_was_named_is_read(made: Made, run: Run) -> None:
    for item, layout in [("actor", Layout.LINEN), ("critic", Layout.NNX)]:
        done = run("inspect", made.items, "--item", item, "--json")
        detection = Inspection.model_validate_json(done.out).detection
        assert detection is not None
        assert detection.layout is layout


# validate and verify


@pytest.mark.parametrize("source", ["stacked", "apart", "nnx"])
def test_a_whole_checkpoint_is_valid(source: str, made: Made, run: Run) -> None:
    assert run("validate", item_of(made[source])) == Done(0, "valid\n", "")


def test_validate_prints_every_problem_at_once(made: Made, run: Run) -> None:
    done = run("validate", made.bad)
    assert done.code == 1
    assert "layers_1/norm/scale" in done.out
    assert "mu/params/token_embedder/embedding" in done.out
    assert f"[{Code.SHAPE_MISMATCH}]" in done.out
    assert f"[{Code.MOMENT_MISMATCH}]" in done.out
    assert re.search(r"^\d+ problems$", done.out, re.MULTILINE)


def test_validate_layout_holds_a_checkpoint_to_the_layout_that_is_named(made: Made, run: Run) -> None:
    assert run("validate", made.nnx, "--layout", "nnx").code == 0
    done = run("validate", made.nnx, "--layout", "linen")
    assert (done.code, f"[{Code.MISSING_ENTRY}]" in done.out) == (1, True)


def test_validate_against_names_what_is_missing_unexpected_or_of_another_shape(made: Made, run: Run) -> None:
    assert run("validate", made.stacked, "--against", made.steps).code == 0
    done = run("validate", made.stacked, "--against", made.apart)
    assert done.code == 1
    assert re.search(rf"layers_0/mlp/wo/kernel: .*\[{Code.MISSING_ENTRY}\]", done.out)
    assert re.search(rf"layers/mlp/wo/kernel: .*\[{Code.UNEXPECTED_ENTRY}\]", done.out)
    done = run("validate", made.bad, "--against", made.apart)
    assert re.search(rf"layers_1/norm/scale: .*\[{Code.SHAPE_MISMATCH}\]", done.out)


def test_validate_against_another_layout_says_so_first(made: Made, run: Run) -> None:
    done = run("validate", made.nnx, "--against", made.stacked)
    assert done.code == 1
    first, hint = done.out.splitlines()[:2]
    assert first == (
        "expected a state in the layout linen, as that which it is held against, "
        "found one in the layout nnx  [wrong-kind]"
    )
    assert "`diff`" in hint


@pytest.mark.parametrize("more", [[], ["--against"], ["--restore"], ["--against", "--restore"]])
def test_a_conversion_is_verified(more: list[str], made: Made, run: Run, tmp_path: Path) -> None:
    convert(made.nnx, tmp_path / "target", options=ConversionOptions(stacking=LayerStacking.STACKED))
    arguments = [part for flag in more for part in ([flag, made.nnx] if flag == "--against" else [flag])]
    done = run("verify", item_of(tmp_path / "target"), *arguments)
    assert done.code == 0
    assert all(line.startswith("step ") for line in done.err.splitlines())
    assert done.out.startswith("verified: ")
    assert ("bit for bit" in done.out) is ("--against" in more)
    assert ("orbax restores it" in done.out) is ("--restore" in more)


@pytest.mark.parametrize("place", ["params", "mu"])
def test_one_element_that_differs_is_found_and_its_place_is_named(
    place: str, run: Run, tmp_path: Path
) -> None:
    tree = random_tree(linen(STACKED), "state")
    holder = tree["params"] if place == "params" else tree["opt_state"][0]["mu"]
    holder["params"]["decoder"]["layers"]["mlp"]["wo"]["kernel"] = np.ones((8, 3, 6), "float32")
    save_item(tree, tmp_path / "source")
    flipped = holder["params"]["decoder"]["layers"]["mlp"]["wo"]["kernel"].copy()
    flipped[5, 2, 4] = 1.5
    holder["params"]["decoder"]["layers"]["mlp"]["wo"]["kernel"] = flipped
    save_item(tree, tmp_path / "other")
    options = ConversionOptions(stacking=LayerStacking.UNSTACKED)
    convert(tmp_path / "other", tmp_path / "target", options=options)
    assert run("verify", tmp_path / "target", "--against", tmp_path / "other").code == 0
    done = run("verify", tmp_path / "target", "--against", tmp_path / "source")
    assert done.code == 1
    (line,) = [line for line in done.out.splitlines() if f"[{Code.VALUE_DIFFERS}]" in line]
    assert ("mu" in line.split(":")[0].split("/")) is (place == "mu")
    assert re.search(r"layers_2/mlp/wo/kernel: .*\[5, 4\] 1\.0, .*1 of 48 elements .*1\.5", line)
    assert "not verified: 1 problem" in done.out


def test_a_missing_and_an_unexpected_array_are_found(made: Made, run: Run, tmp_path: Path) -> None:
    convert(made.stacked, tmp_path / "target")
    fewer = random_tree(linen(STACKED), made.stacked.parent.name)
    del fewer["opt_state"][0]["mu"]["params"]["token_embedder"]
    del fewer["opt_state"][0]["nu"]["params"]["token_embedder"]
    fewer["params"]["params"]["head"] = {"kernel": np.zeros((2, 3), "float32")}
    save_item(fewer, tmp_path / "other")
    done = run("verify", tmp_path / "target", "--against", tmp_path / "other")
    assert done.code == 1
    assert re.search(rf"^model/head/kernel: .*\[{Code.MISSING_ENTRY}\]", done.out, re.MULTILINE)
    for field in ("mu", "nu"):
        name = re.escape(f"[0]/{field}/token_embedder/embedding")
        assert re.search(rf"{name}: .*\[{Code.UNEXPECTED_ENTRY}\]", done.out)
    assert "not verified: 3 problems" in done.out


# convert


def test_convert_tells_what_it_wrote_and_leaves_a_receipt(made: Made, run: Run, tmp_path: Path) -> None:
    before = files_of(made.nnx)
    done = run("convert", made.nnx, tmp_path / "target")
    assert done.code == 0
    found = read(item_of(tmp_path / "target"))
    assert f"nnx -> linen: {tmp_path / 'target'}" in done.out
    assert f"{len(found)} entries, 2 kept aside, 0 dropped" in done.out
    receipt = item_of(tmp_path / "target") / "linen_nnx" / RECEIPT_FILE
    assert Receipt.model_validate_json(receipt.read_text()).written == len(found)
    assert files_of(made.nnx) == before


def test_a_dry_run_prints_the_plan_and_writes_nothing(made: Made, run: Run, tmp_path: Path) -> None:
    done = run("convert", made.nnx, tmp_path / "deep" / "target", "--dry-run", "--scan-layers")
    assert done.code == 0
    assert done.out == run("plan", made.nnx, "--scan-layers").out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_checks_the_target_too(made: Made, run: Run, tmp_path: Path) -> None:
    done = run("convert", made.nnx, tmp_path, "--dry-run")
    assert (done.code, f"[{Code.TARGET_EXISTS}]" in done.err) == (1, True)
    done = run("convert", made.nnx, made.nnx / "inside", "--dry-run")
    assert (done.code, f"[{Code.TARGET_INSIDE_SOURCE}]" in done.err) == (1, True)


def test_an_existing_target_is_kept_unless_overwrite_says_otherwise(
    made: Made, run: Run, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").write_text("precious")
    before = files_of(tmp_path)
    assert run("convert", made.nnx, target).code == 1
    assert run("convert", made.nnx, target, "--overwrite", "--dry-run").code == 0
    assert files_of(tmp_path) == before
    assert run("convert", made.nnx, target, "--overwrite").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert not (target / "mine").exists()
    assert run("verify", target, "--against", made.nnx).code == 0


def test_the_plan_has_a_line_for_every_write_and_every_drop(made: Made, run: Run) -> None:
    made_plan = RoutedPlan.model_validate_json(run("plan", made.nnx, "--no-keep-aux", "--json").out)
    lines = run("plan", made.nnx, "--no-keep-aux").out.splitlines()
    for write in made_plan.writes:
        assert any(f" {write.target}: {write.value}" in line for line in lines)
    drops = [line for line in lines if line.startswith("drop ")]
    assert len(drops) == len(made_plan.drops) == 2
    assert all("[no-keep-aux]" in line for line in drops)


# The options of conversions

Check = Callable[[Entries, Entries, Path], None]
"""Holds the target's entries against the source's; the path is the target's item."""


def _layout(top: set[str]) -> Check:
    def check(found: Entries, source: Entries, item: Path) -> None:
        del source, item
        assert {path[0] for path in found} == top

    return check


def _names(present: list[str], absent: list[str]) -> Check:
    def check(found: Entries, source: Entries, item: Path) -> None:
        del source, item
        assert set(present) <= texts(found)
        assert not set(absent) & texts(found)

    return check


def _axis(axis: int) -> Check:
    def check(found: Entries, source: Entries, item: Path) -> None:
        del item
        path = ("decoder", "layers", "mlp", "wo", "kernel", "value")
        before, after = source["params", "params", *path[:-1]].data, found["model", *path].data
        assert before is not None
        assert after is not None
        assert np.moveaxis(before, 1, axis).tobytes() == after.tobytes()

    return check


def _wrapped(model: bool, optimizer: bool) -> Check:
    def check(found: Entries, source: Entries, item: Path) -> None:
        del source, item
        for path in found:
            assert (path[-1] == "value") is (model if path[0] == "model" else optimizer), path

    return check


def _params_only(found: Entries, source: Entries, item: Path) -> None:
    del item
    assert {path[1:-1] for path in found} == {path[2:] for path in source if path[0] == "params"}


def _kept(found: Entries, source: Entries, item: Path) -> None:
    del found, source
    assert (item / "linen_nnx" / RESIDUE_FILE).is_file()


def _dropped(found: Entries, source: Entries, item: Path) -> None:
    del found, source
    own = item / "linen_nnx"
    assert [path.name for path in own.iterdir()] == [RECEIPT_FILE]
    receipt = Receipt.model_validate_json((own / RECEIPT_FILE).read_text())
    assert {str(drop.source.path.names[-1]) for drop in receipt.drops} == {"count", "key"}


def _chunks(layers: int) -> Check:
    """So many layers in a stored chunk of a stack."""

    def check(found: Entries, source: Entries, item: Path) -> None:
        del found, source
        arrays = open_item(Location(item=item)).arrays.values()
        stacks = [stored.zarr.chunk_shape[1] for stored in arrays if stored.name.endswith("wo.kernel.value")]
        assert set(stacks) == {layers}

    return check


def _level(level: int | None) -> Check:
    """Of zstd, by which the layers are compressed."""

    def check(found: Entries, source: Entries, item: Path) -> None:
        del found, source
        zarrs = [s.zarr for s in open_item(Location(item=item)).arrays.values() if "wo.kernel" in s.name]
        assert {level_of(zarr) for zarr in zarrs} == {level}

    return check


KERNEL = "decoder/layers/mlp/wo/kernel"
NESTED = [f"decoder/layers/{n}/mlp/wo/kernel" for n in range(3)]
UNDERSCORE = [f"decoder/layers_{n}/mlp/wo/kernel" for n in range(3)]


def _model(paths: list[str]) -> list[str]:
    return [f"model/{path}/value" for path in paths]


def _params(paths: list[str]) -> list[str]:
    return [f"params/params/{path}" for path in paths]


OPTIONS: list[tuple[str, str, Check]] = [
    ("stacked", "--to nnx", _layout({"model", "optimizer"})),
    ("nnx", "--to linen", _layout({"params", "opt_state", "step"})),
    ("nnx", "--to maxtext", _layout({"params", "opt_state", "step", "nnx_aux"})),
    ("nnx", "--to params --leaves bare", _layout({"decoder", "token_embedder"})),
    ("stacked", "--direction auto", _layout({"model", "optimizer"})),
    ("stacked", "--direction linen-to-nnx", _layout({"model", "optimizer"})),
    ("nnx", "--direction nnx-to-linen", _layout({"params", "opt_state", "step"})),
    ("apart", "--scan-layers", _names(_model([KERNEL]), _model([*NESTED, *UNDERSCORE]))),
    ("stacked", "--no-scan-layers", _names(_model(NESTED), _model([KERNEL]))),
    ("nnx", "--to linen", _names(_params(UNDERSCORE), _params([KERNEL]))),
    ("stacked", "--layer-axis 0", _axis(0)),
    ("stacked", "--layer-axis 1", _axis(1)),
    ("stacked", "", _axis(1)),
    ("stacked", "--leaves wrapped", _wrapped(True, True)),
    ("stacked", "--leaves bare", _wrapped(False, False)),
    ("stacked", "--leaves model-wrapped", _wrapped(True, False)),
    ("stacked", "", _wrapped(True, True)),
    ("apart", "--layer-names underscore", _names(_model(UNDERSCORE), _model(NESTED))),
    ("apart", "--layer-names nested", _names(_model(NESTED), _model(UNDERSCORE))),
    ("stacked", "--params-only", _params_only),
    ("nnx", "--to linen", _kept),
    ("nnx", "--no-keep-aux", _dropped),
    ("apart", "--scan-layers", _chunks(1)),
    ("apart", "--scan-layers --chunks source", _chunks(1)),
    ("apart", "--scan-layers --chunks whole", _chunks(3)),
    ("stacked", "--no-scan-layers --codec source", _level(1)),
    ("stacked", "--no-scan-layers --codec fast", _level(-1)),
    ("stacked", "--no-scan-layers --codec none", _level(None)),
    ("apart", "--codec none", _level(1)),
]


@pytest.mark.parametrize(
    ("source", "options", "check"),
    OPTIONS,
    ids=[f"{s} {o}".strip() + f" {i}" for i, (s, o, _) in enumerate(OPTIONS)],
)
def test_every_option_of_convert_has_its_effect(
    source: str, options: str, check: Check, made: Made, run: Run, tmp_path: Path
) -> None:
    done = run("convert", made[source], tmp_path / "target", *options.split())
    assert done.code == 0, done.err
    item = item_of(tmp_path / "target")
    check(read(item), read(item_of(made[source])), item)
    assert run("verify", tmp_path / "target", "--against", made[source]).code == 0


def test_a_tunix_state_is_written_in_its_two_items(made: Made, run: Run, tmp_path: Path) -> None:
    assert run("convert", made.nnx, tmp_path / "target", "--to", "tunix").code == 0
    step = tmp_path / "target" / "2"
    assert {path.parent.name for path in step.glob("*/_METADATA")} == {"model_params", "optimizer_state"}
    assert run("verify", tmp_path / "target", "--against", made.nnx).code == 0


def test_a_template_gives_its_rngs_and_its_leaf_form(made: Made, run: Run, tmp_path: Path) -> None:
    done = run("convert", made.apart, tmp_path / "target", "--template", made.nnx)
    assert (done.code, "[no-rngs]" in done.err) == (0, False)
    found, like = read(item_of(tmp_path / "target")), read(item_of(made.nnx))
    assert set(found) == set(like)
    streams = {path: leaf for path, leaf in like.items() if "rngs" in path}
    assert differences({path: found[path] for path in streams}, streams) == []


def test_a_template_of_another_layout_is_refused(made: Made, run: Run, tmp_path: Path) -> None:
    done = run("convert", made.apart, tmp_path / "target", "--template", made.stacked)
    assert (done.code, f"[{Code.WRONG_KIND}]" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("stacked", "--direction nnx-to-linen"),
        ("nnx", "--direction linen-to-nnx"),
        ("stacked", "--direction linen-to-nnx --to linen"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "convert"])
def test_a_direction_that_contradicts_is_refused(
    source: str, options: str, command: str, made: Made, run: Run, tmp_path: Path
) -> None:
    target = [tmp_path / "target"] if command == "convert" else []
    done = run(command, made[source], *target, *options.split())
    assert (done.code, f"[{Code.DIRECTION_CONTRADICTION}]" in done.err) == (1, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("transfer", Transfer)
def test_transfer_copies_or_links_the_data_files(transfer: Transfer, run: Run, tmp_path: Path) -> None:
    # So large that orbax does not keep the values in its manifest.
    params: Specs = {("decoder", "layers", "mlp", "wo", "kernel"): "float32[64,3,32]"}
    item = save_item(random_tree(linen(params), "state"), tmp_path / "source")
    done = run("convert", item, tmp_path / "target", "--transfer", transfer)
    assert done.code == 0
    inodes = {path.stat().st_ino for path in item.rglob("*") if path.is_file()}
    shared = [p for p in (tmp_path / "target").rglob("*") if p.is_file() and p.stat().st_ino in inodes]
    assert bool(shared) is (transfer is Transfer.LINK)
    assert run("verify", tmp_path / "target", "--against", item, "--restore").code == 0


@pytest.mark.parametrize("effort", ["--workers 1", "--workers 3", "--memory 1MiB", "--memory 1B --workers 2"])
def test_the_result_does_not_depend_on_workers_and_memory(
    effort: str, made: Made, run: Run, tmp_path: Path
) -> None:
    for target, more in [("plainly", []), ("target", effort.split())]:
        assert run("convert", made.apart, tmp_path / target, "--scan-layers", *more).code == 0
    found = read(item_of(tmp_path / "target"))
    assert differences(found, read(item_of(tmp_path / "plainly"))) == []


def test_workers_and_memory_stand_in_the_plan(made: Made, run: Run) -> None:
    done = run("plan", made.apart, "--workers", "3", "--memory", "7MiB", "--transfer", "link", "--json")
    effort = RoutedPlan.model_validate_json(done.out).execution.effort
    assert (effort.workers, effort.memory, effort.transfer) == (3, 7 * 2**20, Transfer.LINK)


def test_every_option_stands_in_the_receipt(made: Made, run: Run, tmp_path: Path) -> None:
    arguments = (
        "--to linen --direction nnx-to-linen --scan-layers --layer-axis 0 --layer-names underscore "
        "--params-only --no-keep-aux --json"
    )
    done = run("convert", made.nnx, tmp_path / "target", *arguments.split())
    assert done.code == 0, done.err
    assert Receipt.model_validate_json(done.out).options == ConversionOptions(
        to=Layout.LINEN,
        direction=Direction.NNX_TO_LINEN,
        stacking=LayerStacking.STACKED,
        layer_axis=0,
        layer_names=LayerNames.UNDERSCORE,
        parts=Parts.PARAMS,
        aux=Aux.DROP,
    )


def test_convert_and_plan_take_the_same_options(run: Run) -> None:
    of_plan, of_convert = (
        set(re.findall(r"^ +(--[a-z-]+)", run(name, "--help").out, re.MULTILINE))
        for name in ("plan", "convert")
    )
    assert of_convert - of_plan == {"--dry-run", "--overwrite", "--no-digest", "--fingerprint"}
    assert of_plan <= of_convert


# Exit codes


@pytest.mark.parametrize(
    "arguments",
    [
        "nonsense",
        "inspect",
        "convert {nnx}",
        "inspect {nnx} --nonsense",
        "inspect {nnx} --depth 0",
        "inspect {nnx} --step two",
        "validate {nnx} --layout torch",
        "plan {nnx} --to torch",
        "plan {nnx} --direction backwards",
        "plan {nnx} --layer-axis -1",
        "plan {nnx} --layer-cycle 0",
        "plan {nnx} --leaves mixed",
        "plan {nnx} --workers 0",
        "plan {nnx} --memory much",
        "plan {nnx} --memory 0",
        "plan {nnx} --memory 1.5GiB",
        "plan {nnx} --memory -1GiB",
        "plan {nnx} --transfer move",
        "plan {nnx} --dtype params",
        "plan {nnx} --dtype params=int8",
        "plan {nnx} --dtype weights=bfloat16",
        "plan {nnx} --dtype params=bfloat16 --dtype params=float16",
        "convert {nnx} target --memory 2XB",
        "schema torch",
    ],
)
def test_wrong_usage_ends_with_2(
    arguments: str, made: Made, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*arguments.format(nnx=made.nnx).split())
    assert (done.code, done.out) == (2, "")
    assert done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("17", 17),
        ("1B", 1),
        ("3k", 3072),
        ("512MiB", 2**29),
        ("2 GB", 2**31),
        ("1t", 2**40),
        (" 4kib ", 4096),
    ],
)
def test_sizes_are_read_in_powers_of_1024(text: str, size: int) -> None:
    assert nbytes(text) == size


def unlist_step(tree: dict[str, Any]) -> None:
    del tree["('step',)"]


def unlisted(folder: Path) -> Path:
    run = save(linen(), folder)
    return edit_metadata(run, unlist_step)


def torn(folder: Path) -> Path:
    run = save(linen(), folder)
    file = item_of(run) / "_METADATA"
    file.write_bytes(file.read_bytes()[:99])
    return run


REFUSED: list[tuple[str, Code, Callable[[Path], Path]]] = [
    ("nothing-there", Code.NOT_A_CHECKPOINT, lambda folder: folder / "none"),
    ("an-empty-folder", Code.NOT_A_CHECKPOINT, lambda folder: folder),
    ("metadata-cut-short", Code.METADATA_UNREADABLE, torn),
    ("an-array-not-listed", Code.NOT_LISTED, unlisted),
]


@pytest.mark.parametrize(("code", "make"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
@pytest.mark.parametrize("command", ["inspect", "validate", "plan", "convert", "verify"])
def test_a_refusal_ends_with_1_and_prints_the_problem(
    command: str, code: Code, make: Callable[[Path], Path], run: Run, tmp_path: Path
) -> None:
    source, target = make(tmp_path), tmp_path.with_name(f"{tmp_path.name}-target")
    done = run(command, source, *([target] if command == "convert" else []))
    # A stray array does not keep `inspect` from telling what stands there.
    described = command == "inspect" and code is Code.NOT_LISTED
    assert done.code == (0 if described else 1)
    assert f"[{code}]" in (done.out if command in {"validate", "verify"} else done.err)
    assert not target.exists()


@pytest.mark.parametrize("command", ["inspect", "validate", "plan", "convert", "verify"])
def test_a_path_that_the_system_cannot_look_up_ends_with_3(command: str, run: Run, tmp_path: Path) -> None:
    done = run(command, tmp_path / ("x" * 300), *([tmp_path / "target"] if command == "convert" else []))
    assert (done.code, done.out) == (3, "")
    assert "name too long" in done.err


def test_a_target_below_a_file_is_refused_and_leaves_the_file(made: Made, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    done = run("convert", made.nnx, tmp_path / "file" / "target")
    assert (done.code, done.out) == (1, "")
    assert f"[{Code.TARGET_NOT_WRITABLE}]" in done.err
    assert str(tmp_path / "file") in done.err
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("command", ["inspect", "validate", "plan", "convert", "verify"])
def test_a_read_that_the_system_refuses_ends_with_3(
    command: str, made: Made, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reads: dict[str, Callable[..., Any]] = {"read_text": Path.read_text, "read_bytes": Path.read_bytes}

    def refusing(name: str) -> Callable[..., Any]:
        def read_file(self: Path, *arguments: Any, **more: Any) -> Any:
            if self.name == "_METADATA":
                raise PermissionError(13, "Permission denied", str(self))
            return reads[name](self, *arguments, **more)

        return read_file

    for name in reads:
        monkeypatch.setattr(Path, name, refusing(name))
    done = run(command, made.nnx, *([tmp_path / "target"] if command == "convert" else []))
    assert (done.code, done.out) == (3, "")
    assert "Permission denied" in done.err
    assert not (tmp_path / "target").exists()


def undecodable(folder: Path) -> Path:
    """One stacked kernel of the run is no zstd at all."""
    source = save(linen(STACKED), folder)
    (chunk,) = item_of(source).glob("params.params.decoder.layers.mlp.wo.kernel/[0-9]*")
    chunk.write_bytes(b"no chunk at all")
    return source


def test_an_array_that_cannot_be_decoded_ends_convert_with_3_and_leaves_no_target(
    run: Run, tmp_path: Path
) -> None:
    done = run("convert", undecodable(tmp_path), tmp_path / "target", "--no-scan-layers")
    assert (done.code, done.out) == (3, "")
    assert "zstd" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_convert_names_the_array_that_cannot_be_decoded(run: Run, tmp_path: Path) -> None:
    done = run("convert", undecodable(tmp_path), tmp_path / "target", "--no-scan-layers")
    assert "params/params/decoder/layers/mlp/wo/kernel" in done.err


def test_an_array_that_cannot_be_decoded_is_not_verified(run: Run, tmp_path: Path) -> None:
    done = run("verify", undecodable(tmp_path))
    assert done.code == 1
    assert re.search(rf"layers/mlp/wo/kernel: .*\[{Code.STORAGE_MISMATCH}\]", done.out)


def broken_invariant(*arguments: Any, **more: Any) -> None:
    del arguments, more
    raise InvariantError("stacking", [Problem(code=Code.TWO_WRITERS, expected="one writer", found="two")])


def broken_otherwise(*arguments: Any, **more: Any) -> None:
    del arguments, more
    raise ValueError("a fault that nobody foresaw")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (broken_invariant, "invariant broken after stacking"),
        (broken_otherwise, "a fault that nobody foresaw"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_fault_of_our_own_ends_with_4_and_says_what_to_report(
    fault: Callable[..., None],
    words: str,
    more: list[str],
    made: Made,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(converting, "convert", fault)
    done = run("convert", made.nnx, tmp_path / "target", *more)
    assert done.code == 4
    assert "please report it" in done.err
    assert "Traceback" in done.err
    assert words in done.err
    assert "Traceback" not in done.out


def test_an_interrupted_conversion_ends_with_130_and_says_how_to_go_on(
    made: Made, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(converting, "convert", interrupted)
    done = run("convert", made.nnx, tmp_path / "target")
    assert (done.code, done.out) == (130, "")
    assert done.err.endswith("interrupted; the same command goes on from here\n")


# The program


def test_version_is_printed(run: Run) -> None:
    assert run("--version") == Done(0, f"{__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, run: Run) -> None:
    done = run(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"linen-nnx {command}" in done.out


def test_help_lists_every_command_with_what_it_does(run: Run) -> None:
    _, _, listed = run("--help").out.partition("Commands:")
    assert dict(re.findall(r"^  (\w+) +(\S)", listed, re.MULTILINE)).keys() == set(COMMANDS)


def test_the_readme_names_only_commands_and_options_that_exist(run: Run) -> None:
    text = README.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"(?:^|[`$ ])linen-nnx ([a-z][^\n`|]*)", text):
        command, *words = line.split()
        if command not in COMMANDS:
            assert not any(word.startswith("--") for word in words), line
            continue
        known = run(command, "--help").out
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert re.search(rf"{re.escape(option)}\b", known), line


PAGE = README.parent / "docs" / "commands.md"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_of_commands_has_each_option_of_a_command_and_no_other(command: str) -> None:
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    own = [text for text in sections if command in re.findall(r"\w+", text.partition("\n")[0])]
    named = set(re.findall(r"^\| (.+?) \|", "".join(own).replace("\\|", "/"), re.MULTILINE))
    params = get_command(app).commands[command].params  # type: ignore[attr-defined]
    known = {name for one in params for name in (*one.opts, *one.secondary_opts) if name.startswith("--")}
    assert set(re.findall(r"`(--[a-z-]+)", "".join(named))) == known - {"--help"}


@pytest.mark.parametrize("command", ["inspect", "plan"])
def test_reading_metadata_imports_neither_jax_nor_orbax(command: str, made: Made) -> None:
    code = (
        "import sys; from linen_nnx.cli.main import app\n"
        "try: app()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'jax', 'jaxlib', 'orbax', 'flax', 'optax'} & {n.partition('.')[0] for n in sys.modules}\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command, made.nnx], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_program_runs_in_a_process_of_its_own(made: Made, tmp_path: Path) -> None:
    done = process("convert", made.nnx, tmp_path / "target", "--scan-layers")
    assert (done.returncode, done.stdout.startswith("nnx -> linen: ")) == (0, True)
    assert not re.search(r"\x1b|\r", done.stdout + done.stderr)
    done = process("verify", tmp_path / "target", "--against", made.nnx, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"problems": []})


def test_all_that_is_said_leaves_the_process_before_it_ends(made: Made, run: Run) -> None:
    assert process("plan", made.stacked, "--json").stdout == run("plan", made.stacked, "--json").out


def test_a_reader_that_is_gone_ends_the_process_without_a_traceback(made: Made) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    line = [sys.executable, "-m", "linen_nnx.cli.main", "plan", str(made.stacked)]
    done = subprocess.run(line, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"), [("inspect none", 1), ("inspect", 2), (f"inspect {'x' * 300}", 3)]
)
def test_no_traceback_leaves_the_program(arguments: str, code: int, tmp_path: Path) -> None:
    done = process(*arguments.split())
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr
    assert "Traceback" not in done.stderr


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of a shell, in which `linen-nnx` is this program."""
    program = f'linen-nnx() {{ {quote(sys.executable)} -m linen_nnx.cli.main "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("there", ["file", "link to a folder", "link to nothing"])
def test_what_is_no_folder_is_replaced_only_to_overwrite_it(
    there: str, made: Made, run: Run, tmp_path: Path
) -> None:
    target, beside = tmp_path / "out" / "target", tmp_path / "beside"
    target.parent.mkdir()
    if there == "file":
        target.write_text("mine")
    else:
        target.symlink_to(beside)
    if there == "link to a folder":
        beside.mkdir()
        (beside / "mine").write_text("mine")
    done = run("convert", made.apart, target)
    assert (done.code, f"[{Code.TARGET_EXISTS}]" in done.err) == (1, True)
    assert run("convert", made.apart, target, "--overwrite").code == 0
    assert (list(target.parent.iterdir()), target.is_symlink()) == ([target], False)
    assert not beside.exists() or (beside / "mine").read_text() == "mine"


def test_a_path_that_the_terminal_cannot_show_is_a_path_like_any_other(made: Made, tmp_path: Path) -> None:
    source = shutil.copytree(made.apart, tmp_path / "läufe 漢字")
    done = process("inspect", source, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout.isascii()) == (0, True)
    documents = [process("inspect", source, "--json", PYTHONIOENCODING=e).stdout for e in ("ascii", "utf-8")]
    assert json.loads(documents[0]) == json.loads(documents[1])
    assert source.name in documents[1]


def test_a_hint_can_be_pasted_into_a_shell(made: Made, tmp_path: Path) -> None:
    done = process("convert", shutil.copytree(made.apart, tmp_path / "my run"), tmp_path / "to nnx")
    (hint,) = (line for line in done.stderr.splitlines() if line.startswith("hint: linen-nnx verify"))
    assert shell(hint.removeprefix("hint: ")).returncode == 0


def test_a_path_that_is_no_utf8_is_refused(made: Made, tmp_path: Path) -> None:
    source = shutil.copytree(made.apart, tmp_path / os.fsdecode(b"r\xffn"))
    done = process("inspect", source)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
    assert "no UTF-8" in done.stderr


def test_an_address_is_refused_and_not_taken_for_a_folder(
    made: Made, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["inspect", "gs://bucket/run"], ["convert", made.apart, "gs://bucket/run"]):
        done = run(*arguments)
        assert (done.code, "mount the bucket" in done.err) == (3, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_conversion_ends_well_though_nobody_listens(closed: str, made: Made, tmp_path: Path) -> None:
    done = shell(f"linen-nnx convert {quote(str(made.apart))} {quote(str(tmp_path / 'target'))} {closed}")
    assert (done.returncode, "Traceback" in done.stdout + done.stderr) == (0, False)
    assert (tmp_path / "target").is_dir()


def test_a_conversion_ends_well_though_who_read_its_notes_is_gone(made: Made, tmp_path: Path) -> None:
    nobody, stderr = os.pipe()
    os.close(nobody)
    command = [sys.executable, "-m", "linen_nnx.cli.main", "convert", f"{made.apart}", f"{tmp_path}/target"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False)
    os.close(stderr)
    assert (done.returncode, done.stdout.startswith("linen -> nnx: ")) == (0, True)


def test_without_flax_a_spec_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['flax'] = None; from linen_nnx.cli.main import main; main()"
    (tmp_path / "own.py").write_text("def make(): return object()")
    command = [sys.executable, "-c", code, "spec", f"{tmp_path / 'own.py'}:make"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "linen-nnx[flax]" in done.stderr) == (2, True)


def test_the_demo_shows_a_linen_checkpoint_there_and_back_bit_for_bit(run: Run, tmp_path: Path) -> None:
    done = run("demo", tmp_path / "demo")
    assert done.code == 0
    assert done.out == "Linen -> NNX -> Linen: every entry and every array came back, bit for bit\n"
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {"linen", "nnx", "linen-again"}
    again = run("demo", tmp_path / "demo")
    assert (again.code, f"[{Code.TARGET_EXISTS}]" in again.err) == (1, True)
