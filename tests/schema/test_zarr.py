"""Metadata of stored arrays: real documents, as orbax writes them, for every dtype and storage form."""

import json
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from linen_nnx.convert.engine.evaluate import numpy_dtype
from linen_nnx.convert.store.target_arrays import fresh_zarr
from linen_nnx.schema.array import ArraySpec, DType
from linen_nnx.schema.zarr import METADATA_KEYS, ZarrV2, ZarrV3, parse_zarr, zarr_json
from tests.support.checkpoints import STORAGES, Storage, save_item

UNSTORABLE = {DType.UINT2, DType.UINT4, DType.FLOAT8_E4M3}
"""Dtypes that tensorstore does not know."""
STORABLE = sorted(set(DType) - UNSTORABLE)
SHAPES: list[tuple[int, ...]] = [(), (5,), (3, 4), (2, 1, 3)]
EVERY = [(dtype, shape) for dtype in STORABLE for shape in SHAPES]


def name_of(dtype: DType, shape: tuple[int, ...]) -> str:
    return f"{dtype.value}-{len(shape)}"


def array(dtype: DType, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    # Not zero, so that the chunks are stored whatever the writer thinks of fill values.
    return np.ones(shape, numpy_dtype(dtype))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[Storage, ts.KvStore]:
    """Arrays of every dtype and some shapes, as orbax stores them in each form."""
    with jax.enable_x64(True):
        tree = {name_of(dtype, shape): jnp.asarray(array(dtype, shape)) for dtype, shape in EVERY}
        stores = {}
        for storage in STORAGES:
            folder = save_item(tree, tmp_path_factory.mktemp(str(storage)) / "item", storage)
            base = {"driver": "file", "path": f"{folder}/"}
            spec = {"driver": "ocdbt", "base": base} if storage.ocdbt else base
            stores[storage] = ts.KvStore.open(spec).result()
    return stores


def with_defaults(document: dict[str, Any]) -> dict[str, Any]:
    """The document with what zarr v3 means by leaving it out."""
    encoding = document.get("chunk_key_encoding", {})
    if encoding.get("name") == "default" and encoding.get("configuration") is None:
        return {**document, "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}}
    return document


def document(store: ts.KvStore, storage: Storage, name: str) -> bytes:
    return bytes(store[f"{name}/{METADATA_KEYS[storage.zarr_format]}"])


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_a_real_document_tells_shape_and_dtype(stored: dict[Storage, ts.KvStore], storage: Storage) -> None:
    for dtype, shape in EVERY:
        read = parse_zarr(document(stored[storage], storage, name_of(dtype, shape)))
        assert read.spec == ArraySpec(shape=shape, dtype=dtype)


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_a_real_document_is_written_back_as_it_was(
    stored: dict[Storage, ts.KvStore], storage: Storage
) -> None:
    for dtype, shape in EVERY:
        text = document(stored[storage], storage, name_of(dtype, shape))
        again = json.loads(json.dumps(zarr_json(parse_zarr(text))))
        assert with_defaults(again) == with_defaults(json.loads(text))


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_the_chunk_keys_are_the_keys_that_are_stored(
    stored: dict[Storage, ts.KvStore], storage: Storage
) -> None:
    for dtype, shape in EVERY:
        name = name_of(dtype, shape)
        prefix = f"{name}/".encode()
        keys = {key for key in stored[storage].list().result() if key.startswith(prefix)}
        read = parse_zarr(document(stored[storage], storage, name))
        expected = {f"{name}/{key}".encode() for key in (*read.chunk_keys(), METADATA_KEYS[read.zarr_format])}
        assert keys == expected


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_tensorstore_takes_a_reshaped_document(stored: dict[Storage, ts.KvStore], storage: Storage) -> None:
    """Restacking rewrites shape and chunks and leaves codecs, fill value and dtype alone."""
    for dtype in STORABLE:
        read = parse_zarr(document(stored[storage], storage, name_of(dtype, (3, 4))))
        wider = read.reshaped((3, 6, 4), (3, 2, 4), (3, 1, 4))
        assert wider.spec == ArraySpec(shape=(3, 6, 4), dtype=dtype)
        assert (wider.chunk_shape, len(list(wider.chunk_keys()))) == ((3, 2, 4), 3)
        assert wider.read_chunk_shape == ((3, 1, 4) if storage.zarr_format == 3 else (3, 2, 4))
        check_stores(wider, array(dtype, (3, 6, 4)))
        before, after = zarr_json(read), zarr_json(wider)
        changed = {key for key in before if before[key] != after[key]}
        assert changed == (
            {"shape", "chunk_grid", "codecs"} if storage.zarr_format == 3 else {"shape", "chunks"}
        )


def check_stores(zarr: ZarrV2 | ZarrV3, data: np.ndarray[Any, Any]) -> None:
    driver = "zarr" if zarr.zarr_format == 2 else "zarr3"
    spec = {"driver": driver, "kvstore": {"driver": "memory"}, "metadata": zarr_json(zarr)}
    store = ts.open(spec, create=True, context=ts.Context()).result()
    store.write(data).result()
    assert np.asarray(store.read().result()).tobytes() == data.tobytes()


@pytest.mark.parametrize("version", [2, 3])
def test_a_document_of_our_own_stores_every_dtype(version: int) -> None:
    for dtype, shape in EVERY:
        fresh = fresh_zarr(ArraySpec(shape=shape, dtype=dtype), version, tuple(max(1, s) for s in shape))
        assert parse_zarr(json.dumps(zarr_json(fresh)).encode()) == fresh
        check_stores(fresh, array(dtype, shape))


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 4)), max_size=3), st.sampled_from([2, 3]))
def test_there_is_a_key_for_each_chunk_and_no_other(sizes: list[tuple[int, int]], version: int) -> None:
    shape, chunk = tuple(size for size, _ in sizes), tuple(part for _, part in sizes)
    fresh = fresh_zarr(ArraySpec(shape=shape, dtype=DType.FLOAT32), version, chunk)
    keys = list(fresh.chunk_keys())
    assert len(set(keys)) == len(keys) == prod(-(-size // part) for size, part in sizes)


V2: dict[str, Any] = {"zarr_format": 2, "shape": [2], "chunks": [2], "dtype": "<f4"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        json.dumps({**V2, "zarr_format": 4}).encode(),
        json.dumps({**V2, "chunks": [2, 2]}).encode(),
        json.dumps({**V2, "chunks": [0]}).encode(),
        json.dumps({**V2, "shape": "2"}).encode(),
        json.dumps({"zarr_format": 3, "node_type": "group"}).encode(),
    ],
)
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_zarr(text)


@pytest.mark.parametrize("name", ["<U4", "|O", "<M8[ns]", "float128", "r16"])
def test_an_element_type_that_jax_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name.replace("[", r"\[").replace("|", r"\|")):
        _ = parse_zarr(json.dumps({**V2, "dtype": name}).encode()).spec


@pytest.mark.parametrize(("order", "dtype"), [(">f4", DType.FLOAT32), (">i8", DType.INT64)])
def test_the_order_of_bytes_is_kept_and_is_no_other_dtype(order: str, dtype: DType) -> None:
    read = parse_zarr(json.dumps({**V2, "dtype": order}).encode())
    assert read.spec.dtype is dtype
    assert zarr_json(read)["dtype"] == order


@pytest.mark.parametrize(
    ("encoding", "keys"),
    [
        ({"name": "default"}, ["c/0/0", "c/1/0"]),
        ({"name": "default", "configuration": {"separator": "."}}, ["c.0.0", "c.1.0"]),
        ({"name": "v2"}, ["0.0", "1.0"]),
        ({"name": "v2", "configuration": {"separator": "/"}}, ["0/0", "1/0"]),
    ],
)
def test_chunk_keys_follow_the_encoding_that_is_named(encoding: dict[str, Any], keys: list[str]) -> None:
    fresh = fresh_zarr(ArraySpec(shape=(4, 3), dtype=DType.FLOAT32), 3, (2, 3))
    read = parse_zarr(json.dumps({**zarr_json(fresh), "chunk_key_encoding": encoding}).encode())
    assert list(read.chunk_keys()) == keys
