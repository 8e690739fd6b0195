"""What flax wrote otherwise before 0.11: the wrapper, the optimizer that holds its model, absent biases."""

from linen_nnx.convert.framing.state import (
    MODEL,
    OPT_STATE,
    OPTIMIZER,
    RAW,
    At,
    Framed,
    holds_nnx,
    is_none,
    moved,
    tops,
    without,
)
from linen_nnx.schema.path import ROOT, DictKey, KeyPath, SequenceKey
from linen_nnx.schema.plan import DropRule
from linen_nnx.schema.wire import VALUE


def unwrapped(state: Framed) -> Framed:
    """Only where all of a model stands so: a single variable may be *named* `raw_value`."""
    models = [
        [_wrapper(at.path) is not None for at in state.entries if at.path.startswith(base)]
        for base in (ROOT, MODEL, OPTIMIZER + MODEL)
    ]
    if not any(model and all(model) for model in models):
        return state

    def wrapped(path: KeyPath) -> KeyPath:
        last = _wrapper(path)
        return path if last is None else KeyPath((*path[:last], DictKey(VALUE), *path[last + 1 :]))

    return moved(state, wrapped, "variables stand under raw_value, as flax 0.8 saves them")


def _wrapper(path: KeyPath) -> int | None:
    """Where `raw_value` stands: the last key, or the last but one of values that a pass sowed."""
    last = len(path) - 2 if len(path) and isinstance(path[-1], SequenceKey) else len(path) - 1
    return last if last >= 1 and path[last] == RAW else None


def from_optimizer(state: Framed) -> Framed:
    """`nnx.state(optimizer)` alone, or under `optimizer` alone, where the optimizer holds its model."""
    top = tops(state)
    if state.nested is not None:
        return state
    text = "an nnx.Optimizer that holds its model"
    if top == {"optimizer"} and any(at.path.startswith(OPTIMIZER + MODEL) for at in state.entries):
        held = OPTIMIZER + MODEL
        return moved(state, lambda p: p[1:] if p.startswith(held) else p, text)
    chain = [at.path for at in state.entries if at.path.startswith(OPT_STATE)]
    positions = any(len(path) > 1 and isinstance(path.keys[1], SequenceKey) for path in chain)
    if top not in ({"model", "step"}, {"model", "step", "opt_state"}) or positions:
        return state
    return moved(state, lambda path: path if path.startswith(MODEL) else OPTIMIZER + path, text)


def without_second_model(state: Framed) -> Framed:
    """The optimizer's own model, where it is entry for entry the model beside it."""
    second = OPTIMIZER + MODEL
    ours = {at.path[1:]: at.value for at in state.entries if at.path.startswith(MODEL)}
    theirs = {at.path[2:]: at.value for at in state.entries if at.path.startswith(second)}
    if state.nested is not None or not theirs or ours != theirs:
        return state
    text = "the optimizer holds the model a second time, as flax saves it up to 0.10"
    return without(state, lambda at: at.path.startswith(second), DropRule.SECOND_MODEL, text)


def without_absent(state: Framed) -> Framed:
    """Variables that hold None, and their moments."""
    if not holds_nnx(state):
        return state

    def bare(path: KeyPath) -> KeyPath:
        return path[:-1] if path.names[-1] == VALUE else path

    nones = [at for at in state.entries if is_none(at.value)]
    absent = {bare(at.path)[1:].keys for at in nones if at.path.startswith(MODEL)}
    if "model" not in tops(state):
        absent |= {bare(at.path).keys for at in nones if not at.path.startswith(OPTIMIZER)}

    def is_absent(at: At) -> bool:
        keys = bare(at.path).keys
        return is_none(at.value) and any(keys[start:] in absent for start in range(len(keys)))

    text = "variables that hold None: biases that are absent, as flax saves them up to 0.10.2"
    return without(state, is_absent, DropRule.ABSENT, text)
