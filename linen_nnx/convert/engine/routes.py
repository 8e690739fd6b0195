"""Choose the route of every write of one item, from stored array metadata alone."""

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from linen_nnx.convert.engine.chunks import Chunked, as_it_is, by_chunk
from linen_nnx.convert.store.extents import Extent, StoredValue
from linen_nnx.convert.store.orbax_sink import TargetEntry
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.convert.store.target_arrays import TargetArray, as_stored, target_array
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.model import record
from linen_nnx.schema.ops import Copy, Origin, Ref, refs
from linen_nnx.schema.options import Chunks, Storing
from linen_nnx.schema.orbax_metadata import StorageForm
from linen_nnx.schema.plan import Write
from linen_nnx.schema.routing import Carriage, Route

DataFile = tuple[Path, str]
"""A file of stored bytes: the item's folder, and its name below it."""


_AS_SOURCE = Storing()


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
            for key in array.zarr.chunk_keys():
                if (value := array.store.stored.get(f"{array.name}/{key}")) is not None:
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


def route(write: Write, items: Items, storage: StorageForm, storing: Storing = _AS_SOURCE) -> Routed:
    """The route of one write into an item of `storage`; how bytes travel is settled by `settle`."""
    if not isinstance(write.value, ArrayValue):
        entry = TargetEntry(write.target, write.value, None)
        return Routed(write, Route.METADATA, Carriage.NONE, entry, None, ())

    source = items[Origin.SOURCE].arrays

    def stored(ref: Ref) -> StoredArray:
        # Nearly all: an enum's own hash is slower than the rest of this.
        return (source if ref.origin is Origin.SOURCE else items[ref.origin].arrays)[ref.path]

    # Most writes of most plans are copies.
    if isinstance(write.op, Copy):
        one = stored(write.op.source)
        sources: tuple[StoredArray, ...] = (one,)
        array, chunked = as_stored(one, storage.zarr_format), as_it_is(one, storage.zarr_format)
    else:
        sources = tuple(map(stored, dict.fromkeys(refs(write.op))))
        array = target_array(write.op, stored, storage.zarr_format)
        chunked = by_chunk(write.op, stored, storage.zarr_format)
    if storing.chunks is Chunks.WHOLE:
        array = array.in_one_chunk()
        chunked = chunked if chunked is not None and chunked.zarr == array.zarr else None
    if chunked is None:
        entry = TargetEntry(write.target, write.value, array.compressed(storing.codec))
        return Routed(write, Route.DECODE, Carriage.NONE, entry, None, sources)
    if chunked.zarr is not array.zarr:
        array = TargetArray(chunked.zarr, array.write_shape, array.sharding)
    entry = TargetEntry(write.target, write.value, array)
    chosen = Route.REFERENCE if isinstance(write.op, Copy) else Route.CHUNK
    same_form = {source.storage.ocdbt for source in sources} <= {storage.ocdbt}
    carriage = Carriage.FILE if same_form else Carriage.VALUE
    return Routed(write, chosen, carriage, entry, chunked, sources)


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
