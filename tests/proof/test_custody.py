"""A source that has a receipt cannot carry damage into a target."""

from pathlib import Path

import pytest

from linen_nnx import CheckpointError, ConversionOptions, LayerStacking, convert, seal, verify
from linen_nnx.schema.problem import Code
from linen_nnx.schema.routing import Effort, Transfer
from tests.proof.checkpoints import flip
from tests.support.checkpoints import Storage, random_tree, save_item
from tests.support.small import PLAIN, STACKED, item_of, linen, save

APART = ConversionOptions(stacking=LayerStacking.UNSTACKED)
KERNEL = "params.params.decoder.layers.mlp.wo.kernel"


@pytest.mark.parametrize("transfer", Transfer)
@pytest.mark.parametrize("options", [ConversionOptions(), APART], ids=["carried", "decoded"])
def test_a_sealed_source_with_a_flipped_bit_is_refused_and_no_target_is_left(
    options: ConversionOptions, transfer: Transfer, tmp_path: Path
) -> None:
    run = save(linen(STACKED), tmp_path, PLAIN)
    seal(run)
    chunk = item_of(run) / KERNEL / "0.0.0"
    # Of the values that zstd stores as they are, so that it can still be decompressed.
    flip(chunk, 8 * (chunk.stat().st_size // 2))
    with pytest.raises(CheckpointError) as caught:
        convert(run, tmp_path / "target", "nnx", options, effort=Effort(transfer=transfer))
    (problem,) = caught.value.problems
    assert (problem.code, str(problem.path)) == (Code.DIGEST_MISMATCH, KERNEL.replace(".", "/"))
    assert problem.file == str(chunk)
    assert not (tmp_path / "target").exists()


def test_an_inline_value_of_a_database_is_held_against_the_receipt_too(tmp_path: Path) -> None:
    one, other = (
        save_item(random_tree(linen(), name), tmp_path / name, Storage(zarr_format=2)) for name in ("a", "b")
    )
    seal(one)
    (other / "linen_nnx").mkdir()
    (one / "linen_nnx" / "receipt.json").rename(other / "linen_nnx" / "receipt.json")
    with pytest.raises(CheckpointError) as caught:
        convert(other, tmp_path / "target", "nnx")
    assert {problem.code for problem in caught.value.problems} == {Code.DIGEST_MISMATCH}
    assert len(caught.value.problems) > 20


def test_without_digests_the_receipt_of_the_source_is_not_asked(tmp_path: Path) -> None:
    run = save(linen(STACKED), tmp_path, PLAIN)
    seal(run)
    flip(item_of(run) / KERNEL / "0.0.0", 800)
    convert(run, tmp_path / "target", "nnx", digest=False)
    assert verify(run) != []


def test_what_a_conversion_does_not_read_does_not_stop_it(tmp_path: Path) -> None:
    run = save(linen(STACKED), tmp_path, PLAIN)
    seal(run)
    flip(item_of(run) / "opt_state.0.count" / "0", 3)
    convert(run, tmp_path / "target", "params")
    assert verify(tmp_path / "target") == []
