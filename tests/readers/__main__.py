"""Convert states of every storage form by every route, and let other releases of orbax read them.

Each release has an environment of its own, `.venv-readers-RELEASE`, made on first use. The table goes to
stdout, and with `--write` into the manual.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from linen_nnx import ConversionOptions, LayerStacking, Layout, convert, plan
from linen_nnx.schema.routing import Route
from tests.readers.reading import Digests, digests
from tests.support.checkpoints import STORAGES, Storage, save_run

RELEASES = ("0.11.39", "0.12.8")
PAGE = Path(__file__).parent.parent.parent / "docs" / "readers.md"
START, END = "<!-- results -->", "<!-- end of results -->"
STEP, LAYERS = 2, 3
READING = Path(__file__).with_name("reading.py")


@dataclass(frozen=True)
class Case:
    """A conversion: of scanned layers or not, to which, and the route of its kernels."""

    name: str
    scanned: bool
    target: LayerStacking | None
    route: Route


CASES = (
    Case("renamed", False, None, Route.REFERENCE),
    Case("stacked", False, LayerStacking.STACKED, Route.CHUNK),
    Case("taken apart", True, LayerStacking.UNSTACKED, Route.DECODE),
)


def layer(rng: np.random.Generator) -> dict[str, Any]:
    """Of one layer: wide and narrow floats."""
    wide, narrow = rng.standard_normal((8, 700), np.float32), rng.standard_normal((8, 16), np.float32)
    return {"kernel": jax.numpy.asarray(wide), "bias": jax.numpy.asarray(narrow, jax.numpy.bfloat16)}


def state(scanned: bool) -> tuple[Any, Any]:
    """A Linen tree, and its layers as a list."""
    rng = np.random.default_rng(0)
    layers = [layer(rng) for _ in range(LAYERS)]
    if scanned:
        decoder = {"layers": jax.tree.map(lambda *leaves: jax.numpy.stack(leaves, 1), *layers)}
    else:
        decoder = {f"layers_{n}": made for n, made in enumerate(layers)}
    return {"params": {"params": {"decoder": decoder}}}, layers


def expected(case: Case, layers: Any) -> Digests:
    """Of the target, which stays a Linen tree."""
    if case.target is LayerStacking.STACKED:
        decoder = {"layers": jax.tree.map(lambda *leaves: jax.numpy.stack(leaves, 1), *layers)}
    else:
        decoder = {f"layers_{n}": made for n, made in enumerate(layers)}
    return digests({"params": {"params": {"decoder": decoder}}})


def converted(case: Case, storage: Storage, work: Path) -> tuple[Path, Path]:
    """The target run, and the file of what it must hold; the source is removed."""
    tree, layers = state(case.scanned)
    source = save_run({"items": tree}, work / "source", storage, step=STEP)
    options = ConversionOptions(to=Layout.LINEN, stacking=case.target, layer_axis=1)
    routes = {write.route for write in plan(source, options=options).execution.writes}
    assert case.route in routes, routes
    convert(source, work / "target", options=options)
    source.rename(work / "moved")
    wanted = work / "expected.json"
    wanted.write_text(json.dumps(expected(case, layers)))
    return work / "target", wanted


def environment(release: str, folder: Path) -> Path:
    """A Python that has that release of orbax."""
    venv = folder / f".venv-readers-{release}"
    python = venv / "bin" / "python"
    if not (venv / ".ready").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        wanted = f"orbax-checkpoint=={release}"
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", wanted], check=True)
        (venv / ".ready").touch()
    return python


def table(folder: Path, pythons: dict[str, Path]) -> Iterator[str]:
    """Markdown: a row a reader and release; a cell a storage form."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for storage in STORAGES:
        for case in CASES:
            with tempfile.TemporaryDirectory(dir=folder) as name:
                run, wanted = converted(case, storage, Path(name))
                for release, python in pythons.items():
                    command = [str(python), str(READING), str(run), str(STEP), str(wanted)]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    for reader, fault in json.loads(done.stdout.splitlines()[-1]).items():
                        cell = found.setdefault((reader, release), {}).setdefault(str(storage), [])
                        cell += [f"{case.name}: {fault}"] if fault else []
    yield "| reader | orbax | " + " | ".join(map(str, STORAGES)) + " |"
    yield "|---|---|" + "---|" * len(STORAGES)
    for (reader, release), cells in sorted(found.items()):
        yield (
            f"| {reader} | {release} | " + " | ".join("; ".join(c) or "equal" for c in cells.values()) + " |"
        )
    yield ""


def main() -> int:
    """0 if every reader of every release read every target, bit for bit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", nargs="*", default=list(RELEASES))
    parser.add_argument("--environments", type=Path, default=Path.cwd(), help="where they are made")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    given = parser.parse_args()
    pythons = {release: environment(release, given.environments) for release in given.releases}
    with tempfile.TemporaryDirectory() as name:
        lines = list(table(Path(name), pythons))
    sys.stdout.write("\n".join(lines) + "\n")
    if given.write:
        text = PAGE.read_text(encoding="utf-8")
        before, rest = text.split(START)
        after = rest.split(END)[1]
        PAGE.write_text(f"{before}{START}\n\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8")
    return int(any("differ" in line or "Error" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
