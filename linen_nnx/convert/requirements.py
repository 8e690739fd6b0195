"""What rules require of the values that they drop: looked at before anything is written."""

from collections.abc import Callable
from typing import Any

import numpy as np

from linen_nnx.convert.store.read import open_array
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.ops import Ref
from linen_nnx.schema.plan import Drop, Plan
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.zarr import chunk_grid


def unmet(plan: Plan, items: Items) -> list[Problem]:
    """Every requirement that stored values do not meet; reads them chunk by chunk. Raises `StorageError`."""

    def is_zero(ref: Ref) -> bool:
        stored = items[ref.origin].arrays[ref.path]
        array, chunk = open_array(stored), stored.zarr.chunk_shape
        regions = (
            tuple(slice(at * size, (at + 1) * size) for at, size in zip(index, chunk, strict=True))
            for index in chunk_grid(stored.zarr)
        )
        return not any(_any(array[_within(region, stored.zarr.shape)].read().result()) for region in regions)

    return unmet_of(plan, is_zero)


def unmet_of(plan: Plan, is_zero: Callable[[Ref], bool]) -> list[Problem]:
    """The same, for values that `is_zero` looks at."""
    arrays = {entry.source for entry in plan.inputs if isinstance(entry.value, ArrayValue)}
    required = [drop for drop in plan.drops if drop.require is not None and drop.source in arrays]
    return [_problem(drop) for drop in required if not is_zero(drop.source)]


def _problem(drop: Drop) -> Problem:
    return Problem(
        code=Code.NOT_ZERO,
        path=drop.source.path,
        expected="zeros, as the rule that drops it requires",
        found="other values",
        hint="without it the model computes something else: it was trained",
    )


def _any(array: Any) -> bool:
    return bool(np.any(np.asarray(array)))


def _within(region: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(one.start, min(one.stop, size)) for one, size in zip(region, shape, strict=True))
