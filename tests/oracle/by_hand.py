"""The same reshaping, apart from linen-nnx: read a train state, restack it in numpy, save it by orbax.

Run by a Python of the oracle, as a script: SOURCE TARGET STACK, both step folders, STACK `scan`, `unscan`,
`kept` or `wrong` (kept, but the moments of the first two layers exchanged). Writes the Linen-shaped layout
that both releases read, without the random streams. It knows adamw and two families of models (deepseek as
kept), and nothing of `linen_nnx`: what it writes is the reference where no uninterrupted run computes in
the same order.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

_LAYER = re.compile(r"layers_(\d+)/")
_AXIS = 1
_DENSE, _MIXED = re.compile(r"dense_layer_(\d+)"), re.compile(r"decoder/layers/(\d+)/")
Leaves = dict[str, Any]


def main(source: Path, target: Path, stack: str) -> None:
    read = ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(
        source / "items", args=ocp.args.PyTreeRestore(restore_args=None)
    )
    native = "model" in read
    model = read["model"] if native else read["params"]["params"]
    optimizer = read["optimizer"] if native else read
    adam, schedule = (_entry(optimizer["opt_state"], number) for number in (0, 2))
    moments = {name: adam[name] if native else adam[name]["params"] for name in ("mu", "nu")}
    mirrors = {name: _reshaped(tree, stack) for name, tree in moments.items()}
    if stack == "wrong":
        mirrors = {name: _exchanged(leaves) for name, leaves in mirrors.items()}
    state = {
        "step": np.array(optimizer["step"], dtype=np.int32),
        "params": {"params": _tree(_reshaped(model, stack))},
        "opt_state": [
            {"count": adam["count"], **{name: {"params": _tree(leaves)} for name, leaves in mirrors.items()}},
            None,
            {"count": schedule["count"]},
        ],
    }
    with ocp.CheckpointManager(target.parent, item_names=("items",)) as manager:
        manager.save(int(target.name), args=ocp.args.Composite(items=ocp.args.PyTreeSave(state)), force=True)


def _entry(chain: Any, number: int) -> Any:
    return chain[number] if isinstance(chain, list) else chain[str(number)]


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, child in tree.items():
            if key != "rngs":
                yield from _leaves(child, f"{path}/{key}" if path else key)
    else:
        yield path, np.asarray(tree)


def _reshaped(tree: Any, stack: str) -> Leaves:
    leaves = _renamed(dict(_leaves(tree)))
    match stack:
        case "scan":
            return _stacked(_unstacked(leaves))
        case "unscan":
            return _unstacked(leaves)
        case _:
            return leaves


def _exchanged(leaves: Leaves) -> Leaves:
    first, second = "decoder/layers_0/", "decoder/layers_1/"
    others = {first: second, second: first}
    return {
        re.sub(f"{first}|{second}", lambda at: others[at[0]], path): leaf for path, leaf in leaves.items()
    }


def _renamed(leaves: Leaves) -> Leaves:
    """The names of today for layers one by one; deepseek's dense ones come first, and the others count on."""
    dense = len({found[1] for found in map(_DENSE.search, leaves) if found is not None})
    name = "moe_layers" if dense else "layers"

    def renamed(path: str) -> str:
        path = _MIXED.sub(lambda found: f"decoder/{name}_{int(found[1]) - dense}/", path)
        return _DENSE.sub(r"dense_layers_\1", path)

    return {renamed(path): leaf for path, leaf in leaves.items()}


def _unstacked(leaves: Leaves) -> Leaves:
    apart: Leaves = {}
    for path, leaf in leaves.items():
        if "decoder/layers/" in path:
            for number, one in enumerate(np.moveaxis(leaf, _AXIS, 0)):
                apart[path.replace("decoder/layers/", f"decoder/layers_{number}/")] = one
        else:
            apart[path] = leaf
    return apart


def _stacked(leaves: Leaves) -> Leaves:
    together: Leaves = {}
    for path, leaf in leaves.items():
        found = _LAYER.search(path)
        if found is None:
            together[path] = leaf
        elif found[1] == "0":
            numbers = sorted({int(each[1]) for each in map(_LAYER.search, leaves) if each is not None})
            one_by_one = [leaves[path.replace("layers_0/", f"layers_{number}/")] for number in numbers]
            together[path.replace("layers_0/", "layers/")] = np.stack(one_by_one, axis=_AXIS)
    return together


def _tree(leaves: Leaves) -> Any:
    tree: Any = {}
    for path, leaf in leaves.items():
        *above, last = path.split("/")
        at = tree
        for key in above:
            at = at.setdefault(key, {})
        at[last] = np.array(leaf, order="C")
    return tree


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute(), sys.argv[3])
