"""`linen-nnx diff`: what it prints, and how it ends."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from linen_nnx import Difference, Inspection, Layout, convert, fingerprint
from linen_nnx.convert.proof.receipts import read_receipt
from tests.compare.content import KERNEL, NU, changed, content, layer, saved
from tests.support.small import Specs, linen
from tests.test_cli import Run, run  # noqa: F401  (a fixture)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A state, and one with another number in one element of nu, as NNX."""
    folder, state, path = tmp_path_factory.mktemp("pair"), content(), (*layer(2, *NU), *KERNEL)
    value = np.nextafter(state[path][5, 4], np.float32(1))
    saved(changed(state, path, (5, 4), value), folder / "linen")
    convert(folder / "linen", folder / "b", to=Layout.NNX)
    return saved(state, folder / "a"), folder / "b"


def test_one_ulp_ends_with_1_and_says_where(pair: tuple[Path, Path], run: Run) -> None:  # noqa: F811
    done = run("diff", *pair)
    assert done.code == 1
    assert "optimizer/[0]/nu/decoder/layers_2/mlp/wo/kernel: 1 of 48 elements differ, by 1 ulp" in done.out
    assert "first at [5, 4]: " in done.out
    assert done.out.splitlines()[-1].startswith("different: 1 of ")


@pytest.mark.parametrize(
    "more",
    [["--only", "params", "--only", "step"], ["--structure"], ["--rtol", "1e-6"], ["--atol", "1e-6"]],
    ids=" ".join,
)
def test_what_is_equal_as_far_as_was_asked_ends_with_0(
    more: list[str],
    pair: tuple[Path, Path],
    run: Run,  # noqa: F811
) -> None:
    done = run("diff", *pair, *more)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1].startswith("equal")
    assert ("within tolerance: optimizer/[0]/nu" in done.out) is ("tol" in more[0])


def test_the_document_is_the_same_result(pair: tuple[Path, Path], run: Run) -> None:  # noqa: F811
    done = run("diff", *pair, "--json")
    assert done.code == 1
    found = Difference.model_validate_json(done.out)
    assert [str(one.path) for one in found.differences] == ["optimizer/[0]/nu/decoder/layers_2/mlp/wo/kernel"]
    assert set(json.loads(done.out)) == set(json.loads(run("schema", "difference").out)["properties"])


@pytest.mark.parametrize(
    "more", [["--atol", "-1"], ["--only", "weights"], ["--memory", "much"]], ids=" ".join
)
def test_wrong_usage_ends_with_2(more: list[str], pair: tuple[Path, Path], run: Run) -> None:  # noqa: F811
    assert run("diff", *pair, *more).code == 2


def test_what_is_no_checkpoint_is_refused(pair: tuple[Path, Path], run: Run, tmp_path: Path) -> None:  # noqa: F811
    done = run("diff", pair[0], tmp_path / "nothing")
    assert (done.code, done.out) == (1, "")
    assert "[not-a-checkpoint]" in done.err


def test_inspect_prints_the_fingerprint_only_when_asked(pair: tuple[Path, Path], run: Run) -> None:  # noqa: F811
    content_of = {}
    for path in pair:
        assert "content " not in run("inspect", path).out
        done = run("inspect", path, "--fingerprint")
        assert done.code == 0
        (line,) = [line for line in done.out.splitlines() if line.startswith("content ")]
        content_of[path] = line.split()[1]
        document = Inspection.model_validate_json(run("inspect", path, "--fingerprint", "--json").out)
        assert document.fingerprint == content_of[path] == fingerprint(path)
    assert len(set(content_of.values())) == 2


def test_inspect_draws_the_share_of_each_part(pair: tuple[Path, Path], run: Run) -> None:  # noqa: F811
    out = run("inspect", pair[0]).out
    shares = {line.split()[0]: line for line in out.splitlines() if "%" in line}
    assert {"params", "optimizer", "step"} <= set(shares)
    assert "67%" in shares["optimizer"]
    assert shares["optimizer"].count("█") + shares["optimizer"].count("#") == 13


@pytest.mark.parametrize("asked", [[], ["--fingerprint"]], ids=["unasked", "asked"])
def test_a_receipt_keeps_the_fingerprint_of_what_was_written_and_verify_tells_it(
    asked: list[str],
    pair: tuple[Path, Path],
    run: Run,  # noqa: F811
    tmp_path: Path,
) -> None:
    shutil.copytree(pair[0], tmp_path / "sealed")
    taken = fingerprint(pair[0])
    for command in (
        ["convert", pair[0], tmp_path / "nnx", "--to", "nnx"],
        ["seal", tmp_path / "sealed"],
    ):
        done = run(*command, *asked)
        assert done.code == 0
        assert f"content {taken}" in done.out.splitlines()
        receipt = read_receipt(tmp_path / ("nnx" if command[0] == "convert" else "sealed"))
        assert receipt is not None
        assert receipt.fingerprint == taken
    for made in ("nnx", "sealed"):
        done = run("verify", tmp_path / made)
        assert (done.code, done.out.splitlines()[-1]) == (0, f"content {taken}")


def test_a_fingerprint_that_cannot_be_taken_is_refused_before_anything_is_written(
    run: Run,  # noqa: F811
    tmp_path: Path,
) -> None:
    square: Specs = {("decoder", "layers", "norm", "scale"): "float32[3,3]"}
    source = saved(content(linen(square)), tmp_path / "source")
    done = run("convert", source, tmp_path / "nnx", "--to", "nnx", "--fingerprint")
    assert (done.code, (tmp_path / "nnx").exists()) == (1, False)
    assert "[axis-ambiguous]" in done.err
    assert run("convert", source, tmp_path / "nnx", "--to", "nnx").code == 0
    receipt = read_receipt(tmp_path / "nnx")
    assert receipt is not None
    assert receipt.fingerprint is None
