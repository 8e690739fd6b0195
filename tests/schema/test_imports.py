"""What is imported when: metadata alone needs neither jax nor orbax."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

import linen_nnx.schema
from tests.support.checkpoints import STORAGES, Storage, save_item

HEAVY = ["jax", "jaxlib", "orbax", "flax", "optax", "tensorstore", "numpy", "ml_dtypes", "typer", "rich"]


def imported_by(program: str, *arguments: object) -> set[str]:
    """The heavy packages that a fresh interpreter holds after `program`."""
    tail = f"\nimport json, sys\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    command = [sys.executable, "-c", program + tail, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_package_alone_imports_nothing_heavy() -> None:
    assert imported_by("import linen_nnx") == set()


def test_schema_imports_nothing_heavy() -> None:
    names = [info.name for info in pkgutil.iter_modules(linen_nnx.schema.__path__)]
    assert {"path", "plan", "tree", "zarr"} <= set(names)
    program = "\n".join(f"import linen_nnx.schema.{name}" for name in names)
    assert imported_by(program) == set()


def test_listing_the_public_names_imports_nothing_heavy() -> None:
    assert imported_by("import linen_nnx; assert 'plan' in linen_nnx.__all__ and dir(linen_nnx)") == set()


@pytest.fixture(scope="module", params=STORAGES, ids=str)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Linen train state on disk."""
    storage: Storage = request.param
    params = {"params": {"decoder": {f"layers_{n}": {"w": jnp.ones((2, 3))} for n in range(12)}}}
    tree = {
        "step": jnp.int32(7),
        "params": params,
        "opt_state": [{"count": jnp.int32(7), "mu": params}, None],
    }
    return save_item(tree, tmp_path_factory.mktemp("imports") / "item", storage)


@pytest.mark.parametrize(
    "program",
    [
        "assert linen_nnx.inspect(path).step == 7",
        "assert len(linen_nnx.plan(path, to='nnx').item_writes) == 26",
        "assert len(linen_nnx.plan(path, options=stacked).item_writes) == 4",
        "assert linen_nnx.validate(path) == []",
        "linen_nnx.seal(path, overwrite=True); assert linen_nnx.verify(path) == []",
    ],
    ids=["inspect", "plan", "plan-stacked", "validate", "seal-and-verify"],
)
def test_metadata_is_read_without_jax_or_orbax(checkpoint: Path, program: str) -> None:
    setup = (
        "import sys, linen_nnx; path = sys.argv[1]; "
        "stacked = linen_nnx.ConversionOptions(stacking=linen_nnx.LayerStacking.STACKED)\n"
    )
    loaded = imported_by(setup + program, checkpoint)
    assert loaded & {"jax", "jaxlib", "orbax", "flax", "optax"} == set()
