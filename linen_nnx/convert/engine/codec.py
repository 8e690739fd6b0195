"""Decode and encode stored chunks without tensorstore, for the codecs that orbax writes.

One pass over each byte: into a buffer that is used again, and out of it. Arrays in any other encoding go
through tensorstore (`blocks`). The bytes of elements are never looked at, so any dtype will do.
"""

import struct
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import zstandard

from linen_nnx.schema.zarr import ZarrV2, ZarrV3

_ABSENT = 2**64 - 1
_READ_AT_ONCE = 4 * 2**20


class ChunkCodec(Protocol):
    """Between a stored chunk and its elements in C order."""

    def decode(self, stored: memoryview, out: memoryview) -> None:
        """Fill `out`. Raises `ValueError` where `stored` is not a chunk of that size."""
        ...

    def encode(self, data: memoryview, out: memoryview) -> int:
        """Put the stored form of `data` into `out`, which has room for `bound` bytes; its length."""
        ...


class Plain:
    """Elements as they are."""

    def decode(self, stored: memoryview, out: memoryview) -> None:
        """Copy."""
        if len(stored) != len(out):
            raise ValueError(f"a chunk of {len(stored)} bytes, not {len(out)}")
        out[:] = stored

    def encode(self, data: memoryview, out: memoryview) -> int:
        """Copy."""
        out[: len(data)] = data
        return len(data)


@dataclass(frozen=True, slots=True)
class Zstd:
    """One zstd frame."""

    level: int
    checksum: bool

    def decode(self, stored: memoryview, out: memoryview) -> None:
        """Decompress straight into `out`."""
        done = 0
        try:
            with zstandard.ZstdDecompressor().stream_reader(stored, read_size=_READ_AT_ONCE) as reader:
                while done < len(out) and (got := reader.readinto(out[done:])):
                    done += got
                left = reader.read(1)
        except zstandard.ZstdError as error:
            raise ValueError(f"a chunk that is not zstd: {error}") from error
        if left:
            raise ValueError(f"a chunk of more than {done} bytes, not {len(out)}")
        if done != len(out):
            raise ValueError(f"a chunk of {done} bytes, not {len(out)}, or one that is cut short")

    def encode(self, data: memoryview, out: memoryview) -> int:
        """Compress at the array's own level."""
        compressor = zstandard.ZstdCompressor(level=self.level, write_checksum=self.checksum)
        done = 0
        with compressor.stream_reader(data, size=len(data)) as reader:
            while got := reader.readinto(out[done:]):
                done += got
        return done


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard of one inner chunk with its index (offset, length, CRC-32C) at the end; zero if absent."""

    inner: ChunkCodec

    def decode(self, stored: memoryview, out: memoryview) -> None:
        """Check the index, then decode the one chunk."""
        index = bytes(stored[-20:])
        if len(index) != 20 or struct.unpack("<I", index[16:]) != (crc32c(index[:16]),):
            raise ValueError("a shard whose index is damaged")
        offset, length = struct.unpack("<QQ", index[:16])
        if offset == _ABSENT:
            out[:] = bytes(len(out))
        else:
            self.inner.decode(stored[offset : offset + length], out)

    def encode(self, data: memoryview, out: memoryview) -> int:
        """The chunk, then the index."""
        length = self.inner.encode(data, out)
        index = struct.pack("<QQ", 0, length)
        out[length : length + 20] = index + struct.pack("<I", crc32c(index))
        return length + 20


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


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), for the few bytes of a shard's index."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
