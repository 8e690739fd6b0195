"""What a running conversion tells: plain events, for whoever draws them."""

import threading
from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Receives events one at a time."""

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


def one_at_a_time(advance: Callable[[int], None]) -> Callable[[int], None]:
    """`advance` for many threads to call."""
    lock = threading.Lock()

    def locked(nbytes: int) -> None:
        with lock:
            advance(nbytes)

    return locked
