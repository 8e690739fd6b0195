"""Keys and small values of an item's arrays: an OCDBT database, or plain folders.

Both answer the same two questions, which keys are stored and what some of them hold, so that shapes and
dtypes are known without opening an array. Plain folders need no tensorstore.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.orbax_metadata import ARRAY_METADATAS, ITEM_FILES

_CONCURRENT_READS = 512


class KeyValues(Protocol):
    """Stored keys (`name/.zarray`, `name/0.0`, `name/zarr.json`, `name/c/0`, …) and their bytes."""

    def keys(self) -> set[str]:
        """Every key."""
        ...

    def read(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The bytes of `keys`; a key that is not stored is left out."""
        ...


class PlainFolders:
    """One folder an array, as orbax writes with `use_ocdbt=False`."""

    def __init__(self, folder: Path, skip: frozenset[str]) -> None:
        """Look below `folder`, not into the top-level names `skip`."""
        self._folder = folder
        self._skip = skip | ITEM_FILES | {ARRAY_METADATAS}

    def keys(self) -> set[str]:
        """Every file below an array's folder."""
        found: set[str] = set()
        for child in os.scandir(self._folder):
            if child.name not in self._skip and child.is_dir():
                found.update(self._files(Path(child.path)))
        return found

    def _files(self, top: Path) -> Iterable[str]:
        for folder, _, files in os.walk(top):
            relative = Path(folder).relative_to(self._folder)
            yield from (f"{relative.as_posix()}/{name}" for name in files)

    def read(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Read files."""
        try:
            return {key: (self._folder / key).read_bytes() for key in keys if (self._folder / key).is_file()}
        except OSError as error:
            raise StorageError(str(error)) from error


class Ocdbt:
    """One key-value database for all arrays, as orbax writes by default."""

    def __init__(self, folder: Path) -> None:
        """Open the database of `folder`. Raises `StorageError`."""
        import tensorstore as ts

        try:
            self._store = ts.KvStore.open(ocdbt_spec(folder)).result()
        except ValueError as error:
            raise StorageError(f"cannot open the OCDBT database of {folder}: {error}") from error

    def keys(self) -> set[str]:
        """List the database."""
        try:
            return {key.decode() for key in self._store.list().result()}
        except ValueError as error:
            raise StorageError(f"cannot list the OCDBT database: {error}") from error

    def read(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Read values, many at once."""
        wanted = list(keys)
        values: dict[str, bytes] = {}
        try:
            for start in range(0, len(wanted), _CONCURRENT_READS):
                batch = wanted[start : start + _CONCURRENT_READS]
                futures = [self._store.read(key) for key in batch]
                for key, future in zip(batch, futures, strict=True):
                    answer = future.result()
                    if answer.state == "value":
                        values[key] = bytes(answer.value)
        except ValueError as error:
            raise StorageError(f"cannot read the OCDBT database: {error}") from error
        return values


def ocdbt_spec(folder: Path, path: str = "") -> dict[str, Any]:
    """The tensorstore spec of the key prefix `path` in the database of `folder`."""
    base = {"driver": "file", "path": f"{folder}/"}
    return {"driver": "ocdbt", "base": base, **({"path": path} if path else {})}
