"""An interrupted conversion goes on where it stopped, or starts anew; it never mixes two."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linen_nnx import ConversionOptions, LayerStacking, convert, verify
from linen_nnx.convert.engine import journal, units
from linen_nnx.convert.engine.buffers import Buffers
from linen_nnx.convert.engine.sink import DataFileSink, FolderSink, Sink
from linen_nnx.convert.engine.tap import Data
from linen_nnx.convert.store.location import TEMPORARY
from linen_nnx.schema.errors import ConversionError
from linen_nnx.schema.problem import Code
from linen_nnx.schema.routing import Effort
from tests.support.checkpoints import STORAGES, Storage, save_item

APART = ConversionOptions(stacking=LayerStacking.UNSTACKED)


def linen(folder: Path, storage: Storage, seed: int = 0) -> Path:
    """Scanned layers of eight arrays."""
    rng = np.random.default_rng(seed)
    layers = {f"dense_{n}": {"kernel": rng.standard_normal((6 + n, 4, 9 + n), np.float32)} for n in range(8)}
    return save_item({"params": {"params": {"decoder": {"layers": layers}}}}, folder, storage)


class Killed(BaseException):
    """As if the process had been."""


def interrupt(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Convert, but stop after some units of work."""
    done: list[units.Split] = []
    run = units.Split.run

    def counted(unit: units.Split, sink: Sink, buffers: Buffers) -> None:
        if len(done) >= after:
            raise Killed
        run(unit, sink, buffers)
        done.append(unit)

    with monkeypatch.context() as patch:
        patch.setattr(units.Split, "run", counted)
        with pytest.raises(Killed):
            convert(source, target, options=APART)


def left(target: Path) -> list[Path]:
    return [child for child in target.parent.iterdir() if child.name.startswith(TEMPORARY)]


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_a_rerun_does_only_what_is_left(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = linen(tmp_path / "source", storage), tmp_path / "target"
    interrupt(source, target, monkeypatch, 5)
    assert not target.exists()
    assert len(left(target)) == 1
    ran: list[units.Split] = []
    run = units.Split.run

    def counted(unit: units.Split, sink: Sink, buffers: Buffers) -> None:
        ran.append(unit)
        run(unit, sink, buffers)

    with monkeypatch.context() as patch:
        patch.setattr(units.Split, "run", counted)
        convert(source, target, options=APART)
    assert len(ran) <= 3
    assert left(target) == []
    assert verify(target, source, restore=True) == []


@pytest.mark.parametrize("kind", [DataFileSink, FolderSink])
def test_no_layer_is_written_twice(
    kind: type[DataFileSink | FolderSink], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a chunk that spans layers is decoded again where some of them are missing."""
    source = linen(tmp_path / "source", Storage(ocdbt=kind is DataFileSink))
    target, put, stored = tmp_path / "target", kind.put, list[str]()

    def counted(sink: Any, key: str, value: Data) -> None:
        if len(stored) == 9:
            raise Killed
        put(sink, key, value)
        stored.append(key)

    def noted(sink: Any, key: str, value: Data) -> None:
        stored.append(key)
        put(sink, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "put", counted)
        with pytest.raises(Killed):
            convert(source, target, options=APART, effort=Effort(workers=1))
        before = stored.copy()
        stored.clear()
        patch.setattr(kind, "put", noted)
        convert(source, target, options=APART, effort=Effort(workers=1))
    assert set(before).isdisjoint(stored)
    assert verify(target, source) == []


def test_another_source_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    interrupt(linen(tmp_path / "one", Storage()), target, monkeypatch, 5)
    other = linen(tmp_path / "other", Storage(), seed=1)
    convert(other, target, options=APART)
    assert left(target) == []
    assert verify(target, other) == []


def test_what_a_killed_run_replaced_is_kept_until_the_new_target_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = linen(tmp_path / "source", Storage()), tmp_path / "target"
    convert(source, target, options=APART)
    rename = os.rename

    def killed_between(before: Path, after: Path) -> None:
        if after == target:
            raise Killed
        rename(before, after)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", killed_between)
        with pytest.raises(Killed):
            convert(source, target, options=APART, overwrite=True)
    assert not target.exists()
    (old,) = (folder for folder in left(target) if folder.name.endswith("-target"))
    kept = old.rename(tmp_path / "kept")
    assert verify(kept, source) == []
    kept.rename(old)
    convert(source, target, options=APART)
    assert left(target) == []
    assert verify(target, source) == []


def test_a_target_that_another_process_made_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = linen(tmp_path / "source", Storage()), tmp_path / "target"
    finish = journal.Claim.finish

    def late(claimed: journal.Claim) -> None:
        target.mkdir()
        (target / "theirs").touch()
        finish(claimed)

    monkeypatch.setattr(journal.Claim, "finish", late)
    with pytest.raises(ConversionError) as refused:
        convert(source, target, options=APART)
    assert [problem.code for problem in refused.value.problems] == [Code.TARGET_EXISTS]
    assert [file.name for file in target.iterdir()] == ["theirs"]
    assert left(target) == []


def test_a_killed_process_leaves_no_target_and_a_rerun_finishes(tmp_path: Path) -> None:
    source, target = linen(tmp_path / "source", Storage()), tmp_path / "target"
    code = (
        "import os, signal, sys; from linen_nnx import convert, ConversionOptions, LayerStacking\n"
        "from linen_nnx.convert.engine import units; run = units.Split.run; done = []\n"
        "def killed(unit, *rest):\n"
        "    run(unit, *rest); done.append(unit)\n"
        "    if len(done) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "units.Split.run = killed\n"
        "convert(sys.argv[1], sys.argv[2], options=ConversionOptions(stacking=LayerStacking.UNSTACKED))"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(source), str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert left(target) != []
    assert not target.exists()
    convert(source, target, options=APART)
    assert left(target) == []
    assert verify(target, source) == []
