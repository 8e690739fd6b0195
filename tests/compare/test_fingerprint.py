"""The fingerprint: one digest for one content, and another for any other."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given, settings
from hypothesis import strategies as st

from linen_nnx import ConversionOptions, LayerStacking, Layout, Leaves, convert, diff, fingerprint
from linen_nnx.convert.compare import fingerprint as comparison
from linen_nnx.convert.compare.digests import Digests, digests
from linen_nnx.convert.compare.slices import Slice
from linen_nnx.convert.store.location import locate
from linen_nnx.convert.store.orbax_source import OrbaxItem, open_item
from linen_nnx.convert.store.read import StoredArray, open_array
from linen_nnx.schema.difference import ValuesDiffer
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.routing import Effort, Route
from tests.compare.content import MU, NU, PARAMS, content, layer, saved, swapped
from tests.support.checkpoints import STORAGES
from tests.support.small import STACKED, linen, native

FORMS = {
    "linen one by one": (Layout.LINEN, LayerStacking.UNSTACKED, None),
    "linen stacked": (Layout.LINEN, LayerStacking.STACKED, None),
    "nnx one by one": (Layout.NNX, LayerStacking.UNSTACKED, Leaves.WRAPPED),
    "nnx stacked": (Layout.NNX, LayerStacking.STACKED, Leaves.BARE),
    "maxtext stacked": (Layout.MAXTEXT, LayerStacking.STACKED, None),
    "tunix one by one": (Layout.TUNIX, LayerStacking.UNSTACKED, None),
}


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One state in every form."""
    folder = tmp_path_factory.mktemp("forms")
    source = saved(content(), folder / "source", STORAGES[3])
    for name, (to, stacking, leaves) in FORMS.items():
        convert(source, folder / name, to=to, options=ConversionOptions(stacking=stacking, leaves=leaves))
    return {"source": source, **{name: folder / name for name in FORMS}}


def test_it_is_equal_in_every_form_of_one_state(forms: dict[str, Path]) -> None:
    found = {name: fingerprint(path) for name, path in forms.items()}
    assert len(set(found.values())) == 1, found
    assert all(len(digest) == 64 for digest in found.values())


def test_it_is_equal_whatever_bound_of_memory_and_however_many_threads(forms: dict[str, Path]) -> None:
    small = Effort(workers=3, memory=1)
    assert fingerprint(forms["nnx stacked"], effort=small) == fingerprint(forms["source"])


def test_a_conversion_keeps_it_and_decodes_for_it_only_what_it_did_not_decode_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = saved(content(linen(STACKED)), tmp_path / "source")
    again: list[str] = []

    def told(wanted: list[tuple[StoredArray, Slice]], *rest: Any) -> Digests:
        again.extend(array.name for array, _ in wanted)
        return digests(wanted, *rest)

    monkeypatch.setattr(comparison, "digests", told)
    apart = ConversionOptions(stacking=LayerStacking.UNSTACKED)
    done = convert(source, tmp_path / "apart", Layout.NNX, apart)
    decoded = {entry.target.param_name for entry in done.entries if entry.route is Route.DECODE}
    assert again
    assert decoded.isdisjoint(again)
    assert sum("layers" in name for name in decoded) == 3 * 3 * 2
    assert done.fingerprint == fingerprint(source)
    monkeypatch.setattr(comparison, "LITTLE", 0)
    assert convert(source, tmp_path / "nnx", Layout.NNX).fingerprint is None
    assert convert(source, tmp_path / "asked", Layout.NNX, fingerprint=True).fingerprint == done.fingerprint
    assert convert(source, tmp_path / "never", Layout.NNX, fingerprint=False).fingerprint is None


def test_it_does_not_look_at_random_streams_and_empty_states(tmp_path: Path) -> None:
    state = content(native())
    without = {path: leaf for path, leaf in state.items() if "rngs" not in path}
    assert fingerprint(saved(state, tmp_path / "a")) == fingerprint(saved(without, tmp_path / "b"))
    plain = content()
    longer = {**plain, ("opt_state", 3): None}
    assert fingerprint(saved(plain, tmp_path / "c")) == fingerprint(saved(longer, tmp_path / "d"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (layer(0, *PARAMS), layer(1, *PARAMS)),
        (layer(0, *NU), layer(2, *NU)),
        (MU, NU),
        ((*PARAMS, "token_embedder"), (*PARAMS, "embedder")),
    ],
    ids=["layers", "moments of layers", "mu and nu", "a name"],
)
def test_it_is_another_where_content_stands_elsewhere(
    one: tuple[str | int, ...], other: tuple[str | int, ...], forms: dict[str, Path], tmp_path: Path
) -> None:
    state = swapped(content(), one, other)
    if other[-1] == "embedder":
        for base in (MU, NU):
            state = swapped(state, (*base, "token_embedder"), (*base, "embedder"))
    assert fingerprint(saved(state, tmp_path / "other")) != fingerprint(forms["source"])


def test_another_dtype_of_the_same_values_is_another_content(tmp_path: Path) -> None:
    half = {path: leaf.astype("bfloat16") if path[:2] == PARAMS else leaf for path, leaf in content().items()}
    wide = {path: leaf.astype("float32") if path[:2] == PARAMS else leaf for path, leaf in half.items()}
    assert fingerprint(saved(half, tmp_path / "a")) != fingerprint(saved(wide, tmp_path / "b"))


def test_another_step_is_another_content(tmp_path: Path) -> None:
    state = content()
    other = {**state, ("step",): np.asarray(4, np.int32)}
    assert fingerprint(saved(state, tmp_path / "a")) != fingerprint(saved(other, tmp_path / "b"))


class Flipper:
    """An item whose bits can be flipped in place, by their number among all of them."""

    def __init__(self, item: OrbaxItem) -> None:
        self._arrays = [(path, array) for path, array in item.arrays.items() if array.zarr.spec.size]
        self.bits = sum(8 * array.zarr.spec.nbytes for _, array in self._arrays)

    def flip(self, bit: int) -> KeyPath:
        """Flip one bit; whose it was."""
        for path, array in self._arrays:
            if bit < 8 * array.zarr.spec.nbytes:
                store = open_array(array)
                data: np.ndarray[Any, Any] = np.array(store.read().result())
                raw = data.reshape(-1).view(np.uint8)
                raw[bit // 8] ^= 1 << bit % 8
                with ts.Transaction() as transaction:
                    store.with_transaction(transaction).write(data).result()
                return path
            bit -= 8 * array.zarr.spec.nbytes
        raise AssertionError


@pytest.fixture(scope="module", params=["linen stacked", "nnx one by one"])
def flipper(
    request: pytest.FixtureRequest, forms: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Flipper, str]:
    """A copy of a form that can be changed, and the fingerprint that it begins with."""
    folder = tmp_path_factory.mktemp("flip") / "item"
    shutil.copytree(forms[request.param], folder)
    return folder, Flipper(open_item(locate(folder))), fingerprint(folder)


@settings(max_examples=25)
@given(data=st.data())
def test_any_single_bit_makes_it_another_and_its_leaf_is_the_one_that_differs(
    flipper: tuple[Path, Flipper, str], forms: dict[str, Path], data: st.DataObject
) -> None:
    folder, flip, before = flipper
    bit = data.draw(st.integers(0, flip.bits - 1))
    path = flip.flip(bit)
    try:
        assert fingerprint(folder) != before
        (found,) = diff(forms["source"], folder).differences
        assert isinstance(found, ValuesDiffer)
        assert found.path.names[-1] in path.names
        assert found.statistics.differing == 1
    finally:
        flip.flip(bit)
    assert fingerprint(folder) == before
