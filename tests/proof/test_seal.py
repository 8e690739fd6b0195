"""`seal` writes one file, which no reader of orbax minds."""

from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import serialization
from flax.training import checkpoints

from linen_nnx import CheckpointError, Receipt, Seal, convert, fingerprint, seal, verify
from linen_nnx.convert.proof.receipts import read_receipt
from linen_nnx.schema.problem import Code
from linen_nnx.schema.receipt import Digested
from tests.proof.checkpoints import flip
from tests.support.checkpoints import STORAGES, Storage, files_of, random_tree, save_item
from tests.support.entries import differences, read
from tests.support.small import PLAIN, delete_stored, item_of, linen, native, save

OWN = "2/items/linen_nnx"


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_the_receipt_is_the_only_file_written_and_orbax_restores_as_before(
    storage: Storage, tmp_path: Path
) -> None:
    run = save(native(), tmp_path, storage)
    before, entries = files_of(run), read(item_of(run))
    done = seal(run)
    after = files_of(run)
    assert set(after) - set(before) == {OWN, f"{OWN}/receipt.json"}
    assert {name: after[name] for name in before} == before
    assert differences(read(item_of(run)), entries) == []
    assert isinstance(done, Seal)
    assert read_receipt(item_of(run)) == done
    assert verify(run) == []


def test_a_manager_goes_on_with_a_sealed_run(tmp_path: Path) -> None:
    run = save(linen(), tmp_path, Storage())
    seal(run)
    with ocp.CheckpointManager(run, item_names=("items",)) as manager:
        assert manager.all_steps() == [2]
        tree = manager.restore(2, args=ocp.args.Composite(items=ocp.args.PyTreeRestore()))["items"]
        manager.save(3, args=ocp.args.Composite(items=ocp.args.PyTreeSave(tree)))
    assert [p.code for p in verify(run)] == [Code.NOT_SEALED]
    assert verify(run, step=2) == []


def test_a_standard_handler_restores_a_sealed_item(tmp_path: Path) -> None:
    item = save_item(random_tree(linen(), "standard"), tmp_path / "item")
    seal(item)
    with ocp.StandardCheckpointer() as checkpointer:
        restored = checkpointer.restore(item)
    assert set(restored) == {"step", "params", "opt_state"}


def test_what_is_sealed_already_is_sealed_anew_on_request_alone(tmp_path: Path) -> None:
    run = save(linen(), tmp_path, PLAIN)
    first = seal(run)
    with pytest.raises(CheckpointError) as caught:
        seal(run)
    assert [problem.code for problem in caught.value.problems] == [Code.ALREADY_SEALED]
    flip(item_of(run) / "step" / "0", 3)
    assert verify(run) != []
    second = seal(run, overwrite=True)
    assert verify(run) == []
    assert first.digest != second.digest


def test_a_damaged_receipt_can_be_replaced(tmp_path: Path) -> None:
    run = save(linen(), tmp_path, PLAIN)
    seal(run)
    flip(run / OWN / "receipt.json", 999)
    assert isinstance(seal(run, overwrite=True), Seal)
    assert verify(run) == []


def test_a_conversion_is_still_told_when_its_target_is_sealed_anew(tmp_path: Path) -> None:
    run = save(native(), tmp_path, PLAIN)
    done = convert(run, tmp_path / "target", "linen", digest=False)
    assert [problem.code for problem in verify(tmp_path / "target")] == [Code.NOT_SEALED]
    again = seal(tmp_path / "target", overwrite=True)
    assert verify(tmp_path / "target") == verify(tmp_path / "target", against=run) == []
    assert isinstance(again, Receipt)
    assert (done.digested, again.digested) == (Digested.NEVER, Digested.SEALED)
    assert (again.plan_digest, again.drops, again.source_identity) == (
        done.plan_digest,
        done.drops,
        done.source_identity,
    )
    assert [entry.op for entry in again.entries] == [entry.op for entry in done.entries]


def test_what_has_faults_is_not_sealed_and_nothing_is_written(tmp_path: Path) -> None:
    run = save(linen(), tmp_path, Storage(ocdbt=True, zarr_format=2))
    delete_stored(run, "params.params.token_embedder.embedding/0")
    before = files_of(run)
    with pytest.raises(CheckpointError) as caught:
        seal(run)
    assert [problem.code for problem in caught.value.problems] == [Code.CHUNK_MISSING]
    assert files_of(run) == before


def test_a_sealed_source_is_converted_as_any_other(tmp_path: Path) -> None:
    run = save(linen(), tmp_path, Storage())
    done = seal(run)
    receipt = convert(run, tmp_path / "target", "nnx")
    assert receipt.source_identity.receipt == done.digest
    assert verify(tmp_path / "target", run, restore=True) == []


def test_a_state_of_no_known_layout_can_be_sealed(tmp_path: Path) -> None:
    tree = random_tree({("a", "b"): "float32[7]", ("c",): "bfloat16[3,2]"}, "unknown")
    item = save_item(tree, tmp_path / "item")
    seal(item)
    assert verify(item) == []


def test_a_legacy_file_is_sealed_beside_it_under_a_name_that_flax_does_not_take_for_a_checkpoint(
    tmp_path: Path,
) -> None:
    params = {"first": {"kernel": np.ones((20, 30), np.float32)}}
    state = {"step": 7, "params": params, "opt_state": {"0": {"count": np.int32(7), "mu": params}}}
    run = tmp_path / "run"
    run.mkdir()
    file, before = run / "checkpoint_7", serialization.to_bytes(state)
    file.write_bytes(before)
    assert [problem.code for problem in verify(file)] == [Code.NOT_SEALED]
    done = seal(file)
    receipt = run / f".linen-nnx-receipt.{file.name}.json"
    assert sorted(run.iterdir()) == [receipt, file]
    assert file.read_bytes() == before
    assert read_receipt(file) == done
    assert done.fingerprint == fingerprint(file)
    assert checkpoints.latest_checkpoint(run) == str(file)
    assert verify(file) == verify(run) == []
    made = convert(file, tmp_path / "nnx", "nnx")
    assert made.source_identity.receipt == done.digest
    at = before.index(np.ones(30, np.float32).tobytes())
    for place in (at + 9, 1):
        file.write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
        problems = verify(file)
        assert {problem.file for problem in problems if problem.code is Code.DIGEST_MISMATCH} == {str(file)}
    file.write_bytes(before[: at + 9] + b"x" + before[at + 10 :])
    with pytest.raises(CheckpointError, match=str(Code.DIGEST_MISMATCH)):
        convert(file, tmp_path / "again", "nnx")
    with pytest.raises(CheckpointError, match=str(Code.ALREADY_SEALED)):
        seal(file)
    seal(file, overwrite=True)
    assert verify(file) == []
