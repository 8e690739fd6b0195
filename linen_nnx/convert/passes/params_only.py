"""Weights alone: everything else is dropped by name."""

from linen_nnx.convert.passes.runner import Passed
from linen_nnx.convert.variables import AQT
from linen_nnx.schema.ir import PARAMS, TrainState
from linen_nnx.schema.ops import refs
from linen_nnx.schema.plan import Drop, DropRule

WEIGHTS = (PARAMS, AQT)
"""Collections of trained weights, quantised or not."""


class ParamsOnly:
    """Keep the parameters."""

    name = "params-only"

    def apply(self, state: TrainState) -> Passed:
        """Drop step, optimizer and all other variables."""
        kept = TrainState(
            variables=tuple(v for v in state.variables if v.slot.collection in WEIGHTS), groups=state.groups
        )
        read = {ref for leaf in kept.leaves() for ref in refs(leaf.op)}
        gone = dict.fromkeys(ref for leaf in state.leaves() for ref in refs(leaf.op) if ref not in read)
        return Passed(kept, drops=[Drop(source=ref, rule=DropRule.PARAMS_ONLY) for ref in gone])
