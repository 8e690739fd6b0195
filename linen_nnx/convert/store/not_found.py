"""What to say of a path where no checkpoint is: what lies there, or how far the path leads."""

import os
from difflib import get_close_matches
from pathlib import Path

from linen_nnx.schema.errors import CheckpointError
from linen_nnx.schema.orbax_metadata import METADATA_FILE, OCDBT_MANIFEST
from linen_nnx.schema.problem import Code


def not_a_checkpoint(path: Path, temporary: bool) -> CheckpointError:
    """Refuse `path`; `temporary` says that saves lie in it that did not finish."""
    found = "only temporary folders of saves that did not finish" if temporary else _found(path)
    return CheckpointError.one(
        Code.UNCOMMITTED if temporary else Code.NOT_A_CHECKPOINT,
        expected=f"an orbax checkpoint (a run, step or item folder) at {path}",
        found=found,
        hint=None if temporary else _hint(path),
    )


def _found(path: Path) -> str:
    if path.is_dir():
        return _what_lies_in(path)
    if path.exists():
        return "a file"
    there = _how_far(path)
    if there.is_symlink() and not there.exists():
        where = "" if there == path else f"nothing: {there} is "
        return f"{where}a link to {there.readlink()}, where nothing is"
    if not there.is_dir():
        return f"nothing: {there} is a file"
    return "nothing" if there == path.parent else f"nothing: {there} has no {_missing(path)}"


def _missing(path: Path) -> str:
    """The first part of the path that is not there."""
    return path.relative_to(_how_far(path)).parts[0]


def _what_lies_in(path: Path) -> str:
    names = sorted(child.name for child in path.iterdir())
    if OCDBT_MANIFEST in names:
        return f"array data without {METADATA_FILE}"
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"a folder with {shown}" if names else "an empty folder"


def _hint(path: Path) -> str | None:
    """Where the checkpoint may be instead: around the path, or under a name much like it."""
    for above in path.parents:
        if (above / METADATA_FILE).is_file():
            return f"the checkpoint that this is a part of is {above}"
    there = _how_far(path)
    if there == path or not there.is_dir():
        return None
    names = [child.name for child in there.iterdir() if child.is_dir()]
    near = get_close_matches(_missing(path), names, n=1)
    return f"did you mean {there / near[0]}?" if near else None


def _how_far(path: Path) -> Path:
    """The last part of the path that is there, if only as a link that leads nowhere."""
    return next(part for part in (path, *path.parents) if os.path.lexists(part))
