"""What a user names on the command line: functions of no arguments."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import nnx
from flax.training.train_state import TrainState

from tests.support.live import LinenModel, NnxModel, batch, optimizer

HUGE = 1 << 18
"""A square kernel of this width takes 256 GiB: only its shape can be made."""


def masks(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def transform() -> Any:
    """With an empty state, a chain in a wrapper, and masked leaves."""
    return optax.chain(optax.clip(1.0), optax.masked(optax.adam(1e-3), masks))


class Adapter(nnx.Module):
    """A list of layers, a subclass of Param, axis names, a variable of no known type."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        named: dict[str, Any] = {"out_sharding": ("data", None), "eager_sharding": False}
        self.layers = nnx.List([nnx.Linear(3, 3, rngs=rngs, kernel_metadata=named) for _ in range(2)])
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.lora = nnx.LoRA(3, 2, 3, rngs=rngs)
        self.calls = nnx.Variable(jnp.zeros((), "int32"))
        self.dropout = nnx.Dropout(0.1, rngs=rngs)


def adapter() -> tuple[Adapter, Any]:
    model = Adapter(nnx.Rngs(0))
    return model, nnx.Optimizer(model, transform(), wrt=nnx.Param)


def small() -> tuple[NnxModel, Any]:
    """The NNX model that `tests.support.live` saves."""
    model = NnxModel(nnx.Rngs(0))
    return model, nnx.Optimizer(model, optimizer(), wrt=nnx.Param)


def small_linen() -> TrainState:
    """The Linen state that `tests.support.live` saves."""
    model = LinenModel()
    create: Any = TrainState.create
    state: TrainState = create(
        apply_fn=model.apply, params=model.init(jax.random.key(0), batch(), train=False), tx=optimizer()
    )
    return state


def huge() -> nnx.Module:
    return nnx.Linear(HUGE, HUGE, rngs=nnx.Rngs(0))


def huge_linen() -> TrainState:
    model = nn.Dense(HUGE)
    create: Any = TrainState.create
    params: Any = model.init(jax.random.key(0), jnp.ones((1, HUGE)))
    state: TrainState = create(apply_fn=model.apply, params=params, tx=optax.adam(1e-3))
    return state


def failing() -> None:
    raise KeyError("no such layer")
