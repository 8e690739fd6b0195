"""Temporary folders of targets: one is claimed by the process that works in it, and outlives its death.

Finished parts are listed by the folder's own databases (or are files), so the journal need only say which
conversion they belong to. A folder of another conversion of the same target is removed, unless a living
process holds it.
"""

import fcntl
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from linen_nnx.convert.engine.sink import PARTS
from linen_nnx.convert.store.location import TEMPORARY
from linen_nnx.schema.model import Model
from linen_nnx.schema.orbax_metadata import OCDBT_MANIFEST

REPLACED = f"{TEMPORARY}replaced-"
"""Prefix of a target that another took the place of; it is the only copy until that has its name."""
JOURNAL = ".linen-nnx-journal.json"
"""In a temporary folder until it is committed."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Journal(Model):
    """Which conversion a temporary folder belongs to."""

    digest: str
    """Of the plan, of the options and of the source."""
    boot: str
    """Of the machine: parts are made durable at the end alone, so they do not outlive a crash of it."""


class Claim:
    """A temporary folder that is ours until `release`."""

    def __init__(self, folder: Path, lock: int) -> None:
        """Hold `lock`, a descriptor of the journal."""
        self.folder = folder
        self._lock = lock

    def release(self) -> None:
        """Another process may have it."""
        os.close(self._lock)

    def finish(self) -> None:
        """The folder is no longer temporary."""
        (self.folder / JOURNAL).unlink()


def fingerprint(text: str, folders: Iterable[Path]) -> str:
    """A digest of `text` and of names, sizes and times of all files below `folders`."""
    digest = hashlib.sha256(text.encode())
    for folder in folders:
        for base, below, files in os.walk(folder):
            below.sort()
            for name in sorted(files):
                known = os.stat(os.path.join(base, name))
                digest.update(f"{base}/{name}\0{known.st_size}\0{known.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def claim(target: Path, digest: str) -> Claim:
    """The folder that an earlier run of this very conversion left, or a new one. Raises `OSError`."""
    journal = Journal(digest=digest, boot=_BOOT.read_text().strip() if _BOOT.is_file() else "")
    if target.exists():
        clear_replaced(target)
    resumed = None
    for folder in _left(target):
        lock = _locked(folder)
        if lock is None:
            continue
        if resumed is None and _read(folder) == journal:
            resumed = Claim(folder, lock)
        else:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
    if resumed is not None:
        return resumed
    folder = target.parent / f"{TEMPORARY}{target.name}-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    lock = os.open(folder / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(lock, journal.model_dump_json().encode())
    return Claim(folder, lock)


def clear_replaced(target: Path) -> None:
    """Remove what an earlier run of this target replaced, and did not live to remove."""
    name = re.compile(re.escape(REPLACED) + "[0-9a-f]{8}-" + re.escape(target.name))
    for child in target.parent.iterdir():
        if not name.fullmatch(child.name) or (child / JOURNAL).exists():
            continue
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child, ignore_errors=True)
        else:  # Somebody's file, or a link: what it leads to stays as it is.
            child.unlink(missing_ok=True)


def sweep(folder: Path, items: Sequence[Path]) -> None:
    """Leave of a claimed folder only what finished parts need: the rest is made anew."""
    if folder in items:
        for manifest in folder.rglob(OCDBT_MANIFEST):
            if manifest.parent.name != PARTS:
                manifest.unlink()
        return
    for child in folder.iterdir():
        if child in items or any(child in item.parents for item in items):
            sweep(child, items)
        elif child.is_dir():
            shutil.rmtree(child)
        elif child.name != JOURNAL:
            child.unlink()


def _left(target: Path) -> list[Path]:
    name = re.compile(re.escape(f"{TEMPORARY}{target.name}-") + "[0-9a-f]{8}")
    return [child for child in target.parent.iterdir() if name.fullmatch(child.name) and child.is_dir()]


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the journal; None while another process does."""
    try:
        lock = os.open(folder / JOURNAL, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _read(folder: Path) -> Journal | None:
    try:
        return Journal.model_validate_json((folder / JOURNAL).read_bytes())
    except (OSError, ValidationError):
        return None
