"""What each command imports: as little as it needs, so that it starts at once. No clock is read here."""

import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from linen_nnx.cli.main import COMMANDS
from tests.support.checkpoints import save_item

LIVE = {"jax", "jaxlib", "orbax", "flax", "optax"}
"""What only live models need."""
ARRAYS = {"numpy", "ml_dtypes", "tensorstore", "zstandard", "blake3"}
"""What reads, decodes and digests arrays."""
SHOW = {"rich", "jinja2"}
MODELS = {"pydantic"}
OURS = {"linen_nnx.convert", "linen_nnx.cli.render", "linen_nnx.cli.page"}
"""Rooms of ours that do the work of a command."""
APART = {"linen_nnx.convert.mapping", "linen_nnx.convert.rules.assign"}
"""Rooms of rules and of maps, which a plain conversion follows none of."""

NAMES = sorted(LIVE | ARRAYS | SHOW | MODELS | OURS | APART)
PROGRAM = """
import json, sys
from linen_nnx.cli.main import main
commands, names = map(json.loads, sys.argv[1:])
for command in commands:
    sys.argv = ["linen-nnx", *command]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (command, end.code)
print(json.dumps([name for name in names if name in sys.modules]))
"""


def imported_by(*commands: list[str]) -> set[str]:
    """What of the above a fresh interpreter holds after commands that all went well."""
    program = [sys.executable, "-c", PROGRAM, json.dumps(commands), json.dumps(NAMES)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Linen train state on disk."""
    params = {"params": {"decoder": {f"layers_{n}": {"w": jnp.ones((2, 3))} for n in range(3)}}}
    tree = {
        "step": jnp.int32(7),
        "params": params,
        "opt_state": [{"count": jnp.int32(7), "mu": params}, None],
    }
    return save_item(tree, tmp_path_factory.mktemp("startup") / "item")


def test_help_imports_no_models_no_arrays_and_nothing_that_does_the_work() -> None:
    assert imported_by(["--help"], ["--version"]) == set()


def test_the_help_of_a_command_imports_neither_arrays_nor_what_does_the_work() -> None:
    # Typer itself asks for pydantic when it reads the types of options.
    assert imported_by(*([module.NAME, "--help"] for module in COMMANDS)) <= MODELS


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect"],
        ["inspect", "--json"],
        ["validate"],
        ["plan"],
        ["plan", "--scan-layers", "--layer-axis", "0", "--json"],
    ],
    ids=" ".join,
)
def test_metadata_is_read_without_live_libraries(arguments: list[str], checkpoint: Path) -> None:
    command, *options = arguments
    assert imported_by([command, str(checkpoint), *options]) & (LIVE | SHOW) == set()


@pytest.mark.parametrize("options", [[], ["--scan-layers", "--layer-axis", "0"]], ids=" ".join)
def test_a_conversion_imports_neither_live_libraries_nor_rooms_for_others(
    options: list[str], checkpoint: Path, tmp_path: Path
) -> None:
    target = str(tmp_path / "target")
    imported = imported_by(["convert", str(checkpoint), target, "--transfer", "link", *options])
    assert imported & (LIVE | SHOW | APART) == set()
