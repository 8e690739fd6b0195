"""Small train states of finite numbers, to be changed in one place and saved."""

import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tests.support.checkpoints import STEP, Storage, random_leaf, save_item, tree_of
from tests.support.entries import Array, Keys
from tests.support.small import Specs, linen

Content = dict[Keys, Any]

PARAMS: Keys = ("params", "params")
MU: Keys = ("opt_state", 0, "mu", "params")
NU: Keys = ("opt_state", 0, "nu", "params")
KERNEL: Keys = ("mlp", "wo", "kernel")


def content(specs: Specs | None = None, seed: str = "state") -> Content:
    """Normal numbers where the spec is of floats, else random bits; keys and counts too."""
    found: Content = {}
    for path, spec in (linen() if specs is None else specs).items():
        leaf = random_leaf(spec, f"{seed}/{path}")
        if getattr(leaf, "dtype", None) == np.float32:
            rng = np.random.default_rng(zlib.crc32(f"{seed}/{path}".encode()))
            leaf = rng.standard_normal(leaf.shape).astype(np.float32)
            if "nu" in path:
                leaf = np.square(leaf) * np.float32(1e-10)
        found[path] = np.asarray(STEP, np.int32) if path[-1] == "step" else leaf
    return found


def layer(number: int, *base: str | int) -> Keys:
    """A layer that stands by itself."""
    return (*base, "decoder", f"layers_{number}")


def saved(state: Content, folder: Path, storage: Storage | None = None) -> Path:
    """The item of a state; every array a jax array, as a training run has them."""
    leaves = {
        path: jax.numpy.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf
        for path, leaf in state.items()
    }
    return save_item(tree_of(leaves), folder, storage)


def changed(state: Content, path: Keys, at: tuple[int, ...], value: Any) -> Content:
    """With another element in one place."""
    data: Array = np.array(state[path])
    data[at] = value
    return {**state, path: data}


def swapped(state: Content, one: Keys, other: Keys) -> Content:
    """With two subtrees in each other's place."""

    def moved(path: Keys) -> Keys:
        for here, there in ((one, other), (other, one)):
            if path[: len(here)] == here:
                return (*there, *path[len(here) :])
        return path

    return {moved(path): leaf for path, leaf in state.items()}
