"""What a script by hand does at least: orbax restores all, numpy restacks, orbax saves all."""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

Tree = dict[str, Any]


def unstack(layers: Tree, at: int) -> Any:
    """Layer `at` of a subtree."""
    return jax.tree.map(lambda leaf: np.ascontiguousarray(np.take(leaf, at, 1)), layers)


def restack(params: Tree) -> Tree:
    """Layers together if they are apart, apart if they are together."""
    decoder = dict(params["params"]["decoder"])
    if "layers" in decoder:
        layers = decoder.pop("layers")
        count = jax.tree.leaves(layers)[0].shape[1]
        decoder |= {f"layers_{at}": unstack(layers, at) for at in range(count)}
    else:
        names = sorted((n for n in decoder if n.startswith("layers_")), key=lambda n: int(n[7:]))
        parts = [decoder.pop(name) for name in names]
        decoder["layers"] = jax.tree.map(lambda *leaves: np.stack(leaves, 1), *parts)
    return {"params": {**params["params"], "decoder": decoder}}


def main(source: Path, target: Path) -> None:
    """Convert params and both moments."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        tree = checkpointer.metadata(source).item_metadata.tree
        wanted = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        state = checkpointer.restore(source, args=ocp.args.PyTreeRestore(restore_args=wanted))
    adam = state["opt_state"][0]
    moments = {name: restack(adam[name]) for name in ("mu", "nu")}
    optimizer = [{**adam, **moments}, *state["opt_state"][1:]]
    converted = {"step": state["step"], "params": restack(state["params"]), "opt_state": optimizer}
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(target, args=ocp.args.PyTreeSave(converted))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute())
