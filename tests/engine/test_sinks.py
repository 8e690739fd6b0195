"""Where chunks go, and the index that names them."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import tensorstore as ts
from hypothesis import given, settings
from hypothesis import strategies as st

from linen_nnx.convert.engine.database import commit
from linen_nnx.convert.engine.sink import PARTS, DataFileSink, FolderSink
from linen_nnx.convert.engine.tap import Untapped
from linen_nnx.convert.store.extents import Extent, walk_database
from linen_nnx.convert.store.keyvalue import ocdbt_spec

CHUNKS = {f"array_{n}/0.{n}": bytes([n]) * (3 if n % 3 else 2000 + n) for n in range(60)}
"""Some so small that they stand in the index."""
KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200)
VALUES = st.binary(max_size=300) | st.tuples(st.integers(0, 900), st.integers(0, 100))
"""Inline, or an offset and a length in a file."""


def read(folder: Path) -> dict[str, bytes]:
    """All values of a database, by tensorstore alone."""
    store = ts.KvStore.open(ocdbt_spec(folder)).result()
    return {key.decode(): store[key] for key in store.list().result()}


@settings(max_examples=30)
@given(st.dictionaries(KEYS, VALUES, min_size=1))
def test_an_index_written_by_hand_is_that_of_tensorstore(given: dict[str, bytes | tuple[int, int]]) -> None:
    content = bytes(range(250)) * 4
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("d/one", "ocdbt.process_0/d/other"):
            (folder / file).parent.mkdir(parents=True)
            (folder / file).write_bytes(content)
        values = {
            key: value
            if isinstance(value, bytes)
            else Extent(("d/one", "ocdbt.process_0/d/other")[at % 2], *value)
            for at, (key, value) in enumerate(given.items())
        }
        commit(folder, values)
        assert walk_database(folder) == values
        wanted = {k: v if isinstance(v, bytes) else content[v[0] : sum(v)] for k, v in given.items()}
        assert read(folder) == wanted


def test_chunks_put_by_many_threads_are_all_there(tmp_path: Path) -> None:
    with closing(DataFileSink(tmp_path, Untapped())) as sink, ThreadPoolExecutor(4) as pool:
        list(pool.map(sink.put, CHUNKS, CHUNKS.values()))
        assert sink.finished() == set(CHUNKS)
    commit(tmp_path, sink.values)
    assert read(tmp_path) == CHUNKS


def test_a_record_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    with closing(DataFileSink(tmp_path, Untapped())) as sink:
        for key, value in CHUNKS.items():
            sink.put(key, value)
    records = tmp_path / PARTS / "records"
    records.write_bytes(records.read_bytes()[:-7])
    lost = list(CHUNKS)[-1]
    with closing(DataFileSink(tmp_path, Untapped())) as sink:
        assert sink.finished() == set(CHUNKS) - {lost}
        sink.put(lost, CHUNKS[lost])
    with closing(DataFileSink(tmp_path, Untapped())) as sink:
        commit(tmp_path, sink.values)
    assert read(tmp_path) == CHUNKS


def test_a_record_of_bytes_that_are_not_there_does_not_count(tmp_path: Path) -> None:
    with closing(DataFileSink(tmp_path, Untapped())) as sink:
        sink.put("short", b"x" * 2000)
        sink.put("long", b"y" * 3000)
    (data,) = (tmp_path / "d").iterdir()
    data.write_bytes(data.read_bytes()[:4000])
    with closing(DataFileSink(tmp_path, Untapped())) as sink:
        assert sink.finished() == {"short"}


def test_a_file_that_was_not_finished_does_not_count(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path, Untapped())
    sink.put("array/c/0", b"whole")
    (tmp_path / "array" / "c" / "1.linen-nnx-part").write_bytes(b"ha")
    again = FolderSink(tmp_path, Untapped())
    assert {key for key in again.finished() if (tmp_path / key).is_file()} == {"array/c/0"}
    assert (tmp_path / "array" / "c" / "0").read_bytes() == b"whole"
