"""Recurrent cells, and layers that are scanned or stand in lists."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax import nnx

from tests.pairs.pair import By, Pair

D, H, L = 4, 3, 3


class Recurrent(nn.Module):
    cell: Any
    features: int = H

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        return nn.RNN(self.cell(self.features))(x)


def recurrent(cell: Any) -> Any:
    return lambda: Recurrent(cell)


class NnxRecurrent(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, cell: Any) -> None:
        self.rnn = nnx.RNN(cell(D, H, rngs=rngs), rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.rnn(x)


def nnx_recurrent(cell: Any) -> Any:
    return lambda rngs: NnxRecurrent(rngs, cell)


class Step(nn.Module):
    """One layer of a scan."""

    @nn.compact
    def __call__(self, x: Any, _: Any) -> Any:
        return x + nn.tanh(nn.Dense(D)(nn.LayerNorm()(x))), None


class Scanned(nn.Module):
    axis: int = 0

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        scan = nn.scan(Step, variable_axes={"params": self.axis}, split_rngs={"params": True}, length=L)
        x, _ = scan()(x, None)
        return nn.Dense(2, name="head")(x)


class Listed(nn.Module):
    def setup(self) -> None:
        self.blocks = [Step() for _ in range(L)]
        self.head = nn.Dense(2)

    def __call__(self, x: Any, train: bool = False) -> Any:
        for block in self.blocks:
            x, _ = block(x, None)
        return self.head(x)


class NnxStep(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm, self.dense = nnx.LayerNorm(D, rngs=rngs), nnx.Linear(D, D, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return x + jnp.tanh(self.dense(self.norm(x)))


class NnxScanned(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        @nnx.split_rngs(splits=L)
        @nnx.vmap
        def stacked(rngs: nnx.Rngs) -> NnxStep:
            return NnxStep(rngs)

        self.blocks = stacked(rngs)
        self.head = nnx.Linear(D, 2, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        def step(x: Any, block: Any) -> Any:
            return block(x), None

        x, _ = nnx.scan(step, in_axes=(nnx.Carry, 0))(x, self.blocks)
        return self.head(x)


class NnxListed(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.blocks = nnx.List([NnxStep(rngs) for _ in range(L)])
        self.head = nnx.Linear(D, 2, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


PAIRS = [
    Pair("lstm", recurrent(nn.LSTMCell), nnx_recurrent(nnx.LSTMCell), (2, 3, D), By.PROOF),
    Pair(
        "lstm_opt", recurrent(nn.OptimizedLSTMCell), nnx_recurrent(nnx.OptimizedLSTMCell), (2, 3, D), By.PROOF
    ),
    Pair(
        "lstm_plain_to_opt",
        recurrent(nn.LSTMCell),
        nnx_recurrent(nnx.OptimizedLSTMCell),
        (2, 3, D),
        By.PROOF,
        forward=4e-7,
    ),
    Pair("simplecell", recurrent(nn.SimpleCell), nnx_recurrent(nnx.SimpleCell), (2, 3, D), By.PROOF),
    Pair("gru", recurrent(nn.GRUCell), nnx_recurrent(nnx.GRUCell), (2, 3, D), By.PROOF, forward=4e-7),
    Pair("scan0", Scanned, NnxScanned, (2, D), By.PROOF),
    Pair("scan1_to_vmap0", lambda: Scanned(axis=1), NnxScanned, (2, D), By.PROOF),
    Pair("scan0_to_list", Scanned, NnxListed, (2, D), By.PROOF, forward=4e-7),
    Pair("list_to_vmap", Listed, NnxScanned, (2, D), By.NAMES, forward=4e-7),
]
