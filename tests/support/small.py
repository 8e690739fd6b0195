"""A small train state of one's own making, and the ways in which a checkpoint of it can be damaged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorstore as ts

from tests.support.checkpoints import Storage, random_tree, save_run
from tests.support.entries import Keys, path_of

Specs = dict[Keys, str]

LAYER: Specs = {("mlp", "wo", "kernel"): "float32[8,6]", ("norm", "scale"): "float32[4]"}
"""The leaves of one layer."""
LAYERS = 3
PLAIN = Storage(ocdbt=False, zarr_format=2)
"""One folder an array: the easiest to damage."""


def model(
    layer: Specs = LAYER, name: Callable[[int], Keys] = lambda n: (f"layers_{n}",), layers: int = LAYERS
) -> Specs:
    """Three layers one by one, and an embedding."""
    specs: Specs = {("token_embedder", "embedding"): "float32[7,4]"}
    for n in range(layers):
        specs.update({("decoder", *name(n), *path): spec for path, spec in layer.items()})
    return specs


STACKED: Specs = {
    ("token_embedder", "embedding"): "float32[7,4]",
    ("decoder", "layers", "mlp", "wo", "kernel"): "float32[8,3,6]",
    ("decoder", "layers", "norm", "scale"): "float32[4,3]",
}
"""The same model, its layers on axis 1."""


def linen(params: Specs | None = None) -> Specs:
    """A Linen train state with adamw."""
    params = model() if params is None else params
    return {
        ("step",): "int32[]",
        **below(params, "params", "params"),
        ("opt_state", 0, "count"): "int32[]",
        **below(params, "opt_state", 0, "mu", "params"),
        **below(params, "opt_state", 0, "nu", "params"),
        ("opt_state", 1): "None",
        ("opt_state", 2, "count"): "int32[]",
    }


def native(params: Specs | None = None) -> Specs:
    """The same as native NNX, with a stream of random numbers."""
    params = model(name=lambda n: ("layers", str(n))) if params is None else params
    return {
        **below(params, "model"),
        ("model", "decoder", "dropout", "rngs", "count"): "uint32[]",
        ("model", "decoder", "dropout", "rngs", "key"): "key<unsafe_rbg>[]",
        ("optimizer", "step"): "uint32[]",
        ("optimizer", "opt_state", "0", "count"): "int32[]",
        **below(params, "optimizer", "opt_state", "0", "mu"),
        **below(params, "optimizer", "opt_state", "0", "nu"),
        ("optimizer", "opt_state", "2", "count"): "int32[]",
    }


def below(specs: Specs, *base: str | int) -> Specs:
    """Every path under `base`."""
    return {(*base, *path): spec for path, spec in specs.items()}


def without(specs: Specs, *parts: str) -> Specs:
    """Without the entries whose path, as text, contains one of `parts`."""
    return {
        path: spec
        for path, spec in specs.items()
        if not any(part in "/".join(map(str, path)) for part in parts)
    }


def changed(specs: Specs, **replaced: str) -> Specs:
    """With other specs wherever the path, as text, contains the name (`__` for a slash)."""
    out = dict(specs)
    for name, spec in replaced.items():
        found = [path for path in specs if name.replace("__", "/") in "/".join(map(str, path))]
        assert found, name
        out.update(dict.fromkeys(found, spec))
    return out


def with_entries(specs: Specs, **added: str) -> Specs:
    """With more entries (`__` for a slash)."""
    return {**specs, **{path_of(name.replace("__", "/")): spec for name, spec in added.items()}}


def save(specs: Specs, folder: Path, storage: Storage = PLAIN) -> Path:
    """A run with the state at step 2. Returns the run folder."""
    return save_run({"items": random_tree(specs, folder.name)}, folder / "run", storage)


def item_of(run: Path) -> Path:
    """The item of a run that `save` made."""
    return run / "2" / "items"


def edit_metadata(run: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Rewrite the tree of `_METADATA`."""
    file = item_of(run) / "_METADATA"
    document = json.loads(file.read_text())
    edit(document["tree_metadata"])
    file.write_text(json.dumps(document))
    return run


def delete_stored(run: Path, prefix: str) -> Path:
    """Delete every key of the OCDBT store that begins with `prefix`."""
    spec = {"driver": "ocdbt", "base": f"file://{item_of(run)}/"}
    store = ts.KvStore.open(spec).result()
    keys = [key.decode() for key in store.list().result()]
    doomed = [key for key in keys if key.startswith(prefix)]
    assert doomed, f"{prefix} is not among {keys[:5]}"
    for key in doomed:
        store.write(key, None).result()
    return run
