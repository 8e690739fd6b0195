"""A model written twice, in Linen and in NNX, and what is known of the two."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jax
import jax.numpy as jnp


class By(StrEnum):
    """What it takes to find which variable is which."""

    PROOF = "proved"
    NAMES = "names"
    ORDER = "order"
    RULES = "rules"
    """A person: nothing that a tool may look at tells."""


@dataclass(frozen=True)
class Pair:
    """One model twice."""

    name: str
    linen: Callable[[], Any]
    nnx: Callable[[Any], Any]
    shape: tuple[int, ...]
    by: By
    rules: str | None = None
    """By hand, where `by` is not enough to have them written, or is order: construction is no call."""
    forward: float = 0.0
    """How far the outputs may differ."""
    step: float = 2e-7
    """And the parameters after one more step; infinite where NNX trains otherwise."""
    nested: bool = False
    """Whether the Linen state holds the whole variables dict, as a collection of its own kind needs."""
    integers: bool = False
    note: str | None = None
    """The code of the remark that the plan must make."""

    def __str__(self) -> str:
        return self.name

    def inputs(self) -> jax.Array:
        """The same for both."""
        if self.integers:
            return jnp.arange(self.shape[0] * self.shape[1]).reshape(self.shape) % 5
        size = 1
        for part in self.shape:
            size *= part
        return jnp.sin(jnp.arange(size, dtype="float32") * 0.7).reshape(self.shape)
