"""The two Python 3.12 environments, one a release of MaxText; built once and kept."""

import hashlib
import subprocess
from pathlib import Path

from tests.oracle.trainers import Release

ROOT = Path(__file__).parents[2]
_PROBE = "import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 12))"
_VERSIONS = """
import importlib.metadata as found, platform
for name in ("maxtext", "jax", "flax", "optax", "orbax-checkpoint", "tensorstore", "numpy"):
    print(name, found.version(name))
print("Python", platform.python_version())
"""


def folder(release: Release) -> Path:
    return ROOT / f".venv-oracle-{release.short}"


def python(release: Release) -> Path:
    return folder(release) / "bin" / "python"


def build(release: Release, base: str) -> bool:
    """Make the environment of a release with the interpreter `base`; False when it is there already.

    Takes minutes and 2 GB. The stamp holds the hash of the requirements, so a changed pin builds anew.
    """
    requirements = Path(__file__).with_name(f"requirements-{release.short}.txt")
    stamp = folder(release) / ".ready"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return False
    if subprocess.run([base, "-c", _PROBE], capture_output=True, check=False).returncode != 0:
        raise SystemExit(
            f"the oracle needs Python 3.12 with its venv module; {base!r} is not such a one\n"
            "hint: name it: make oracle ORACLE_PYTHON=/path/to/python3.12"
        )
    subprocess.run([base, "-m", "venv", "--clear", folder(release)], check=True)
    pip: list[str | Path] = [
        python(release),
        "-m",
        "pip",
        "install",
        "-qq",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    subprocess.run([*pip, "--requirement", requirements], check=True)
    stamp.write_text(wanted)
    return True


def versions(release: Release) -> dict[str, str]:
    """The versions of the packages that matter, by name."""
    answer = subprocess.run([python(release), "-c", _VERSIONS], capture_output=True, text=True, check=True)
    return dict(line.rsplit(" ", 1) for line in answer.stdout.splitlines())
