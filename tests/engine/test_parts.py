"""The engine's small parts: codecs, buffers, waves, metadata of chunked arrays."""

import random
import subprocess
import sys
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tensorstore as ts

from linen_nnx.convert.engine.apart import piece_nbytes, take_apart
from linen_nnx.convert.engine.buffers import Buffers
from linen_nnx.convert.engine.codec import (
    WINDOW,
    ChunkCodec,
    Plain,
    Zstd,
    bound,
    chunk_codec,
    chunk_nbytes,
    crc32c,
    decode,
)
from linen_nnx.convert.engine.memory import most_resident
from linen_nnx.convert.engine.run import Work, peak, waves
from linen_nnx.convert.engine.sink import Sink
from linen_nnx.convert.store.stored_bytes import InMemory
from linen_nnx.convert.store.target_arrays import fresh_zarr, recoded
from linen_nnx.schema.array import ArraySpec, DType
from linen_nnx.schema.routing import Effort
from linen_nnx.schema.zarr import ZarrV3, parse_zarr, zarr_json


def test_crc32c_is_castagnoli() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16, DType.BOOL, DType.INT4, DType.COMPLEX64])
def test_chunks_are_those_of_tensorstore(zarr_format: int, dtype: DType) -> None:
    zarr = fresh_zarr(ArraySpec(shape=(5, 7), dtype=dtype), zarr_format, (5, 7))
    driver, key = ("zarr", "0.0") if zarr_format == 2 else ("zarr3", "c/0/0")
    spec = {"driver": driver, "kvstore": "memory://", "metadata": zarr_json(zarr)}
    context = ts.Context()
    array = ts.open(spec, create=True, context=context).result()
    values = np.random.default_rng(0).integers(0, 2, (5, 7)).astype(array.dtype.numpy_dtype)
    array.write(values).result()
    store = array.kvstore
    assert store is not None
    codec = chunk_codec(zarr)
    assert codec is not None
    out = memoryview(bytearray(chunk_nbytes(zarr)))
    decode(codec, InMemory(memoryview(store.read(key).result().value)), out, memoryview(bytearray(16)))
    assert bytes(out) == values.tobytes()
    other = np.flip(values).copy()
    room = memoryview(bytearray(bound(other.nbytes)))
    store.write(key, bytes(room[: codec.encode(memoryview(other.tobytes()), room)])).result()
    again = ts.open(spec, open=True, context=context, recheck_cached_data=True).result()
    assert again.read().result().tobytes() == other.tobytes()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_damaged_chunk_is_refused(zarr_format: int) -> None:
    zarr = fresh_zarr(ArraySpec(shape=(64,), dtype=DType.FLOAT32), zarr_format, (64,))
    codec, window = chunk_codec(zarr), memoryview(bytearray(16))
    assert codec is not None
    room = memoryview(bytearray(bound(256)))
    whole = bytes(room[: codec.encode(memoryview(bytes(range(256))), room)])
    for damaged in (whole[:-1], whole[:10], b"", whole[:5] + b"\xff" * 8 + whole[13:]):
        with pytest.raises(ValueError, match=r"shard|chunk"):
            decode(codec, InMemory(memoryview(damaged)), memoryview(bytearray(256)), window)
    for other in (255, 257):
        with pytest.raises(ValueError, match="bytes"):
            decode(codec, InMemory(memoryview(whole)), memoryview(bytearray(other)), window)


SHAPES = [(3, 1, 40), (3, 5, 7), (4, 700, 96), (2, 3, 70_000), (5, 90_000, 2), (1, 9, 8), (200, 3, 3000)]
"""Layers, runs, bytes of a run: decoded at once, by pieces, and run by run."""


@pytest.mark.parametrize(
    "codec", [Plain(), Zstd(1, checksum=True), Zstd(-1, checksum=False)], ids=["plain", "zstd", "fast"]
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layers_of_a_chunk_come_apart_as_numpy_takes_them_apart(
    shape: tuple[int, int, int], codec: ChunkCodec
) -> None:
    layers, runs, run = shape
    chunk = np.random.default_rng(0).integers(0, 9, (runs, layers, run), np.uint8)
    room = memoryview(bytearray(bound(chunk.nbytes)))
    stored = InMemory(room[: codec.encode(memoryview(chunk.tobytes()), room)])
    out, buffers = memoryview(bytearray(chunk.nbytes)), Buffers()
    take_apart(codec.open(stored, buffers.get("window", WINDOW)), out, shape, buffers)
    assert bytes(out) == np.moveaxis(chunk, 1, 0).tobytes()
    assert piece_nbytes(shape) <= max(2**18, layers * run)
    more = (layers, runs + 1, run)
    with pytest.raises(ValueError, match="bytes"):
        take_apart(
            codec.open(stored, buffers.get("window", WINDOW)),
            memoryview(bytearray(chunk.nbytes + layers * run)),
            more,
            buffers,
        )


@dataclass(frozen=True)
class Costing:
    """A unit that only costs."""

    cost: int
    keys: tuple[str, ...] = ()
    nbytes: int = 0

    def run(self, sink: Sink, buffers: Buffers) -> None:
        raise NotImplementedError

    def without(self, stored: Set[str]) -> "Costing":
        return self


def test_units_run_on_as_many_threads_as_memory_allows() -> None:
    rng = random.Random(0)
    costs = [rng.randrange(1, 200) for _ in range(500)]
    seen: list[int] = []
    for threads, positions in waves(costs, 256, 4):
        largest = max(costs[at] for at in positions)
        assert threads == 1 or threads * largest <= 256
        assert threads == 4 or (threads + 1) * min(costs[at] for at in positions) > 256
        seen += positions
    assert sorted(seen) == list(range(500))
    units = [Costing(cost) for cost in costs]
    assert peak(Work(units, 0), Effort(memory=256, workers=4)) <= 256
    assert peak(Work(units, 50), Effort(memory=306, workers=4)) <= 306


def test_the_most_memory_of_a_process_is_not_that_of_the_one_that_started_it() -> None:
    held = b"x" * 2**28
    code = "from linen_nnx.convert.engine.memory import most_resident; print(most_resident())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < len(held) < most_resident()


def test_codecs_that_are_not_ours_are_left_to_tensorstore() -> None:
    zarr = fresh_zarr(ArraySpec(shape=(4,), dtype=DType.FLOAT32), 2, (4,))
    for change in ({"compressor": {"id": "blosc"}}, {"order": "F"}, {"filters": [{"id": "delta"}]}):
        assert chunk_codec(zarr.model_copy(update=change)) is None
    assert parse_zarr(b'{"zarr_format":2,"shape":[4],"chunks":[4],"dtype":"<f4"}').chunk_shape == (4,)


V2 = [{"id": "zstd", "level": 7}, {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}, None]
V3: list[list[dict[str, Any]]] = [
    [{"name": "bytes", "configuration": {"endian": "big"}}],
    [{"name": "transpose", "configuration": {"order": [1, 0]}}, {"name": "bytes"}, {"name": "gzip"}],
    [{"name": "bytes"}, {"name": "blosc", "configuration": {"typesize": 2, "cname": "lz4"}}],
]


@pytest.mark.parametrize("dtype", [DType.INT8, DType.FLOAT32, DType.BFLOAT16], ids=str)
@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_is_cast_keeps_its_codec(zarr_format: int, at: int, dtype: DType) -> None:
    fresh = fresh_zarr(ArraySpec(shape=(4, 6), dtype=DType.INT16), zarr_format, (2, 6))
    codec = {"compressor": V2[at]} if zarr_format == 2 else {"codecs": tuple(V3[at])}
    cast = recoded(fresh.model_copy(update=codec), dtype)
    assert (cast.spec.dtype, cast.chunk_shape) == (dtype, (2, 6))
    if isinstance(cast, ZarrV3):
        assert [codec["name"] for codec in cast.codecs] == [codec["name"] for codec in V3[at]]
    else:
        assert (cast.model_extra or {})["compressor"] == V2[at]
    driver = "zarr" if zarr_format == 2 else "zarr3"
    spec = {"driver": driver, "kvstore": "memory://", "metadata": zarr_json(cast)}
    array = ts.open(spec, create=True, context=ts.Context()).result()
    array[...] = 1
    assert np.asarray(array, np.float32).sum() == 24


def test_a_codec_that_depends_on_the_dtype_is_not_kept() -> None:
    for zarr in (
        fresh_zarr(ArraySpec(shape=(4,), dtype=DType.INT16), 2, (4,)).model_copy(
            update={"filters": [{"id": "delta", "dtype": "<i2"}]}
        ),
        fresh_zarr(ArraySpec(shape=(4,), dtype=DType.INT16), 3, (4,)).model_copy(
            update={"codecs": ({"name": "numcodecs.delta"},)}
        ),
    ):
        assert recoded(zarr, DType.INT32) == fresh_zarr(
            ArraySpec(shape=(4,), dtype=DType.INT32), zarr.zarr_format, (4,)
        )
