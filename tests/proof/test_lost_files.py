"""A data file that is cut short, gone or not to be read: every command says which, and nothing is begun."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from linen_nnx import (
    ConversionOptions,
    LayerStacking,
    ProblemsError,
    convert,
    diff,
    fingerprint,
    plan,
    seal,
    validate,
    verify,
)
from linen_nnx.convert.proof.covering import arrays_of, chunk_regions
from linen_nnx.convert.store.location import locate
from linen_nnx.convert.store.orbax_source import open_item
from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.plan import NoteCode
from linen_nnx.schema.problem import Code
from linen_nnx.schema.routing import Effort, Transfer
from tests.support.checkpoints import STORAGES, Storage, files_of
from tests.support.small import PLAIN, Specs, linen, save

LARGE: Specs = {
    ("token_embedder", "embedding"): "float32[40,20]",
    ("decoder", "layers", "mlp", "wo", "kernel"): "float32[24,3,20]",
    ("decoder", "layers", "norm", "scale"): "float32[20,3]",
}
"""Arrays that are no values of an index."""
APART = ConversionOptions(stacking=LayerStacking.UNSTACKED)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[Storage, Path]:
    """A whole checkpoint of each form."""
    return {
        storage: save(linen(LARGE), tmp_path_factory.mktemp(str(storage)), storage) for storage in STORAGES
    }


def data_file(run: Path) -> Path:
    """One that holds stored chunks of a stack."""
    arrays = arrays_of(open_item(locate(run))).items()
    stacks = [
        array for (_, path), array in arrays if str(path) == "params/params/decoder/layers/mlp/wo/kernel"
    ]
    (file,) = {region.file for region in chunk_regions(stacks)}
    return file


def cut(file: Path) -> None:
    with file.open("r+b") as out:
        out.truncate(file.stat().st_size // 2)


def replaced_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def asked(bad: Path, whole: Path, target: Path) -> list[Callable[[], object]]:
    """All that reads `bad`, or would lead on from it."""
    return [
        lambda: plan(bad, "nnx"),
        lambda: convert(bad, target, "nnx"),
        lambda: convert(bad, target, "nnx", APART),
        lambda: convert(bad, target, "nnx", effort=Effort(transfer=Transfer.LINK), digest=False),
        lambda: diff(bad, whole),
        lambda: diff(whole, bad),
        lambda: fingerprint(bad),
        lambda: seal(bad),
    ]


@pytest.mark.parametrize("damage", [cut, Path.unlink, replaced_by_a_folder])
def test_a_data_file_that_does_not_reach_is_named_before_anything_is_begun(
    damage: Callable[[Path], None], runs: dict[Storage, Path], tmp_path: Path
) -> None:
    whole = runs[Storage()]
    bad = tmp_path / "bad"
    shutil.copytree(whole, bad)
    file = data_file(bad)
    damage(file)
    before = files_of(bad)
    (problem,) = validate(bad)
    assert (problem.code, problem.file) == (Code.CHUNK_MISSING, str(file))
    assert "stored values are not there, first" in problem.found
    for refused in asked(bad, whole, tmp_path / "target"):
        with pytest.raises(ProblemsError) as error:
            refused()
        assert error.value.problems == (problem,)
    assert problem in verify(whole, bad)
    assert files_of(bad) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_a_chunk_that_does_not_decode_is_named_with_its_file(
    storage: Storage, runs: dict[Storage, Path], tmp_path: Path
) -> None:
    whole, bad = runs[storage], tmp_path / "bad"
    shutil.copytree(whole, bad)
    file = data_file(bad)
    file.write_bytes(bytes(file.stat().st_size))
    for refused in (
        lambda: diff(bad, whole),
        lambda: fingerprint(bad),
        lambda: convert(bad, tmp_path / "t", "nnx", APART),
    ):
        with pytest.raises(StorageError, match=str(file)):
            refused()


def test_a_chunk_that_is_carried_over_and_does_not_decode_is_noted(
    runs: dict[Storage, Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(runs[PLAIN], bad)
    cut(data_file(bad))
    done = convert(bad, tmp_path / "target", "nnx")
    (note,) = [note for note in done.notes if note.code is NoteCode.UNDECODABLE]
    assert "model/decoder/layers/mlp/wo/kernel" in note.text
    assert "cut short" in note.text
    assert done.fingerprint is None
    assert verify(tmp_path / "target") == []
    with pytest.raises(StorageError):
        convert(bad, tmp_path / "asked", "nnx", fingerprint=True)
    assert not (tmp_path / "asked").exists()
    assert seal(bad).fingerprint is None
