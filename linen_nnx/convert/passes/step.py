"""The step counter: int32 in Linen, uint32 in NNX; the same number, checked for range when it is read."""

from linen_nnx.convert.passes.runner import Passed
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.ir import Leaf, TrainState
from linen_nnx.schema.model import Model
from linen_nnx.schema.ops import Cast


class StepPass(Model):
    """Make the step `value`."""

    name: str = "step"
    value: ArrayValue

    def apply(self, state: TrainState) -> Passed:
        """Cast the step where its dtype differs."""
        step = state.step
        if step is None or step.value == self.value or not isinstance(step.value, ArrayValue):
            return Passed(state)
        same = step.value.spec == self.value.spec
        op = step.op if same else Cast(of=step.op, dtype=self.value.spec.dtype)
        return Passed(state.model_copy(update={"step": Leaf(value=self.value, op=op)}))
