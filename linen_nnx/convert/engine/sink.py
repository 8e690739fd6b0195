"""Where finished chunks go: files, written to by many threads at once, without a copy in between.

A chunk is in the page cache when `put` returns, so its buffer may be used again, and no more is held than
what the threads work on. Files are made durable all at once, before the target gets its name.
"""

import json
import os
import threading
import uuid
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from linen_nnx.convert.engine.tap import Data, Tap
from linen_nnx.convert.engine.writing import write_at
from linen_nnx.convert.store.extents import Extent, StoredValue

PARTS = ".linen-nnx-parts"
"""Folder, in a target that is not committed, of what is known of its finished parts."""
_RECORDS = "records"
_INLINE = 1024
"""Bytes of a value that stands in the index itself, as orbax has it."""
_ROLL = 2**31
"""Bytes after which another data file is begun, as orbax has it."""
_LARGE = 2**20
_UNFINISHED = ".linen-nnx-part"


class Sink(Protocol):
    """Accepts chunks by key."""

    @property
    def tap(self) -> Tap:
        """Sees every chunk."""
        ...

    def finished(self) -> set[str]:
        """The keys that are stored: of this run, and of an earlier one."""
        ...

    def put(self, key: str, value: Data) -> None:
        """Store one chunk. Raises `OSError`."""
        ...


@dataclass(slots=True)
class _Growing:
    """A data file that is written."""

    name: str
    descriptor: int
    size: int = 0


class DataFileSink:
    """Appends to data files of an item's OCDBT database, and keeps a record of where each chunk lies."""

    def __init__(self, folder: Path, tap: Tap) -> None:
        """Go on from the records that an earlier run left in `folder`. Raises `OSError`."""
        self.tap = tap
        self._folder = folder
        self._parts = folder / PARTS
        self._parts.mkdir(exist_ok=True)
        (folder / "d").mkdir(exist_ok=True)
        self._records = os.open(self._parts / _RECORDS, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.values = _read_records(folder, self._records)
        """Where each finished chunk lies, or what it is."""
        self._lock = threading.Lock()
        self._own = threading.local()
        self._opened: list[int] = []

    def finished(self) -> set[str]:
        """Every recorded key."""
        return set(self.values)

    def put(self, key: str, value: Data) -> None:
        """Append, then record."""
        self.tap.stored(key, value)
        if len(value) <= _INLINE:
            self._record(key, bytes(value))
            return
        extent, descriptor = self._allocate(len(value))
        write_at(descriptor, value, extent.offset)
        if extent.length >= _LARGE and hasattr(os, "posix_fadvise"):
            # Starts writing to the disk now, while other chunks are made.
            os.posix_fadvise(descriptor, extent.offset, extent.length, os.POSIX_FADV_DONTNEED)
        self._record(key, extent)

    def close(self) -> None:
        """No more will come."""
        for descriptor in (self._records, *self._opened):
            os.close(descriptor)

    def _allocate(self, length: int) -> tuple[Extent, int]:
        """Room in a file of the thread's own: two that write to one file wait for each other."""
        file: _Growing | None = getattr(self._own, "file", None)
        if file is None or file.size + length > _ROLL:
            name = f"d/{uuid.uuid4().hex}"
            descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            file = self._own.file = _Growing(name, descriptor)
            with self._lock:
                self._opened.append(descriptor)
        start, file.size = file.size, file.size + length
        return Extent(file.name, start, length), file.descriptor

    def _record(self, key: str, value: StoredValue) -> None:
        line = json.dumps([key, b64encode(value).decode()] if isinstance(value, bytes) else _row(key, value))
        with self._lock:
            self.values[key] = value
            os.write(self._records, f"{line}\n".encode())


def _row(key: str, extent: Extent) -> list[str | int]:
    return [key, extent.file, extent.offset, extent.length]


def _read_records(folder: Path, records: int) -> dict[str, StoredValue]:
    """Every whole record whose bytes are there; a last line that was cut short goes."""
    text = os.pread(records, os.fstat(records).st_size, 0)
    whole = text[: text.rfind(b"\n") + 1]
    os.ftruncate(records, len(whole))
    sizes = {f"d/{entry.name}": entry.stat().st_size for entry in os.scandir(folder / "d")}
    values: dict[str, StoredValue] = {}
    for line in whole.splitlines():
        match json.loads(line):
            case [str(key), str(data)]:
                values[key] = b64decode(data)
            case [str(key), str(name), int(offset), int(length)] if offset + length <= sizes.get(name, -1):
                values[key] = Extent(name, offset, length)
    return values


class FolderSink:
    """A file a chunk, below `folder`; a file is whole or not there."""

    def __init__(self, folder: Path, tap: Tap) -> None:
        """Remove what an earlier run did not finish. Raises `OSError`."""
        self.tap = tap
        self._folder = folder
        for left in folder.rglob(f"*{_UNFINISHED}"):
            left.unlink()

    def finished(self) -> set[str]:
        """Every file."""
        return {file.relative_to(self._folder).as_posix() for file in self._folder.rglob("*")}

    def put(self, key: str, value: Data) -> None:
        """Write aside, then rename."""
        self.tap.stored(key, value)
        file = self._folder / key
        aside = file.with_name(file.name + _UNFINISHED)
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_at(descriptor, value, 0)
        finally:
            os.close(descriptor)
        aside.rename(file)
