"""Choose the route of every write of one item, from stored array metadata alone."""

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from linen_nnx.convert.engine.chunks import Chunked, by_chunk
from linen_nnx.convert.store.extents import Extent, StoredValue
from linen_nnx.convert.store.orbax_sink import TargetEntry
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.convert.store.target_arrays import TargetArray, as_stored, target_array
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.model import record
from linen_nnx.schema.ops import Copy, Op, Origin, Ref, Take, refs
from linen_nnx.schema.options import Chunks, Storing
from linen_nnx.schema.orbax_metadata import StorageForm
from linen_nnx.schema.plan import Write
from linen_nnx.schema.routing import Carriage, Route

DataFile = tuple[Path, str]
"""A file of stored bytes: the item's folder, and its name below it."""


_NOWHERE: frozenset[tuple[DataFile, Extent]] = frozenset()
_NOTHING: frozenset[DataFile] = frozenset()


@record
class Routed:
    """One write with all that carrying it out needs."""

    write: Write
    route: Route
    carriage: Carriage
    entry: TargetEntry
    chunked: Chunked | None
    sources: tuple[StoredArray, ...]

    @property
    def array(self) -> TargetArray:
        """The storage of the target array; only where there is one."""
        if self.entry.array is None:
            raise TypeError(f"{self.write.target} is no array")
        return self.entry.array

    def values(self) -> Iterator[tuple[StoredArray, StoredValue]]:
        """Every stored chunk that is read, once."""
        # What keeps its chunks has them under the keys that its source has.
        if self.chunked is not None and self.route is not Route.REFERENCE:
            for _, array, index in self.chunked.chunks():
                if (value := array.chunk(index)) is not None:
                    yield array, value
            return
        for array in self.sources:
            for value in array.values():
                yield array, value

    def stored(self) -> tuple[int, Set[tuple[DataFile, Extent]]]:
        """The stored bytes that are read, and where those lie that are in data files."""
        nbytes = 0
        extents: set[tuple[DataFile, Extent]] = set()
        for array, value in self.values():
            if isinstance(value, Extent):
                extents.add(((array.folder, value.file), value))
                nbytes += value.length
            else:
                nbytes += len(value)
        return nbytes, extents or _NOWHERE


class Router:
    """Finds the route of each write into one item of `storage`; how bytes travel is settled by `settle`."""

    def __init__(self, items: Items, storage: StorageForm, storing: Storing) -> None:
        self._items = items
        self._source = items[Origin.SOURCE].arrays
        self._storage = storage
        self._storing = storing
        self._copies: dict[tuple[int, int, int], TargetArray] = {}
        """How copies of arrays are stored that are stored alike themselves."""
        self._slices: dict[tuple[int, int], tuple[Op, TargetArray]] = {}
        """How the slices of an op's array are stored, all of them alike: by the op's number and the axis."""
        self._encoded: dict[int, tuple[TargetArray, TargetArray]] = {}
        """How what is decoded is stored: by the number of how it would be with the source's codec."""

    def route(self, write: Write) -> Routed:
        """The route of one write."""
        if not isinstance(write.value, ArrayValue):
            entry = TargetEntry(write.target, write.value, None)
            return Routed(write, Route.METADATA, Carriage.NONE, entry, None, ())
        # Most writes of most plans are copies.
        if isinstance(write.op, Copy):
            one = self._stored(write.op.source)
            sources: tuple[StoredArray, ...] = (one,)
            array = self._copy(one)
        else:
            sources = tuple(map(self._stored, dict.fromkeys(refs(write.op))))
            array = self._target(write.op)
        chunked = by_chunk(write.op, self._stored, self._storage.zarr_format)
        if self._storing.chunks is Chunks.WHOLE:
            array = array.in_one_chunk()
            chunked = chunked if chunked is not None and chunked.zarr == array.zarr else None
        if chunked is None:
            entry = TargetEntry(write.target, write.value, self._compressed(array))
            return Routed(write, Route.DECODE, Carriage.NONE, entry, None, sources)
        if chunked.zarr is not array.zarr:
            array = TargetArray(chunked.zarr, array.write_shape, array.sharding)
        entry = TargetEntry(write.target, write.value, array)
        chosen = Route.REFERENCE if isinstance(write.op, Copy) else Route.CHUNK
        same_form = {source.storage.ocdbt for source in sources} <= {self._storage.ocdbt}
        carriage = Carriage.FILE if same_form else Carriage.VALUE
        return Routed(write, chosen, carriage, entry, chunked, sources)

    def _stored(self, ref: Ref) -> StoredArray:
        # Nearly all: an enum's own hash is slower than the rest of this.
        return (self._source if ref.origin is Origin.SOURCE else self._items[ref.origin].arrays)[ref.path]

    def _copy(self, one: StoredArray) -> TargetArray:
        # What arrays share is one object, which their item holds, and its number with it.
        alike = id(one.zarr), id(one.written), id(one.sharding)
        if (known := self._copies.get(alike)) is None:
            known = self._copies[alike] = as_stored(one, self._storage.zarr_format)
        return known

    def _compressed(self, array: TargetArray) -> TargetArray:
        # As with slices: the array is held, and its number with it.
        if (known := self._encoded.get(id(array))) is None:
            known = self._encoded[id(array)] = array, array.compressed(self._storing.codec)
        return known[1]

    def _target(self, op: Op) -> TargetArray:
        if not isinstance(op, Take):
            return target_array(op, self._stored, self._storage.zarr_format)
        # The op is held, and its number with it.
        alike = id(op.of), op.axis
        if (known := self._slices.get(alike)) is None:
            made = target_array(op, self._stored, self._storage.zarr_format)
            known = self._slices[alike] = op.of, made
        return known[1]


@dataclass(frozen=True, slots=True)
class Settled:
    """The writes of one item, and the data files that come along."""

    writes: tuple[Routed, ...]
    nbytes: tuple[int, ...]
    """Stored bytes that each of the writes reads."""
    files: dict[DataFile, int]
    """Size of each data file that is carried over."""
    sparse: int
    """Data files whose values are moved instead."""


def settle(writes: Sequence[Routed], storage: StorageForm) -> Settled:
    """Decide which data files come along: those of which the target refers to half of the bytes or more."""
    live: Counter[DataFile] = Counter()
    needs: list[Set[DataFile]] = []
    nbytes: list[int] = []
    for write in writes:
        stored, extents = write.stored()
        nbytes.append(stored)
        carried_over = extents if write.carriage is Carriage.FILE else _NOWHERE
        needs.append({file for file, _ in carried_over} if carried_over else _NOTHING)
        for file, extent in carried_over:
            live[file] += extent.length
    sizes = {file: (file[0] / file[1]).stat().st_size for file in live}
    sparse = {file for file, size in sizes.items() if storage.ocdbt and 2 * live[file] < size}
    settled: list[Routed] = []
    carried: set[DataFile] = set()
    for write, files in zip(writes, needs, strict=True):
        if files & sparse:
            settled.append(replace(write, carriage=Carriage.VALUE))
        else:
            carried |= files
            settled.append(write)
    return Settled(tuple(settled), tuple(nbytes), {file: sizes[file] for file in carried}, len(sparse))
