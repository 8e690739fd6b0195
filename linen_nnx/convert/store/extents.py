"""Where stored values lie: inline in an OCDBT index, or as an extent of a data file.

The index is read through tensorstore's public `ocdbt.dump`, one call a node: 100,000 arrays take half a
second, where reading as many values one by one takes fifteen.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.model import record
from linen_nnx.schema.problem import Code, Problem


@record
class Extent:
    """Bytes of a file, named relative to the item's folder."""

    file: str
    offset: int
    length: int


_LARGE = 20_000
"""Values of an index that takes tens of megabytes while it is read."""

StoredValue = bytes | Extent
"""A value itself, or where it lies."""


def walk_database(folder: Path) -> dict[str, StoredValue]:
    """All values of the database of `folder`, latest version, by key. Raises `ValueError`."""
    return Walk(folder).values()


class Walk:
    """The index of a database, which is being read while other metadata is."""

    def __init__(self, folder: Path) -> None:
        """Begin with the latest version of the database of `folder`; what is wrong is raised by `values`."""
        import tensorstore as ts

        self._base = ts.KvStore.open({"driver": "file", "path": f"{folder}/"}).result()
        self._root: Any = None
        self._fault: ValueError | None = None
        try:
            self._root = self._begun(_root(ts.ocdbt.dump(self._base).result()))
        except ValueError as error:
            self._fault = error

    def _begun(self, location: str | None) -> Any:
        import tensorstore as ts

        return None if location is None else ts.ocdbt.dump(self._base, location)

    def values(self) -> dict[str, StoredValue]:
        """All values by key; to be asked for once. Raises `ValueError`."""
        if self._fault is not None:
            raise self._fault
        values: dict[str, StoredValue] = {}
        root, self._root = self._root, None
        if root is not None:
            self._put(root.result(), b"", values, {})
            del root
        if len(values) > _LARGE:
            _give_back()
        return values

    def _put(
        self, node: Any, prefix: bytes, values: dict[str, StoredValue], alike: dict[bytes, bytes]
    ) -> None:
        """Put all values below a node into `values`; equal ones, as array metadata is, are one object."""
        if node["height"]:
            for entry in node["entries"]:
                below = self._begun(entry["location"]).result()
                self._put(below, prefix + entry["subtree_common_prefix"], values, alike)
            return
        entries = node["entries"]
        # A node may hold all that a state has: what was read of it is let go at once.
        entries.reverse()
        while entries:
            entry = entries.pop()
            key = (prefix + entry["key"]).decode()
            if "inline_value" in entry:
                inline = entry["inline_value"]
                values[key] = alike.setdefault(inline, inline)
            else:
                values[key] = _extent(entry["indirect_value"])


def _root(manifest: Any) -> str | None:
    """Where the root node of the latest version lies; None where nothing is stored."""
    if manifest is None:
        raise ValueError("there is no manifest")
    location: str | None = manifest["versions"][-1]["root"].get("location")
    return location


def _give_back() -> None:
    """Let the system have what tensorstore has freed: twice what we keep of an index."""
    import ctypes

    # The C library of Linux can.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _extent(location: str) -> Extent:
    """Of `value:ocdbt.process_0/:d/0123:offset:length`; base and name are percent-encoded."""
    _, base, name, offset, length = location.split(":")
    return Extent(_file(base, name), int(offset), int(length))


@lru_cache(maxsize=1024)
def _file(base: str, name: str) -> str:
    return unquote(base) + unquote(name)


def out_of_reach(folder: Path, stored: Mapping[str, StoredValue]) -> Iterator[Problem]:
    """Every data file that is not there, or ends before the last value that the index has in it.

    One look at a file, none into it. Raises `StorageError` where the system will not tell.
    """
    ends: dict[str, int] = {}
    for value in stored.values():
        if isinstance(value, Extent):
            ends[value.file] = max(ends.get(value.file, 0), value.offset + value.length)
    for name, end in sorted(ends.items()):
        with readable(folder / name):
            size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size is None or size < end:
            lost = sorted(key for key, value in stored.items() if _beyond(value, name, size or 0))
            yield Problem(
                code=Code.CHUNK_MISSING,
                file=str(folder / name),
                expected=f"a data file of at least {end} bytes",
                found=f"{'no file' if size is None else f'{size} bytes'}: {len(lost)} stored values are "
                f"not there, first {lost[0]}",
                hint="take the file from another copy; it was not copied as a whole, or the disk was full",
            )


def _beyond(value: StoredValue, file: str, size: int) -> bool:
    return isinstance(value, Extent) and value.file == file and value.offset + value.length > size


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """What the system says of `file` becomes a `StorageError` that names it."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror or error}") from error


def read_extents(folder: Path, extents: Mapping[str, Extent]) -> dict[str, bytes]:
    """Small values by their keys, each file opened once. Raises `StorageError`."""
    by_file: dict[str, list[str]] = {}
    for key, extent in extents.items():
        by_file.setdefault(extent.file, []).append(key)
    values: dict[str, bytes] = {}
    for name, keys in by_file.items():
        with readable(folder / name), (folder / name).open("rb") as file:
            for key in keys:
                extent = extents[key]
                values[key] = os.pread(file.fileno(), extent.length, extent.offset)
                if len(values[key]) != extent.length:
                    raise short_file(folder / name, extent.offset + extent.length)
    return values


def short_file(file: Path, end: int) -> StorageError:
    """A file that has fewer bytes than the index says."""
    return StorageError(f"cannot read {file}: it ends before byte {end}")
