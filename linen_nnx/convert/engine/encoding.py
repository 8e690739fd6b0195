"""Encode one chunk of values: by our own codec where it is one of ours, else by tensorstore's."""

import json
import sys
from typing import Any

import numpy as np

from linen_nnx.convert.engine.buffers import Buffers
from linen_nnx.convert.engine.codec import bound, chunk_codec
from linen_nnx.convert.engine.tap import Data
from linen_nnx.schema.zarr import ZarrV2, ZarrV3, zarr_json


def encoded_chunk(values: Any, zarr: ZarrV2 | ZarrV3, buffers: Buffers) -> Data:
    """The stored form of a chunk; `values`, in C order, are less than a chunk at the end of an axis.

    What it returns is the thread's own buffer, until the next call.
    """
    codec = chunk_codec(zarr)
    if codec is None or values.shape != zarr.chunk_shape or not bytes_as_here(zarr):
        return _by_tensorstore(values, zarr)
    data = raw(values)
    out = buffers.get("encoded", bound(len(data)))
    return out[: codec.encode(data, out)]


def raw(values: Any) -> memoryview:
    """The bytes of an array in C order."""
    data: memoryview = values.reshape(-1).view(np.uint8).data
    return data


def bytes_as_here(zarr: ZarrV2 | ZarrV3) -> bool:
    """Whether elements are stored in the byte order that numpy has them in."""
    if zarr.spec.dtype.itemsize == 1:
        return True
    big = zarr.dtype.startswith(">") if isinstance(zarr, ZarrV2) else '"big"' in json.dumps(zarr.codecs)
    return sys.byteorder == "little" and not big


def _by_tensorstore(values: Any, zarr: ZarrV2 | ZarrV3) -> bytes:
    """Write an array of that one chunk into memory, and take it from there."""
    import tensorstore as ts

    alone = zarr.reshaped(zarr.chunk_shape, zarr.chunk_shape, zarr.read_chunk_shape)
    spec = {
        "driver": "zarr" if zarr.zarr_format == 2 else "zarr3",
        "kvstore": "memory://",
        "metadata": zarr_json(alone),
        "store_data_equal_to_fill_value": True,
    }
    array = ts.open(spec, create=True, context=ts.Context()).result()
    array[tuple(slice(0, size) for size in values.shape)].write(values).result()
    assert array.kvstore is not None
    return array.kvstore.read(alone.chunk_key((0,) * len(values.shape))).result().value
