"""Run by a test: load a checkpoint into a model that is sharded over eight devices.

It must hold what a model on one device holds. (Training once more gives other last digits where XLA finds
other threads, so nothing is trained here.)
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from linen_nnx import load
from linen_nnx.convert.engine.regions import Regions
from tests.live.pair import nnx_pair


def main() -> None:
    """Kernels are split over `data`, the rest is on every device."""
    assert len(jax.devices()) == 8
    mesh = Mesh(np.array(jax.devices()).reshape(2, 4), ("data", "model"))
    plain, plain_optimizer = nnx_pair()
    load(sys.argv[1], plain, plain_optimizer)
    model, optimizer = nnx_pair()
    for owner in (model, optimizer):
        state = nnx.state(owner, nnx.Not(nnx.RngState))
        nnx.update(owner, jax.tree.map(lambda leaf: jax.device_put(leaf, sharding_of(leaf, mesh)), state))
    wanted = {path: leaf.sharding for path, leaf in leaves(model, optimizer)}
    largest = watch()
    load(sys.argv[1], model, optimizer)
    values = dict(leaves(plain, plain_optimizer))
    for path, leaf in leaves(model, optimizer):
        assert leaf.sharding == wanted[path], path
        assert np.array_equal(leaf, values[path]), path
    assert largest["split"] == 6 * 4 // 8, largest
    sys.stdout.write("loaded")


def watch() -> dict[str, int]:
    """The elements of the largest region that is read of a kernel that is split."""
    seen = {"split": 0}
    read = Regions.read

    def watched(self: Regions, op: Any, region: Any) -> Any:
        if len(region) == 2 and [part.stop - part.start for part in region] != [4, 2]:
            seen["split"] = max(seen["split"], int(np.prod([part.stop - part.start for part in region])))
        return read(self, op, region)

    Regions.read = watched  # type: ignore[method-assign]
    return seen


def sharding_of(leaf: Any, mesh: Mesh) -> NamedSharding:
    make: Any = PartitionSpec
    spec = make("data", "model") if leaf.shape == (6, 4) else make()
    return NamedSharding(mesh, spec)


def leaves(*owners: Any) -> Iterator[tuple[Any, Any]]:
    for number, owner in enumerate(owners):
        state = nnx.state(owner, nnx.Not(nnx.RngState))
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            yield (number, jax.tree_util.keystr(path)), leaf


if __name__ == "__main__":
    main()
