"""The standard streams, in whatever state the caller left them."""

import io
import os
import sys
from typing import TextIO


def mend() -> None:
    """Make both streams take every text.

    A stream that was closed (`>&-`) takes it and shows nothing; a character that the encoding of a terminal
    does not have (of a path, say) is shown by its number.
    """
    sys.stdout = _open(sys.stdout)
    sys.stderr = _open(sys.stderr)


def ignore_stderr() -> None:
    """Take what is for people and show it to nobody: who read it is gone. The result is what counts."""
    sys.stderr = _open(None)


def _open(stream: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream
