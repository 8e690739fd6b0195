"""`seal` and `verify` as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

from tests.proof.checkpoints import flip
from tests.support.checkpoints import Storage
from tests.support.small import item_of, linen, save


def command(*arguments: str | Path) -> tuple[int, str]:
    """Exit code, and all that was printed."""
    line = [sys.executable, "-m", "linen_nnx.cli.main", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_checkpoint_is_sealed_watched_and_refused_once_a_bit_flips(tmp_path: Path) -> None:
    run = save(linen(), tmp_path, Storage())
    code, said = command("verify", run)
    assert code == 1
    assert f"hint: `linen-nnx seal {run}`" in said
    code, said = command("seal", run)
    assert (code, f"hint: linen-nnx verify {run}" in said) == (0, True)
    code, said = command("verify", run)
    digest = json.loads((item_of(run) / "linen_nnx" / "receipt.json").read_text())["digest"]
    assert (code, f"verified: every stored byte is as receipt {digest[:16]}… says" in said) == (0, True)
    (data,) = [file for file in (item_of(run) / "d").iterdir() if file.stat().st_size > 1000]
    flip(data, 8 * 500)
    code, said = command("verify", run)
    assert code == 1
    assert f"{data}: " in said
    assert "[digest-mismatch]" in said
    assert "not verified: " in said


def test_a_conversion_without_digests_says_how_to_take_them(tmp_path: Path) -> None:
    run, target = save(linen(), tmp_path, Storage()), tmp_path / "target"
    code, said = command("convert", run, target, "--no-digest", "--transfer", "link")
    assert code == 0
    assert "no digests were taken" in said
    assert command("verify", target)[0] == 1
    assert command("verify", target, "--against", run)[0] == 0
    code, said = command("seal", target)
    assert (code, "[already-sealed]" in said) == (1, True)
    assert command("seal", target, "--overwrite")[0] == 0
    assert command("verify", target)[0] == 0
