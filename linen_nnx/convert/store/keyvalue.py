"""Keys and small values of an item's arrays: an OCDBT database, or plain folders.

Both answer the same questions, which keys are stored, what some of them hold and where the bytes lie, so
that shapes, dtypes and routes are known without opening an array. Plain folders need no tensorstore.
"""

import os
from collections.abc import Iterable, Mapping, Set
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from linen_nnx.convert.store.extents import Extent, StoredValue, Walk, read_extents
from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.orbax_metadata import ARRAY_METADATAS, ITEM_FILES


class KeyValues(Protocol):
    """Stored keys (`name/.zarray`, `name/0.0`, `name/zarr.json`, `name/c/0`, …) and their bytes."""

    def keys(self) -> Set[str]:
        """Every key."""
        ...

    def read(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The bytes of `keys`; a key that is not stored is left out."""
        ...

    @property
    def stored(self) -> Mapping[str, StoredValue]:
        """Where the value of each key lies: its bytes, or an extent of a file below `folder`."""
        ...

    @property
    def folder(self) -> Path:
        """What the extents' files are relative to."""
        ...


class PlainFolders:
    """One folder an array, as orbax writes with `use_ocdbt=False`."""

    def __init__(self, folder: Path, skip: frozenset[str]) -> None:
        """Look below `folder`, not into the top-level names `skip`."""
        self.folder = folder
        self._skip = skip | ITEM_FILES | {ARRAY_METADATAS}

    def keys(self) -> Set[str]:
        """Every file below an array's folder."""
        return self._sizes().keys()

    @cached_property
    def stored(self) -> Mapping[str, StoredValue]:
        """A file a key."""
        return {key: Extent(key, 0, size) for key, size in self._sizes().items()}

    def _sizes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        try:
            for child in os.scandir(self.folder):
                if child.name not in self._skip and child.is_dir():
                    found.update(self._files(Path(child.path)))
        except OSError as error:
            raise StorageError(str(error)) from error
        return found

    def _files(self, top: Path) -> Iterable[tuple[str, int]]:
        for base, _, files in os.walk(top):
            relative = Path(base).relative_to(self.folder).as_posix()
            yield from ((f"{relative}/{name}", os.stat(f"{base}/{name}").st_size) for name in files)

    def read(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Read files."""
        try:
            return {key: (self.folder / key).read_bytes() for key in keys if (self.folder / key).is_file()}
        except OSError as error:
            raise StorageError(str(error)) from error


class Ocdbt:
    """One key-value database for all arrays, as orbax writes by default; its index is read as a whole."""

    def __init__(self, folder: Path) -> None:
        """Begin to read the index of the database of `folder`."""
        self.folder = folder
        self._walk = Walk(folder)

    @cached_property
    def _values(self) -> dict[str, StoredValue]:
        try:
            return self._walk.values()
        except ValueError as error:
            raise StorageError(f"cannot open the OCDBT database of {self.folder}: {error}") from error

    @property
    def stored(self) -> Mapping[str, StoredValue]:
        """Inline values as they are, others by extent. Raises `StorageError`."""
        return self._values

    def keys(self) -> Set[str]:
        """Every key of the latest version."""
        return self._values.keys()

    def read(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Inline values at no cost; the others from their files. Raises `StorageError`."""
        found: dict[str, bytes] = {}
        extents: dict[str, Extent] = {}
        for key in keys:
            value = self._values.get(key)
            if isinstance(value, bytes):
                found[key] = value
            elif value is not None:
                extents[key] = value
        return {**found, **read_extents(self.folder, extents)} if extents else found


def ocdbt_spec(folder: Path, path: str = "") -> dict[str, Any]:
    """The tensorstore spec of the key prefix `path` in the database of `folder`."""
    base = {"driver": "file", "path": f"{folder}/"}
    return {"driver": "ocdbt", "base": base, **({"path": path} if path else {})}
