"""The ways in which a state comes to stand where a run finds it: copied, converted, or reshaped by hand."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.oracle import environments
from tests.oracle.trainers import Form, Release


class NotMovedError(Exception):
    """A move failed; its text is what was said."""


@dataclass(frozen=True)
class Copied:
    """As it is."""

    def __call__(self, source: Path, target: Path) -> None:
        shutil.copytree(source, target)
        for path in (target, *target.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)  # a source that may not be written to


@dataclass(frozen=True)
class Converted:
    """By `linen-nnx convert`, as a user would."""

    cli: Path
    layout: str
    options: tuple[str, ...] = ()

    def __call__(self, source: Path, target: Path) -> None:
        _done([self.cli, "convert", source, target, "--to", self.layout, *self.options])


@dataclass(frozen=True)
class ByHand:
    """By the few lines of numpy in `by_hand.py`."""

    stack: str

    def __call__(self, source: Path, target: Path) -> None:
        script = Path(__file__).with_name("by_hand.py")
        _done([environments.python(Release.NNX_ONLY), script, source, target, self.stack])


Move = Copied | Converted | ByHand


def to_form(cli: Path, form: Form, template: Path | None = None) -> Converted:
    """What a user asks for to resume as `form`."""
    options = [form.stack.option]
    if template is not None:
        options += ["--template", str(template)]
    return Converted(cli, form.trainer.layout, tuple(options))


def _done(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing said"]
        raise NotMovedError(f"{Path(command[0]).name} ended with {done.returncode}: {said[0]}")
