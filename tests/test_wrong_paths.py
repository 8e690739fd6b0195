"""Wrong paths of sources and targets: each is refused for what it is, before anything is written."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from linen_nnx import CheckpointError, Code, ConversionError, convert, inspect, plan
from linen_nnx.convert.converting import check
from tests.support.checkpoints import files_of, random_tree, save_item
from tests.support.small import item_of, linen, save


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one step."""
    return save(linen(), tmp_path_factory.mktemp("saved"))


@pytest.fixture
def place(saved: Path, tmp_path: Path) -> Path:
    """A folder with the run and what may stand beside it."""
    shutil.copytree(saved, tmp_path / "run")
    for folder in ("empty", "hidden", "settings"):
        (tmp_path / folder).mkdir()
    for file in ("file", "hidden/.DS_Store", "settings/config.yml"):
        (tmp_path / file).touch()
    (tmp_path / "broken").symlink_to("gone")
    (tmp_path / "link").symlink_to("run")
    return tmp_path


@dataclass(frozen=True)
class Wrong:
    """A path, what must be said to be found there, and the hint."""

    path: str
    found: str
    hint: str | None = None

    def __str__(self) -> str:
        return self.path


SOURCES = [
    Wrong("file", "a file"),
    Wrong("file/below", "nothing: {}/file is a file"),
    Wrong("empty", "an empty folder"),
    Wrong("hidden", "a folder with .DS_Store"),
    Wrong("settings", "a folder with config.yml"),
    Wrong("broken", "a link to gone, where nothing is"),
    Wrong("broken/2", "nothing: {}/broken is a link to gone, where nothing is"),
    Wrong("runs", "nothing", "did you mean {}/run?"),
    Wrong("runs/2/items", "nothing: {} has no runs", "did you mean {}/run?"),
    Wrong("zzz/2/items", "nothing: {} has no zzz"),
    Wrong("run/2/items/_METADATA", "a file", "the checkpoint that this is a part of is {}/run/2/items"),
    Wrong(
        "run/2/items/_METADATA/below",
        "nothing: {}/run/2/items/_METADATA is a file",
        "the checkpoint that this is a part of is {}/run/2/items",
    ),
]


@pytest.mark.parametrize("wrong", SOURCES, ids=str)
def test_a_path_that_is_no_checkpoint_says_what_is_there_and_where_one_may_be(
    wrong: Wrong, place: Path
) -> None:
    for command in (inspect, plan, lambda path: convert(path, place / "target")):
        with pytest.raises(CheckpointError) as refused:
            command(place / wrong.path)
        (problem,) = refused.value.problems
        assert problem.code is Code.NOT_A_CHECKPOINT
        assert problem.expected.endswith(f"at {place / wrong.path}")
        assert problem.found == wrong.found.format(place)
        assert problem.hint == (None if wrong.hint is None else wrong.hint.format(place))
    assert not (place / "target").exists()


TARGETS = [
    ("file", Code.TARGET_EXISTS, "a folder or file"),
    ("empty", Code.TARGET_EXISTS, "a folder or file"),
    ("broken", Code.TARGET_EXISTS, "a folder or file"),
    ("file/below", Code.TARGET_NOT_WRITABLE, "file, a file"),
    ("file/far/below", Code.TARGET_NOT_WRITABLE, "file, a file"),
    ("broken/below", Code.TARGET_NOT_WRITABLE, "broken, a link that leads nowhere"),
    ("pipe", Code.TARGET_NOT_WRITABLE, "pipe, a device or pipe"),
    ("run", Code.TARGET_INSIDE_SOURCE, "inside the source"),
    ("link", Code.TARGET_INSIDE_SOURCE, "inside the source"),
    ("link/new", Code.TARGET_INSIDE_SOURCE, "inside the source"),
    ("run/2/items/_METADATA", Code.TARGET_INSIDE_SOURCE, "inside the source"),
    (".", Code.TARGET_INSIDE_SOURCE, "a folder that holds the source"),
    ("/", Code.TARGET_INSIDE_SOURCE, "a folder that holds the source"),
]


@pytest.mark.parametrize(("name", "code", "found"), TARGETS, ids=lambda value: str(value))
def test_a_target_that_cannot_be_written_is_refused_and_nothing_is_touched(
    name: str, code: Code, found: str, place: Path
) -> None:
    os.mkfifo(place / "pipe")
    names = sorted(place.rglob("*"))
    before = files_of(place / "run")
    attempts: list[Callable[[], object]] = [
        lambda: convert(place / "run", place / name),
        lambda: check(place / "run", place / name),
    ]
    if code is not Code.TARGET_EXISTS:
        attempts.append(lambda: convert(place / "run", place / name, overwrite=True))
    for attempt in attempts:
        with pytest.raises(ConversionError) as refused:
            attempt()
        assert code in {problem.code for problem in refused.value.problems}
        assert found in str(refused.value)
    assert (sorted(place.rglob("*")), files_of(place / "run")) == (names, before)


AS_NOBODY = """
import os, sys
from pathlib import Path
from linen_nnx.convert.engine.commit import target_problems
# What is imported at the first problem cannot be read any more by nobody.
target_problems(Path("/"), Path("/"), overwrite=False)
if os.geteuid() == 0:
    os.setuid(65534)
for problem in target_problems(Path("/nowhere"), Path(sys.argv[1]), overwrite=True):
    print(problem.code, problem.found)
"""


def test_a_folder_that_may_not_be_written_to_is_told_before_anything_is_read() -> None:
    # Not in pytest's folder, which is open to its owner alone: root, who may write anywhere, steps down.
    with tempfile.TemporaryDirectory() as folder:
        closed = Path(folder)
        closed.chmod(0o555)
        command = [sys.executable, "-c", AS_NOBODY, str(closed / "far" / "target")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == f"target-not-writable {closed}, a folder that may not be written to\n", done.stderr


# A folder of numbered folders


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A run whose steps are the items themselves, as `checkpointer.save(run / "10", state)` leaves it."""
    for name in ("2", "10"):
        save_item(random_tree(linen(), name), tmp_path / "bare" / name)
    return tmp_path / "bare"


def test_steps_that_are_items_themselves_make_a_run(bare: Path, tmp_path: Path) -> None:
    assert (inspect(bare).step_folder, inspect(bare, step=2).step_folder) == (10, 2)
    assert Path(inspect(bare, item="2").item) == bare / "2"
    convert(bare, tmp_path / "target")
    assert [step.name for step in (tmp_path / "target").iterdir()] == ["10"]
    assert Path(inspect(tmp_path / "target").item) == tmp_path / "target" / "10"


def test_a_run_with_an_item_beside_its_steps_is_refused_until_one_is_named(place: Path) -> None:
    run = place / "run"
    shutil.copytree(item_of(run), run / "other")
    with pytest.raises(CheckpointError, match="both: the steps 2 and the items other") as refused:
        inspect(run)
    assert refused.value.problems[0].code is Code.SEVERAL_ITEMS
    assert Path(inspect(run, step=2).item) == item_of(run)
    assert Path(inspect(run, item="other").item) == run / "other"


def test_two_steps_of_one_number_are_refused_and_named(place: Path) -> None:
    shutil.copytree(place / "run" / "2", place / "run" / "step_2")
    with pytest.raises(CheckpointError, match=r"one step 2 in .*, found 2, step_2"):
        inspect(place / "run")


def test_a_step_that_contradicts_the_path_is_refused(place: Path) -> None:
    assert inspect(place / "run" / "2", step=2).step_folder == 2
    with pytest.raises(CheckpointError) as refused:
        inspect(place / "run" / "2", step=7)
    assert refused.value.problems[0].code is Code.STEP_NOT_FOUND
