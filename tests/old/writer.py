"""Write small checkpoints with the flax and orbax of this environment; run by `make old-writers`.

Imports nothing of this project: it runs in environments years old. Usage: writer.py FOLDER. Beside each
checkpoint NAME stands NAME.npz: what it holds, by addresses of our own (`params:first/kernel`,
`[0]/mu params:first/kernel`), taken from the live objects and not from the disk.
"""

import os
import pathlib
import sys
import warnings

warnings.simplefilter("ignore")
os.environ["JAX_PLATFORMS"] = "cpu"

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import linen as nn
from flax import nnx, serialization
from flax.training import checkpoints
from flax.training.train_state import TrainState

VERSION = tuple(int(part) for part in flax.__version__.split("."))
ROOT = pathlib.Path(sys.argv[1]).absolute()
STEPS = 3


def batch():
    return jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)


def transform():
    """adamw, whose chain has an empty state in the middle and a count at its end."""
    return optax.adamw(optax.constant_schedule(1e-2))


# NNX


class Net(nnx.Module):
    """A layer without a bias, statistics, dropout, a list of layers, variables named like a wrapper."""

    def __init__(self, rngs):
        self.first = nnx.Linear(3, 2, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(2, rngs=rngs)
        self.drop = nnx.Dropout(0.25, rngs=rngs)
        layers = [nnx.Linear(2, 2, rngs=rngs) for _ in range(2)]
        self.layers = nnx.List(layers) if hasattr(nnx, "List") else layers
        self.cached_value = nnx.Param(jnp.full((2,), 0.5))

    def __call__(self, x):
        x = self.drop(self.norm(self.first(x)))
        for layer in self.layers:
            x = layer(x)
        return x * self.cached_value.value


def trained(model):
    """The model after a few steps, and its optimizer."""
    optimizer = nnx.Optimizer(model, transform(), **({"wrt": nnx.Param} if VERSION >= (0, 10, 7) else {}))

    def loss(model):
        return jnp.mean((model(batch()) - 1.0) ** 2)

    for _ in range(STEPS):
        gradients = nnx.grad(loss)(model)
        if VERSION >= (0, 11):
            optimizer.update(model, gradients)
        else:
            optimizer.update(gradients)
    return optimizer


def value_of(variable):
    return variable.value if isinstance(variable, nnx.Variable) or hasattr(variable, "type") else variable


def plain(array):
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    array = np.asarray(array)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def variables_of(model, keep):
    """Each variable that is kept, by collection and path."""
    names = [
        (nnx.Param, "params"),
        (nnx.BatchStat, "batch_stats"),
        (nnx.Cache, "cache"),
        (nnx.RngState, "rngs"),
    ]
    found = {}
    for path, variable in leaves(nnx.state(model)):
        collection = next((name for kind, name in names if issubclass(type_of(variable), kind)), None)
        value = value_of(variable)
        if collection is not None and value is not None and keep(type_of(variable)):
            found[f"{collection}:{'/'.join(map(str, path))}"] = plain(value)
    return found


def type_of(variable):
    return getattr(variable, "type", type(variable))


def leaves(state):
    flat = state.flat_state()
    return list(flat.items() if hasattr(flat, "items") else flat)


def moments_of(optimizer):
    """Each leaf of the optimizer, by its place in the chain and the parameter that it belongs to."""
    adam, _, schedule = optimizer.opt_state
    found = {"step": plain(value_of(optimizer.step))}
    found["[0]/count"], found["[2]/count"] = plain(value_of(adam.count)), plain(value_of(schedule.count))
    for name in ("mu", "nu"):
        for path, moment in leaves(getattr(adam, name)):
            if value_of(moment) is not None:
                found[f"[0]/{name} params:{'/'.join(map(str, path))}"] = plain(value_of(moment))
    return found


def everything(kind):
    return True


def no_rngs(kind):
    return not issubclass(kind, nnx.RngState)


CAN_SAVE_KEYS = VERSION >= (0, 10, 7)
"""orbax 0.6.0 and 0.10.3 refuse typed keys: states with streams had to be saved without them."""
KEEP = everything if CAN_SAVE_KEYS else no_rngs


def state_of(node):
    return nnx.state(node) if CAN_SAVE_KEYS else nnx.state(node, nnx.Not(nnx.RngState))


def save(name, tree, **values):
    ocp.PyTreeCheckpointer().save(ROOT / name, tree)
    np.savez(ROOT / f"{name}.npz", **values)


def pure(state):
    return nnx.to_pure_dict(state) if hasattr(nnx, "to_pure_dict") else state.to_pure_dict()


def write_nnx():
    model = Net(nnx.Rngs(0))
    optimizer = trained(model)
    variables, moments = variables_of(model, KEEP), moments_of(optimizer)
    both = {"model": state_of(model), "optimizer": state_of(optimizer)}
    save("both", both, **variables, **moments)
    save("state", state_of(model), **variables)
    parts = nnx.split(model, nnx.RngState, ...)
    save("split", (None, *(parts[1:] if CAN_SAVE_KEYS else parts[2:])), **variables)
    holding = optimizer
    if VERSION >= (0, 11):
        holding = nnx.ModelAndOptimizer(model, transform(), wrt=nnx.Param)
        holding.opt_state, holding.step = optimizer.opt_state, optimizer.step
    save("optimizer", state_of(holding), **variables, **moments)
    if VERSION >= (0, 10, 2):
        save("pure", {name: pure(state) for name, state in both.items()}, **variables, **moments)
    if VERSION >= (0, 11):
        save("module", {"model": model}, **variables)


class Sowing(nnx.Module):
    """Attention with a cache for decoding, and intermediates."""

    def __init__(self, rngs):
        self.attention = nnx.MultiHeadAttention(2, 4, decode=True, rngs=rngs)
        self.dense = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, x):
        x = self.dense(x)
        self.sow(nnx.Intermediate, "act", x)
        self.sow(nnx.Intermediate, "act", x + 1)
        return self.attention(x, deterministic=True)


def write_cache():
    model = Sowing(nnx.Rngs(1))
    model.attention.init_cache((1, 4, 4))
    model(jnp.ones((1, 1, 4)))
    state = nnx.state(model, nnx.Not(nnx.RngState))
    save("cache", {"model": state}, **variables_of(model, no_rngs))


# Linen


class LinenNet(nn.Module):
    """A layer without a bias, statistics, dropout, a layer in half precision."""

    @nn.compact
    def __call__(self, x, train=True):
        x = nn.Dense(2, use_bias=False, name="first")(x)
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        x = nn.Dropout(0.25, deterministic=not train)(x)
        return nn.Dense(2, param_dtype=jnp.bfloat16, name="last")(x)


class OwnState(TrainState):
    """With statistics and a legacy key, as the documentation of flax has it."""

    batch_stats: dict
    dropout_rng: jax.Array


def linen_state():
    model = LinenNet()
    variables = model.init(jax.random.PRNGKey(0), batch(), train=False)
    state = OwnState.create(
        apply_fn=model.apply,
        params=variables["params"],
        tx=transform(),
        batch_stats=variables["batch_stats"],
        dropout_rng=jax.random.PRNGKey(5),
    )

    def loss(params, stats, key):
        out, changed = model.apply(
            {"params": params, "batch_stats": stats}, batch(), mutable=["batch_stats"], rngs={"dropout": key}
        )
        return jnp.mean((out - 1.0) ** 2), changed["batch_stats"]

    for step in range(STEPS):
        key = jax.random.fold_in(state.dropout_rng, step)
        gradients, stats = jax.grad(loss, has_aux=True)(state.params, state.batch_stats, key)
        state = state.apply_gradients(grads=gradients, batch_stats=stats)
    return state


def flat(tree, prefix):
    flatten = flax.traverse_util.flatten_dict(serialization.to_state_dict(tree), sep="/")
    return {f"{prefix}{path}": plain(leaf) for path, leaf in flatten.items()}


def linen_values(state):
    adam, _, schedule = state.opt_state
    return {
        "step": np.asarray(state.step),
        "[0]/count": plain(adam.count),
        "[2]/count": plain(schedule.count),
        ".dropout_rng": plain(state.dropout_rng),
        **flat(state.params, "params:"),
        **flat(state.batch_stats, "batch_stats:"),
        **flat(adam.mu, "[0]/mu params:"),
        **flat(adam.nu, "[0]/nu params:"),
    }


def write_linen():
    state = linen_state()
    values = linen_values(state)
    save("linen", state, **values)
    beside = {"config": {"width": np.array([2, 3]), "name": "dense"}, "data": [np.arange(4.0)]}
    save("nested", {"model": state, **beside}, **values)
    write_legacy(state, values)


def write_legacy(state, values):
    """`save_checkpoint`: a folder with orbax, a file of msgpack without it, in one piece and in chunks."""
    for name, orbax, chunk in [("saved", True, 2**30), ("msgpack", False, 2**30), ("chunked", False, 16)]:
        flax.config.update("flax_use_orbax_checkpointing", orbax)
        serialization.MAX_CHUNK_SIZE = chunk
        checkpoints.save_checkpoint(
            ROOT / name, state, step=STEPS, orbax_checkpointer=ocp.PyTreeCheckpointer() if orbax else None
        )
        np.savez(ROOT / f"{name}.npz", **values)


if __name__ == "__main__":
    ROOT.mkdir(parents=True)
    write_nnx()
    write_cache()
    write_linen()
