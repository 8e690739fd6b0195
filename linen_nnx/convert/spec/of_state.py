"""A `Spec` of a train state in the intermediate representation."""

from collections.abc import Iterator

from linen_nnx.schema.array import ArraySpec, ArrayValue
from linen_nnx.schema.ir import TrainState
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.spec import Kind, Spec, SpecLeaf, SpecOptimizerLeaf


def spec_of_state(state: TrainState, layout: Layout) -> Spec:
    """What the state is, without types and modules, which no checkpoint tells."""
    return Spec.of(layout, _leaves(state), optimizer_leaves(state), step=step_of(state))


def step_of(state: TrainState) -> ArraySpec | None:
    """The step's shape and dtype, if the state has a step."""
    value = None if state.step is None else state.step.value
    return value.spec if isinstance(value, ArrayValue) else None


def _leaves(state: TrainState) -> Iterator[SpecLeaf]:
    """Empties among the variables (a bias that is absent) are no variables."""
    for variable in state.variables:
        if isinstance(variable.leaf.value, ArrayValue):
            slot = variable.slot
            yield SpecLeaf(
                path=slot.path,
                collection=slot.collection,
                kind=Kind.of_collection(slot.collection),
                spec=variable.leaf.value.spec,
            )


def optimizer_leaves(state: TrainState) -> Iterator[SpecOptimizerLeaf]:
    """The optimizer's leaves, in their canonical positions."""
    for item in state.optimizer:
        yield SpecOptimizerLeaf(at=item.at, mirrors=item.mirrors, value=item.leaf.value)
