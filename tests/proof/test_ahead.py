"""What is digested before there is a plan is what the plan would have had digested."""

from pathlib import Path

import pytest

from linen_nnx import CheckpointError, ConversionOptions, convert, seal
from linen_nnx.convert.opening import Sources
from linen_nnx.convert.proof.ahead import Ahead, large_chunks
from linen_nnx.convert.proof.hashing import Region, digests
from linen_nnx.schema.options import Parts
from linen_nnx.schema.problem import Code
from linen_nnx.schema.routing import Effort, Transfer
from tests.proof.checkpoints import flip
from tests.support.checkpoints import STORAGES, Storage
from tests.support.small import PLAIN, Specs, item_of, linen, save

LINK = Effort(transfer=Transfer.LINK)
WIDE: Specs = {
    ("decoder", "layers", "mlp", "wo", "kernel"): "float32[130,4,600]",
    ("decoder", "norm", "scale"): "float32[8]",
}
"""A stack of more than a megabyte, and an array of next to nothing."""
KERNEL = "params.params.decoder.layers.mlp.wo.kernel"


@pytest.mark.parametrize("storage", STORAGES, ids=str)
@pytest.mark.parametrize("parts", Parts)
def test_a_linked_target_with_large_chunks_has_the_digests_of_a_copied_one(
    parts: Parts, storage: Storage, tmp_path: Path
) -> None:
    source, options = save(linen(WIDE), tmp_path, storage), ConversionOptions(parts=parts)
    assert list(large_chunks(Sources.open(source).checkpoints()))
    one = convert(source, tmp_path / "copied", "nnx", options)
    other = convert(source, tmp_path / "linked", "nnx", options, effort=LINK)
    assert [entry.digests for entry in one.entries] == [entry.digests for entry in other.entries]


def test_a_large_chunk_that_is_not_what_its_receipt_says_stops_a_link(tmp_path: Path) -> None:
    run = save(linen(WIDE), tmp_path, PLAIN)
    seal(run)
    chunk = item_of(run) / KERNEL / "0.0.0"
    flip(chunk, 8 * (chunk.stat().st_size // 2))
    with pytest.raises(CheckpointError) as caught:
        convert(run, tmp_path / "target", "nnx", effort=LINK)
    assert [problem.code for problem in caught.value.problems] == [Code.DIGEST_MISMATCH]
    assert not (tmp_path / "target").exists()


def test_a_file_that_cannot_be_read_is_left_to_those_who_want_it(tmp_path: Path) -> None:
    run = save(linen(WIDE), tmp_path, PLAIN)
    sources = Sources.open(run)
    chunk = item_of(run) / KERNEL / "0.0.0"
    assert chunk in {region.file for region in large_chunks(sources.checkpoints())}
    chunk.unlink()
    chunk.mkdir()
    with Ahead(sources.checkpoints(), None) as ahead:
        assert ahead.result() == {}


def test_digests_are_taken_of_what_is_wanted_when_its_turn_comes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)))
    regions = [Region(file, offset, 16) for offset in range(0, 256, 16)]
    whole = digests(regions)
    assert set(whole) == set(regions)
    some = set(regions[::3])
    assert digests(regions, wanted=some.__contains__) == {region: whole[region] for region in some}
