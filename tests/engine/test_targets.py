"""Targets are checkpoints like any other: every reader takes them, and a fault in one is found."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tensorstore as ts
from orbax.checkpoint.experimental import v1

from linen_nnx import ConversionOptions, LayerStacking, Layout, convert, plan, verify
from linen_nnx.convert.store.keyvalue import ocdbt_spec
from linen_nnx.schema.options import Chunks
from linen_nnx.schema.plan import NoteCode
from linen_nnx.schema.routing import Effort, Route, Transfer
from tests.support.checkpoints import STORAGES, Storage, save_run

COUNT, WIDTH = 4, 700
STACKED = ConversionOptions(to=Layout.LINEN, stacking=LayerStacking.STACKED)
APART = ConversionOptions(to=Layout.LINEN, stacking=LayerStacking.UNSTACKED)


def linen(run: Path, storage: Storage) -> Path:
    """A run of unscanned layers."""
    rng = np.random.default_rng(0)

    def layer() -> dict[str, Any]:
        return {
            "kernel": jax.numpy.asarray(rng.standard_normal((6, WIDTH), np.float32)),
            "bias": np.arange(6.0),
        }

    tree = {"params": {"params": {"decoder": {f"layers_{n}": layer() for n in range(COUNT)}}}}
    return save_run({"items": tree}, run, storage)


def kernels(tree: Any) -> "np.ndarray[Any, Any]":
    """All layers, on axis 1."""
    return np.asarray(tree["params"]["params"]["decoder"]["layers"]["kernel"])


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_every_reader_of_orbax_takes_a_stacked_target(storage: Storage, tmp_path: Path) -> None:
    source = linen(tmp_path / "source", storage)
    with ocp.CheckpointManager(source, item_names=("items",)) as manager:
        before = manager.restore(2, args=ocp.args.Composite(items=ocp.args.PyTreeRestore()))["items"]
    layers = before["params"]["params"]["decoder"]
    wanted = np.stack([np.asarray(layers[f"layers_{n}"]["kernel"]) for n in range(COUNT)], 1)
    assert Route.DECODE not in {write.route for write in plan(source, options=STACKED).execution.writes}
    convert(source, tmp_path / "target", options=STACKED)
    shutil.rmtree(source)
    step = tmp_path / "target" / "2"
    with ocp.CheckpointManager(tmp_path / "target", item_names=("items",)) as manager:
        found = manager.restore(2, args=ocp.args.Composite(items=ocp.args.PyTreeRestore()))["items"]
    np.testing.assert_array_equal(kernels(found), wanted)
    np.testing.assert_array_equal(kernels(ocp.PyTreeCheckpointer().restore(step / "items")), wanted)
    load = getattr(v1, "load", None) or v1.load_pytree
    with ocp.StandardCheckpointer() as checkpointer:
        np.testing.assert_array_equal(kernels(checkpointer.restore(step / "items")), wanted)
    np.testing.assert_array_equal(kernels(load(step, checkpointable_name="items")), wanted)


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_a_target_restores_onto_other_devices_than_its_own(storage: Storage, tmp_path: Path) -> None:
    source = linen(tmp_path / "source", storage)
    convert(source, tmp_path / "target", options=STACKED)
    item = tmp_path / "target" / "2" / "items"
    with ocp.StandardCheckpointer() as checkpointer:
        plain = checkpointer.restore(item)
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        template = jax.tree.map(lambda leaf: jax.device_put(np.zeros_like(leaf), here), plain)
        again = checkpointer.restore(item, template)
    np.testing.assert_array_equal(kernels(again), kernels(plain))


@pytest.mark.parametrize("storage", STORAGES, ids=str)
@pytest.mark.parametrize("options", [STACKED, APART], ids=["chunk", "reference"])
def test_a_chunk_in_the_wrong_place_is_found(
    storage: Storage, options: ConversionOptions, tmp_path: Path
) -> None:
    source = linen(tmp_path / "source", storage)
    convert(source, tmp_path / "target", options=options)
    assert verify(tmp_path / "target", source) == []
    item = tmp_path / "target" / "2" / "items"
    spec = ocdbt_spec(item) if storage.ocdbt else {"driver": "file", "path": f"{item}/"}
    store = ts.KvStore.open(spec).result()
    decoder, chunk = "params.params.decoder", "0.0" if storage.zarr_format == 2 else "c/0/0"
    if options is STACKED:
        layers = ("0.0.0", "0.1.0") if storage.zarr_format == 2 else ("c/0/0/0", "c/0/1/0")
        first, second = (f"{decoder}.layers.kernel/{layer}" for layer in layers)
    else:
        first, second = (f"{decoder}.layers_{n}.kernel/{chunk}" for n in (0, 1))
    assert store[first] != store[second]
    store[first], store[second] = store[second], store[first]
    assert verify(tmp_path / "target", source) != []
    assert verify(tmp_path / "target") != []


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_there_and_back_is_the_source(storage: Storage, tmp_path: Path) -> None:
    source = linen(tmp_path / "source", storage)
    convert(source, tmp_path / "stacked", options=STACKED)
    routes = {write.route for write in plan(tmp_path / "stacked", options=APART).execution.writes}
    assert Route.DECODE not in routes
    convert(tmp_path / "stacked", tmp_path / "back", options=APART)
    assert verify(tmp_path / "back", source, restore=True) == []


def test_links_that_became_copies_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = linen(tmp_path / "source", Storage())

    def refused(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refused)
    receipt = convert(source, tmp_path / "target", options=STACKED, effort=Effort(transfer=Transfer.LINK))
    assert NoteCode.COPIED_NOT_LINKED in {note.code for note in receipt.notes}
    assert verify(tmp_path / "target", source) == []


@pytest.mark.parametrize("storage", STORAGES, ids=str)
@pytest.mark.parametrize("transfer", Transfer, ids=str)
def test_a_plan_foretells_the_bytes_that_are_moved(
    storage: Storage, transfer: Transfer, tmp_path: Path
) -> None:
    source, effort = linen(tmp_path / "source", storage), Effort(transfer=transfer)
    targets = {"stacked": STACKED, "whole": STACKED.model_copy(update={"chunks": Chunks.WHOLE})}
    for name, options in targets.items():
        foretold = plan(source, options=options, effort=effort).execution
        done = convert(source, tmp_path / name, options=options, effort=effort).traffic
        assert (done.referenced, done.moved, done.decoded) == (
            foretold.referenced,
            foretold.moved,
            foretold.decoded,
        )
        brought = (done.copied, done.linked) if transfer is Transfer.COPY else (done.linked, done.copied)
        assert brought == (foretold.file_bytes, 0)
        assert done.peak_memory > 0
