"""Flax's own modules: convolutions, norms, projections, attention, normalised weights."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax import nnx

from tests.pairs.pair import By, Pair

D = 4


class Cnn(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        x = nn.Conv(5, (2, 2))(x)
        x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(0.3, deterministic=True)(nn.relu(x))
        x = nn.Conv(6, (2, 2), use_bias=False)(x)
        return nn.Dense(3)(x.mean((1, 2)))


class NnxCnn(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv1 = nnx.Conv(2, 5, (2, 2), rngs=rngs)
        self.bn = nnx.BatchNorm(5, rngs=rngs)
        self.drop = nnx.Dropout(0.3, deterministic=True, rngs=rngs)
        self.conv2 = nnx.Conv(5, 6, (2, 2), use_bias=False, rngs=rngs)
        self.head = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.drop(nnx.relu(self.bn(self.conv1(x))))
        return self.head(self.conv2(x).mean((1, 2)))


class SameWidth(nn.Module):
    """Two convolutions alike, each with a norm alike."""

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        for _ in range(2):
            x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Conv(D, (2,))(x)))
        return x


class NnxSameWidth(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv1, self.conv2 = (nnx.Conv(D, D, (2,), rngs=rngs) for _ in range(2))
        self.bn1, self.bn2 = (nnx.BatchNorm(D, rngs=rngs) for _ in range(2))

    def __call__(self, x: Any) -> Any:
        x = nnx.relu(self.bn1(self.conv1(x)))
        return nnx.relu(self.bn2(self.conv2(x)))


class Norms(nn.Module):
    """A layer norm and a group norm hold the same: their classes tell them apart."""

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        x = nn.LayerNorm()(nn.Embed(5, D)(x))
        x = nn.GroupNorm(2)(x)
        return nn.RMSNorm()(x)


class NnxNorms(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.table = nnx.Embed(5, D, rngs=rngs)
        self.layer = nnx.LayerNorm(D, rngs=rngs)
        self.group = nnx.GroupNorm(D, 2, rngs=rngs)
        self.rms = nnx.RMSNorm(D, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.rms(self.group(self.layer(self.table(x))))


class Transposed(nn.Module):
    flipped: bool = False

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        return nn.ConvTranspose(3, (2,), strides=(2,), transpose_kernel=self.flipped)(x)


class NnxTransposed(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, flipped: bool = False) -> None:
        self.up = nnx.ConvTranspose(D, 3, (2,), strides=(2,), transpose_kernel=flipped, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.up(x)


class General(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        x = nn.DenseGeneral((2, 3))(x)
        return nn.DenseGeneral(5, axis=(-2, -1))(x)


class NnxGeneral(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.split = nnx.LinearGeneral(D, (2, 3), rngs=rngs)
        self.join = nnx.LinearGeneral((2, 3), 5, axis=(-2, -1), rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.join(self.split(x))


class Summed(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        return nn.Einsum((D, 2, 3), "...a,abc->...bc")(x)


class NnxSummed(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.einsum = nnx.Einsum("...a,abc->...bc", (D, 2, 3), (2, 3), rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.einsum(x)


class Block(nn.Module):
    """A block of a transformer; its two norms hold the same."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = x + nn.MultiHeadDotProductAttention(num_heads=2, deterministic=True)(nn.LayerNorm()(x))
        return x + nn.Dense(D)(nn.relu(nn.Dense(6)(nn.LayerNorm()(x))))


class NnxBlock(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm1, self.norm2 = nnx.LayerNorm(D, rngs=rngs), nnx.LayerNorm(D, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, D, decode=False, rngs=rngs)
        self.up, self.down = nnx.Linear(D, 6, rngs=rngs), nnx.Linear(6, D, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = x + self.attention(self.norm1(x), deterministic=True)
        return x + self.down(nnx.relu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    block: Any = Block

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        return nn.Dense(3)(self.block()(nn.Embed(5, D)(x)))


class NnxTransformer(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(5, D, rngs=rngs)
        self.block = NnxBlock(rngs)
        self.head = nnx.Linear(D, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.head(self.block(self.embed(x)))


class Layer(nn.Module):
    def setup(self) -> None:
        self.norm, self.dense = nn.LayerNorm(), nn.Dense(D)

    def __call__(self, x: Any) -> Any:
        return x + nn.tanh(self.dense(self.norm(x)))


class Twelve(nn.Module):
    """Twelve layers: on disk `layers_10` stands before `layers_2`."""

    def setup(self) -> None:
        self.layers = [Layer() for _ in range(12)]

    def __call__(self, x: Any, train: bool = False) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


class NnxLayer(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm, self.dense = nnx.LayerNorm(D, rngs=rngs), nnx.Linear(D, D, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return x + jnp.tanh(self.dense(self.norm(x)))


class NnxTwelve(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([NnxLayer(rngs) for _ in range(12)])

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


class Spectral(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        return nn.SpectralNorm(nn.Dense(3))(x, update_stats=train)


class NnxSpectral(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.sn = nnx.SpectralNorm(nnx.Linear(D, 3, rngs=rngs), rngs=rngs)
        self.training = True

    def __call__(self, x: Any) -> Any:
        return self.sn(x, update_stats=self.training)


class Weighted(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        return nn.WeightNorm(nn.Dense(3))(x)


class NnxWeighted(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.wn = nnx.WeightNorm(nnx.Linear(D, 3, rngs=rngs), rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.wn(x)


PAIRS = [
    Pair("cnn_bn_dropout", Cnn, NnxCnn, (2, 3, 3, 2), By.PROOF),
    Pair("cnn_same_width", SameWidth, NnxSameWidth, (2, 3, D), By.ORDER),
    Pair("norms", Norms, NnxNorms, (2, 3), By.PROOF, integers=True),
    Pair("conv_transpose", Transposed, NnxTransposed, (2, 3, D), By.PROOF),
    Pair(
        "conv_transpose_flipped",
        partial(Transposed, flipped=True),
        partial(NnxTransposed, flipped=True),
        (2, 3, D),
        By.PROOF,
    ),
    Pair("dense_general", General, NnxGeneral, (2, D), By.PROOF),
    Pair("einsum", Summed, NnxSummed, (2, D), By.PROOF),
    Pair("transformer", Transformer, NnxTransformer, (2, 3), By.ORDER, integers=True, forward=4e-7),
    Pair(
        "remat",
        partial(Transformer, block=nn.remat(Block)),
        NnxTransformer,
        (2, 3),
        By.ORDER,
        integers=True,
        forward=4e-7,
    ),
    Pair("transformer_setup_list12", Twelve, NnxTwelve, (2, D), By.NAMES),
]
