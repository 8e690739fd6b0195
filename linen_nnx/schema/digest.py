"""Digests of what a checkpoint holds: of arrays by chunk, of everything else by file.

All are BLAKE3 of 32 bytes, in hexadecimal. Every byte of every file of an item has one place: it belongs to
a stored chunk of an array, or to a span of a file.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from linen_nnx.schema.model import Model

Blake3 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class StoredChunks(Model):
    """Of the bytes of each chunk as they are stored, so as they were compressed, in C order of the grid.

    None is a chunk that is left out, being all fill value. These are what `verify` reads: no byte is decoded.
    """

    kind: Literal["stored"] = "stored"
    chunks: tuple[Blake3 | None, ...]


class LogicalChunks(Model):
    """Of the elements of each part of an array, little endian in C order, in C order of the grid of parts.

    The parts are of `part_shape`, which divides the array's shape; where it is the array's shape, the one
    digest is that of the whole array. They outlive another compression, and are what `--restore` is held
    against. Elements of less than a byte take one.
    """

    kind: Literal["logical"] = "logical"
    part_shape: tuple[Annotated[int, Field(ge=0)], ...]
    chunks: tuple[Blake3, ...]


ChunkDigests = Annotated[StoredChunks | LogicalChunks, Field(discriminator="kind")]


class Level(StrEnum):
    """The folder that the path of a file is relative to."""

    ITEM = "item"
    """The item that holds the receipt."""
    STEP = "step"
    """The step folder around it: its metadata, its commit marker, and a state's second item."""


class Span(Model):
    """A run of bytes of a file that are no chunk of an array."""

    offset: Annotated[int, Field(ge=0)]
    length: Annotated[int, Field(ge=0)]
    digest: Blake3


class FileDigest(Model):
    """A file: its size, and all of its bytes but those of chunks (metadata, indexes, markers, dead bytes)."""

    level: Level = Level.ITEM
    path: str
    """POSIX, relative to the folder that `level` names."""
    size: Annotated[int, Field(ge=0)]
    spans: tuple[Span, ...]
