"""One model in both frameworks, whose next step does not depend on chance."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import nnx
from flax.training.train_state import TrainState

FEATURES = 6


class LinenNet(nn.Module):
    """Dense, batch normalisation, dropout of nothing, dense."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = True) -> jax.Array:
        x = nn.Dense(4, name="first")(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x)
        x = nn.Dropout(0.0, deterministic=not train)(x)
        return nn.Dense(2, name="second")(x)


class NnxNet(nnx.Module):
    """The same; dropout brings a PRNG stream."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(FEATURES, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.drop = nnx.Dropout(0.0, rngs=rngs)
        self.second = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(self.drop(self.norm(self.first(x))))


class Renamed(nnx.Module):
    """The same under other names; the layers are alike in no shape, so structure proves which is which."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.head = nnx.Linear(4, 2, rngs=rngs)
        self.body = nnx.Dict(
            dense=nnx.Linear(FEATURES, 4, rngs=rngs), bn=nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.body["bn"](self.body["dense"](x)))


class LinenSquare(nn.Module):
    """Two layers that structure cannot tell apart."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(FEATURES, name="second")(nn.Dense(FEATURES, name="first")(x))


class NnxSquare(nnx.Module):
    """The same."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(FEATURES, FEATURES, rngs=rngs)
        self.second = nnx.Linear(FEATURES, FEATURES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(self.first(x))


class OwnState(TrainState):  # type: ignore[no-untyped-call]
    """With statistics, a key and an average, each in a field of its own."""

    batch_stats: Any = None
    dropout_rng: Any = None
    ema_params: Any = None


def transform() -> Any:
    """With an empty state in the middle of its chain."""
    return optax.adamw(optax.constant_schedule(1e-2))


def batch() -> jax.Array:
    return jnp.linspace(-1.0, 1.0, 4 * FEATURES).reshape(4, FEATURES)


def linen_state(steps: int = 2) -> OwnState:
    """Trained for some steps."""
    module = LinenNet()
    variables: Any = module.init(jax.random.key(0), batch(), train=False)
    create: Any = OwnState.create
    state: OwnState = create(
        apply_fn=module.apply,
        params=variables["params"],
        tx=transform(),
        batch_stats=variables["batch_stats"],
        dropout_rng=jax.random.key(3),
        ema_params=jax.tree.map(lambda leaf: leaf * 0.5, variables["params"]),
    )
    for _ in range(steps):
        state = linen_step(state)[0]
    return state


def linen_step(state: OwnState) -> tuple[OwnState, jax.Array]:
    def loss(params: Any) -> tuple[jax.Array, Any]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        out, changed = state.apply_fn(
            variables, batch(), mutable=["batch_stats"], rngs={"dropout": jax.random.key(1)}
        )
        return jnp.mean((out - 1.0) ** 2), changed["batch_stats"]

    (value, stats), gradients = jax.value_and_grad(loss, has_aux=True)(state.params)
    step: Any = state.apply_gradients
    after: OwnState = step(grads=gradients, batch_stats=stats)
    return after, value


def nnx_pair(seed: int = 7) -> tuple[NnxNet, Any]:
    """Untrained."""
    model = NnxNet(nnx.Rngs(seed))
    return model, nnx.Optimizer(model, transform(), wrt=nnx.Param)


def nnx_step(model: NnxNet, optimizer: Any) -> jax.Array:
    def loss(model: NnxNet) -> jax.Array:
        return jnp.mean((model(batch()) - 1.0) ** 2)

    value: jax.Array
    value, gradients = nnx.value_and_grad(loss)(model)
    optimizer.update(model, gradients)
    return value


def variables_of(state: OwnState) -> dict[str, Any]:
    return {"params": state.params, "batch_stats": state.batch_stats}
