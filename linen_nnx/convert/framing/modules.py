"""What a Module carries that is no state: its own record, where it was saved as it is, and sown values."""

from linen_nnx.convert.framing.state import MODULE_STATE, OPTIMIZER, At, Framed, holds_nnx, moved, without
from linen_nnx.convert.quantised import FROZEN
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.path import KeyPath, SequenceKey
from linen_nnx.schema.plan import DropRule


def _is_module_state(at: At) -> bool:
    return at.path.names[-1] == MODULE_STATE and not isinstance(at.value, ArrayValue)


def without_module_states(state: Framed) -> Framed:
    """Lists of a Module are sequences only where it was saved as it is; its own state says nothing."""
    text = f"a Module was saved as it is: {MODULE_STATE} stands in it"
    after = without(state, _is_module_state, DropRule.MODULE_STATE, text)
    if after is state:
        return state

    def digits(path: KeyPath) -> KeyPath:
        return path.parent.with_digits + path[-1:]

    return moved(after, digits, "its lists stand as sequences")


def without_sown(state: Framed) -> Framed:
    """NNX stores no sequences of its own: what a forward pass sowed is a tuple of arrays, and AQT's scales.

    A variable's value may be a tuple as well: what has moments is one.
    """
    if not holds_nnx(state):
        return state
    trained = {
        at.path[depth:]
        for at in state.entries
        if isinstance(at.path.keys[-1], SequenceKey) and at.path.startswith(OPTIMIZER)
        for depth in range(len(OPTIMIZER), len(at.path))
    }

    def is_sown(at: At) -> bool:
        return (
            isinstance(at.path.keys[-1], SequenceKey)
            and isinstance(at.value, ArrayValue)
            and not at.path.startswith(OPTIMIZER)
            and at.path[1:] not in trained
            and FROZEN not in at.path
        )

    return without(state, is_sown, DropRule.SOWN, "values that a forward pass sowed stand in tuples")
