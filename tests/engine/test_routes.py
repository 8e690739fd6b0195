"""Every route gives the same bits: as decoding does, and as orbax and numpy do."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from linen_nnx.convert.engine import routes
from linen_nnx.schema.array import DType
from linen_nnx.schema.ops import Cast, Copy, Op, Ref, Stack, Take
from linen_nnx.schema.options import Chunks, Codec, Storing
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.routing import Carriage, Effort, Route, Transfer
from tests.engine.conftest import Sources
from tests.engine.states import (
    LAYERS,
    WIDTH,
    Written,
    codec_of,
    conversions,
    expected,
    in_one_data_file,
    level_of,
    restored,
    write,
)
from tests.support.checkpoints import STORAGES, Storage, files_of

CASES = [Written(storage, chunks) for storage in STORAGES for chunks in ("whole", "small", "sharded")]


@pytest.mark.parametrize("written", CASES, ids=str)
def test_every_route_and_decoding_give_the_bits_that_orbax_and_numpy_give(
    written: Written, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, ops = sources(written), conversions(written)
    before, wanted = files_of(source), expected(restored(source), ops)
    settled = write(ops, source, tmp_path / "target")
    chosen = {route.write.target.names[0]: route.route for route in settled.writes}
    assert chosen["renamed"] is Route.REFERENCE
    assert chosen["second"] is Route.CHUNK
    assert restored(tmp_path / "target") == wanted
    monkeypatch.setattr(routes, "by_chunk", lambda *_: None)
    settled = write(ops, source, tmp_path / "decoded")
    assert {route.route for route in settled.writes} == {Route.DECODE}
    assert restored(tmp_path / "decoded") == wanted
    assert files_of(source) == before


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_layers_come_apart_again_without_decoding(storage: Storage, sources: Sources, tmp_path: Path) -> None:
    """Stacks that we made are chunked by layer, whatever the chunks of the layers."""
    written = Written(storage, "small")
    source = sources(written)
    stacks = {name: op for name, op in conversions(written).items() if isinstance(op, Stack) and op.axis == 1}
    write(stacks, source, tmp_path / "stacked")
    shutil.copytree(tmp_path / "stacked", tmp_path / "moved")
    settled = write(_apart(stacks), tmp_path / "moved", tmp_path / "apart")
    assert {route.route for route in settled.writes} == {Route.CHUNK}
    shutil.rmtree(tmp_path / "stacked")
    shutil.rmtree(tmp_path / "moved")
    layers = {f"layers.{name}": value for name, value in restored(tmp_path / "apart").items()}
    assert layers == {name: value for name, value in restored(source).items() if name.startswith("layers.")}


def _apart(stacks: Iterable[str]) -> dict[str, Op]:
    """Every layer of every stack, by `<layer>.<dtype>`."""
    whole = {name: Copy(source=Ref(path=KeyPath.of(*name.split(".", 1)))) for name in stacks}
    return {
        f"{n}.{name.partition('.')[2]}": Take(of=copy, axis=1, index=n)
        for name, copy in whole.items()
        for n in range(LAYERS)
    }


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_a_linked_target_shares_the_bytes_and_outlives_the_source(
    storage: Storage, sources: Sources, tmp_path: Path
) -> None:
    written = Written(storage, "sharded")
    shutil.copytree(sources(written), tmp_path / "source")
    ops = {name: op for name, op in conversions(written).items() if not name.startswith("layer_")}
    wanted = expected(restored(tmp_path / "source"), ops)
    write(ops, tmp_path / "source", tmp_path / "target", Effort(transfer=Transfer.LINK))
    shared = {f.stat().st_ino for f in (tmp_path / "source").rglob("*") if f.is_file()}
    assert any(file.stat().st_ino in shared for file in (tmp_path / "target").rglob("*"))
    assert not any(path.is_symlink() for path in (tmp_path / "target").rglob("*"))
    shutil.rmtree(tmp_path / "source")
    assert restored(tmp_path / "target") == wanted


def test_another_filesystem_makes_copies_of_links(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Written(Storage(), "small")
    source = sources(written)
    ops = {name: op for name, op in conversions(written).items() if name.startswith("renamed")}

    def refused(*_: object) -> None:
        raise OSError(18, os.strerror(18))

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(os, "copy_file_range", refused)
    write(ops, source, tmp_path / "target", Effort(transfer=Transfer.LINK))
    assert restored(tmp_path / "target") == expected(restored(source), ops)


def test_values_are_moved_where_most_of_a_file_would_be_dead(sources: Sources, tmp_path: Path) -> None:
    source = in_one_data_file(sources(Written(Storage(), "small")), tmp_path / "source")
    ops = conversions(Written(Storage(), "small"))
    few = {name: op for name, op in ops.items() if name == "second.float64"}
    settled = write(few, source, tmp_path / "target")
    assert [write.carriage for write in settled.writes] == [Carriage.VALUE]
    assert settled.sparse == 1
    assert restored(tmp_path / "target") == expected(restored(source), few)
    size = sum(file.stat().st_size for file in (tmp_path / "target").rglob("*") if file.is_file())
    assert size < sum(extent.length for _, extent in settled.writes[0].stored()[1]) + 8192
    most = {name: op for name, op in ops.items() if name.startswith(("renamed", "second", "layer"))}
    settled = write(most, source, tmp_path / "whole")
    assert Carriage.VALUE not in {write.carriage for write in settled.writes}
    assert settled.sparse == 0


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_one_chunk_an_array_on_request(storage: Storage, sources: Sources, tmp_path: Path) -> None:
    written = Written(storage, "small")
    source, ops = sources(written), conversions(written)
    settled = write(ops, source, tmp_path / "target", storing=Storing(chunks=Chunks.WHOLE))
    for made in settled.writes:
        zarr = made.array.zarr
        assert zarr.chunk_shape == zarr.read_chunk_shape == tuple(max(1, size) for size in zarr.shape)
        before = made.sources[0].zarr
        assert (made.route is Route.REFERENCE) <= (before.chunk_shape == before.shape)
        assert codec_of(zarr) == codec_of(before)
    assert restored(tmp_path / "target") == expected(restored(source), ops)


@pytest.mark.parametrize("storage", STORAGES, ids=str)
@pytest.mark.parametrize("chunks", ["whole", "small"])
@pytest.mark.parametrize(("codec", "stored"), [(Codec.FAST, -1), (Codec.NONE, None)], ids=str)
def test_what_is_decoded_is_compressed_as_asked_and_nothing_else_is(
    codec: Codec, stored: int | None, chunks: str, storage: Storage, sources: Sources, tmp_path: Path
) -> None:
    written = Written(storage, chunks)
    source, ops = sources(written), conversions(written)
    settled = write(ops, source, tmp_path / "target", storing=Storing(codec=codec))
    for made in settled.writes:
        if made.route is Route.DECODE:
            assert level_of(made.array.zarr) == stored
        else:
            assert codec_of(made.array.zarr) == codec_of(made.sources[0].zarr)
    assert {route.route for route in settled.writes} >= {Route.REFERENCE, Route.DECODE}
    assert restored(tmp_path / "target") == expected(restored(source), ops)


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_a_cast_keeps_the_chunks_and_the_codec(storage: Storage, sources: Sources, tmp_path: Path) -> None:
    source = sources(Written(storage, "small"))
    whole = Copy(source=Ref(path=KeyPath.of("scan", "int16")))
    layers = {
        f"{n}.int32": Take(of=Cast(of=whole, dtype=DType.INT32), axis=1, index=n) for n in range(LAYERS)
    }
    settled = write(layers, source, tmp_path / "target")
    for made in settled.writes:
        before = made.sources[0].zarr
        assert made.array.zarr.chunk_shape == (before.chunk_shape[0], before.chunk_shape[2])
        assert codec_of(made.array.zarr) == codec_of(before)
    found = restored(tmp_path / "target")
    _, shape, data = restored(source)["scan.int16"]
    stack = np.frombuffer(data, np.int16).reshape(shape).astype(np.int32)
    assert found == {name: ("int32", (4, WIDTH), stack[:, n].tobytes()) for n, name in enumerate(layers)}
