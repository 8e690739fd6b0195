"""Hold a checkpoint against its receipt: its entries, every stored chunk, every byte of every other file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from linen_nnx.convert.engine.progress import Progress
from linen_nnx.convert.proof.covering import (
    StoredFile,
    arrays_of,
    chunk_regions,
    chunks_of,
    files_of,
    level_folder,
    region_of,
)
from linen_nnx.convert.proof.hashing import Region, Short, digest, digests
from linen_nnx.convert.store.extents import Extent, StoredValue
from linen_nnx.convert.store.location import OWN_FOLDER, Location
from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.convert.validating import differences
from linen_nnx.schema.digest import FileDigest, Level, StoredChunks
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.plan import Place
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.receipt import Receipt, Seal, Sealed
from linen_nnx.schema.residue import SIDE_ITEM

Found = dict[Region, str | Short]


def receipt_problems(
    receipt: Receipt | Seal,
    location: Location,
    opened: OrbaxItem | None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Problem]:
    """Every way in which the state at `location` is not what its receipt says; reads every file once.

    `opened` is None where the state cannot be opened: then files alone are looked at, which names the one
    that is damaged.
    """
    files = _Files(receipt, location)
    arrays = {} if opened is None else arrays_of(opened)
    regions = [*files.regions(), *chunk_regions(arrays.values())]
    found = digests(regions, workers, progress=progress)
    problems = list(files.problems(found))
    if opened is not None:
        problems += _entry_problems(receipt, opened)
        for entry in receipt.entries:
            stored = arrays.get((entry.place, entry.target))
            if stored is not None:
                problems += _chunk_problems(entry, stored, found)
    return problems


class _Files:
    """The files that a receipt names, and those that there are."""

    def __init__(self, receipt: Receipt | Seal, location: Location) -> None:
        # A user who names an item by itself does not speak of the step around it.
        levels = set(Level) if location.step is not None else {Level.ITEM}
        self._location = location
        self._named = {(f.level, f.path): f for f in receipt.files if f.level in levels}
        self._there = {(f.level, f.name): f for f in files_of(location)}

    def _both(self) -> Iterator[tuple[FileDigest, StoredFile]]:
        for name, named in self._named.items():
            if (there := self._there.get(name)) is not None:
                yield named, there

    def regions(self) -> Iterator[Region]:
        """What must be read of files of the right size."""
        for named, there in self._both():
            if there.file.stat().st_size == named.size:
                yield from _spans(named, there.file)

    def problems(self, found: Found) -> Iterator[Problem]:
        """Files that are missing, surplus, of another size or content."""
        for (level, name), named in self._named.items():
            if (level, name) not in self._there:
                file = level_folder(self._location, level) / name
                yield _file_problem(Code.FILE_MISSING, file, f"a file of {named.size} bytes", "nothing")
        for key, there in self._there.items():
            if key not in self._named:
                yield _file_problem(Code.FILE_UNEXPECTED, there.file, "no such file", "one")
        for named, there in self._both():
            yield from _content(named, there.file, found)


def _content(named: FileDigest, file: Path, found: Found) -> Iterator[Problem]:
    size = file.stat().st_size
    if size != named.size:
        yield _file_problem(Code.DIGEST_MISMATCH, file, f"{named.size} bytes", f"{size}")
        return
    for span, region in zip(named.spans, _spans(named, file), strict=True):
        result = found[region]
        if result != span.digest:
            where = f"bytes {span.offset} to {span.offset + span.length}"
            said = result.why if isinstance(result, Short) else "others"
            yield _file_problem(Code.DIGEST_MISMATCH, file, f"the sealed {where}", said)


def _spans(named: FileDigest, file: Path) -> list[Region]:
    return [Region(file, span.offset, span.length) for span in named.spans]


def _file_problem(code: Code, file: Path, expected: str, found: str) -> Problem:
    return Problem(code=code, file=str(file), expected=expected, found=found)


def _entry_problems(receipt: Receipt | Seal, opened: OrbaxItem) -> list[Problem]:
    """Entries of the receipt against those of the metadata."""
    problems = [*opened.problems, *_differences(receipt.entries, Place.ITEM, opened.inventory)]
    if opened.side is None:
        return problems + _differences(receipt.entries, Place.SIDE, Inventory(entries=()))
    kept = Inventory.of(Entry(path=path, value=value) for path, value in opened.side.values.items())
    if opened.side.item is not None:
        problems += opened.side.item.problems
    return problems + _differences(receipt.entries, Place.SIDE, kept)


def _differences(entries: Sequence[Sealed], place: Place, found: Inventory) -> list[Problem]:
    named = Inventory.of(Entry(path=e.target, value=e.value) for e in entries if e.place is place)
    return differences(found, named)


def _chunk_problems(entry: Sealed, stored: StoredArray, found: Found) -> Iterator[Problem]:
    """One problem for an array whose stored chunks are not as they were; it names the first one's file."""
    for sealed in entry.digests:
        if not isinstance(sealed, StoredChunks):
            continue
        chunks = chunks_of(stored)
        if len(chunks) != len(sealed.chunks):
            yield _array_problem(entry, f"{len(sealed.chunks)} chunks", f"{len(chunks)}", None)
            return
        wrong = [
            (key, value, expected)
            for (key, value), expected in zip(chunks, sealed.chunks, strict=True)
            if _digest(stored, value, found) != expected
        ]
        if wrong:
            key, value, expected = wrong[0]
            why = _why(stored, value, expected, found)
            said = f"other bytes in {len(wrong)} of {len(chunks)}, first {key}{why}"
            file = str(stored.folder / value.file) if isinstance(value, Extent) else None
            yield _array_problem(entry, "the sealed bytes of every chunk", said, file)


def _array_problem(entry: Sealed, expected: str, found: str, file: str | None) -> Problem:
    return Problem(
        code=Code.DIGEST_MISMATCH,
        path=entry.target,
        expected=expected,
        found=found,
        item=f"{OWN_FOLDER}/{SIDE_ITEM}" if entry.place is Place.SIDE else None,
        file=file,
    )


def _digest(array: StoredArray, value: StoredValue | None, found: Found) -> str | Short | None:
    match value:
        case None:
            return None
        case bytes():
            return digest(value)
        case Extent():
            return found[region_of(array, value)]


def _why(array: StoredArray, value: StoredValue | None, expected: str | None, found: Found) -> str:
    """What is wrong with a chunk, where it is not merely other bytes."""
    if value is None:
        return ", which is not there"
    if expected is None:
        return ", of which there was none"
    result = _digest(array, value, found)
    return f": {result.why}" if isinstance(result, Short) else ""
