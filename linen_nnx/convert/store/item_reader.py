"""Read the entries of one item: every file of metadata parsed, every array's metadata read, no array byte."""

import json
from collections.abc import Sequence, Set
from pathlib import Path

from linen_nnx.convert.store.extents import out_of_reach
from linen_nnx.convert.store.keyvalue import KeyValues, Ocdbt, PlainFolders
from linen_nnx.convert.store.location import OWN_FOLDER
from linen_nnx.convert.store.metadata_files import Listed, read_shardings, read_written
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.schema.array import ArraySpec, ArrayValue, EmptyValue, Holder, StringValue, Value
from linen_nnx.schema.errors import CheckpointError
from linen_nnx.schema.inventory import Entry
from linen_nnx.schema.orbax_metadata import (
    ARRAY_METADATAS,
    METADATA_FILE,
    SHARDING_FILE,
    STRINGS_FILE,
    NamedSharding,
    StorageForm,
    Written,
    sharding_name,
)
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.zarr import METADATA_KEYS, ZarrV2, ZarrV3, parse_zarr

_HOLDERS = {holder.value: holder for holder in Holder}


class ItemReader:
    """Holds what opening collects: arrays by path, and problems."""

    def __init__(
        self, folder: Path, storage: StorageForm, listed: Sequence[Listed], database: Ocdbt | None
    ) -> None:
        self._folder = folder
        self._storage = storage
        self._listed = listed
        self._store = self._open_store(database)
        self._alike: dict[tuple[int, str | None, str], tuple[ZarrV2 | ZarrV3, ArrayValue]] = {}
        """One object for all arrays that are alike, of which a model has many."""
        self.arrays: dict[KeyPath, StoredArray] = {}
        self.problems: list[Problem] = []

    def entries(self) -> list[Entry]:
        """Every entry of the tree that can be read; the others become problems."""
        self._check_names()
        keys = self._store.keys()
        documents = self._zarr_documents(keys)
        written, shardings, strings = self._written(), self._shardings(), self._strings()
        entries = []
        for entry in self._listed:
            value = self._value(entry, documents, written, shardings, strings)
            if value is not None:
                entries.append(Entry(path=entry.path, value=value))
        self._check_unlisted(documents)
        self._check_chunks(keys)
        return entries

    def _open_store(self, database: Ocdbt | None) -> KeyValues:
        arrays = any(entry.metadata.empty is None for entry in self._listed)
        if not self._storage.ocdbt or (database is None and not arrays):
            return PlainFolders(self._folder, frozenset({OWN_FOLDER}))
        return database or Ocdbt(self._folder)

    def _check_names(self) -> None:
        by_name: dict[str, KeyPath] = {}
        for path, name, metadata in self._listed:
            if name in by_name and metadata.empty is None:
                self._add(
                    Code.NAME_COLLISION,
                    path,
                    "a stored name of its own",
                    f"{name}, which is also that of {by_name[name]}",
                    "orbax joins keys with dots, so one of the two was overwritten when it was saved",
                )
            by_name[name] = path

    def _zarr_documents(self, keys: Set[str]) -> dict[str, ZarrV2 | ZarrV3]:
        suffixes = tuple(f"/{key}" for key in METADATA_KEYS.values())
        documents: dict[str, ZarrV2 | ZarrV3] = {}
        for key, text in self._store.read(key for key in keys if key.endswith(suffixes)).items():
            name = key.rpartition("/")[0]
            try:
                documents[name] = parse_zarr(text)
            except ValueError as error:
                self.problems.append(
                    Problem(
                        code=Code.METADATA_UNREADABLE,
                        expected=f"zarr metadata at {key}",
                        found=str(error).splitlines()[0],
                    )
                )
        return documents

    def _written(self) -> dict[str, Written]:
        files = sorted((self._folder / ARRAY_METADATAS).glob("process_*"))
        return {name: one for file in files for name, one in read_written(file).items()}

    def _shardings(self) -> dict[str, NamedSharding]:
        file = self._folder / SHARDING_FILE
        return read_shardings(file) if file.is_file() else {}

    def _strings(self) -> dict[str, str]:
        file = self._folder / STRINGS_FILE
        return self._json(file) if file.is_file() else {}

    def _json(self, file: Path) -> dict[str, str]:
        try:
            document = json.loads(file.read_bytes())
        except ValueError as error:
            raise CheckpointError.one(
                Code.METADATA_UNREADABLE, expected=f"JSON in {file.name}", found=str(error)
            ) from error
        return {str(key): str(value) for key, value in document.items()}

    def _value(
        self,
        entry: Listed,
        documents: dict[str, ZarrV2 | ZarrV3],
        written: dict[str, Written],
        shardings: dict[str, NamedSharding],
        strings: dict[str, str],
    ) -> Value | None:
        path, name, metadata = entry
        kind = metadata.value_type
        if (holder := _HOLDERS.get(kind)) is None:
            if (empty := metadata.empty) is not None:
                return EmptyValue(empty=empty)
            if kind == "string":
                return self._string(path, name, strings)
            self._add(Code.UNSUPPORTED, path, "an array, a scalar, a string or an empty", f"a {kind}")
            return None
        zarr = documents.pop(name, None)
        if zarr is None:
            self._add(Code.NOT_STORED, path, f"a stored array {name}", "no zarr metadata for it")
            # Something stands here, so that what mirrors it is still looked at.
            return EmptyValue()
        sharding = shardings.get(sharding_name(name)) if shardings else None
        return self._array(entry, holder, zarr, written.get(name), sharding)

    def _string(self, path: KeyPath, name: str, strings: dict[str, str]) -> Value | None:
        if name not in strings:
            self._add(Code.NOT_STORED, path, f"a string in {STRINGS_FILE}", "none")
            return None
        return StringValue(text=strings[name])

    def _array(
        self,
        entry: Listed,
        holder: Holder,
        zarr: ZarrV2 | ZarrV3,
        written: Written | None,
        sharding: NamedSharding | None,
    ) -> Value | None:
        # Equal metadata was parsed once, so that the object tells it; it is held, and its number with it.
        alike = id(zarr), None if written is None else written.key_impl, entry.metadata.value_type
        try:
            if (known := self._alike.get(alike)) is None:
                known = self._alike[alike] = zarr, _array_value(zarr, alike[1], holder)
        except ValueError as error:
            self._add(
                Code.STORAGE_MISMATCH, entry.path, "an array of a jax dtype", str(error).splitlines()[-1]
            )
            return None
        self.arrays[entry.path] = StoredArray(
            self._folder, self._storage, entry.path, entry.name, zarr, written, sharding, self._store
        )
        return known[1]

    def _check_unlisted(self, left: dict[str, ZarrV2 | ZarrV3]) -> None:
        for name, zarr in sorted(left.items()):
            self.problems.append(
                Problem(
                    code=Code.NOT_LISTED,
                    path=KeyPath.of(name),
                    expected=f"an entry for it in {METADATA_FILE}",
                    found=f"a stored array, {zarr.shape}, that no entry names",
                )
            )

    def _check_chunks(self, keys: Set[str]) -> None:
        if isinstance(self._store, Ocdbt):
            self.problems += out_of_reach(self._folder, self._store.stored)
        if not self._storage.stores_fill_values:
            return
        for path, stored in self.arrays.items():
            missing = [key for key in stored.zarr.chunk_keys() if f"{stored.name}/{key}" not in keys]
            if missing:
                self._add(
                    Code.CHUNK_MISSING,
                    path,
                    f"every chunk of {stored.zarr.shape}",
                    f"{len(missing)} missing, first {missing[0]}",
                )

    def _add(self, code: Code, path: KeyPath, expected: str, found: str, hint: str | None = None) -> None:
        self.problems.append(Problem(code=code, path=path, expected=expected, found=found, hint=hint))


def _array_value(zarr: ZarrV2 | ZarrV3, key_impl: str | None, holder: Holder) -> ArrayValue:
    """Raises `ValueError` on an element type that jax does not have, and on keys that are no words."""
    spec = zarr.spec
    if key_impl is not None:
        spec = ArraySpec(shape=spec.shape, dtype=spec.dtype, key_impl=key_impl)
    return ArrayValue(spec=spec, holder=holder)
