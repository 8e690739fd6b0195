"""What every command says: a document, lines for people, problems, errors, progress."""

import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from linen_nnx.cli.streams import ignore_stderr
from linen_nnx.convert.store.location import locate
from linen_nnx.schema.errors import ProblemsError
from linen_nnx.schema.plan import Drop, Note
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.report import Problems

if TYPE_CHECKING:
    from linen_nnx.convert.engine.progress import Progress

_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def json(document: BaseModel) -> None:
    """One JSON document on stdout."""
    text = document.model_dump_json(indent=1)
    # JSON has escapes of its own for what the encoding of stdout lacks.
    # A stream in memory has none.
    encoding = sys.stdout.encoding or "utf-8"
    print(text if encoding.lower().startswith("utf") else _NOT_ASCII.sub(_escaped, text))


def _escaped(found: re.Match[str]) -> str:
    return encode_basestring_ascii(found[0])[1:-1]


def say(text: str) -> None:
    """A line for people. Nothing hangs on whether they read it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except BrokenPipeError:
        ignore_stderr()


def text(document: str) -> None:
    """A document that ends with a line of its own."""
    print(document, end="")


def verdict(text: str) -> None:
    """The result, in words."""
    print(text)


def counted(number: int, noun: str) -> str:
    """`1 problem`, `2 problems`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


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


def duration(seconds: float) -> str:
    """A span of time for people."""
    for limit, length, unit in ((120, 1, "s"), (7200, 60, "min")):
        if seconds < limit:
            return f"{seconds / length:.{int(seconds < 10)}f} {unit}"
    return f"{seconds / 3600:.0f} h"


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


@contextmanager
def resumable() -> Iterator[None]:
    """Say to who interrupts that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here")
        raise
