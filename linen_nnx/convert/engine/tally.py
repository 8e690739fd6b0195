"""Counts the values that a cast has changed."""

import threading


class Tally:
    """A number that many threads add to."""

    def __init__(self) -> None:
        """None yet."""
        self.rounded = 0
        self._lock = threading.Lock()

    def add(self, rounded: int) -> None:
        """So many more."""
        with self._lock:
            self.rounded += rounded
