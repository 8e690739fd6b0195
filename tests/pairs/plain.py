"""Dense models, with every way of naming and nesting their modules."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from tests.pairs.pair import By, Pair

D = 4


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        return nn.Dense(3)(nn.relu(nn.Dense(5)(x)))


class NnxMlp(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.body = nnx.Linear(D, 5, rngs=rngs)
        self.head = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.head(nnx.relu(self.body(x)))


class Square(nn.Module):
    """Three layers alike, and Linen's own names."""

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        for _ in range(3):
            x = nn.tanh(nn.Dense(D)(x))
        return x


class NnxSquare(nnx.Module):
    names = ("a", "b", "c")

    def __init__(self, rngs: nnx.Rngs) -> None:
        for name in self.names:
            setattr(self, name, nnx.Linear(D, D, rngs=rngs))

    def __call__(self, x: Any) -> Any:
        for name in self.names:
            x = jnp.tanh(getattr(self, name)(x))
        return x


class NnxSquareFc(NnxSquare):
    names = ("fc1", "fc2", "fc3")


class Trap(nn.Module):
    """Linen's numbers count construction, not calls: the outer layer is `Dense_0`."""

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        outer, middle, inner = nn.Dense(D), nn.Dense(D), nn.Dense(D)
        return jnp.tanh(outer(jnp.tanh(middle(jnp.tanh(inner(x))))))


class SetupNames(nn.Module):
    def setup(self) -> None:
        self.one, self.two, self.three = nn.Dense(D), nn.Dense(D), nn.Dense(D)

    def __call__(self, x: Any, train: bool = False) -> Any:
        return self.three(nn.tanh(self.two(nn.tanh(self.one(x)))))


class NnxSetupNames(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.one = nnx.Linear(D, D, rngs=rngs)
        self.two = nnx.Linear(D, D, rngs=rngs)
        self.three = nnx.Linear(D, D, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.three(jnp.tanh(self.two(jnp.tanh(self.one(x)))))


class Heads(nn.Module):
    def setup(self) -> None:
        self.heads = {name: nn.Dense(D) for name in ("a", "b")}

    def __call__(self, x: Any, train: bool = False) -> Any:
        return self.heads["a"](x) - 2 * self.heads["b"](x)


class NnxHeads(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.heads = nnx.Dict({name: nnx.Linear(D, D, rngs=rngs) for name in ("a", "b")})

    def __call__(self, x: Any) -> Any:
        return self.heads["a"](x) - 2 * self.heads["b"](x)


class Qkv(nn.Module):
    def setup(self) -> None:
        self.q_proj, self.k_proj, self.v_proj = nn.Dense(D), nn.Dense(D), nn.Dense(D)

    def __call__(self, x: Any, train: bool = False) -> Any:
        return self.v_proj(x) * nn.sigmoid(self.q_proj(x) - 3 * self.k_proj(x))


class NnxQkv(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.q, self.k, self.v = (nnx.Linear(D, D, rngs=rngs) for _ in range(3))

    def __call__(self, x: Any) -> Any:
        return self.v(x) * nnx.sigmoid(self.q(x) - 3 * self.k(x))


class Nested(nn.Module):
    """Sequentials in a list: `layers_0/layers_2`."""

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        inner = nn.Sequential([nn.Dense(5), nn.relu, nn.Dense(6)])
        return nn.Sequential([inner, nn.Dense(2)], name="net")(x)


class NnxNested(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        inner = nnx.Sequential(nnx.Linear(D, 5, rngs=rngs), nnx.relu, nnx.Linear(5, 6, rngs=rngs))
        self.net = nnx.Sequential(inner, nnx.Linear(6, 2, rngs=rngs))

    def __call__(self, x: Any) -> Any:
        return self.net(x)


class Shared(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        shared = nn.Dense(D, name="shared")
        return nn.Dense(2, name="last")(shared(nn.tanh(shared(x))))


class NnxShared(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.second = nnx.Linear(D, D, rngs=rngs)
        self.first = self.second
        self.last = nnx.Linear(D, 2, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.last(self.second(jnp.tanh(self.first(x))))


class Counting(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        calls = self.variable("counters", "calls", lambda: jnp.zeros((), "int32"))
        if train:
            calls.value += 1
        return nn.Dense(3)(x)


class Counter(nnx.Variable[Any]):
    """A variable of one's own kind."""


class NnxCounting(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.calls = Counter(jnp.zeros((), "int32"))
        self.dense = nnx.Linear(D, 3, rngs=rngs)
        self.counts = True

    def __call__(self, x: Any) -> Any:
        if self.counts:
            self.calls[...] += 1
        return self.dense(x)

    def set_attributes(self, *args: Any, **kwargs: Any) -> None:
        """Evaluation does not count."""
        super().set_attributes(*args, **kwargs)


class Lora(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        init = nn.initializers.normal()
        a = self.param("lora_a", init, (D, 2))
        b = self.param("lora_b", init, (2, 5))
        return nn.Dense(5, name="dense")(x) + x @ a @ b


class NnxLora(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.lin = nnx.LoRALinear(D, 5, lora_rank=2, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.lin(x)


TRAP_RULES = """
[[rule]]
from = "params/Dense_0/*"
to = "c/*"
[[rule]]
from = "params/Dense_1/*"
to = "b/*"
[[rule]]
from = "params/Dense_2/*"
to = "a/*"
"""

PAIRS = [
    Pair("mlp", Mlp, NnxMlp, (2, D), By.PROOF),
    Pair("mlp_square", Square, NnxSquare, (2, D), By.ORDER),
    Pair("mlp_square_fc", Square, NnxSquareFc, (2, D), By.ORDER),
    Pair("mlp_square_trap", Trap, NnxSquare, (2, D), By.RULES, rules=TRAP_RULES),
    Pair("mlp_setup_names", SetupNames, NnxSetupNames, (2, D), By.NAMES),
    Pair("dict_of_modules", Heads, NnxHeads, (2, D), By.NAMES),
    Pair("qkv_renamed", Qkv, NnxQkv, (2, D), By.NAMES),
    Pair("sequential_nested", Nested, NnxNested, (2, D), By.PROOF),
    Pair("shared", Shared, NnxShared, (2, D), By.PROOF),
    Pair("custom_variable", Counting, NnxCounting, (2, D), By.PROOF, nested=True),
    Pair("lora", Lora, NnxLora, (2, D), By.PROOF),
]

__all__ = ["PAIRS", "jax"]
