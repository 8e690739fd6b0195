"""Which checkpoint a conversion read: its commit, and digests of its files of metadata."""

from linen_nnx.convert.proof.covering import StoredFile, files_of
from linen_nnx.convert.proof.hashing import Region, digests, whole
from linen_nnx.convert.proof.receipts import read_receipt
from linen_nnx.convert.store.location import Location
from linen_nnx.convert.store.metadata_files import parsed
from linen_nnx.schema.digest import FileDigest, Span
from linen_nnx.schema.errors import ProblemsError
from linen_nnx.schema.orbax_metadata import (
    ARRAY_METADATAS,
    CHECKPOINT_METADATA_FILE,
    COMMIT_MARKER,
    ITEM_FILES,
    OCDBT_MANIFEST,
    CheckpointMetadata,
)
from linen_nnx.schema.receipt import Identity

_NAMES = ITEM_FILES | {OCDBT_MANIFEST}


def identity(location: Location) -> Identity:
    """Of the state at `location`. Reads its files of metadata. Raises `StorageError`."""
    legacy = location.item.is_file()
    files = [file for file in files_of(location) if legacy or _is_metadata(file)]
    regions = {file: Region(file.file, 0, file.file.stat().st_size) for file in files}
    found = whole(digests(list(regions.values())))
    folders = {location.step or location.item, location.item}
    return Identity(
        path=str(location.step or location.item),
        step=location.step_number,
        committed=any((folder / COMMIT_MARKER).is_file() for folder in folders),
        commit_timestamp_nsecs=_committed_at(location),
        metadata=tuple(_digest(file, region, found[region]) for file, region in regions.items()),
        receipt=_receipt(location),
    )


def _is_metadata(file: StoredFile) -> bool:
    return file.file.name in _NAMES or file.file.parent.name == ARRAY_METADATAS


def _digest(file: StoredFile, region: Region, digest: str) -> FileDigest:
    span = Span(offset=0, length=region.length, digest=digest)
    return FileDigest(level=file.level, path=file.name, size=region.length, spans=(span,))


def _committed_at(location: Location) -> int | None:
    file = (location.step or location.item) / CHECKPOINT_METADATA_FILE
    return parsed(file, CheckpointMetadata).commit_timestamp_nsecs if file.is_file() else None


def _receipt(location: Location) -> str | None:
    try:
        found = read_receipt(location.item)
    except ProblemsError:
        return None
    return None if found is None else found.digest
