"""How long a plan takes, by the number of arrays: items whose every value is a few inline bytes."""

import json
import sys
from pathlib import Path

import tensorstore as ts

from benchmarks.measure import Cost, run
from linen_nnx.schema.array import ArraySpec, ArrayValue, DType
from linen_nnx.schema.orbax_metadata import tree_entry
from linen_nnx.schema.path import KeyPath

_ARRAY = {
    "zarr_format": 2,
    "shape": [4],
    "chunks": [4],
    "dtype": "<f4",
    "compressor": None,
    "fill_value": None,
    "filters": None,
    "order": "C",
    "dimension_separator": ".",
}


def make(arrays: int, folder: Path) -> Path:
    """A Linen state of about that many arrays: params, mu and nu of unscanned layers."""
    layers = max(1, arrays // 30)
    paths = [
        KeyPath.of(*head, "params", "decoder", f"layers_{layer}", "block", f"dense_{at}", "kernel")
        for head in (("params",), ("opt_state", 0, "mu"), ("opt_state", 0, "nu"))
        for layer in range(layers)
        for at in range(10)
    ]
    value = ArrayValue(spec=ArraySpec(shape=(4,), dtype=DType.FLOAT32))
    tree = dict(tree_entry(path, value, (4,)) for path in paths)
    folder.mkdir(parents=True)
    base = {"driver": "file", "path": f"{folder}/"}
    store = ts.KvStore.open({"driver": "ocdbt", "base": base}).result()
    transaction = ts.Transaction()
    writing, document = store.with_transaction(transaction), json.dumps(_ARRAY)
    for path in paths:
        writing.write(f"{path.param_name}/.zarray", document)
        writing.write(f"{path.param_name}/0", bytes(16))
    transaction.commit_sync()
    metadata = {"tree_metadata": tree, "use_ocdbt": True, "use_zarr3": False}
    (folder / "_METADATA").write_text(json.dumps(metadata))
    return folder


def measure(counts: list[int], work: Path, rounds: int) -> dict[int, list[Cost]]:
    """`plan --scan-layers` of states of so many arrays."""
    found: dict[int, list[Cost]] = {}
    for count in counts:
        source = make(count, work / f"plan-{count}")
        command = [sys.executable, "-m", "linen_nnx.cli.main", "plan", str(source), "--scan-layers"]
        command += ["--layer-axis", "0"]
        found[count] = [run(command, work / "log") for _ in range(rounds)]
    return found
