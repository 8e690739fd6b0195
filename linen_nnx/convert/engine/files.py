"""Bring data files into the target: copied by the kernel, or hard-linked. The source is only read."""

import errno
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from linen_nnx.schema.routing import Traffic, Transfer

_AT_ONCE = 256 * 2**20
_NO_COPY = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}
_NO_LINK = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP}


def bring(files: Iterable[tuple[Path, Path]], transfer: Transfer, threads: int) -> Traffic:
    """Put each first file at the place of the second."""
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(lambda pair: _bring(pair[0], pair[1], transfer), list(files)), Traffic())


def _bring(source: Path, target: Path, transfer: Transfer) -> Traffic:
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
    return Traffic(copied=_copy(real, target), unlinked_files=int(transfer is Transfer.LINK))


def _copy(source: Path, target: Path) -> int:
    """How many bytes; durable when it returns."""
    reading = os.open(source, os.O_RDONLY)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            size = os.fstat(reading).st_size
            _copy_bytes(reading, writing, size)
            os.fsync(writing)
            return size
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_bytes(reading: int, writing: int, size: int) -> None:
    done = 0
    within_kernel = hasattr(os, "copy_file_range")
    while done < size:
        wanted = min(_AT_ONCE, size - done)
        try:
            if within_kernel:
                got = os.copy_file_range(reading, writing, wanted, done, done)
            else:
                os.lseek(writing, done, os.SEEK_SET)
                got = os.sendfile(writing, reading, done, wanted)
        except OSError as error:
            if not within_kernel or error.errno not in _NO_COPY:
                raise
            within_kernel = False
            continue
        if got == 0:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        done += got
