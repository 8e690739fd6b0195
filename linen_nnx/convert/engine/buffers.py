"""Memory that threads use again, and a bound on the bytes that are on their way to the disk."""

import mmap
import threading

HUGE_PAGE = 2**21


class Buffers:
    """One buffer a thread and name, as large as its largest use; huge pages spare most page faults."""

    def __init__(self) -> None:
        """No buffer yet."""
        self._own = threading.local()

    def get(self, name: str, nbytes: int) -> memoryview:
        """`nbytes` of the thread's buffer `name`; its content is what it was."""
        held: mmap.mmap | None = getattr(self._own, name, None)
        if held is None or len(held) < nbytes:
            held = mmap.mmap(-1, max(1, -(-nbytes // HUGE_PAGE)) * HUGE_PAGE)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                held.madvise(mmap.MADV_HUGEPAGE)
            setattr(self._own, name, held)
        return memoryview(held)[:nbytes]


class Window:
    """A bound on bytes; one that is larger than the bound passes alone."""

    def __init__(self, limit: int) -> None:
        """Nothing is held."""
        self._limit = limit
        self._held = 0
        self._changed = threading.Condition()

    def enter(self, nbytes: int) -> None:
        """Wait until there is room."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + nbytes <= self._limit)
            self._held += nbytes

    def leave(self, nbytes: int) -> None:
        """Make room."""
        with self._changed:
            self._held -= nbytes
            self._changed.notify_all()
