"""Where a conversion can be watched: every chunk that the engine makes, moves or copies passes here once."""

from pathlib import Path
from typing import Protocol

Data = bytes | memoryview
"""Bytes of a chunk; those of a `memoryview` are used again afterwards."""


class Watch(Protocol):
    """Sees a data file while it is copied."""

    def passed(self, data: memoryview) -> None:
        """The next bytes, front to back; `data` is used again afterwards."""
        ...


class Tap(Protocol):
    """Called from many threads at once. Keys are those of the item: `params.kernel/0.1`."""

    def stored(self, key: str, value: Data) -> None:
        """A chunk as it goes to the disk. What arrives with a data file is not told."""
        ...

    def elements(self, key: str, data: memoryview) -> None:
        """The elements of a chunk that was made of others, in C order; `data` is used again afterwards."""
        ...

    def carried(self, file: Path) -> Watch | None:
        """A data file of the source is about to be copied; None if its bytes need not be shown."""
        ...


class Untapped:
    """No one watches."""

    def stored(self, key: str, value: Data) -> None:
        """Nothing."""

    def elements(self, key: str, data: memoryview) -> None:
        """Nothing."""

    def carried(self, file: Path) -> None:
        """Let the kernel copy."""
