"""Digests that are taken in the background."""

import threading
from collections.abc import Iterable, Set
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from linen_nnx.convert.proof.hashing import Region, Short, digests


class Reading:
    """Takes the digests of regions, until it is said which of them are wanted, and then of these alone."""

    def __init__(self, regions: Iterable[Region], workers: int | None) -> None:
        """Begin."""
        self.regions = frozenset(regions)
        self._wanted: Set[Region] = self.regions
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._found = self._pool.submit(
            digests, tuple(self.regions), workers, self._stop, wanted=lambda region: region in self._wanted
        )

    def keep(self, wanted: Set[Region]) -> None:
        """Leave out what is not read yet and not `wanted`."""
        self._wanted = self.regions & wanted

    def result(self) -> dict[Region, str | Short]:
        """Wait for what is wanted. Raises `StorageError`."""
        return self._found.result()

    def close(self) -> None:
        """Read no more."""
        self._stop.set()
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
