"""A checkpoint with ten thousand arrays: described and planned from metadata alone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts

from linen_nnx import inspect, plan
from linen_nnx.schema.array import ArraySpec, ArrayValue, DType
from linen_nnx.schema.layout import LayerStacking, Layout
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.orbax_metadata import tree_entry
from linen_nnx.schema.path import KeyPath

LAYERS, LEAVES = 128, 26


def paths() -> list[KeyPath]:
    """The weights of every layer with mu and nu, in no helpful order."""
    bases = [("params", "params"), ("opt_state", 0, "mu", "params"), ("opt_state", 0, "nu", "params")]
    found = [
        KeyPath.of(*base, "decoder", f"layers_{layer}", f"block_{leaf}", "kernel")
        for base in bases
        for layer in range(LAYERS)
        for leaf in range(LEAVES)
    ]
    return sorted(found, key=str)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten thousand arrays in one OCDBT database, written in one transaction."""
    folder = tmp_path_factory.mktemp("large") / "item"
    folder.mkdir()
    value = ArrayValue(spec=ArraySpec(shape=(2, 3), dtype=DType.FLOAT32))
    zarr = {
        "zarr_format": 2,
        "shape": [2, 3],
        "chunks": [2, 3],
        "dtype": "<f4",
        "compressor": None,
        "fill_value": None,
        "filters": None,
        "order": "C",
        "dimension_separator": ".",
    }
    document, chunk = json.dumps(zarr).encode(), np.arange(6, dtype=np.float32).tobytes()
    base = {"driver": "file", "path": f"{folder}/"}
    store = ts.KvStore.open({"driver": "ocdbt", "base": base}).result()
    tree = {}
    with ts.Transaction() as transaction:
        inside = store.with_transaction(transaction)
        for path in paths():
            inside[f"{path.param_name}/.zarray"] = document
            inside[f"{path.param_name}/0.0"] = chunk
            name, entry = tree_entry(path, value, (2, 3))
            tree[name] = entry
    metadata = {
        "tree_metadata": tree,
        "use_ocdbt": True,
        "use_zarr3": False,
        "store_array_data_equal_to_fill_value": True,
    }
    (folder / "_METADATA").write_text(json.dumps(metadata))
    return folder


def layer_numbers(ordered: list[KeyPath]) -> list[int]:
    """The layer of each path below `params`, in the order given."""
    names = [path.names[3] for path in ordered if path.names[:2] == ("params", "params")]
    return [int(name.removeprefix("layers_")) for name in names]


def test_inspect_lists_all_layers_in_their_order(large: Path) -> None:
    found = inspect(large)
    assert found.problems == ()
    assert len(found.inventory.entries) == 3 * LAYERS * LEAVES
    numbers = layer_numbers([entry.path for entry in found.inventory.entries])
    assert numbers == sorted(numbers)
    assert [group.count for group in found.groups] == [LAYERS]


@pytest.mark.parametrize("stacking", [None, LayerStacking.STACKED], ids=["keep", "stack"])
@pytest.mark.parametrize("to", [Layout.NNX, Layout.LINEN], ids=lambda layout: layout.value)
def test_a_plan_reads_and_writes_them_all(large: Path, to: Layout, stacking: LayerStacking | None) -> None:
    made = plan(large, to=to, options=ConversionOptions(stacking=stacking))
    assert len(made.item_writes) == (3 * LEAVES if stacking else 3 * LAYERS * LEAVES)
    assert len(made.inputs) == 3 * LAYERS * LEAVES


def test_neither_imports_jax_or_orbax(large: Path) -> None:
    program = (
        "import sys, json, linen_nnx\n"
        "linen_nnx.inspect(sys.argv[1])\n"
        "linen_nnx.plan(sys.argv[1], to='nnx')\n"
        "print(json.dumps([n for n in ('jax', 'jaxlib', 'orbax', 'flax', 'optax') if n in sys.modules]))\n"
    )
    command = [sys.executable, "-c", program, str(large)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
