"""Memory that threads use again."""

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
            # Private: shared memory, which is the default, has no huge pages.
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            held = mmap.mmap(-1, max(1, -(-nbytes // HUGE_PAGE)) * HUGE_PAGE, flags=flags)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                held.madvise(mmap.MADV_HUGEPAGE)
            setattr(self._own, name, held)
        return memoryview(held)[:nbytes]
