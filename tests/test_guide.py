"""The guide for a model of one's own: its files are made, its commands run, and its losses are the same."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "guides" / "your-own-model.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PROGRAMS = {
    "python": sys.executable,
    "linen-nnx": f"{sys.executable} -m linen_nnx.cli.main",
}


@dataclass(frozen=True)
class Step:
    """One command of the page, and the lines that it says come out."""

    command: str
    shown: tuple[str, ...]
    out: str


def run(command: str, folder: Path) -> str:
    program, _, arguments = command.partition(" ")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        f"{PROGRAMS[program]} {arguments}",
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    """The whole page, from top to bottom."""
    folder, found = tmp_path_factory.mktemp("guide"), []
    for language, title, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if title:
            (folder / title).write_text(text, encoding="utf-8")
        if language == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, *shown = part.splitlines()
                found.append(Step(command, tuple(shown), run(command, folder)))
    return found


def test_every_command_says_what_the_page_says(steps: list[Step]) -> None:
    assert len(steps) >= 10
    for step in steps:
        for line in step.shown:
            # Other machines and releases have other losses: that both are the same is the next test.
            pattern = re.escape(line).replace("…", ".*")
            pattern = re.sub(r"\d\\\.\d{6}", r"\\d\\.\\d{6}", pattern)
            assert re.search(f"^{pattern}$", step.out, re.MULTILINE), f"{line!r} is not in\n{step.out}"


def test_the_nnx_model_goes_on_with_the_losses_of_the_linen_model(steps: list[Step]) -> None:
    losses = [
        [float(loss) for loss in re.findall(r"^step \d+: (\S+)$", step.out, re.MULTILINE)]
        for step in steps
        if step.command in ("python linen_cnn.py", "python go_on.py")
    ]
    assert len(losses[0]) == 5
    assert losses[0] == pytest.approx(losses[1], abs=2e-6)
