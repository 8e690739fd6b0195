"""Digests that are taken while a conversion runs: of what passes the engine, and of what stays as it is.

Chunks that arrive with their data files are digested as they are read from the source, not from the copy:
so a copy that went wrong does not agree with the receipt.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from linen_nnx.convert.engine.routes import Settled
from linen_nnx.convert.engine.tap import Data
from linen_nnx.convert.proof.ahead import Ahead
from linen_nnx.convert.proof.covering import region_of
from linen_nnx.convert.proof.custody import Custody
from linen_nnx.convert.proof.following import Follower
from linen_nnx.convert.proof.hashing import Region, digest, digests, whole
from linen_nnx.convert.proof.measuring import ChunkName
from linen_nnx.convert.proof.reading import Reading
from linen_nnx.convert.store.extents import Extent
from linen_nnx.schema.errors import CheckpointError, raise_if
from linen_nnx.schema.routing import Carriage, Effort, Transfer


@dataclass(frozen=True, slots=True)
class Taken:
    """Digests by the place in the target."""

    stored: dict[ChunkName, str] = field(default_factory=dict)
    elements: dict[ChunkName, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemTap:
    """Takes digests of what goes into the item at `folder`."""

    folder: Path
    taken: Taken
    followed: Mapping[Path, Sequence[Region]]
    """What is wanted of files that are copied."""
    passed: dict[Region, str]
    """Digests of that."""

    def stored(self, key: str, value: Data) -> None:
        """Digest a chunk as stored."""
        self.taken.stored[self.folder, key] = digest(value)

    def elements(self, key: str, data: memoryview) -> None:
        """Digest a chunk's elements."""
        self.taken.elements[self.folder, key] = digest(data)

    def carried(self, file: Path) -> Follower | None:
        """Digest a data file's chunks while it is copied, unless that is done."""
        left = [region for region in self.followed.get(file, ()) if region not in self.passed]
        return Follower(left, self.passed) if left else None


class Observer:
    """Takes digests of the chunks that are carried over with their files, beside the work of the engine.

    Of the sources' other chunks it takes those that their own receipts know, to hold them against these. What
    the engine is going to copy is digested on the way, anything else is read.
    """

    def __init__(
        self,
        items: Sequence[tuple[Path, Settled]],
        custody: Custody,
        effort: Effort,
        ahead: Ahead | None = None,
    ) -> None:
        """Begin to read the sources of `items`: target folder, and what goes into it.

        What is read `ahead` already is not read again.
        """
        self._taken = Taken()
        self._custody = custody
        self._workers = effort.workers
        self._places: dict[Region, list[ChunkName]] = {}
        carried: set[Path] = set()
        for folder, settled in items:
            self._carried(folder, settled)
            self._watched(settled)
            carried.update(file / name for file, name in settled.files)
        copied = carried if effort.transfer is Transfer.COPY else set()
        self._followed: defaultdict[Path, list[Region]] = defaultdict(list)
        at_once: set[Region] = set()
        for region in self._places:
            if region.file in copied:
                self._followed[region.file].append(region)
            else:
                at_once.add(region)
        self._ahead = ahead
        if ahead is not None:
            ahead.keep(at_once)
            at_once -= ahead.regions
        self._passed: dict[Region, str] = {}
        self._reading = Reading(at_once, self._workers)

    def _carried(self, folder: Path, settled: Settled) -> None:
        for write in settled.writes:
            if write.carriage is not Carriage.FILE or write.chunked is None:
                continue
            for key, array, index in write.chunked.chunks():
                place = (folder, f"{write.write.target.param_name}/{key}")
                value = array.chunk(index)
                if isinstance(value, bytes):
                    self._taken.stored[place] = digest(value)
                elif isinstance(value, Extent):
                    self._places.setdefault(region_of(array, value), []).append(place)

    def _watched(self, settled: Settled) -> None:
        for write in settled.writes:
            for array, value in write.values():
                if (
                    isinstance(value, Extent)
                    and (region := region_of(array, value)) in self._custody.expected
                ):
                    self._places.setdefault(region, [])

    def tap(self, folder: Path) -> ItemTap:
        """For the item at `folder`."""
        return ItemTap(folder, self._taken, self._followed, self._passed)

    def result(self) -> Taken:
        """Wait for the rest. Raises `StorageError`, and `CheckpointError` where a source is damaged."""
        read = self._reading.result()
        if self._ahead is not None:
            ahead = self._ahead.result()
            read |= {region: ahead[region] for region in self._places if region in ahead}
        # Of a file that was cloned nothing passed.
        left = [region for region in self._places if region not in read and region not in self._passed]
        taken = self._passed | whole(read | digests(left, self._workers))
        for region, found in taken.items():
            self._taken.stored.update(dict.fromkeys(self._places[region], found))
        raise_if(self._custody.problems_of(taken), CheckpointError)
        return self._taken

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.close()
