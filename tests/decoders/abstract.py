"""What a decoder of MaxText holds, without a weight of it: names, shapes and types of its variables.

Run by a Python of the oracle, in a process of its own. Reads a case a line: JSON of `flags`, and of `linen`.
Answers each with a line: JSON of `params` and `others` (Linen: the other collections, by name; NNX: the
variables that are no parameters and no streams of random numbers), or of an `error`.
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

_REASON = 120
"""The characters of an error that are kept."""


def main() -> None:
    """Answer every line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import prints is no answer
    settings = Path(next(iter(import_module("maxtext.configs").__path__))) / "base.yml"
    for line in sys.stdin:
        case = json.loads(line)
        try:
            answer = _inventory([str(settings), *case["flags"]], case["linen"])
        except Exception as error:  # whatever MaxText says
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:_REASON]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _inventory(arguments: list[str], linen: bool) -> dict[str, Any]:
    config = import_module("maxtext.configs.pyconfig").initialize(["inventory", *arguments])
    mesh = import_module("maxtext.utils.maxtext_utils").get_mesh_from_config(config)
    with import_module("flax.linen").logical_axis_rules(config.logical_axis_rules):
        return _linen(config, mesh) if linen else _nnx(config, mesh)


def _linen(config: Any, mesh: Any) -> dict[str, Any]:
    import jax
    import optax
    from flax import linen as nn

    model = import_module("maxtext.utils.model_creation_utils").from_config(config, mesh=mesh)
    create = import_module("maxtext.utils.maxtext_utils").init_initial_state

    def init() -> Any:
        return create(model, optax.identity(), config, True, jax.random.PRNGKey(0)).params

    with mesh:
        variables = nn.unbox(jax.eval_shape(init))
    return {"params": _flat(variables.pop("params")), "others": _flat(variables)}


def _nnx(config: Any, mesh: Any) -> dict[str, Any]:
    from flax import nnx

    create = import_module("maxtext.utils.model_creation_utils").get_nnx_create_model_fn(config, mesh)
    state = nnx.state(nnx.eval_shape(create))
    gone = (nnx.Cache, nnx.Intermediate, nnx.RngState)
    params, _, rest = nnx.split_state(state, nnx.Param, gone, ...)
    return {"params": _flat(params.to_pure_dict()), "others": _flat(rest.to_pure_dict())}


def _flat(tree: Any) -> dict[str, str]:
    import jax

    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"/".join(str(getattr(key, "key", key)) for key in path): _spec(leaf) for path, leaf in leaves}


def _spec(leaf: Any) -> str:
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


if __name__ == "__main__":
    main()
