"""`check_forward`: do both models say the same? The only guard against two names that were exchanged."""

from typing import Any

from linen_nnx.convert.live.calling import in_evaluation, options_of
from linen_nnx.schema.errors import ConversionError
from linen_nnx.schema.problem import Code


def check_forward(linen_module: Any, variables: Any, model: Any, *example: Any, **options: Any) -> float:
    """The greatest absolute difference of the two outputs for `example`, over all of their leaves.

    `variables` is the dict that Linen's `apply` takes. `options` (such as `train=False`) go to Linen, and to
    those parameters of the NNX model that have their names; the NNX model is a copy in eval mode, so that
    no forward pass changes the one given. Raises `ConversionError` where the outputs are of other shapes.
    """
    import jax

    ours = in_evaluation(model)(*example, **options_of(model, options))
    theirs = linen_module.apply(variables, *example, **options)
    pairs = [jax.tree.leaves(theirs), jax.tree.leaves(ours)]
    shapes = [[getattr(leaf, "shape", ()) for leaf in leaves] for leaves in pairs]
    if shapes[0] != shapes[1]:
        raise ConversionError.one(
            Code.SHAPE_MISMATCH,
            expected=f"outputs of the shapes {shapes[0]}, as Linen's",
            found=str(shapes[1]),
        )
    return max((_difference(*pair) for pair in zip(*pairs, strict=True)), default=0.0)


def _difference(one: Any, other: Any) -> float:
    """In double precision; a NaN on one side alone is infinitely far."""
    import numpy as np

    first, second = (np.asarray(leaf).astype("complex128") for leaf in (one, other))
    if first.size == 0:
        return 0.0
    apart = np.abs(first - second)
    both = np.isnan(first) & np.isnan(second) | (first == second)
    return float(np.where(both, 0.0, np.where(np.isnan(apart), np.inf, apart)).max())
