"""What every command says: a document, lines for people, problems, errors, progress."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from linen_nnx.convert.store.location import locate
from linen_nnx.schema.errors import ProblemsError
from linen_nnx.schema.plan import Drop, Note
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.report import Problems

if TYPE_CHECKING:
    from linen_nnx.convert.engine.progress import Progress

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def json(document: BaseModel) -> None:
    """One JSON document on stdout."""
    print(document.model_dump_json(indent=1))


def say(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr)


def text(document: str) -> None:
    """A document that ends with a line of its own."""
    print(document, end="")


def verdict(text: str) -> None:
    """The result, in words."""
    print(text)


def step_taken(path: Path, step: int | None, item: str | None) -> None:
    """Which step of a run folder was taken. What is no checkpoint is for the command itself to refuse."""
    try:
        location = locate(path, step, item)
    except ProblemsError:
        return
    if location.run is not None:
        say(f"step folder {location.step_number} of {location.run}")


def problems(found: Sequence[Problem]) -> None:
    """Each problem, with its hint."""
    for problem in found:
        print(problem)


def drops(dropped: Sequence[Drop]) -> None:
    """Each drop with its rule."""
    for drop in dropped:
        print(f"drop {drop.source}: {drop.reason or drop.rule.reason}{_required(drop)}  [{drop.rule.value}]")


def _required(drop: Drop) -> str:
    return (
        f" (it must be {drop.require.value}, which convert checks before it writes)" if drop.require else ""
    )


def notes(found: Sequence[Note]) -> None:
    """Remarks, to stderr."""
    for note in found:
        say(f"note: {note.text}  [{note.code.value}]")


def error(error: BaseException, *, as_json: bool) -> None:
    """What ended a command."""
    found = error.problems if isinstance(error, ProblemsError) else ()
    if as_json and found:
        json(Problems(problems=tuple(found)))
    for line in [str(problem) for problem in found] or [f"{type(error).__name__}: {error}"]:
        say(line)


def our_fault(error: BaseException) -> None:
    """How to report a fault of ours."""
    say("this is a fault of linen-nnx, not of your checkpoint; please report it with these lines:")
    say("".join(traceback.format_exception(error)))


def size(nbytes: int) -> str:
    """Bytes for people."""
    amount = float(nbytes)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError


@contextmanager
def progress() -> "Iterator[Progress]":
    """A bar on stderr, if that is a terminal."""
    from linen_nnx.convert.engine.progress import Silent

    if not sys.stderr.isatty():
        yield Silent()
        return
    from linen_nnx.cli.bar import Bar

    with Bar() as bar:
        yield bar
