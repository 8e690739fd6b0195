"""Values for variables that mean nothing, and tell every variable from every other: the same at each run."""

import hashlib
from typing import Any

import numpy as np

from linen_nnx.convert.engine.evaluate import numpy_dtype
from linen_nnx.schema.array import ArraySpec

_LEAST, _MOST = 0.5, 1.5
"""Of vectors: variances and scales must be positive, and of no other size than what they multiply."""


def drawn(seed: str, spec: ArraySpec, name: str) -> "np.ndarray[Any, Any]":
    """The array of `seed`: equal seeds and specs give equal arrays.

    Matrices keep the size of what they multiply, so that deep models neither die nor overflow.
    """
    digest = hashlib.sha256(seed.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    dtype, shape = numpy_dtype(spec.dtype), spec.shape
    if dtype.kind in "iub":
        return np.asarray(rng.integers(1, 4, shape)).astype(dtype)
    if len(shape) > 1:
        return np.asarray(rng.normal(0, np.prod(shape[:-1]) ** -0.5, shape)).astype(dtype)
    if "bias" in name:
        return np.asarray(rng.normal(0, _LEAST, shape)).astype(dtype)
    return np.asarray(rng.uniform(_LEAST, _MOST, shape)).astype(dtype)
