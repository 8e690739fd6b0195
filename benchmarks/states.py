"""Make a Linen train state (params and adamw moments of a decoder) of a given size, saved by orbax."""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAYERS = 24
VOCABULARY = 2048
_MATRICES = 13
"""Of `width` by `width` in one layer: four of attention, nine of an MLP three times as wide."""


@dataclass(frozen=True)
class Form:
    """What to make."""

    gigabytes: float
    dtype: str
    scanned: bool
    zarr_format: int = 2

    def __str__(self) -> str:
        """Its name as a folder and in tables."""
        layers = "scanned" if self.scanned else "unscanned"
        return f"{self.gigabytes:g}GB-{self.dtype}-{layers}-zarr{self.zarr_format}"

    @property
    def width(self) -> int:
        """Of the model, so that params, mu and nu together have the size."""
        itemsize = 4 if self.dtype == "float32" else 2
        return round(math.sqrt(self.gigabytes * 1e9 / (3 * itemsize * LAYERS * _MATRICES)) / 8) * 8


def layer_shapes(width: int) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Of one layer."""
    return {
        ("self_attention", "query", "kernel"): (width, 8, width // 8),
        ("self_attention", "key", "kernel"): (width, 8, width // 8),
        ("self_attention", "value", "kernel"): (width, 8, width // 8),
        ("self_attention", "out", "kernel"): (8, width // 8, width),
        ("mlp", "wi_0", "kernel"): (width, 3 * width),
        ("mlp", "wi_1", "kernel"): (width, 3 * width),
        ("mlp", "wo", "kernel"): (3 * width, width),
        ("pre_self_attention_layer_norm", "scale"): (width,),
        ("post_self_attention_layer_norm", "scale"): (width,),
    }


def shapes(form: Form, layers: int = LAYERS) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Of all parameters; scanned layers are stacked on axis 1."""
    width = form.width
    found: dict[tuple[str, ...], tuple[int, ...]] = {
        ("token_embedder", "embedding"): (VOCABULARY, width),
        ("decoder", "decoder_norm", "scale"): (width,),
    }
    for path, shape in layer_shapes(width).items():
        if form.scanned:
            found["decoder", "layers", *path] = (shape[0], layers, *shape[1:])
        else:
            found |= {("decoder", f"layers_{at}", *path): shape for at in range(layers)}
    return found


def tree(leaves: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    """Nested dicts of `leaves`."""
    root: dict[str, Any] = {}
    for path, leaf in leaves.items():
        node = root
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = leaf
    return root


def make(form: Form, folder: Path) -> None:
    """Save the state as an item at `folder`."""
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    rng = np.random.default_rng(0)

    def params() -> dict[str, Any]:
        made = {
            path: jax.numpy.asarray(0.02 * rng.standard_normal(shape, np.float32), form.dtype)
            for path, shape in shapes(form).items()
        }
        return {"params": tree(made)}

    def count() -> Any:
        return jax.numpy.asarray(100, np.int32)

    adam = {"count": count(), "mu": params(), "nu": params()}
    state = {"step": count(), "params": params(), "opt_state": [adam, None, {"count": count()}]}
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=True, use_zarr3=form.zarr_format == 3)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(folder.absolute(), state)


def main() -> None:
    """Run in a process of its own, so that the memory is given back."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--scanned", action="store_true")
    parser.add_argument("--zarr", type=int, default=2)
    given = parser.parse_args()
    make(Form(given.gigabytes, given.dtype, given.scanned, given.zarr), given.folder)


if __name__ == "__main__":
    main()
