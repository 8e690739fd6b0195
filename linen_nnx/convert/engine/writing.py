"""Write bytes at a place of a file."""

import os

_PIECE = 2**16
"""Bytes that are written at a time. Linux takes memory in pieces as large as a write, and large ones are
scarce: a machine that gives free memory back to its host must fetch them again, slower than it copies."""


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """All of `data`, from `offset` bytes on. Raises `OSError`."""
    left = memoryview(data)
    while left:
        done = os.pwrite(descriptor, left[:_PIECE], offset)
        left, offset = left[done:], offset + done
