"""What a receipt says of a conversion, and that it is so."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tensorstore as ts
from blake3 import blake3

from linen_nnx import ConversionOptions, LayerStacking, Receipt, Seal, convert, plan, verify
from linen_nnx.convert.engine import files as engine_files
from linen_nnx.convert.engine.buffers import Buffers
from linen_nnx.convert.engine.tap import Tap
from linen_nnx.convert.proof import observing, reading
from linen_nnx.convert.proof.covering import arrays_of, chunk_regions, level_folder
from linen_nnx.convert.proof.hashing import Region, Short, digests
from linen_nnx.convert.proof.receipts import read_receipt
from linen_nnx.convert.store.location import Location, locate
from linen_nnx.convert.store.orbax_source import open_item
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.digest import LogicalChunks, StoredChunks
from linen_nnx.schema.plan import Place
from linen_nnx.schema.problem import Code
from linen_nnx.schema.receipt import Digested
from linen_nnx.schema.routing import Effort, Route, Transfer
from tests.proof.checkpoints import FORMS, Form, make
from tests.support.checkpoints import STORAGES, Storage, random_tree, save_item
from tests.support.entries import read, text_of
from tests.support.small import STACKED, item_of, linen, native, save

APART = ConversionOptions(stacking=LayerStacking.UNSTACKED)


def receipt_of(item: Path) -> Receipt:
    found = read_receipt(item)
    assert isinstance(found, Receipt)
    return found


def test_every_write_and_drop_of_the_plan_stands_in_the_receipt_that_convert_returns(tmp_path: Path) -> None:
    source = save(native(), tmp_path)
    made = plan(source, "linen")
    done = convert(source, tmp_path / "target", "linen")
    assert read_receipt(item_of(tmp_path / "target")) == done
    assert [(e.place, e.target, e.value, e.op) for e in done.entries] == [
        (w.place, w.target, w.value, w.op) for w in made.writes
    ]
    assert [entry.route for entry in done.entries] == [write.route for write in made.execution.writes]
    assert (done.drops, done.kept_aside, done.written) == (made.drops, 2, len(made.item_writes))
    assert 0 <= done.times.planning + done.times.writing + done.times.digesting <= done.times.total + 0.01
    assert done.digested is Digested.CONVERTED


def test_the_source_is_identified_by_its_commit_its_metadata_and_its_own_receipt(tmp_path: Path) -> None:
    source = save(linen(), tmp_path)
    first = convert(source, tmp_path / "nnx", "nnx")
    second = convert(tmp_path / "nnx", tmp_path / "back", "linen")
    assert (first.source_identity.step, first.source_identity.committed) == (2, True)
    assert (first.source_identity.receipt, second.source_identity.receipt) == (None, first.digest)
    item = item_of(source)
    (tree,) = [file for file in first.source_identity.metadata if file.path == "_METADATA"]
    assert [span.digest for span in tree.spans] == [blake3((item / "_METADATA").read_bytes()).hexdigest()]


@pytest.mark.parametrize("form", [f for f in FORMS if f.dtype == "bfloat16"], ids=str)
def test_chunks_and_spans_hold_every_byte_of_every_file_once(form: Form, tmp_path: Path) -> None:
    item = make(form, tmp_path)
    receipt, opened = read_receipt(item), open_item(Location(item=item))
    assert receipt is not None
    seen = Counter({(r.file, at) for r in chunk_regions(arrays_of(opened).values()) for at in _range(r)})
    for file in receipt.files:
        path = level_folder(opened.location, file.level) / file.path
        seen.update((path, at) for span in file.spans for at in _range(span))
    there = {file for file in item.rglob("*") if file.is_file() and file.name != "receipt.json"}
    assert seen == Counter((file, at) for file in there for at in range(file.stat().st_size))


def _range(part: Any) -> range:
    return range(part.offset, part.offset + part.length)


@pytest.mark.parametrize("form", FORMS[:4] + FORMS[-4:], ids=str)
def test_digests_of_chunks_are_those_of_the_stored_values(form: Form, tmp_path: Path) -> None:
    item = make(form, tmp_path)
    receipt = read_receipt(item)
    assert receipt is not None
    base = {"driver": "file", "path": f"{item}/"}
    store = ts.KvStore.open({"driver": "ocdbt", "base": base} if form.storage.ocdbt else base).result()
    for entry in receipt.entries:
        if entry.place is Place.ITEM and isinstance(entry.value, ArrayValue):
            (digests,) = [found for found in entry.digests if isinstance(found, StoredChunks)]
            keys = _chunks(store, f"{entry.target.param_name}/")
            assert digests.chunks == tuple(blake3(store[key]).hexdigest() for key in keys)


def _chunks(store: ts.KvStore, prefix: str) -> list[bytes]:
    """Below an array, in C order of the grid (of less than ten on an axis)."""
    keys = store.list(ts.KvStore.KeyRange(prefix, prefix[:-1] + "0")).result()
    return sorted(key for key in keys if not key.endswith((b".zarray", b"zarr.json")))


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_what_was_decoded_has_the_digest_of_its_elements(storage: Storage, tmp_path: Path) -> None:
    source = save_item(random_tree(linen(STACKED), "decoded"), tmp_path / "source", storage)
    done = convert(source, tmp_path / "target", "nnx", APART)
    values = {text_of(path): leaf for path, leaf in read(tmp_path / "target").items()}
    taken_apart = [entry for entry in done.entries if "layers" in str(entry.target)]
    decoded = [entry for entry in taken_apart if entry.route is Route.DECODE]
    assert len(decoded) == 3 * 2 * 3
    for entry in decoded:
        (logical,) = [found for found in entry.digests if isinstance(found, LogicalChunks)]
        leaf = values[str(entry.target)]
        assert leaf.data is not None
        assert logical.part_shape == leaf.data.shape
        assert logical.chunks == (blake3(leaf.content).hexdigest(),)


def test_what_was_not_digested_on_the_way_is_read_afterwards(tmp_path: Path) -> None:
    """A linked target has the digests of a copied one; so has one that went on where another run ended."""
    source = save(native(), tmp_path, Storage())
    one = convert(source, tmp_path / "copied", "linen")
    other = convert(source, tmp_path / "linked", "linen", effort=Effort(transfer=Transfer.LINK))
    assert [entry.digests for entry in one.entries] == [entry.digests for entry in other.entries]


def test_a_copy_that_goes_wrong_does_not_agree_with_its_receipt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save(linen(), tmp_path)
    copy = engine_files._copy

    def careless(before: Path, after: Path, tap: Tap, buffers: Buffers) -> int:
        size = copy(before, after, tap, buffers)
        if "wo" in str(after):
            data = after.read_bytes()
            after.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        return size

    monkeypatch.setattr(engine_files, "_copy", careless)
    convert(source, tmp_path / "target", "nnx")
    problems = verify(tmp_path / "target")
    assert {problem.code for problem in problems} == {Code.DIGEST_MISMATCH}
    assert len(problems) == 9
    assert all("wo" in str(problem.path) for problem in problems)


def test_a_data_file_that_is_copied_is_digested_on_the_way_and_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save(linen(), tmp_path)
    read_again: list[Region] = []

    def told(regions: Sequence[Region], *rest: Any, **named: Any) -> dict[Region, str | Short]:
        read_again.extend(regions)
        return digests(regions, *rest, **named)

    for module in (observing, reading):
        monkeypatch.setattr(module, "digests", told)
    copied = convert(source, tmp_path / "copied", "nnx")
    assert read_again == []
    linked = convert(source, tmp_path / "linked", "nnx", effort=Effort(transfer=Transfer.LINK))
    assert len(read_again) > 0
    assert [entry.digests for entry in copied.entries] == [entry.digests for entry in linked.entries]


def test_without_digests_nothing_of_an_array_is_read_and_verify_says_so(tmp_path: Path) -> None:
    source = save(native(), tmp_path, Storage())
    done = convert(source, tmp_path / "target", "linen", digest=False)
    assert done.digested is Digested.NEVER
    assert [entry.digests for entry in done.entries] == [()] * len(done.entries)
    item = item_of(tmp_path / "target")
    chunks = {region.file for region in chunk_regions(arrays_of(open_item(Location(item=item))).values())}
    assert chunks == {item / file.path for file in done.files if file.size and not file.spans}
    (problem,) = verify(tmp_path / "target")
    assert problem.code is Code.NOT_SEALED
    assert problem.hint is not None
    assert "linen-nnx seal" in problem.hint
    assert verify(tmp_path / "target", source) == []


def test_a_receipt_takes_less_than_a_kilobyte_an_entry(tmp_path: Path) -> None:
    source = save(linen(), tmp_path)
    done = convert(source, tmp_path / "target", "nnx")
    file = item_of(tmp_path / "target") / "linen_nnx" / "receipt.json"
    per_file = 300 * (len(done.files) + len(done.source_identity.metadata))
    assert file.stat().st_size < 3000 + per_file + 700 * len(done.entries)
    assert file.read_text() == done.model_dump_json()


def test_a_state_in_two_items_has_one_receipt_for_both(tmp_path: Path) -> None:
    source = save(linen(), tmp_path)
    convert(source, tmp_path / "target", "tunix")
    step = tmp_path / "target" / "2"
    for path in (tmp_path / "target", step, step / "model_params"):
        assert verify(path) == []
    (step / "optimizer_state" / "_sharding").unlink()
    for path in (tmp_path / "target", step, step / "model_params"):
        assert [p.code for p in verify(path)] == [Code.FILE_MISSING]
    assert isinstance(read_receipt(locate(step).item), Receipt | Seal)
    assert all(entry.op for entry in receipt_of(step / "model_params").entries)
