"""A region that our own codec decodes is what tensorstore reads, whatever the chunks and the encoding."""

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given, settings
from hypothesis import strategies as st

from linen_nnx.convert.compare.decoding import Reader
from linen_nnx.convert.store.keyvalue import PlainFolders
from linen_nnx.convert.store.read import StoredArray, open_array
from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.orbax_metadata import StorageForm
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.zarr import parse_zarr

SHAPE = (5, 4, 7)
ENCODINGS: dict[str, dict[str, Any]] = {
    "zarr2 zstd": {"compressor": {"id": "zstd", "level": 1}},
    "zarr2 plain": {"compressor": None},
    "zarr2 big-endian": {"compressor": None, "dtype": ">f4"},
    "zarr2 columns first": {"compressor": None, "order": "F"},
    "zarr2 gzip": {"compressor": {"id": "gzip", "level": 1}},
    "zarr3 zstd": {"codecs": ["bytes", {"name": "zstd", "configuration": {"level": 1}}]},
    "zarr3 big-endian": {"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]},
}
_NAMES = count()


@st.composite
def regions(draw: st.DrawFn) -> tuple[slice, ...]:
    ends = [sorted(draw(st.sets(st.integers(0, size), min_size=2, max_size=2))) for size in SHAPE]
    return tuple(slice(*pair) for pair in ends)


def stored(folder: Path, encoding: str, chunks: tuple[int, ...], data: "np.ndarray[Any, Any]") -> StoredArray:
    name, form = f"array{next(_NAMES)}", int(encoding[4])
    metadata = dict(ENCODINGS[encoding])
    if form == 2:
        metadata.setdefault("dtype", "<f4")
        metadata |= {"shape": SHAPE, "chunks": chunks, "dimension_separator": "."}
    else:
        grid = {"name": "regular", "configuration": {"chunk_shape": chunks}}
        metadata |= {"shape": SHAPE, "chunk_grid": grid, "data_type": "float32"}
    spec = {
        "driver": "zarr" if form == 2 else "zarr3",
        "kvstore": {"driver": "file", "path": f"{folder}/{name}/"},
        "metadata": metadata,
    }
    ts.open(spec, create=True).result().write(data).result()
    document = (folder / name / (".zarray" if form == 2 else "zarr.json")).read_bytes()
    return StoredArray(
        folder,
        StorageForm(ocdbt=False, zarr_format=form, stores_fill_values=False),
        KeyPath.of(name),
        name,
        parse_zarr(document),
        None,
        None,
        PlainFolders(folder, frozenset()),
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=12)
@given(chunks=st.tuples(*(st.integers(1, size) for size in SHAPE)), region=regions(), zeros=st.booleans())
def test_a_region_is_what_tensorstore_reads(
    encoding: str,
    chunks: tuple[int, ...],
    region: tuple[slice, ...],
    zeros: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    data = np.arange(140, dtype=np.float32).reshape(SHAPE)
    if zeros:
        data[:3] = 0  # chunks of zeros are not stored
    array = stored(tmp_path_factory.getbasetemp(), encoding, chunks, data)
    found = Reader(array).start(region)()
    assert np.array_equal(found, open_array(array)[region].read().result())
    assert np.array_equal(found, data[region])


def test_a_damaged_chunk_is_told_by_the_path_of_its_array(tmp_path: Path) -> None:
    array = stored(tmp_path, "zarr2 zstd", SHAPE, np.ones(SHAPE, np.float32))
    (tmp_path / array.name / "0.0.0").write_bytes(b"no frame")
    with pytest.raises(StorageError, match=array.name):
        Reader(array).start(tuple(slice(0, size) for size in SHAPE))()
