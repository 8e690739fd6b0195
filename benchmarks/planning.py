"""How long a plan takes, by the number of arrays: items whose every value is a few inline bytes.

`python -m benchmarks.planning FOLDER ARRAYS` makes one, in a process of its own: Linux counts the most memory
of a process from that of the one that started it.

The state is that of a transformer: weights, mu and nu of every layer, with all the files of metadata that
orbax writes beside the arrays.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorstore as ts

from benchmarks.measure import Cost, run
from linen_nnx.schema.array import ArraySpec, ArrayValue, DType
from linen_nnx.schema.orbax_metadata import (
    ARRAY_METADATAS,
    METADATA_FILE,
    SHARDING_FILE,
    ArrayMetadata,
    ArrayMetadatas,
    sharding_name,
    tree_entry,
)
from linen_nnx.schema.path import KeyPath

_ZARR = {
    "zarr_format": 2,
    "compressor": {"id": "zstd", "level": 1},
    "fill_value": None,
    "filters": None,
    "order": "C",
    "dimension_separator": ".",
    "dtype": "<f4",
}
_SHARDING = json.dumps(
    {
        "sharding_type": "NamedSharding",
        "shape": [1, 1],
        "axis_names": ["data", "fsdp"],
        "axis_types": ["Auto", "Auto"],
        "partition_spec": [None],
    }
)
_LAYER = (
    *(("self_attention", name, "kernel") for name in ("query", "key", "value", "out")),
    *(("mlp", name, "kernel") for name in ("wi_0", "wi_1", "wo")),
    ("pre_self_attention_layer_norm", "scale"),
    ("post_self_attention_layer_norm", "scale"),
)
_TREES = (("params", "params"), ("opt_state", 0, "mu", "params"), ("opt_state", 0, "nu", "params"))
_WIDTH = 4


@dataclass(frozen=True)
class Shape:
    """A state of about so many arrays when its layers stand one by one, and what is planned of it."""

    name: str
    scanned: bool
    options: tuple[str, ...]


SHAPES = (
    Shape("renamed", False, ()),
    Shape("stacked", False, ("--scan-layers", "--layer-axis", "0")),
    Shape("taken apart", True, ("--no-scan-layers", "--layer-axis", "0")),
)


def make(arrays: int, folder: Path, *, scanned: bool = False) -> Path:
    """A Linen state of about that many layer arrays, or of their stacks."""
    layers = max(1, arrays // (len(_TREES) * len(_LAYER)))
    value = ArrayValue(spec=ArraySpec(shape=(layers, _WIDTH) if scanned else (_WIDTH,), dtype=DType.FLOAT32))
    shape, paths = value.spec.shape, list(_paths(layers, scanned))
    folder.mkdir(parents=True)
    _write_arrays(folder, paths, shape)
    metadata = {
        "tree_metadata": dict(tree_entry(path, value, shape) for path in paths),
        "use_ocdbt": True,
        "use_zarr3": False,
    }
    names = [path.param_name for path in paths]
    written = [ArrayMetadata(param_name=name, write_shape=shape, chunk_shape=shape) for name in names]
    (folder / ARRAY_METADATAS).mkdir()
    (folder / ARRAY_METADATAS / "process_0").write_text(ArrayMetadatas.of(written).model_dump_json())
    (folder / SHARDING_FILE).write_text(json.dumps({sharding_name(name): _SHARDING for name in names}))
    (folder / METADATA_FILE).write_text(json.dumps(metadata))
    return folder


def _paths(layers: int, scanned: bool) -> Iterator[KeyPath]:
    names = ["layers"] if scanned else [f"layers_{number}" for number in range(layers)]
    for tree in _TREES:
        for name in names:
            for leaf in _LAYER:
                yield KeyPath.of(*tree, "decoder", name, *leaf)


def _write_arrays(folder: Path, paths: list[KeyPath], shape: tuple[int, ...]) -> None:
    # As orbax opens it: what is no longer than a kilobyte stands in the index itself.
    spec = {
        "driver": "ocdbt",
        "base": {"driver": "file", "path": f"{folder}/"},
        "config": {"max_inline_value_bytes": 1024, "max_decoded_node_bytes": 100_000_000},
    }
    store = ts.KvStore.open(spec).result()
    transaction = ts.Transaction()
    writing, document = (
        store.with_transaction(transaction),
        json.dumps({**_ZARR, "shape": shape, "chunks": shape}),
    )
    chunk = ".".join("0" for _ in shape)
    for path in paths:
        writing.write(f"{path.param_name}/.zarray", document)
        writing.write(f"{path.param_name}/{chunk}", bytes(4 * _WIDTH))
    transaction.commit_sync()


def measure(counts: list[int], work: Path, rounds: int) -> Iterator[tuple[Shape, int, list[Cost]]]:
    """`plan` of states of so many arrays, renamed, stacked and taken apart."""
    for shape in SHAPES:
        for count in counts:
            source = work / f"plan-{shape.name}-{count}"
            making = [sys.executable, "-m", "benchmarks.planning", str(source), str(count)]
            run([*making, "--scanned"] if shape.scanned else making, work / "log")
            command = [sys.executable, "-m", "linen_nnx.cli.main", "plan", str(source), *shape.options]
            yield shape, count, [run(command, work / "log") for _ in range(rounds)]


def main() -> None:
    """Make a state."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("arrays", type=int)
    parser.add_argument("--scanned", action="store_true")
    given = parser.parse_args()
    make(given.arrays, given.folder, scanned=given.scanned)


if __name__ == "__main__":
    main()
