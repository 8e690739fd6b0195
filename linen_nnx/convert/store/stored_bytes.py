"""The bytes of one stored value, read piece by piece wherever they lie."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from linen_nnx.convert.store.extents import Extent, StoredValue, readable, short_file


class StoredBytes(Protocol):
    """So many bytes, of which any may be read."""

    @property
    def length(self) -> int:
        """In bytes."""
        ...

    def read_at(self, offset: int, out: memoryview) -> None:
        """Fill `out` with what begins at `offset`. Raises `StorageError`."""
        ...

    def part(self, offset: int, length: int) -> Self:
        """Some of them."""
        ...


@dataclass(frozen=True, slots=True)
class InMemory:
    """Bytes that were read with the index."""

    data: memoryview

    @property
    def length(self) -> int:
        """In bytes."""
        return len(self.data)

    def read_at(self, offset: int, out: memoryview) -> None:
        """Copy."""
        out[:] = self.data[offset : offset + len(out)]

    def part(self, offset: int, length: int) -> "InMemory":
        """Some of them."""
        return InMemory(self.data[offset : offset + length])


@dataclass(frozen=True, slots=True)
class InFile:
    """An extent of a file that is open."""

    file: Path
    descriptor: int
    start: int
    length: int

    def read_at(self, offset: int, out: memoryview) -> None:
        """Read into `out`, past no buffer of Python's."""
        at = self.start + offset
        with readable(self.file):
            while out:
                got = os.preadv(self.descriptor, [out], at)
                if got == 0:
                    raise short_file(self.file, self.start + self.length)
                out, at = out[got:], at + got

    def part(self, offset: int, length: int) -> "InFile":
        """Some of them."""
        return replace(self, start=self.start + offset, length=length)


@contextmanager
def opened(folder: Path, value: StoredValue) -> Iterator[StoredBytes]:
    """The bytes of a value of the item at `folder`. Raises `StorageError`."""
    if not isinstance(value, Extent):
        yield InMemory(memoryview(value))
        return
    path = folder / value.file
    with readable(path):
        descriptor = os.open(path, os.O_RDONLY)
    try:
        yield InFile(path, descriptor, value.offset, value.length)
    finally:
        os.close(descriptor)
