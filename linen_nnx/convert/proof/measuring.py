"""Take the digests of all that an item holds."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from linen_nnx.convert.engine.progress import Progress
from linen_nnx.convert.proof.covering import (
    Address,
    StoredFile,
    arrays_of,
    chunk_regions,
    chunks_of,
    files_of,
    region_of,
    spans_outside,
)
from linen_nnx.convert.proof.hashing import Region, digest, digests, whole
from linen_nnx.convert.store.extents import Extent
from linen_nnx.convert.store.location import Location
from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.schema.digest import FileDigest, Span, StoredChunks

ChunkName = tuple[Path, str]
"""The folder of an item, and the key of a chunk in it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Digests of every array, and of every byte of every file that is in no array."""

    arrays: dict[Address, StoredChunks]
    files: tuple[FileDigest, ...]


def measure(
    item: OrbaxItem,
    known: Mapping[ChunkName, str],
    *,
    besides: Collection[Path] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Read what is not `known` yet. Files `besides` are left out. Raises `StorageError`."""
    arrays = arrays_of(item)
    files = _files(item.location, arrays.values(), besides)
    unknown = [
        region_of(array, value)
        for array in arrays.values()
        for key, value in chunks_of(array)
        if isinstance(value, Extent) and (array.folder, key) not in known
    ]
    regions = [*unknown, *(region for spans in files.values() for region in spans)]
    found = whole(digests(regions, workers, progress=progress))
    return Measured(
        {address: _stored(array, known, found) for address, array in arrays.items()},
        tuple(_file(file, spans, found) for file, spans in files.items()),
    )


def measure_files(item: OrbaxItem, *, besides: Collection[Path] = ()) -> tuple[FileDigest, ...]:
    """Of files alone; of those that hold chunks the size, so that none of their bytes is read."""
    chunks = {region.file for region in chunk_regions(arrays_of(item).values())}
    files = {
        file: [] if file.file in chunks else spans
        for file, spans in _files(item.location, (), besides).items()
    }
    found = whole(digests([region for spans in files.values() for region in spans]))
    return tuple(_file(file, spans, found) for file, spans in files.items())


def _files(
    location: Location, arrays: Collection[StoredArray], besides: Collection[Path]
) -> dict[StoredFile, list[Region]]:
    taken: defaultdict[Path, list[tuple[int, int]]] = defaultdict(list)
    for region in chunk_regions(arrays):
        taken[region.file].append((region.offset, region.length))
    found = {}
    for file in files_of(location):
        if file.file not in besides:
            spans = spans_outside(file.file.stat().st_size, taken[file.file])
            found[file] = [Region(file.file, offset, length) for offset, length in spans]
    return found


def _file(file: StoredFile, spans: list[Region], found: Mapping[Region, str]) -> FileDigest:
    return FileDigest(
        level=file.level,
        path=file.name,
        size=file.file.stat().st_size,
        spans=tuple(Span(offset=r.offset, length=r.length, digest=found[r]) for r in spans),
    )


def _stored(array: StoredArray, known: Mapping[ChunkName, str], found: Mapping[Region, str]) -> StoredChunks:
    chunks: list[str | None] = []
    for key, value in chunks_of(array):
        if value is None:
            chunks.append(None)
        elif (taken := known.get((array.folder, key))) is not None:
            chunks.append(taken)
        else:
            chunks.append(digest(value) if isinstance(value, bytes) else found[region_of(array, value)])
    return StoredChunks(chunks=tuple(chunks))
