"""`Probe`: both models of a user, and how to call them."""

from collections.abc import Mapping
from typing import Any


class Probe:
    """A Linen module, the NNX model that shall compute the same, and an example input for both.

    `nnx` is a model, or a function of no arguments that makes one, or one with its optimizer (the function
    that `spec` takes). `example` and `options` are given to both as `check_forward` gives them: options such
    as `train=False` to Linen, and to those parameters of the NNX model that have their names. Both must
    compute the same on every call: without dropout, by running averages. Linen's module is initialised
    abstractly, and the NNX model is a copy in eval mode, of which no value is used but PRNG streams.
    """

    def __init__(self, linen: Any, nnx: Any, /, *example: Any, **options: Any) -> None:
        """Nothing is run yet."""
        self.linen = linen
        self.nnx = nnx
        self.example: tuple[Any, ...] = example
        self.options: Mapping[str, Any] = options
