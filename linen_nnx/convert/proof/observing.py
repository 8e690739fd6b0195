"""Digests that are taken while a conversion runs: of what passes the engine, and of what stays as it is.

Chunks that arrive with their data files are read from the source, not from the copy: so a copy that went
wrong does not agree with the receipt.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from linen_nnx.convert.engine.routes import Settled
from linen_nnx.convert.engine.tap import Data
from linen_nnx.convert.proof.covering import region_of
from linen_nnx.convert.proof.custody import Custody
from linen_nnx.convert.proof.hashing import Region, Short, digest, digests
from linen_nnx.convert.proof.measuring import ChunkName
from linen_nnx.convert.store.extents import Extent
from linen_nnx.schema.errors import CheckpointError, StorageError, raise_if
from linen_nnx.schema.routing import Carriage


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

    def stored(self, key: str, value: Data) -> None:
        """Digest a chunk as stored."""
        self.taken.stored[self.folder, key] = digest(value)

    def elements(self, key: str, data: memoryview) -> None:
        """Digest a chunk's elements."""
        self.taken.elements[self.folder, key] = digest(data)


class Observer:
    """Takes digests of the chunks that are carried over with their files, beside the work of the engine.

    Of the sources' other chunks it takes those that their own receipts know, to hold them against these.
    """

    def __init__(self, items: Sequence[tuple[Path, Settled]], custody: Custody, workers: int | None) -> None:
        """Begin to read the sources of `items`: target folder, and what goes into it."""
        self._taken = Taken()
        self._custody = custody
        self._places: dict[Region, list[ChunkName]] = {}
        for folder, settled in items:
            self._carried(folder, settled)
            self._watched(settled)
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._reading: Future[dict[Region, str | Short]] = self._pool.submit(
            digests, list(self._places), workers, self._stop
        )

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
        return ItemTap(folder, self._taken)

    def result(self) -> Taken:
        """Wait for the rest. Raises `StorageError`, and `CheckpointError` where a source is damaged."""
        digests: dict[Region, str] = {}
        for region, found in self._reading.result().items():
            if isinstance(found, Short):
                raise StorageError(f"cannot read {region.file}: {found.why}")
            digests[region] = found
            self._taken.stored.update(dict.fromkeys(self._places[region], found))
        raise_if(self._custody.problems_of(digests), CheckpointError)
        return self._taken

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown()
