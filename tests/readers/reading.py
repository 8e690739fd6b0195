"""Read one run in every way that orbax and tensorstore offer, and say what came of each.

Runs by itself in an environment that has orbax but not this package: `python reading.py RUN STEP EXPECTED`.
Prints one JSON object, reader by reader: an empty text, or what was wrong.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import ml_dtypes  # noqa: F401  (teaches numpy the names of jax's dtypes)
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from orbax.checkpoint.experimental import v1

ITEM = "items"
_STRUCT: Any = jax.ShapeDtypeStruct
Digests = dict[str, tuple[str, list[int], str]]
"""By name: dtype, shape, SHA-256 of the bytes."""


def digests(tree: Any) -> Digests:
    """Of every array of a tree; of typed keys, of their words."""
    found: Digests = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)
        typed = isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if typed else leaf)
        found[name] = _digest(array)
    return found


def _digest(array: "np.ndarray[Any, Any]") -> tuple[str, list[int], str]:
    return str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()


def _template(item: Path) -> Any:
    """Shapes and dtypes with a sharding over all devices, as a training run gives them."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        tree = checkpointer.metadata(item).item_metadata.tree
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("x",))
    everywhere: Any = jax.sharding.PartitionSpec
    here, struct = jax.sharding.NamedSharding(mesh, everywhere()), _STRUCT
    return jax.tree.map(lambda leaf: struct(leaf.shape, leaf.dtype, sharding=here), tree)


def _with_restore_args(item: Path) -> Any:
    template = _template(item)
    args = ocp.checkpoint_utils.construct_restore_args(template)
    return ocp.PyTreeCheckpointer().restore(item, args=ocp.args.PyTreeRestore(template, restore_args=args))


def _standard(item: Path, template: Any) -> Any:
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(item, template)


def _managed(run: Path, step: int, names: tuple[str, ...] | None) -> Any:
    with ocp.CheckpointManager(run, item_names=names) as manager:
        assert manager.latest_step() == step
        args = ocp.args.Composite(**{ITEM: ocp.args.PyTreeRestore()})
        return manager.restore(step, args=args)[ITEM]


def _loaded(step: Path, template: Any) -> Any:
    """By the v1 API, whose verb has another name in newer releases."""
    load = getattr(v1, "load", None) or v1.load_pytree
    return load(step, template, checkpointable_name=ITEM)


def _alone(item: Path) -> Any:
    """By tensorstore, from nothing but the item's own keys."""
    metadata = json.loads((item / "_METADATA").read_text())
    driver, ocdbt = ("zarr3" if metadata["use_zarr3"] else "zarr"), metadata["use_ocdbt"]
    found = {}
    for entry in metadata["tree_metadata"].values():
        name = ".".join(key["key"] for key in entry["key_metadata"])
        files = {"driver": "file", "path": f"{item}/"}
        store = {"driver": "ocdbt", "base": files} if ocdbt else files
        path = f"{name}/" if ocdbt else f"{item}/{name}/"
        found[name] = ts.open({"driver": driver, "kvstore": {**store, "path": path}}).result().read().result()
    return found


def main(run: Path, step: int, expected: Path) -> None:
    """Read, compare, print."""
    folder, item = run / str(step), run / str(step) / ITEM
    readers: dict[str, Callable[[], Any]] = {
        "v0 PyTreeCheckpointer": lambda: ocp.PyTreeCheckpointer().restore(item),
        "v0 PyTreeCheckpointer, template": lambda: _with_restore_args(item),
        "v0 StandardCheckpointer": lambda: _standard(item, None),
        "v0 StandardCheckpointer, template": lambda: _standard(item, _template(item)),
        "v0 CheckpointManager": lambda: _managed(run, step, None),
        "v0 CheckpointManager, item names": lambda: _managed(run, step, (ITEM,)),
        "v1": lambda: _loaded(folder, None),
        "v1, template": lambda: _loaded(folder, _template(item)),
        "tensorstore alone": lambda: _alone(item),
    }
    wanted = {name: tuple(digest) for name, digest in json.loads(expected.read_text()).items()}
    said = {}
    for name, read in readers.items():
        try:
            found = digests(read())
            differing = [key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key)]
            said[name] = f"{len(differing)} arrays differ, {sorted(differing)[0]}" if differing else ""
        except Exception as error:
            said[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
