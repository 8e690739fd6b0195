"""Optimizer leaves that belong to parameters in a way that is not understood: refused, never left behind.

Such a leaf mirrors nothing as a whole (several arrays a parameter, as sm3 keeps them, or a copy of the model
under other names), but its path runs through a parameter or a layer. Kept as it is it stays right; moved to
another layout, or past layers that are restacked, it would not.
"""

from collections.abc import Iterator

from linen_nnx.convert.layers.names import read
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.ir import OptimizerLeaf, TrainState, is_field, optimizer_address
from linen_nnx.schema.problem import Code, Problem


def strays(state: TrainState) -> list[Problem]:
    """Leaves that run through a parameter's path."""
    paths = {variable.slot.path.keys for variable in state.variables}
    depths = sorted({len(path) for path in paths if path})

    def runs_through(item: OptimizerLeaf) -> bool:
        keys = item.at.keys
        return any(
            keys[start : start + depth] in paths
            for depth in depths
            # One name alone, at the end, may as well be a counter's.
            for start in range(1, len(keys) - depth + (depth > 1))
        )

    return [_problem(item) for item in _unmirrored(state) if runs_through(item)]


def layer_strays(state: TrainState) -> list[Problem]:
    """Leaves that run through a layer."""
    return [_problem(item) for item in _unmirrored(state) if read(item.at) is not None]


def _unmirrored(state: TrainState) -> Iterator[OptimizerLeaf]:
    for item in state.optimizer:
        if item.mirrors is None and isinstance(item.leaf.value, ArrayValue) and not is_field(item):
            yield item


def _problem(item: OptimizerLeaf) -> Problem:
    return Problem(
        code=Code.UNSUPPORTED,
        path=optimizer_address(item.at, None),
        expected="one array a parameter, to go where its parameter goes",
        found=f"{item.leaf.value}, which mirrors no parameter as a whole",
        hint="keep layout and layers as they are, or convert with --params-only",
    )
