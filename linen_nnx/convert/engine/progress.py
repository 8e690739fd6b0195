"""What a running conversion tells: plain events, for whoever draws them."""

from typing import Protocol


class Progress(Protocol):
    """Receives events from one thread."""

    def start(self, total: int) -> None:
        """`total` bytes of target arrays will be written."""
        ...

    def advance(self, nbytes: int) -> None:
        """`nbytes` more are stored."""
        ...


class Silent:
    """No one listens."""

    def start(self, total: int) -> None:
        """Nothing."""

    def advance(self, nbytes: int) -> None:
        """Nothing."""
