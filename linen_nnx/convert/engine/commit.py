"""A target is complete or absent: written aside, checked, made durable, and renamed into place."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from linen_nnx.convert.engine.journal import REPLACED, claim, clear_replaced, sweep
from linen_nnx.schema.errors import ConversionError, StorageError
from linen_nnx.schema.problem import Code, Problem

_SYNCS = 8
"""Files that are made durable at once: a filesystem writes its journal for all that wait for it."""


def target_problems(source: Path, target: Path, *, overwrite: bool) -> list[Problem]:
    """What stands against writing `target`. The source is never written to, nor written into."""
    real_source, real_target = source.resolve(), target.resolve()
    problems = []
    if real_target == real_source or real_source in real_target.parents:
        problems.append(_overlap(target, f"a place inside the source {source}"))
    elif real_target in real_source.parents:
        problems.append(_overlap(target, f"a folder that holds the source {source}"))
    elif target.exists() and not (target.is_dir() or target.is_file()):
        problems.append(_in_the_way(target, target, "a device or pipe"))
    elif os.path.lexists(target) and not overwrite:
        problems.append(_exists(target))
    return [*problems, *_above(target)]


def _above(target: Path) -> Iterator[Problem]:
    """What stands against making the folders above a target, and it in them."""
    there = next(part for part in (*target.parents, target) if os.path.lexists(part))
    if not there.is_dir():
        yield _in_the_way(target, there, "a file" if there.exists() else "a link that leads nowhere")
    elif not os.access(there, os.W_OK | os.X_OK):
        yield _in_the_way(target, there, "a folder that may not be written to")


def _in_the_way(target: Path, at: Path, found: str) -> Problem:
    return Problem(
        code=Code.TARGET_NOT_WRITABLE,
        expected=f"a place for a folder, to write {target}",
        found=f"{at}, {found}",
        hint="choose another target",
    )


def _exists(target: Path) -> Problem:
    return Problem(
        code=Code.TARGET_EXISTS,
        expected=f"no {target} yet",
        found="a folder or file of that name",
        hint="choose another target, or replace it with --overwrite",
    )


def _overlap(target: Path, found: str) -> Problem:
    return Problem(
        code=Code.TARGET_INSIDE_SOURCE,
        expected="a target apart from the source",
        found=f"{target}, {found}",
        hint="choose a target beside the source",
    )


@contextmanager
def staged(
    target: Path, digest: str, items: Callable[[Path], Sequence[Path]], *, overwrite: bool
) -> Iterator[Path]:
    """A folder beside `target` that becomes it if the block ends well.

    What has come to stand at `target` by then, by another process, is replaced only to `overwrite` it.
    If the block raises, the folder is removed; if the process is interrupted or killed, it is left, and the
    next run of the same conversion (by its `digest`) goes on from the parts of `items` that are finished.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        claimed = claim(target, digest)
        sweep(claimed.folder, items(claimed.folder))
    except OSError as error:
        raise StorageError(f"cannot write beside {target}: {error}") from error
    try:
        yield claimed.folder
        claimed.finish()
        _sync(claimed.folder)
        _rename(claimed.folder, target, overwrite=overwrite)
    except Exception:
        shutil.rmtree(claimed.folder, ignore_errors=True)
        raise
    finally:
        claimed.release()


def _rename(folder: Path, target: Path, *, overwrite: bool) -> None:
    old = None
    if os.path.lexists(target):
        if not overwrite:
            raise ConversionError([_exists(target)])
        old = target.parent / f"{REPLACED}{uuid.uuid4().hex[:8]}-{target.name}"
        os.rename(target, old)
    try:
        os.rename(folder, target)
    except OSError as error:
        if old is not None:
            os.rename(old, target)
        raise StorageError(f"cannot rename {folder} to {target}: {error}") from error
    _sync_one(target.parent)
    clear_replaced(target)


def _sync(folder: Path) -> None:
    """Files and the folders that name them, all at once: only the rename must come after."""
    paths = [Path(base, name) for base, _, files in os.walk(folder) for name in (*files, "")]
    with ThreadPoolExecutor(_SYNCS) as pool:
        for _ in pool.map(_sync_one, paths):
            pass


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
