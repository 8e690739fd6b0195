"""Decode and encode stored chunks without tensorstore, for the codecs that orbax writes.

A chunk is decoded from front to back, into wherever its elements are wanted, and never held as stored. Arrays
in any other encoding go through tensorstore (`blocks`). The bytes of elements are never looked at, so any
dtype will do.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import IO, Any, Protocol, cast

import zstandard

from linen_nnx.convert.store.stored_bytes import StoredBytes
from linen_nnx.schema.zarr import ZarrV2, ZarrV3

_ABSENT = 2**64 - 1
_INDEX = struct.Struct("<QQ")
"""Of a shard of one chunk: where it lies, and its length."""
_FOOT = _INDEX.size + 4
"""Bytes of the index and its CRC-32C."""
WINDOW = 2**19
"""Stored bytes that are read at a time: they stay in a core's cache until they are decoded."""
_ANY_FRAME = 2**31
"""Allow frames of every size of window that zstd has."""


class Elements(Protocol):
    """The elements of one chunk in C order, front to back."""

    def fill(self, out: memoryview) -> None:
        """Fill `out` with the next. Raises `ValueError` where there are not as many, or no such chunk."""
        ...

    def end(self) -> None:
        """Raises `ValueError` where there are more."""
        ...


class ChunkCodec(Protocol):
    """Between a stored chunk and its elements in C order."""

    def open(self, stored: StoredBytes, window: memoryview) -> Elements:
        """Begin to decode; `window` is used to read. Raises `ValueError` where that is no such chunk."""
        ...

    def encode(self, data: memoryview, out: memoryview) -> int:
        """Put the stored form of `data` into `out`, which has room for `bound` bytes; its length."""
        ...


def decode(codec: ChunkCodec, stored: StoredBytes, out: memoryview, window: memoryview) -> None:
    """Fill `out` with a whole chunk. Raises `ValueError` where `stored` is not a chunk of that size."""
    elements = codec.open(stored, window)
    elements.fill(out)
    elements.end()


class Plain:
    """Elements as they are."""

    def open(self, stored: StoredBytes, window: memoryview) -> Elements:
        """Read them where they are wanted."""
        del window
        return _PlainElements(stored)

    def encode(self, data: memoryview, out: memoryview) -> int:
        """Copy."""
        out[: len(data)] = data
        return len(data)


@dataclass(slots=True)
class _PlainElements:
    stored: StoredBytes
    at: int = 0

    def fill(self, out: memoryview) -> None:
        if self.at + len(out) > self.stored.length:
            raise ValueError(f"a chunk of {self.stored.length} bytes, not {self.at + len(out)} or more")
        self.stored.read_at(self.at, out)
        self.at += len(out)

    def end(self) -> None:
        if self.at != self.stored.length:
            raise ValueError(f"a chunk of {self.stored.length} bytes, not {self.at}")


@dataclass(frozen=True, slots=True)
class Zstd:
    """One zstd frame."""

    level: int
    checksum: bool

    def open(self, stored: StoredBytes, window: memoryview) -> Elements:
        """Decompress straight to where the elements are wanted."""
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ANY_FRAME)
        # All that it asks of a file is to be read.
        file = cast("IO[bytes]", _Windows(stored, window))
        return _ZstdElements(decompressor.stream_reader(file, read_size=len(window), closefd=False))

    def encode(self, data: memoryview, out: memoryview) -> int:
        """Compress at the array's own level."""
        compressor = zstandard.ZstdCompressor(level=self.level, write_checksum=self.checksum)
        done = 0
        with compressor.stream_reader(data, size=len(data)) as reader:
            while got := reader.readinto(out[done:]):
                done += got
        return done


@dataclass(slots=True)
class _Windows:
    """Stored bytes as a file that is read once. What `read` returns is used again by the next."""

    stored: StoredBytes
    window: memoryview
    at: int = 0

    def read(self, size: int = -1) -> memoryview:
        left = self.stored.length - self.at
        taken = self.window[: left if size < 0 else min(size, left)]
        self.stored.read_at(self.at, taken)
        self.at += len(taken)
        return taken


@dataclass(slots=True)
class _ZstdElements:
    reader: zstandard.ZstdDecompressionReader
    done: int = 0

    def fill(self, out: memoryview) -> None:
        wanted = self.done + len(out)
        with _as_value_error():
            while out and (got := self.reader.readinto(out)):
                out, self.done = out[got:], self.done + got
        if out:
            raise ValueError(f"a chunk of {self.done} bytes, not {wanted} or more, or one that is cut short")

    def end(self) -> None:
        with _as_value_error():
            left = self.reader.read(1)
        if left:
            raise ValueError(f"a chunk of more than {self.done} bytes")


@contextmanager
def _as_value_error() -> Iterator[None]:
    try:
        yield
    except zstandard.ZstdError as error:
        raise ValueError(f"a chunk that is not zstd: {error}") from error


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard of one inner chunk with its index (offset, length, CRC-32C) at the end; zero if absent."""

    inner: ChunkCodec

    def open(self, stored: StoredBytes, window: memoryview) -> Elements:
        """Check the index, then decode the one chunk."""
        if stored.length < _FOOT:
            raise ValueError("a shard whose index is damaged")
        index = bytearray(_FOOT)
        stored.read_at(stored.length - _FOOT, memoryview(index))
        if struct.unpack("<I", index[_INDEX.size :]) != (crc32c(index[: _INDEX.size]),):
            raise ValueError("a shard whose index is damaged")
        offset, length = _INDEX.unpack(index[: _INDEX.size])
        if offset == _ABSENT:
            return _Zeros()
        if offset + length > stored.length - _FOOT:
            raise ValueError("a shard whose chunk does not lie within it")
        return self.inner.open(stored.part(offset, length), window)

    def encode(self, data: memoryview, out: memoryview) -> int:
        """The chunk, then the index."""
        length = self.inner.encode(data, out)
        index = _INDEX.pack(0, length)
        out[length : length + _FOOT] = index + struct.pack("<I", crc32c(index))
        return length + _FOOT


class _Zeros:
    """The elements of a chunk that is left out."""

    def fill(self, out: memoryview) -> None:
        out[:] = bytes(len(out))

    def end(self) -> None:
        pass


def chunk_codec(zarr: ZarrV2 | ZarrV3) -> ChunkCodec | None:
    """The codec of an array's chunks, or None where it is not one of ours."""
    extra = zarr.model_extra or {}
    if isinstance(zarr, ZarrV3):
        return _v3(zarr, extra.get("fill_value"))
    if extra.get("filters") or extra.get("order", "C") != "C":
        return None
    match extra.get("compressor"):
        case None:
            return Plain()
        case {"id": "zstd", "level": int(level)}:
            return Zstd(level, checksum=False)
        case _:
            return None


def _v3(zarr: ZarrV3, fill: object) -> ChunkCodec | None:
    match zarr.codecs:
        case ({"name": "sharding_indexed", "configuration": dict() as settings},):
            whole = zarr.read_chunk_shape == zarr.chunk_shape
            inner = _linear(settings.get("codecs"))
            zero = fill in (0, False, [0, 0])
            usual = _names(settings.get("index_codecs")) == ["bytes", "crc32c"]
            at_end = settings.get("index_location", "end") == "end"
            return Shard(inner) if inner and whole and zero and usual and at_end else None
        case codecs:
            return _linear(list(codecs))


def _linear(codecs: Any) -> ChunkCodec | None:
    match codecs:
        case [{"name": "bytes"}]:
            return Plain()
        case [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": int(level), **rest}}]:
            return Zstd(level, checksum=bool(rest.get("checksum", False)))
        case _:
            return None


def _names(codecs: Any) -> list[str]:
    return [codec["name"] for codec in codecs or ()]


def bound(nbytes: int) -> int:
    """Room that the stored form of so many bytes never exceeds: zstd's own bound, and a shard's index."""
    return nbytes + nbytes // 128 + 1024


def chunk_nbytes(zarr: ZarrV2 | ZarrV3) -> int:
    """Bytes of one decoded chunk."""
    return prod(zarr.chunk_shape) * zarr.spec.dtype.itemsize


def _table() -> tuple[int, ...]:
    out = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        out.append(value)
    return tuple(out)


_CRC = _table()


def crc32c(data: bytes | bytearray) -> int:
    """CRC-32C (Castagnoli), for the few bytes of a shard's index."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
