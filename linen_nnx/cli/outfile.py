"""The one file that a command writes: what the command itself made is replaced, nothing else unasked."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace whatever file stands at --out."),
]


def check(out: Path, is_ours: Callable[[str], bool], *, overwrite: bool) -> None:
    """Refuse a place for the file before any work is done. `is_ours` knows what the command writes.

    Raises `typer.BadParameter`, `OSError` where what stands there cannot be read.
    """
    if out.is_dir():
        raise typer.BadParameter(f"{out} is a folder; name a file", param_hint="--out")
    if not out.parent.is_dir():
        found = "a file" if out.parent.exists() else "nothing"
        raise typer.BadParameter(f"the folder {out.parent} must be there; found {found}", param_hint="--out")
    if _is_file(out) and not overwrite and not _is_free(out, is_ours):
        raise typer.BadParameter(
            f"{out} is there already, and is not as this command writes it; --overwrite replaces it",
            param_hint="--out",
        )


def _is_free(out: Path, is_ours: Callable[[str], bool]) -> bool:
    there = out.read_text(encoding="utf-8", errors="replace")
    return not there or is_ours(there)


def _is_file(out: Path) -> bool:
    """Whether a file stands there that can be replaced; `/dev/stdout` and the like are written into."""
    return out.is_file() and not out.is_relative_to("/dev")


def put(out: Path, text: str) -> None:
    """Write the file, whole or not at all. Raises `StorageError`."""
    from linen_nnx.schema.errors import StorageError

    try:
        if out.exists() and not _is_file(out):
            out.write_text(text, encoding="utf-8")
            return
        # Of a link, what it leads to.
        out = out.resolve()
        aside = out.with_name(f".{out.name}.part")
        aside.write_text(text, encoding="utf-8")
        aside.replace(out)
    except OSError as error:
        raise StorageError(f"cannot write {out}: {error.strerror}") from error
