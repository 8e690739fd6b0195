"""`--out`: what the command itself wrote is replaced, nothing else unasked."""

from pathlib import Path

import pytest

from tests.support.command import run
from tests.support.small import linen, native, save


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[object, ...]]:
    """The commands that write a file."""
    folder = tmp_path_factory.mktemp("outfile")
    source, spec = save(linen(), folder / "linen"), folder / "spec.json"
    assert run("spec", save(native(), folder / "nnx"), "--out", spec) == 0
    return {
        "report": ("report", source),
        "spec": ("spec", source),
        "map": ("map", source, "--spec", spec, "--accept", "names"),
    }


COMMANDS = pytest.mark.parametrize("name", ["report", "spec", "map"])


@COMMANDS
def test_what_the_command_wrote_before_is_replaced(
    name: str, commands: dict[str, tuple[object, ...]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run(*commands[name], "--out", out) == 0
    first = out.read_bytes()
    assert run(*commands[name], "--out", out) == 0
    assert out.read_bytes() == first
    assert list(tmp_path.iterdir()) == [out]


@COMMANDS
def test_a_file_of_another_is_replaced_only_when_asked(
    name: str, commands: dict[str, tuple[object, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    assert run(*commands[name], "--out", out) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert run(*commands[name], "--out", out, "--overwrite") == 0
    assert out.read_text() != "mine"


@COMMANDS
def test_an_empty_file_a_link_and_a_pipe_are_written_to(
    name: str, commands: dict[str, tuple[object, ...]], tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    assert run(*commands[name], "--out", tmp_path / "link") == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "empty").stat().st_size
    assert run(*commands[name], "--out", "/dev/null") == 0
    assert Path("/dev/null").is_char_device()


@COMMANDS
@pytest.mark.parametrize(
    ("out", "said"), [("a", "is a folder"), ("b/out", "must be there"), ("f/out", "a file")]
)
def test_a_place_where_no_file_can_be_is_refused_before_any_work(
    name: str,
    out: str,
    said: str,
    commands: dict[str, tuple[object, ...]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "f").touch()
    assert run(*commands[name], "--out", tmp_path / out) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_rules_that_somebody_edited_are_not_lost_to_a_second_map(
    commands: dict[str, tuple[object, ...]], tmp_path: Path
) -> None:
    out = tmp_path / "rules.toml"
    assert run(*commands["map"], "--out", out) == 0
    edited = out.read_text().replace('evidence = "', 'evidence = "checked by me, ', 1)
    out.write_text(edited)
    assert run(*commands["map"], "--out", out) == 2
    assert out.read_text() == edited
