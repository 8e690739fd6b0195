"""Bring data files into the target: copied, or hard-linked. The source is only read.

A copy that someone watches goes through a buffer that stays in the core's cache, so that what is digested on
the way is read once; any other is made by the kernel.
"""

import errno
import fcntl
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from linen_nnx.convert.engine.buffers import Buffers
from linen_nnx.convert.engine.tap import Tap, Watch
from linen_nnx.convert.engine.writing import write_at
from linen_nnx.convert.store.extents import readable
from linen_nnx.schema.routing import Traffic, Transfer

_WINDOW = 2**19
"""Bytes that are read and watched at a time."""
_STRETCH = 2**25
"""Bytes of a copy that are handed to the disk at a time, while the next are copied."""
_NO_COPY = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}
_NO_LINK = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP}
_FICLONE = 0x40049409
"""Of `linux/fs.h`: let two files share their blocks until one is written to (XFS, btrfs)."""


def bring(files: Iterable[tuple[Path, Path]], transfer: Transfer, threads: int, tap: Tap) -> Traffic:
    """Put each first file at the place of the second, the largest first; `tap` may watch what is copied."""
    buffers = Buffers()
    ordered = sorted(files, key=lambda pair: pair[0].stat().st_size, reverse=True)
    with ThreadPoolExecutor(threads) as pool:
        return sum(
            pool.map(lambda pair: _bring(pair[0], pair[1], transfer, tap, buffers), ordered), Traffic()
        )


def _bring(source: Path, target: Path, transfer: Transfer, tap: Tap, buffers: Buffers) -> Traffic:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    # A link to a link would be one: the file itself is meant.
    real = source.resolve()
    if transfer is Transfer.LINK:
        try:
            os.link(real, target)
            return Traffic(linked=real.stat().st_size)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
    copied = _copy(source, target, tap, buffers)
    return Traffic(copied=copied, unlinked_files=int(transfer is Transfer.LINK))


def _copy(source: Path, target: Path, tap: Tap, buffers: Buffers) -> int:
    """How many bytes; durable when it returns."""
    with readable(source):
        reading = os.open(source, os.O_RDONLY)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            size = os.fstat(reading).st_size
            if not _cloned(reading, writing):
                watch = tap.carried(source)
                for start, stop in _stretches(size):
                    if watch is None:
                        _copy_within_kernel(reading, writing, start, stop)
                    else:
                        _copy_watched(reading, writing, start, stop, watch, buffers)
                    if hasattr(os, "posix_fadvise"):
                        # Starts writing to the disk now; what is not written yet stays in memory.
                        os.posix_fadvise(writing, start, stop - start, os.POSIX_FADV_DONTNEED)
            os.fsync(writing)
            return size
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _cloned(reading: int, writing: int) -> bool:
    """Whether the filesystem lets both files share their blocks, so that there is nothing to copy."""
    try:
        return sys.platform == "linux" and fcntl.ioctl(writing, _FICLONE, reading) == 0
    except OSError:
        return False


def _stretches(size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, size, _STRETCH):
        yield start, min(start + _STRETCH, size)


def _copy_watched(reading: int, writing: int, start: int, stop: int, watch: Watch, buffers: Buffers) -> None:
    window = buffers.get("window", _WINDOW)
    while start < stop:
        got = _not_short(os.preadv(reading, [window[: min(_WINDOW, stop - start)]], start))
        watch.passed(window[:got])
        write_at(writing, window[:got], start)
        start += got


def _copy_within_kernel(reading: int, writing: int, start: int, stop: int) -> None:
    within_kernel = hasattr(os, "copy_file_range")
    while start < stop:
        try:
            if within_kernel:
                got = os.copy_file_range(reading, writing, stop - start, start, start)
            else:
                os.lseek(writing, start, os.SEEK_SET)
                got = os.sendfile(writing, reading, start, stop - start)
        except OSError as error:
            if not within_kernel or error.errno not in _NO_COPY:
                raise
            within_kernel = False
            continue
        start += _not_short(got)


def _not_short(got: int) -> int:
    if got == 0:
        raise OSError(errno.EIO, "the file became shorter while it was copied")
    return got
