"""What `verify` refuses, and what it calls it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from linen_nnx import ConversionOptions, KeyPath, LayerStacking, Receipt, convert, seal, verify
from linen_nnx.convert.proof.receipts import read_receipt, write_receipt
from linen_nnx.convert.proof.verifying import check
from linen_nnx.schema.digest import LogicalChunks
from linen_nnx.schema.problem import Code
from tests.proof.checkpoints import flip
from tests.support.checkpoints import STORAGES, Storage, random_tree, save_item
from tests.support.small import PLAIN, STACKED, delete_stored, edit_metadata, item_of, linen, save

KERNEL = "params.params.decoder.layers_{}.mlp.wo.kernel"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A sealed run, a folder an array."""
    made = save(linen(), tmp_path, PLAIN)
    seal(made)
    return made


@dataclass(frozen=True)
class Damage:
    """What is done to the item of a sealed run, and what must be named: codes, and parts of the text."""

    name: str
    harm: Callable[[Path], object]
    named: tuple[tuple[Code, str], ...]

    def __str__(self) -> str:
        return self.name


def _swap(item: Path) -> None:
    one, other = (item / KERNEL.format(n) / "0.0" for n in (0, 1))
    one.rename(item / "aside")
    other.rename(one)
    (item / "aside").rename(other)


def _layer(n: int) -> str:
    return f"params/params/decoder/layers_{n}/mlp/wo/kernel"


DAMAGES = [
    Damage("swapped", _swap, ((Code.DIGEST_MISMATCH, _layer(0)), (Code.DIGEST_MISMATCH, _layer(1)))),
    Damage(
        "missing",
        lambda item: (item / KERNEL.format(2) / "0.0").unlink(),
        ((Code.CHUNK_MISSING, _layer(2)), (Code.DIGEST_MISMATCH, "0.0, which is not there")),
    ),
    Damage(
        "added-chunk",
        lambda item: (item / KERNEL.format(2) / "0.1").write_bytes(b"12"),
        ((Code.FILE_UNEXPECTED, f"{KERNEL.format(2)}/0.1"),),
    ),
    Damage(
        "added-file",
        lambda item: (item / "notes.txt").write_text("mine"),
        ((Code.FILE_UNEXPECTED, "notes.txt"),),
    ),
    Damage(
        "cut-short",
        lambda item: _cut(item / KERNEL.format(1) / "0.0"),
        ((Code.DIGEST_MISMATCH, _layer(1)), (Code.DIGEST_MISMATCH, "found")),
    ),
    Damage(
        "array-metadata",
        lambda item: (item / KERNEL.format(0) / ".zarray").write_text("{}"),
        ((Code.DIGEST_MISMATCH, f"{KERNEL.format(0)}/.zarray"),),
    ),
    Damage(
        "metadata-gone",
        lambda item: shutil.rmtree(item / "array_metadatas"),
        ((Code.FILE_MISSING, "array_metadatas/process_0"),),
    ),
    Damage(
        "step-metadata-gone",
        lambda item: (item.parent / "_CHECKPOINT_METADATA").unlink(),
        ((Code.FILE_MISSING, "2/_CHECKPOINT_METADATA"),),
    ),
]


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_damage_is_named(damage: Damage, run: Path) -> None:
    assert verify(run) == []
    damage.harm(item_of(run))
    problems = verify(run)
    for code, text in damage.named:
        assert any(problem.code is code and text in str(problem) for problem in problems), problems


def test_an_entry_that_was_edited_is_named_beside_the_file(run: Path) -> None:
    edit_metadata(run, lambda tree: tree.pop("('opt_state', '2', 'count')"))
    problems = {(problem.code, str(problem.path)) for problem in verify(run)}
    assert (Code.MISSING_ENTRY, "opt_state/[2]/count") in problems
    assert (Code.NOT_LISTED, "opt_state.2.count") in problems


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_chunk_deleted_from_a_database_is_named(zarr_format: int, tmp_path: Path) -> None:
    run = save(linen(), tmp_path, Storage(ocdbt=True, zarr_format=zarr_format))
    seal(run)
    delete_stored(run, KERNEL.format(1) + ("/0" if zarr_format == 2 else "/c"))
    problems = {(problem.code, str(problem.path)) for problem in verify(run)}
    assert {(Code.CHUNK_MISSING, _layer(1)), (Code.DIGEST_MISMATCH, _layer(1))} <= problems


def test_the_step_around_an_item_is_watched_where_the_user_names_it(run: Path) -> None:
    flip(run / "2" / "_CHECKPOINT_METADATA", 99)
    assert verify(item_of(run)) == []
    for path in (run, run / "2"):
        (problem,) = verify(path)
        assert (problem.code, problem.file) == (Code.DIGEST_MISMATCH, str(run / "2" / "_CHECKPOINT_METADATA"))


def test_a_checkpoint_that_was_moved_is_the_same(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "elsewhere")
    assert verify(tmp_path / "elsewhere") == []


# The receipt itself


@pytest.mark.parametrize(
    "harm",
    [
        lambda text: text.replace('"shape":[8,6]', '"shape":[6,8]', 1),
        lambda text: json.dumps(json.loads(text), indent=1),
        lambda text: text[:-40],
        lambda text: text + "\n",
        lambda text: "",
        lambda text: "{}",
    ],
    ids=["edited", "formatted", "cut-short", "longer", "empty", "another"],
)
def test_a_receipt_that_was_touched_is_refused_by_name(run: Path, harm: Callable[[str], str]) -> None:
    file = item_of(run) / "linen_nnx" / "receipt.json"
    text = file.read_text()
    file.write_text(harm(text))
    assert file.read_text() != text
    (problem,) = verify(run)
    assert (problem.code, problem.file) == (Code.RECEIPT_DAMAGED, str(file))


def test_a_receipt_of_another_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    other = save(linen(), tmp_path / "other", PLAIN)
    (item_of(other) / "linen_nnx").mkdir()
    shutil.copy(item_of(run) / "linen_nnx" / "receipt.json", item_of(other) / "linen_nnx")
    assert {p.code for p in verify(other)} == {Code.DIGEST_MISMATCH}


def test_without_a_receipt_nothing_is_verified_and_seal_is_named(run: Path) -> None:
    (item_of(run) / "linen_nnx" / "receipt.json").unlink()
    (problem,) = verify(run)
    assert problem.code is Code.NOT_SEALED
    assert f"linen-nnx seal {run}" in str(problem)
    assert verify(run, against=run) == verify(run, restore=True) == []


# What orbax restores


def test_what_orbax_restores_is_held_against_the_digests_of_elements(tmp_path: Path) -> None:
    source = save_item(random_tree(linen(STACKED), "restored"), tmp_path / "source")
    target = tmp_path / "target"
    convert(source, target, "nnx", ConversionOptions(stacking=LayerStacking.UNSTACKED))
    assert verify(target, restore=True) == []
    receipt = read_receipt(target)
    assert isinstance(receipt, Receipt)
    at = KeyPath.parse("model/decoder/layers/1/norm/scale/value")
    assert any(entry.target == at for entry in receipt.entries)
    other = LogicalChunks(part_shape=(4,), chunks=("0" * 64,))
    entries = tuple(
        entry.model_copy(update={"digests": (entry.digests[0], other)}) if entry.target == at else entry
        for entry in receipt.entries
    )
    write_receipt(receipt.model_copy(update={"entries": entries}), target)
    assert verify(target) == []
    assert [(p.code, p.path) for p in verify(target, restore=True)] == [(Code.DIGEST_MISMATCH, at)]


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_verify_with_one_thread_finds_what_many_find(storage: Storage, tmp_path: Path) -> None:
    item = save_item(random_tree(linen(), "threads"), tmp_path / "item", storage)
    seal(item)
    for file in sorted(item.rglob("*"))[::7]:
        if file.is_file() and file.name != "receipt.json":
            flip(file, 5)
    assert verify(item, workers=1) == verify(item, workers=4) != []


def test_progress_tells_every_byte_that_is_read(run: Path) -> None:
    class Told:
        total, done = 0, 0

        def start(self, total: int) -> None:
            self.total = total

        def advance(self, nbytes: int) -> None:
            self.done += nbytes

    told = Told()
    assert check(run, progress=told).problems == ()
    sizes = {file: file.stat().st_size for file in (run / "2").rglob("*") if file.is_file()}
    del sizes[item_of(run) / "linen_nnx" / "receipt.json"]
    assert told.done == told.total == sum(sizes.values())
