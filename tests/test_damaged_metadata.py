"""Damaged files of metadata: whatever they say is refused for what it is, and never a fault of ours."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from flax import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from linen_nnx import CheckpointError, Code, InvariantError, convert, diff, inspect, plan, validate, verify
from linen_nnx.schema.errors import ProblemsError, StorageError
from linen_nnx.schema.residue import RESIDUE_FILE
from tests.support.checkpoints import Storage
from tests.support.small import STACKED, item_of, linen, native, save

Edit = Callable[[dict[str, Any]], None]
SCALE = "params.params.decoder.layers.norm.scale"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One checkpoint of each kind of metadata."""
    folder = tmp_path_factory.mktemp("whole")
    made = {
        "v2": save(linen(STACKED), folder / "v2"),
        "v3": save(linen(STACKED), folder / "v3", Storage(ocdbt=False, zarr_format=3)),
        "ocdbt": save(native(STACKED), folder / "ocdbt", Storage()),
        "converted": folder / "converted",
    }
    convert(made["ocdbt"], made["converted"], "linen")
    return made


def edited(file: Path, edit: Edit) -> None:
    document = json.loads(file.read_bytes())
    edit(document)
    file.write_text(json.dumps(document), encoding="utf-8")


def _chunk_below_zero(document: dict[str, Any]) -> None:
    document["chunks"][0] = -1


def _shape_below_zero(document: dict[str, Any]) -> None:
    document["shape"][0] = -1


def _huge_shape(document: dict[str, Any]) -> None:
    document["shape"][0] = 10**20


def _huge_level(document: dict[str, Any]) -> None:
    document["compressor"]["level"] = 10**20


def _nameless_codec(document: dict[str, Any]) -> None:
    document["codecs"][0]["configuration"]["index_codecs"][-1] = {"naMe": "crc32c"}


def _no_inner_chunk(document: dict[str, Any]) -> None:
    del document["codecs"][0]["configuration"]["chunk_shape"]


def _inner_chunk_of_another_rank(document: dict[str, Any]) -> None:
    document["codecs"][0]["configuration"]["chunk_shape"] = [1]


ARRAYS: list[tuple[str, Edit]] = [
    ("v2", _chunk_below_zero),
    ("v2", _shape_below_zero),
    ("v2", _huge_shape),
    ("v3", _nameless_codec),
    ("v3", _no_inner_chunk),
    ("v3", _inner_chunk_of_another_rank),
]


@pytest.mark.parametrize(("kind", "edit"), ARRAYS, ids=lambda one: getattr(one, "__name__", one))
def test_array_metadata_that_cannot_be_is_refused(
    kind: str, edit: Edit, sources: dict[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(sources[kind], run)
    edited(item_of(run) / SCALE / {"v2": ".zarray", "v3": "zarr.json"}[kind], edit)
    with pytest.raises((ProblemsError, StorageError)) as refused:
        diff(run, sources[kind])
    assert not isinstance(refused.value, InvariantError)


def test_an_array_with_a_number_that_no_library_counts_to_does_not_decode(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(sources["v2"], run)
    edited(item_of(run) / SCALE / ".zarray", _huge_level)
    (problem,) = [problem for problem in verify(run) if problem.code is Code.STORAGE_MISMATCH]
    assert (str(problem.path), "too big" in problem.found) == (SCALE.replace(".", "/"), True)


def test_what_was_kept_aside_must_be_what_the_record_says(sources: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(sources["converted"], run)
    own = item_of(run) / "linen_nnx"

    def lose_one(document: dict[str, Any]) -> None:
        tree = document["tree_metadata"]
        del tree[next(name for name in tree if "count" in name)]

    edited(own / "state" / "_METADATA", lose_one)
    for command in (inspect, plan):
        with pytest.raises(CheckpointError) as refused:
            command(run)
        (problem,) = refused.value.problems
        assert (problem.code, problem.found, problem.item) == (
            Code.STORAGE_MISMATCH,
            "nothing",
            "linen_nnx/state",
        )
        assert "residue.json says" in problem.expected


def test_a_record_in_which_two_layers_share_a_slot_is_damaged(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(sources["converted"], run)

    def repeat(document: dict[str, Any]) -> None:
        slots = document["form"]["groups"][0]["slots"]
        slots[-1] = slots[0]

    edited(item_of(run) / "linen_nnx" / RESIDUE_FILE, repeat)
    with pytest.raises(CheckpointError) as refused:
        plan(run)
    assert {problem.code for problem in refused.value.problems} == {Code.METADATA_UNREADABLE}


def legacy() -> bytes:
    """A file of `flax.serialization`."""
    params = {"params": {"d": {"kernel": np.ones((2, 3), "float32")}}}
    moments = {"count": np.int32(7), "mu": params, "nu": params}
    return bytes(serialization.msgpack_serialize({"step": 7, "params": params, "opt_state": {"0": moments}}))


def array_of(shape: list[Any], data: object) -> bytes:
    """The same with one array made by hand."""
    packed = msgpack.packb([shape, "float32", data])
    kernel = msgpack.ExtType(1, packed)
    return bytes(msgpack.packb({"step": 7, "params": {"params": {"d": {"kernel": kernel}}}, "opt_state": {}}))


LEGACY = {
    "another size than its bytes": (array_of([2, 4], b"0" * 24), Code.STORAGE_MISMATCH),
    "a shape below zero": (array_of([-2, 3], b"0" * 24), Code.METADATA_UNREADABLE),
    "a shape of words": (array_of(["2", 3], b"0" * 24), Code.METADATA_UNREADABLE),
    "no bytes": (array_of([2, 3], 5), Code.METADATA_UNREADABLE),
    "no end of maps": (b"\x81\xa1a" * 20_000, Code.METADATA_UNREADABLE),
}


@pytest.mark.parametrize("name", LEGACY)
def test_a_legacy_file_whose_arrays_cannot_be_is_refused(name: str, tmp_path: Path) -> None:
    data, code = LEGACY[name]
    file = tmp_path / "checkpoint_7"
    file.write_bytes(data)
    assert code in {problem.code for problem in validate(file)}


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Bits flipped, an end cut off, a part taken out, or another number or word in the place of one."""
    share, bit = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(0, 7))
    length, kind = draw(st.integers(1, 60)), draw(st.sampled_from(["flip", "cut", "lose", "word"]))
    old = draw(st.sampled_from([b"2", b"3", b"0", b"true", b"null", b'"', b"[", b"{", b"float32", b"scale"]))
    new = draw(st.sampled_from([b"-1", b"9" * 20, b"[]", b"null", b"", b"8.5", b"1e999", b"int4", b"kernel"]))

    def damage(data: bytes) -> bytes:
        at = int(share * len(data))
        match kind:
            case "flip":
                return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            case "cut":
                return data[:at]
            case "lose":
                return data[:at] + data[at + length :]
            case _:
                return data[:at] + data[at:].replace(old, new, 1)

    return damage


@settings(max_examples=max(120, settings().max_examples // 2))
@given(st.sampled_from(["v2", "v3", "ocdbt", "converted", "legacy"]), st.integers(0, 10**6), damages())
def test_no_damage_of_metadata_is_a_fault_of_ours(
    sources: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    number: int,
    damage: Callable[[bytes], bytes],
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    if kind == "legacy":
        source = file = folder / "checkpoint_7"
        file.write_bytes(damage(legacy()))
    else:
        source = folder / "run"
        shutil.copytree(sources[kind], source)
        names = ("_METADATA", "_sharding", ".zarray", "zarr.json", "manifest.ocdbt", "residue.json")
        files = sorted(file for file in source.rglob("*") if file.name in names)
        file = files[number % len(files)]
        file.write_bytes(damage(file.read_bytes()))
    for command in (inspect, validate, plan, lambda path: diff(path, sources["v2"])):
        try:
            command(source)
        except InvariantError:
            raise
        except (ProblemsError, StorageError):
            pass
    shutil.rmtree(folder)
