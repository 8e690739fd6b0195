"""Legacy files of flax: what `flax.serialization` writes today is read, and what is damaged refused."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization

from linen_nnx import CheckpointError, Code, Layout, convert, inspect, validate, verify
from linen_nnx.convert.store.location import locate
from linen_nnx.convert.store.orbax_source import open_item
from linen_nnx.convert.store.read import read_array
from tests.schema.test_imports import imported_by
from tests.support.checkpoints import save_item
from tests.support.entries import read

DTYPES = ("bool", "int8", "uint16", "int32", "float16", "bfloat16", "float32", "float8_e4m3fn")
SHAPES = ((), (1,), (3, 2), (2, 0, 3), (300,), (70, 1000))


def state() -> dict[str, Any]:
    """With a chain in a chain, masked leaves, a long string, numbers and every kind of empty."""
    params = {"first": {"kernel": jnp.arange(6.0).reshape(2, 3)}, "last": {"bias": jnp.ones(3, "bfloat16")}}
    masked = optax.masked(optax.adam(1e-3), {"first": {"kernel": True}, "last": {"bias": False}})
    transform: Any = optax.chain(optax.clip(1.0), masked)
    return {"step": 7, "params": params, "opt_state": transform.init(params)}


def write(tree: Any, file: Path) -> Path:
    file.write_bytes(serialization.to_bytes(tree))
    return file


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_of_any_dtype_and_shape_is_read_in_place(dtype: str, tmp_path: Path) -> None:
    tree = {f"n{n}": jnp.ones(shape, dtype) * (n % 2) for n, shape in enumerate(SHAPES)}
    item = open_item(locate(write(tree, tmp_path / "checkpoint_1")))
    assert item.problems == ()
    for path, stored in item.arrays.items():
        array, wanted = read_array(stored), np.asarray(tree[path.names[0]])
        assert (array.shape, array.dtype) == (wanted.shape, wanted.dtype)
        assert array.tobytes() == wanted.tobytes()


def test_a_file_is_the_state_that_orbax_saves(tmp_path: Path) -> None:
    save_item(state(), tmp_path / "orbax")
    file = write(state(), tmp_path / "checkpoint_7")
    assert validate(file) == []
    assert inspect(file).step == 7
    for source in (tmp_path / "orbax", file):
        convert(source, tmp_path / f"{source.name}-nnx", Layout.NNX)
    found, wanted = read(tmp_path / "checkpoint_7-nnx"), read(tmp_path / "orbax-nnx")
    assert {path: leaf.content for path, leaf in found.items()} == {
        path: leaf.content for path, leaf in wanted.items()
    }
    convert(tmp_path / "checkpoint_7-nnx", tmp_path / "back", Layout.LINEN)
    assert verify(tmp_path / "back", against=file) == []


@pytest.mark.parametrize("form", [(), ("7",), ("7", "default"), ("checkpoint_7",)], ids="/".join)
def test_the_aggregate_file_of_early_orbax_is_the_state(form: tuple[str, ...], tmp_path: Path) -> None:
    """`checkpoint` in an item without `_METADATA`: of an item, a step or a run."""
    folder = tmp_path.joinpath("run", *form)
    folder.mkdir(parents=True)
    file = write(state(), folder / "checkpoint")
    assert locate(tmp_path / "run").item == file
    assert inspect(tmp_path / "run").step == 7
    convert(tmp_path / "run", tmp_path / "nnx", Layout.NNX)
    assert verify(tmp_path / "nnx", against=file) == []


def test_beside_metadata_the_file_is_no_state(tmp_path: Path) -> None:
    save_item(state(), tmp_path / "item")
    write({"step": 1}, tmp_path / "item" / "checkpoint")
    assert locate(tmp_path / "item").item == tmp_path / "item"


def test_the_latest_file_of_a_folder_is_taken(tmp_path: Path) -> None:
    for step in (2, 10, 9):
        write({**state(), "step": step}, tmp_path / f"checkpoint_{step}")
    assert inspect(tmp_path).step == 10
    assert inspect(tmp_path, step=9).step == 9


def test_a_file_that_is_cut_short_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = serialization.to_bytes(state())
    file = tmp_path / "checkpoint_1"
    for length in range(1, len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError) as refused:
            inspect(file)
        assert refused.value.problems[0].code is Code.METADATA_UNREADABLE


def test_another_file_is_no_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a checkpoint")
    with pytest.raises(CheckpointError) as refused:
        inspect(file)
    assert refused.value.problems[0].code is Code.NOT_A_CHECKPOINT


def test_an_array_that_lies_elsewhere_is_told(tmp_path: Path) -> None:
    tree = {**state(), "params": {"first": {"kernel": "PLACEHOLDER://params.first.kernel"}}}
    assert Code.UNSUPPORTED in {p.code for p in validate(write(tree, tmp_path / "checkpoint_1"))}


def test_neither_flax_nor_jax_is_imported(tmp_path: Path) -> None:
    file = write(state(), tmp_path / "checkpoint_7")
    program = "import sys, linen_nnx; assert linen_nnx.inspect(sys.argv[1]).step == 7"
    assert imported_by(program, file) & {"jax", "flax", "orbax"} == set()
