"""Stored arrays, and how to read them through tensorstore."""

from dataclasses import field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from linen_nnx.convert.store.extents import StoredValue
from linen_nnx.convert.store.keyvalue import KeyValues, ocdbt_spec
from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.model import record
from linen_nnx.schema.orbax_metadata import NamedSharding, StorageForm, Written
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.zarr import ZarrV2, ZarrV3, zarr_json


@record
class StoredArray:
    """One array as stored: the item and name it has there, its zarr metadata, how the writer sliced it."""

    folder: Path
    storage: StorageForm
    path: KeyPath
    name: str
    zarr: ZarrV2 | ZarrV3
    written: Written | None
    sharding: NamedSharding | None
    store: KeyValues = field(repr=False, compare=False)

    def chunk(self, index: tuple[int, ...]) -> StoredValue | None:
        """Where the chunk at `index` of the grid lies; None where it is left out, being all fill value."""
        return self.store.stored.get(f"{self.name}/{self.zarr.chunk_key(index)}")

    def values(self) -> list[StoredValue]:
        """Where each of its chunks lies that is not left out."""
        stored, keys = self.store.stored, self.zarr.chunk_keys()
        return [value for key in keys if (value := stored.get(f"{self.name}/{key}")) is not None]

    def at(self, index: tuple[int, ...]) -> "tuple[StoredArray, tuple[int, ...]]":
        """The array itself and the index: where the chunk of a copy comes from."""
        return self, index

    def where(self, value: StoredValue) -> str:
        """Where a stored value lies, for a message."""
        if isinstance(value, bytes):
            return f"a value in the index of {self.folder}"
        return f"{self.folder / value.file}, bytes {value.offset} to {value.offset + value.length}"


@runtime_checkable
class Opener(Protocol):
    """A store that opens its arrays itself: they are in no format that tensorstore reads."""

    def opened(self, stored: StoredArray) -> Any:
        """The array as tensorstore has it."""
        ...


def open_array(stored: StoredArray, context: Any = None) -> Any:
    """Open a stored array on its known metadata; nothing is read. Raises `StorageError`.

    A `context` of tensorstore's may keep decoded chunks: what was written before it was opened is not seen.
    """
    import tensorstore as ts

    if isinstance(stored.store, Opener):
        return stored.store.opened(stored)
    if stored.storage.ocdbt:
        kvstore = ocdbt_spec(stored.folder, f"{stored.name}/")
    else:
        kvstore = {"driver": "file", "path": f"{stored.folder}/{stored.name}/"}
    driver = "zarr" if stored.zarr.zarr_format == 2 else "zarr3"
    spec = {"driver": driver, "kvstore": kvstore, "metadata": zarr_json(stored.zarr)}
    try:
        return ts.open(
            spec, open=True, assume_metadata=True, context=context, recheck_cached_data="open"
        ).result()
    except (ValueError, OverflowError) as error:
        raise StorageError(f"cannot open {stored.name}: {error}") from error


def read_array(stored: StoredArray) -> Any:
    """One whole array, as numpy. Raises `StorageError`."""
    try:
        return open_array(stored).read().result()
    except ValueError as error:
        raise StorageError(f"cannot read {stored.name}: {error}") from error
