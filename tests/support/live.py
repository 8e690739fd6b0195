"""One small model written twice, in Linen and in NNX, trained for two steps and saved by orbax."""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import nnx
from flax.training.train_state import TrainState

from tests.support.checkpoints import save_item

FEATURES = 6


class LinenModel(nn.Module):
    """A dense layer, batch normalisation, dropout, a dense layer. No name of it is a decoder's."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = True) -> jax.Array:
        x = nn.Dense(5, name="first")(x)
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        x = nn.Dropout(0.2, deterministic=not train)(x)
        return nn.Dense(3, name="second")(x)


class NnxModel(nnx.Module):
    """The same model."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(FEATURES, 5, rngs=rngs)
        self.norm = nnx.BatchNorm(5, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.second = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(self.dropout(self.norm(self.first(x))))


def optimizer() -> Any:
    """A chain with an empty state in the middle."""
    return optax.adamw(optax.constant_schedule(1e-2))


def batch() -> jax.Array:
    """The input."""
    return jnp.linspace(-1.0, 1.0, 4 * FEATURES).reshape(4, FEATURES)


def linen_state() -> TrainState:
    """Trained for two steps."""
    model = LinenModel()
    variables: Any = model.init(jax.random.key(0), batch(), train=False)
    transform = optimizer()
    state = TrainState(
        step=0, apply_fn=model.apply, params=variables, tx=transform, opt_state=transform.init(variables)
    )

    def loss(variables: Any) -> jax.Array:
        out, _ = model.apply(variables, batch(), mutable=["batch_stats"], rngs={"dropout": jax.random.key(1)})
        return jnp.mean(jnp.asarray(out) ** 2)

    for _ in range(2):
        gradients = jax.grad(loss)(state.params)
        updates, opt_state = transform.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
    return state


def nnx_model() -> tuple[NnxModel, nnx.Optimizer[NnxModel]]:
    """Trained for two steps."""
    model = NnxModel(nnx.Rngs(0))
    trainer = nnx.Optimizer(model, optimizer(), wrt=nnx.Param)

    def loss(model: NnxModel) -> jax.Array:
        return jnp.mean(model(batch()) ** 2)

    for _ in range(2):
        trainer.update(model, nnx.grad(loss)(model))
    return model, trainer


def nnx_tree(*, wrapped: bool) -> dict[str, Any]:
    """`model` and `optimizer`, as `nnx.State` (every leaf under `value`) or as a pure dict."""
    model, trainer = nnx_model()
    states = {"model": nnx.state(model), "optimizer": nnx.state(trainer, nnx.OptState)}
    return states if wrapped else {name: nnx.to_pure_dict(state) for name, state in states.items()}


def save_linen(item: Path) -> Path:
    """The Linen state, saved as it is."""
    return save_item(linen_state(), item)


def save_nnx(item: Path, *, wrapped: bool) -> Path:
    """The NNX state, saved as it is."""
    return save_item(nnx_tree(wrapped=wrapped), item)
