"""A legacy checkpoint file of flax (`checkpoint_7`, `flax.serialization.to_bytes`) as a `Source`.

Its arrays are uncompressed chunks of zarr v2 in all but name, so they are described as such and opened in
place: the file is mapped, and what is read is bounded by what is decoded. An optimizer chain is a dict of
digits with `{}` for empty states here, neither the list of a Linen state nor what NNX stores: it is told by
its place, below `opt_state`.
"""

import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from linen_nnx.convert.store.extents import Extent, StoredValue
from linen_nnx.convert.store.location import Location
from linen_nnx.convert.store.msgpack_file import CHUNKED, Names, Node, RawArray, walk
from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.convert.store.target_arrays import fresh_zarr
from linen_nnx.schema.array import ArraySpec, ArrayValue, DType, Empty, EmptyValue, Holder, StringValue, Value
from linen_nnx.schema.errors import CheckpointError
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.orbax_metadata import StorageForm
from linen_nnx.schema.path import DictKey, Key, KeyPath, SequenceKey
from linen_nnx.schema.problem import Code, Problem

STORAGE = StorageForm(ocdbt=True, zarr_format=3, stores_fill_values=False, legacy=True)
"""What is written of such a file: what orbax writes today."""
_RAW = StorageForm(ocdbt=False, zarr_format=2, stores_fill_values=True)
_PLACEHOLDER = "PLACEHOLDER://"


class MsgpackArrays:
    """The arrays of one file by name; implements `KeyValues` as far as a source needs it."""

    def __init__(self, file: Path) -> None:
        """Nothing is mapped yet."""
        self._file = file
        self.folder = file.parent
        self.chunks: dict[str, tuple[RawArray, ...]] = {}
        self.scalars: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}

    def keys(self) -> set[str]:
        """The one chunk of each array."""
        return set(self.stored)

    def read(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Of no use here: there are no files of metadata."""
        return {key: b"" for key in keys if key in self.stored}

    @cached_property
    def stored(self) -> Mapping[str, StoredValue]:
        """The bytes of each array, from the first chunk's to the last's."""
        return {
            f"{name}/{'.'.join('0' for _ in shape) or '0'}": Extent(
                self._file.name, chunks[0].offset, sum(chunk.length for chunk in chunks)
            )
            for name, chunks in self.chunks.items()
            for shape in [self.shapes[name]]
        }

    @cached_property
    def _data(self) -> mmap.mmap:
        with self._file.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def walk(self) -> Iterator[tuple[Names, Node]]:
        """Every leaf of the file."""
        return walk(self._data)

    def opened(self, stored: StoredArray) -> Any:
        """An array as tensorstore has it; one that was stored in chunks is put together in memory."""
        import numpy as np
        import tensorstore as ts

        from linen_nnx.convert.engine.evaluate import numpy_dtype

        if stored.name in self.scalars:
            return ts.array(np.asarray(self.scalars[stored.name]))
        chunks = self.chunks[stored.name]
        dtype = numpy_dtype(stored.zarr.spec.dtype)
        parts = [np.frombuffer(self._data, dtype, c.length // dtype.itemsize, c.offset) for c in chunks]
        flat = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return ts.array(flat.reshape(stored.zarr.shape))


def open_msgpack(location: Location) -> OrbaxItem:
    """Open a file. Raises `CheckpointError` on one that is damaged."""
    arrays = MsgpackArrays(location.item)
    reader = _Reader(location.item, arrays)
    try:
        leaves = list(_joined(list(arrays.walk())))
    except ValueError as error:
        raise CheckpointError.one(
            Code.METADATA_UNREADABLE,
            expected=f"a checkpoint of flax.serialization (msgpack) in {location.item}",
            found=str(error),
            hint="the file is cut short or damaged; take it from another copy of the checkpoint",
        ) from error
    chains = _chains(names for names, _ in leaves)
    entries = [reader.entry(_path(names, chains), node) for names, node in leaves]
    return OrbaxItem(
        location=location,
        storage=STORAGE,
        inventory=Inventory.of(entry for entry in entries if entry is not None),
        arrays=reader.arrays,
        problems=tuple(reader.problems),
        side=None,
    )


def _joined(leaves: Sequence[tuple[Names, Node]]) -> Iterator[tuple[Names, Node | tuple[RawArray, ...]]]:
    """Arrays that were stored in chunks, put together: all that stands below one of them is one leaf."""
    whole = {names[:-1] for names, _ in leaves if names[-1:] == (CHUNKED,)}
    parts: dict[Names, dict[Names, Node]] = {}
    for names, node in leaves:
        at = next((names[:depth] for depth in range(len(names)) if names[:depth] in whole), None)
        if at is None:
            yield names, node
        else:
            parts.setdefault(at, {})[names[len(at) :]] = node
    for at, found in parts.items():
        shape = tuple(int(str(found["shape", str(n)])) for n in range(sum(k[0] == "shape" for k in found)))
        count = sum(key[0] == "chunks" for key in found)
        chunks = [found["chunks", str(n)] for n in range(count)]
        flat = tuple(chunk for chunk in chunks if isinstance(chunk, RawArray))
        if len(flat) != count or not flat:
            raise ValueError(f"the chunks of {'/'.join(at)} are no arrays")
        yield at, (RawArray(shape, flat[0].dtype, flat[0].offset, flat[0].length), *flat[1:])


def _chains(paths: Iterable[Names]) -> set[Names]:
    """The places below `opt_state` whose keys are 0, 1, … without a gap: tuples."""
    keys: dict[Names, set[str]] = {}
    for names in paths:
        if "opt_state" in names:
            for depth in range(names.index("opt_state") + 1, len(names)):
                keys.setdefault(names[:depth], set()).add(names[depth])
    return {place for place, found in keys.items() if found == {str(n) for n in range(len(found))}}


def _path(names: Names, chains: set[Names]) -> KeyPath:
    keys: list[Key] = [
        SequenceKey(int(name)) if names[:depth] in chains else DictKey(name)
        for depth, name in enumerate(names)
    ]
    return KeyPath(tuple(keys))


def _other_size(path: KeyPath, array: RawArray, wanted: int, stored: int) -> Problem:
    shape = f"{array.dtype}[{','.join(map(str, array.shape))}]"
    return Problem(
        code=Code.STORAGE_MISMATCH,
        path=path,
        expected=f"{wanted} bytes, for {shape}",
        found=f"{stored} bytes",
        hint="the file is damaged; take it from another copy of the checkpoint",
    )


class _Reader:
    def __init__(self, file: Path, store: MsgpackArrays) -> None:
        self._file = file
        self._store = store
        self.arrays: dict[KeyPath, StoredArray] = {}
        self.problems: list[Problem] = []

    def entry(self, path: KeyPath, node: Node | tuple[RawArray, ...]) -> Entry | None:
        value = self._value(path, node)
        return None if value is None else Entry(path=path, value=value)

    def _value(self, path: KeyPath, node: Node | tuple[RawArray, ...]) -> Value | None:
        match node:
            case None:
                return EmptyValue()
            case dict():
                chain = "opt_state" in path.names
                return EmptyValue(empty=Empty.NONE if chain else Empty.DICT)
            case str() if not node.startswith(_PLACEHOLDER):
                return StringValue(text=node)
            case bool():
                return self._scalar(path, node, DType.BOOL)
            case int():
                return self._scalar(path, node, DType.INT64)
            case float():
                return self._scalar(path, node, DType.FLOAT64)
            case RawArray():
                return self._array(path, (node,))
            case tuple():
                return self._array(path, node)
            case _:
                self._refuse(path, node)
                return None

    def _refuse(self, path: KeyPath, node: object) -> None:
        elsewhere = isinstance(node, str)
        self.problems.append(
            Problem(
                code=Code.UNSUPPORTED,
                path=path,
                expected="an array, a number, a string or an empty",
                found="an array that lies elsewhere" if elsewhere else f"a {type(node).__name__}",
                hint="restore it with the orbax that wrote it, and save it again" if elsewhere else None,
            )
        )

    def _scalar(self, path: KeyPath, node: object, dtype: DType) -> Value:
        self._store.scalars[path.param_name] = node
        return self._stored(path, (), dtype, Holder.SCALAR)

    def _array(self, path: KeyPath, chunks: tuple[RawArray, ...]) -> Value | None:
        first = chunks[0]
        try:
            dtype = DType(first.dtype)
        except ValueError:
            self._refuse(path, first)
            return None
        wanted, stored = prod(first.shape) * dtype.itemsize, sum(chunk.length for chunk in chunks)
        if wanted != stored:
            self.problems.append(_other_size(path, first, wanted, stored))
            return None
        self._store.chunks[path.param_name] = chunks
        # As flax restores it, whatever kind of array it was.
        return self._stored(path, first.shape, dtype, Holder.NUMPY)

    def _stored(self, path: KeyPath, shape: tuple[int, ...], dtype: DType, holder: Holder) -> Value:
        name, spec = path.param_name, ArraySpec(shape=shape, dtype=dtype)
        zarr = fresh_zarr(spec, _RAW.zarr_format, tuple(max(size, 1) for size in shape))
        self._store.shapes[name] = shape
        self.arrays[path] = StoredArray(self._file.parent, _RAW, path, name, zarr, None, None, self._store)
        return ArrayValue(spec=spec, holder=holder)
