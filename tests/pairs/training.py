"""Train a pair for a few steps, on either side, and go on from a checkpoint on the other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import nnx

from tests.pairs.pair import Pair
from tests.support.checkpoints import save_item

Tree = dict[str, Any]
MUTABLE = ("batch_stats", "counters")


def adamw() -> Any:
    """The optimizer of the pairs; its eps is such that rounding of gradients that are zero makes no step."""
    return optax.adamw(1e-2, eps=1e-4)


def loss_of(out: Any) -> Any:
    """Of any output; not symmetric in its elements."""
    weights = jnp.cos(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape)
    return jnp.mean((out - weights) ** 2)


# Linen


def linen_variables(pair: Pair) -> Tree:
    """Values of every variable, drawn without compiling the model's own initialisers."""
    abstract = jax.eval_shape(lambda: pair.linen().init(jax.random.key(0), pair.inputs()))
    rng = np.random.default_rng(len(pair.name))

    def draw(path: Any, leaf: Any) -> Any:
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            return jnp.full(leaf.shape, 3, leaf.dtype)
        zero = pair.name == "gru" and "hn" in jax.tree_util.keystr(path) and leaf.ndim == 1
        low = 0.5 if path[-1].key in ("var", "scale") else -0.6
        drawn = np.zeros(leaf.shape) if zero else rng.uniform(low, 0.8, leaf.shape)
        return jnp.asarray(drawn, leaf.dtype)

    variables: Tree = jax.tree_util.tree_map_with_path(draw, abstract)
    return variables


def linen_forward(pair: Pair, variables: Tree) -> Any:
    """In evaluation; not compiled as a whole, for fused arithmetic is rounded otherwise."""
    return pair.linen().apply(variables, pair.inputs())


def linen_stepper(pair: Pair, tx: Any) -> Callable[[Tree], Tree]:
    """One step of training; a state is variables, opt_state, step."""
    model, x = pair.linen(), pair.inputs()

    def loss(params: Tree, rest: Tree) -> Any:
        out, changed = model.apply({**rest, "params": params}, x, train=True, mutable=list(MUTABLE))
        return loss_of(out), changed

    @jax.jit
    def step(state: Tree) -> Tree:
        params = state["variables"]["params"]
        rest = {name: tree for name, tree in state["variables"].items() if name != "params"}
        grads, changed = jax.grad(loss, has_aux=True)(params, rest)
        if pair.name == "gru":
            # Where the two part ways: NNX has no such bias.
            grads = jax.tree_util.tree_map_with_path(_without_hn_bias, grads)
        updates, opt_state = tx.update(grads, state["opt_state"], params)
        variables = {**rest, **changed, "params": optax.apply_updates(params, updates)}
        return {"variables": variables, "opt_state": opt_state, "step": state["step"] + 1}

    return step


def _without_hn_bias(path: Any, leaf: Any) -> Any:
    names = [key.key for key in path]
    return leaf * 0 if names[-2:] == ["hn", "bias"] else leaf


def linen_trained(pair: Pair, tx: Any, steps: int = 2) -> tuple[Tree, Tree]:
    """After a few steps, and after one more."""
    variables = linen_variables(pair)
    state: Tree = {
        "variables": variables,
        "opt_state": tx.init(variables["params"]),
        "step": jnp.asarray(0, "int32"),
    }
    step = linen_stepper(pair, tx)
    for _ in range(steps):
        state = step(state)
    return state, step(state)


def train_state(pair: Pair, state: Tree) -> Tree:
    """As a `TrainState` lies on disk: in the style of the documentation, or with the whole variables dict."""
    variables, opt_state = state["variables"], state["opt_state"]
    if not pair.nested:
        rest = {name: tree for name, tree in variables.items() if name != "params"}
        return {"step": state["step"], "params": variables["params"], **rest, "opt_state": opt_state}
    wrapped = jax.tree.map(
        lambda part: {"params": part} if _mirrors(part, variables["params"]) else part,
        opt_state,
        is_leaf=lambda part: _mirrors(part, variables["params"]),
    )
    return {"step": state["step"], "params": variables, "opt_state": wrapped}


def _mirrors(part: Any, params: Tree) -> bool:
    return isinstance(part, dict) and set(part) == set(params)


def save_linen(pair: Pair, state: Tree, item: Path) -> Path:
    """By orbax."""
    return save_item(train_state(pair, state), item)


# NNX


def abstract_nnx(pair: Pair, make: Callable[[], Any] = adamw) -> Any:
    """A model and its optimizer, without values."""

    def both() -> Any:
        model = pair.nnx(nnx.Rngs(0))
        return model, nnx.Optimizer(model, make(), wrt=nnx.Param)

    return nnx.eval_shape(both)


def nnx_restored(pair: Pair, item: Path, make: Callable[[], Any] = adamw) -> Any:
    """A model and its optimizer with what a checkpoint of wrapped leaves holds, as orbax restores it."""
    graph, state = nnx.split(abstract_nnx(pair, make))
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        tree = checkpointer.restore(item)
    filled = {path: _filled(path, variable, tree) for path, variable in nnx.to_flat_state(state)}
    return nnx.merge(graph, nnx.from_flat_state(filled))


def _filled(path: Any, variable: Any, tree: Tree) -> Any:
    names = [str(key) for key in path]
    side = "model" if names[0] == "0" else "optimizer"
    node: Any = tree[side]
    for name in names[1:]:
        node = node.get(name) if isinstance(node, dict) else None
    value = node["value"] if isinstance(node, dict) and "value" in node else node
    if value is None and not jax.tree.leaves(variable):
        # What a mask has left out.
        return variable
    if value is None:
        value = _stream(variable)
    return variable.replace(value) if hasattr(variable, "replace") else value


def _stream(variable: Any) -> Any:
    """A PRNG stream's own; nothing else may be missing."""
    assert issubclass(type(variable), nnx.RngState), variable
    return jax.random.key(0) if isinstance(variable, nnx.RngKey) else jnp.asarray(0, "uint32")


def nnx_forward(pair: Pair, model: Any) -> Any:
    """In evaluation, on a copy: some modules change by being called."""
    copy = nnx.clone(model)
    copy.eval()
    for _, module in nnx.iter_graph(copy):
        if hasattr(module, "counts"):
            module.counts = False
        if hasattr(module, "training"):
            module.training = False
    return copy(pair.inputs())


def nnx_step(pair: Pair, model: Any, optimizer: Any) -> tuple[Any, Any]:
    """One step of training; the model and optimizer after it."""
    graph, state = nnx.split((model, optimizer))

    @jax.jit
    def step(state: Any, x: Any) -> Any:
        model, optimizer = nnx.merge(graph, state)
        grads = nnx.grad(lambda model: loss_of(model(x)))(model)
        optimizer.update(model, grads)
        return nnx.state((model, optimizer))

    after = step(state, pair.inputs())
    both: tuple[Any, Any] = nnx.merge(graph, after)
    return both


def nnx_tree(model: Any, optimizer: Any) -> Tree:
    """As a whole state is saved."""
    return {"model": nnx.state(model), "optimizer": nnx.state(optimizer, nnx.OptState)}


def distance(one: Any, other: Any) -> float:
    """The largest difference of any two elements."""
    parts = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(
        (float(jnp.max(jnp.abs(a.astype("float32") - b.astype("float32")))) for a, b in parts), default=0.0
    )
