"""Write an OCDBT index by hand: one manifest and one leaf node that say where values lie.

Tensorstore offers no call that puts an existing extent of a file under a key. Its format does: a leaf names
values by file, offset and length, and files may have any name below the database. So the index of a target
is written here, uncompressed and in one node, and tensorstore copies it by reference into an index of its own
making (`database.commit`): what stays on disk is tensorstore's alone.

Source of the facts: "Storage format" in tensorstore's documentation of the `ocdbt` driver, format version 0,
and manifests that tensorstore 0.1.76 to 0.1.86 writes (they hold the manifest's kind after the UUID).
"""

import struct
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from linen_nnx.convert.store.extents import Extent, StoredValue

_MANIFEST, _NODE = 0x0CDB3A2A, 0x0CDB20DE
_INLINE, _INDIRECT = 0, 1
_CONFIG = (1024, 100_000_000)
"""Largest inline value and node: of no effect on an index that is only read."""


@dataclass(frozen=True, slots=True)
class Node:
    """An encoded leaf, with the totals that what refers to it must state."""

    data: bytes
    keys: int
    indirect: int
    """Bytes of values that lie in files."""


def leaf_node(values: Mapping[str, StoredValue]) -> Node:
    """A leaf of all `values`; the format has no empty one."""
    entries = sorted((key.encode(), value) for key, value in values.items())
    extents = [value for _, value in entries if isinstance(value, Extent)]
    files = sorted({extent.file.encode() for extent in extents})
    number = {name: at for at, name in enumerate(files)}
    body = [
        b"\0",  # height
        _data_files(files),
        _varint(len(entries)),
        bytes(max(0, len(entries) - 1)),  # no key shares a prefix with the one before
        _varints(len(key) for key, _ in entries),
        b"".join(key for key, _ in entries),
        _varints(value.length if isinstance(value, Extent) else len(value) for _, value in entries),
        bytes(_INDIRECT if isinstance(value, Extent) else _INLINE for _, value in entries),
        _varints(number[extent.file.encode()] for extent in extents),
        _varints(extent.offset for extent in extents),
        b"".join(value for _, value in entries if isinstance(value, bytes)),
    ]
    indirect = sum(extent.length for extent in extents)
    return Node(_framed(_NODE, b"".join(body)), len(entries), indirect)


def manifest(file: str, node: Node) -> bytes:
    """A manifest of one version, whose root is `node`, the whole of `file`."""
    body = [
        uuid.uuid4().bytes,
        b"\0",  # kind: single
        _varints(_CONFIG),
        b"\4",  # arity of the version tree, base-2 logarithm
        b"\0",  # no compression
        _data_files([file.encode()]),
        _varints((1, 1)),  # one version; generation 1
        b"\0",  # height of its root
        _varints((0, 0, len(node.data), node.keys, len(node.data), node.indirect)),
        struct.pack("<Q", 1),  # time of the commit
        _varint(0),  # no nodes of older versions
    ]
    return _framed(_MANIFEST, b"".join(body))


def _data_files(names: list[bytes]) -> bytes:
    """A table of files, each with its whole name and none that its nodes inherit a base from."""
    lengths = _varints(map(len, names))
    return b"".join((_varint(len(names)), bytes(max(0, len(names) - 1)), lengths, bytes(len(names)), *names))


def _framed(magic: int, body: bytes) -> bytes:
    length = 4 + 8 + 2 + len(body) + 4
    framed = struct.pack(">I", magic) + struct.pack("<Q", length) + b"\0\0" + body  # version, no compression
    return framed + _checksum(framed)


def _varint(number: int) -> bytes:
    return _varints((number,))


def _varints(numbers: Iterable[int]) -> bytes:
    out = bytearray()
    for number in numbers:
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


def _checksum(data: bytes) -> bytes:
    """CRC-32C, little-endian. Of megabytes, so by tensorstore's codec, which is where it offers one."""
    import tensorstore as ts

    metadata: dict[str, Any] = {
        "shape": [len(data)],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [len(data)]}},
        "chunk_key_encoding": {"name": "default"},
        "data_type": "uint8",
        "codecs": [{"name": "bytes"}, {"name": "crc32c"}],
    }
    spec = {"driver": "zarr3", "kvstore": "memory://", "metadata": metadata}
    array = ts.open(spec, create=True, context=ts.Context()).result()
    array.write(np.frombuffer(data, np.uint8)).result()
    assert array.kvstore is not None
    return array.kvstore.read("c/0").result().value[-4:]
