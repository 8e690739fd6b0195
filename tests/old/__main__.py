"""`make old-writers`: make an environment for each old release, write with it, pack what it wrote.

Environments stay in `.venv-old-*`; each takes about half a gigabyte and a minute.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.old.archives import ERAS, Era, pack

ROOT = Path(__file__).parents[2]
WRITER = Path(__file__).with_name("writer.py")


def environment(era: Era, base: str) -> Path:
    """The interpreter of an era; made once and kept."""
    folder = ROOT / f".venv-old-{era.flax}"
    stamp, pins = folder / ".ready", [f"flax=={era.flax}", f"orbax-checkpoint=={era.orbax}", *era.others]
    python = folder / "bin" / "python"
    if not stamp.is_file() or stamp.read_text().split() != pins:
        subprocess.run([base, "-m", "venv", "--clear", folder], check=True)
        pip: list[str | Path] = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, *pins], check=True)
        stamp.write_text("\n".join(pins))
    return python


def main() -> None:
    """Write and pack every era, or those that are named."""
    parser = argparse.ArgumentParser(prog="make old-writers")
    parser.add_argument("--python", default="python3.11", help="the interpreter; flax 0.8.5 wants 3.11")
    parser.add_argument("eras", nargs="*", help="releases of flax; all of them by default")
    chosen = parser.parse_args()
    for era in ERAS:
        if chosen.eras and era.flax not in chosen.eras:
            continue
        python = environment(era, chosen.python)
        folder = Path(tempfile.mkdtemp()) / "written"
        done = subprocess.run([python, WRITER, folder], check=False)
        if done.returncode != 0:
            sys.exit(f"flax {era.flax} did not write")
        pack(folder, era.archive)
        shutil.rmtree(folder.parent)
        sys.stdout.write(f"{era.archive.relative_to(ROOT)}: {era.archive.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
