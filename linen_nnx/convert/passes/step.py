"""The step counter: int32 in Linen, uint32 in NNX; the same number, checked for range when it is read."""

from linen_nnx.convert.passes.runner import Passed
from linen_nnx.schema.array import ArrayValue, Holder
from linen_nnx.schema.ir import Leaf, TrainState
from linen_nnx.schema.model import Model
from linen_nnx.schema.ops import Cast


class StepPass(Model):
    """Make the step `value`."""

    name: str = "step"
    value: ArrayValue

    def apply(self, state: TrainState) -> Passed:
        """Cast the step where its dtype differs."""
        step, value = state.step, self._held_as(state)
        if step is None or step.value == value or not isinstance(step.value, ArrayValue):
            return Passed(state)
        same = step.value.spec == value.spec
        op = step.op if same else Cast(of=step.op, dtype=value.spec.dtype)
        return Passed(state.model_copy(update={"step": Leaf(value=value, op=op)}))

    def _held_as(self, state: TrainState) -> ArrayValue:
        """In a state that never was on a device, orbax could not restore a step that was."""
        values = [variable.leaf.value for variable in state.variables]
        on_device = any(isinstance(value, ArrayValue) and value.holder is Holder.JAX for value in values)
        if on_device or self.value.holder is not Holder.JAX:
            return self.value
        return self.value.model_copy(update={"holder": Holder.NUMPY})
