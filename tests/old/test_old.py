"""Every checkpoint of an old release is read as what it holds, and converted without a loss."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linen_nnx import Code, ConversionError, Layout, convert, inspect, validate, verify
from linen_nnx.convert.reading import lift_source
from linen_nnx.convert.store.location import locate
from linen_nnx.convert.store.orbax_source import OrbaxItem, open_item
from linen_nnx.convert.store.read import read_array
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.ir import Leaf, OptimizerLeaf, is_beside
from linen_nnx.schema.ops import Copy
from linen_nnx.schema.plan import DropRule
from tests.old.archives import ERAS, Era, unpack
from tests.support.checkpoints import save_item

NAMES = (
    "both",
    "state",
    "split",
    "optimizer",
    "pure",
    "module",
    "cache",
    "linen",
    "nested",
    "saved",
    "msgpack",
    "chunked",
)
LINEN = ("linen", "nested", "saved", "msgpack", "chunked")


@pytest.fixture(scope="module", params=ERAS, ids=lambda era: f"flax-{era.flax}")
def era(request: pytest.FixtureRequest) -> Era:
    made: Era = request.param
    return made


@pytest.fixture(scope="module")
def folder(era: Era, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(era, tmp_path_factory.mktemp(f"flax-{era.flax}"))


def written(folder: Path) -> list[str]:
    """What this era could write: no pure dicts in 0.8.5, no Modules saved as they are before 0.11."""
    names = [name for name in NAMES if (folder / name).exists()]
    assert set(NAMES) - {"pure", "module"} <= set(names)
    return names


def held(item: OrbaxItem) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Each array of the state by the writer's own addresses, read from the disk."""
    state = lift_source(item).state
    if state.step is not None:
        yield "step", _read(item, state.step)
    for variable in state.variables:
        yield str(variable.slot), _read(item, variable.leaf)
    for leaf in state.optimizer:
        if isinstance(leaf.leaf.value, ArrayValue) and not is_beside(leaf.at):
            yield _name(leaf), _read(item, leaf.leaf)


def _name(leaf: OptimizerLeaf) -> str:
    return str(leaf.at) if leaf.mirrors is None else f"{leaf.at} {leaf.mirrors}"


def _read(item: OrbaxItem, leaf: Leaf) -> np.ndarray[Any, Any]:
    assert isinstance(leaf.op, Copy)
    array: np.ndarray[Any, Any] = read_array(item.arrays[leaf.op.source.path])
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def wanted(folder: Path, name: str) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(folder / f"{name}.npz") as stored:
        return dict(stored)


def test_every_value_is_the_one_that_the_old_release_had_in_memory(folder: Path) -> None:
    for name in written(folder):
        assert validate(folder / name) == [], name
        found, expected = dict(held(open_item(locate(folder / name)))), wanted(folder, name)
        assert found.keys() == expected.keys(), name
        for address, array in expected.items():
            assert found[address].tobytes() == array.tobytes(), (name, address)


def test_each_is_told_for_what_it_is(folder: Path, era: Era) -> None:
    for name in written(folder):
        detection = inspect(folder / name).detection
        assert detection is not None
        # A model alone, with nothing around it, is weights alone.
        other = Layout.PARAMS if name == "state" else Layout.NNX
        assert detection.layout is (Layout.LINEN if name in LINEN else other), name
        text = " ".join(detection.evidence)
        assert ("raw_value" in text) == (era.flax == "0.8.5" and name not in LINEN)
        holds_model = era.flax < "0.11" or era.flax.startswith("0.8")
        assert ("a second time" in text) == (holds_model and name in ("both", "pure") and _old(era))


def _old(era: Era) -> bool:
    return era.flax != "0.11.2"


@pytest.mark.parametrize("to", [Layout.NNX, Layout.LINEN])
def test_each_is_converted_verified_and_todays(folder: Path, to: Layout, tmp_path: Path) -> None:
    for name in written(folder):
        if name in LINEN and to is Layout.LINEN:
            continue
        target = tmp_path / name
        convert(folder / name, target, to)
        assert verify(target, against=folder / name) == [], name
        assert validate(target, to) == [], name
        names = {text for entry in inspect(target).inventory.entries for text in entry.path.names}
        assert not names & {"raw_value", "_pytree__state"}


def test_what_is_left_behind_is_dropped_by_name(folder: Path, era: Era, tmp_path: Path) -> None:
    rules = {
        name: {drop.rule for drop in convert(folder / name, tmp_path / name, Layout.NNX).drops}
        for name in written(folder)
    }
    absent = {DropRule.ABSENT} if era.flax in ("0.8.5", "0.10.2") else set()
    second = {DropRule.SECOND_MODEL} if _old(era) else set()
    assert rules["both"] == absent | second
    assert rules["optimizer"] == absent
    assert rules["split"] == {DropRule.GRAPHDEF} | absent
    assert rules["cache"] == {DropRule.SOWN}
    assert rules.get("module", {DropRule.MODULE_STATE}) == {DropRule.MODULE_STATE}
    assert rules["linen"] == set()


def test_a_nested_linen_state_comes_back_with_what_stood_beside_it(folder: Path, tmp_path: Path) -> None:
    convert(folder / "nested", tmp_path / "nnx", Layout.NNX)
    convert(tmp_path / "nnx", tmp_path / "back", Layout.LINEN)
    assert validate(tmp_path / "back", against=folder / "nested") == []
    assert verify(tmp_path / "back", against=folder / "nested") == []


def test_two_models_that_are_not_one_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    def model(value: float) -> dict[str, Any]:
        return {"first": {"kernel": np.full((3, 2), value, "float32"), "bias": np.zeros(2, "float32")}}

    adam = {"count": np.int32(1), "mu": model(0.0), "nu": model(0.0)}
    optimizer = {"step": np.uint32(1), "opt_state": {"0": adam}}
    one = {"model": model(1.0), "optimizer": {**optimizer, "model": model(1.0)}}
    two = {"model": model(1.0), "optimizer": {**optimizer, "model": model(2.0)}}
    convert(save_item(one, tmp_path / "one"), tmp_path / "done", Layout.LINEN)
    with pytest.raises(ConversionError) as refused:
        convert(save_item(two, tmp_path / "two"), tmp_path / "not", Layout.LINEN)
    assert {(p.code, str(p.path)) for p in refused.value.problems} == {
        (Code.VALUE_DIFFERS, "optimizer/model/first/kernel")
    }
    assert not (tmp_path / "not").exists()
