"""Walk a file of `flax.serialization`: every leaf, with arrays by where their bytes lie. No array is read.

A map of maps; tuples and lists are maps of digits. Extension types: 1 an array, msgpack of
[shape, name of the dtype, bytes]; 2 a complex number; 3 a numpy scalar, as 1. Arrays of more than 2**30 bytes
are maps {"__msgpack_chunked_array__": True, "shape": {"0": …}, "chunks": {"0": array, …}}, flat, in order.
Source of the facts: flax.serialization of flax 0.8 to 0.12, which all write the same.
"""

import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Any

from msgpack import Unpacker
from msgpack.exceptions import OutOfData

Names = tuple[str, ...]
_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_SIZED = {0xC7: ">B", 0xC8: ">H", 0xC9: ">I"}
_HEADS = {0xC4: 2, 0xC5: 3, 0xC6: 5}
_ARRAY, _SCALAR = 1, 3
CHUNKED = "__msgpack_chunked_array__"


@dataclass(frozen=True, slots=True)
class RawArray:
    """An array as little-endian bytes in C order, at an offset of the file."""

    shape: tuple[int, ...]
    dtype: str
    offset: int
    length: int


Plain = None | bool | int | float | str | bytes | complex
Node = RawArray | Plain | dict[str, Any]
"""A leaf; a dict is an empty one."""


def walk(data: mmap) -> Iterator[tuple[Names, Node]]:
    """Every leaf with the keys that lead to it. Raises `ValueError` on bytes that are no such file."""
    try:
        end = yield from _walk(data, 0, ())
    except (OutOfData, struct.error, IndexError, TypeError, RecursionError) as error:
        raise ValueError(f"it ends before its last value, or is damaged: {error}") from error
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes follow the last value")


def _walk(data: mmap, at: int, names: Names) -> Generator[tuple[Names, Node], None, int]:
    first = data[at]
    if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF):
        count, at = _map_header(data, at)
        if not count:
            yield names, {}
        for _ in range(count):
            key, at = _value(data, at)
            at = yield from _walk(data, at, (*names, str(key)))
        return at
    if first in _EXTENSIONS or first in _SIZED:
        node, at = _extension(data, at)
    else:
        node, at = _value(data, at)
    yield names, node
    return at


def _map_header(data: mmap, at: int) -> tuple[int, int]:
    unpacker = Unpacker()
    unpacker.feed(data[at : at + 5])
    return int(unpacker.read_map_header()), at + int(unpacker.tell())


def _value(data: mmap, at: int) -> tuple[Any, int]:
    """One value of a few bytes, and where the next begins; a long string takes another try."""
    size = 256
    while True:
        unpacker = Unpacker(raw=False, strict_map_key=False)
        unpacker.feed(data[at : at + size])
        try:
            value = unpacker.unpack()
        except OutOfData:
            if at + size >= len(data):
                raise
            size *= 16
            continue
        return value, at + int(unpacker.tell())


def _extension(data: mmap, at: int) -> tuple[Node, int]:
    first = data[at]
    if first in _EXTENSIONS:
        length, head = _EXTENSIONS[first], 1
    else:
        form = _SIZED[first]
        (length,), head = struct.unpack_from(form, data, at + 1), 1 + struct.calcsize(form)
    code, start = data[at + head], at + head + 1
    end = start + length
    if end > len(data):
        raise ValueError(f"an array at byte {at} ends behind the end of the file")
    if code not in (_ARRAY, _SCALAR):
        real, imaginary = _value(data, start)[0]
        return complex(real, imaginary), end
    unpacker = Unpacker(raw=False)
    unpacker.feed(data[start : min(end, start + 1024)])
    unpacker.read_array_header()
    shape, dtype = unpacker.unpack(), unpacker.unpack()
    # What is left is the head of the bytes, of 2, 3 or 5 bytes, and the bytes themselves.
    place = start + int(unpacker.tell())
    if (head_of_bytes := _HEADS.get(data[place])) is None:
        raise ValueError(f"the array at byte {at} has no bytes")
    place += head_of_bytes
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"the array at byte {at} has no shape")
    return RawArray(tuple(shape), str(dtype), place, end - place), end
