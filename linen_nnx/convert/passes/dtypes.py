"""Cast parts of a state to the dtypes that the user asks for."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from linen_nnx.convert.passes.runner import Passed
from linen_nnx.schema.array import ArraySpec, ArrayValue, DType
from linen_nnx.schema.inspection import PartName
from linen_nnx.schema.ir import PARAMS, Leaf, TrainState
from linen_nnx.schema.model import Model
from linen_nnx.schema.ops import Cast, Fill, Op, Rounding
from linen_nnx.schema.options import PartDType
from linen_nnx.schema.plan import Note, NoteCode
from linen_nnx.schema.problem import Code, Problem


class CastParts(Model):
    """The step, and the floats of other parts; a count among moments stays, and so do PRNG keys."""

    name: str = "dtypes"
    dtypes: tuple[PartDType, ...]

    def apply(self, state: TrainState) -> Passed:
        """Cast every leaf that is meant. A part that has no array of the kind is refused."""
        casting = _Casting({asked.part: asked.dtype for asked in self.dtypes})
        variables = tuple(
            replace(
                v,
                leaf=casting.leaf(v.leaf, PartName.PARAMS if v.slot.collection == PARAMS else PartName.AUX),
            )
            for v in state.variables
        )
        optimizer = tuple(
            replace(item, leaf=casting.leaf(item.leaf, PartName.OPTIMIZER)) for item in state.optimizer
        )
        step = None if state.step is None else casting.leaf(state.step, PartName.STEP)
        made = state.model_copy(update={"variables": variables, "optimizer": optimizer, "step": step})
        return Passed(
            made,
            problems=[_nothing(asked) for asked in self.dtypes if not casting.meant[asked.part]],
            notes=[
                _note(asked, casting.cast[asked.part]) for asked in self.dtypes if casting.cast[asked.part]
            ],
        )


class _Casting:
    """Casts leaf by leaf, and counts by part those that are meant, and those that are cast."""

    def __init__(self, dtypes: Mapping[PartName, DType]) -> None:
        self._dtypes = dtypes
        self.meant: Counter[PartName] = Counter()
        self.cast: Counter[PartName] = Counter()

    def leaf(self, leaf: Leaf, part: PartName) -> Leaf:
        dtype, value = self._dtypes.get(part), leaf.value
        if dtype is None or not isinstance(value, ArrayValue) or not _is_meant(value.spec.dtype, dtype):
            return leaf
        self.meant[part] += 1
        if value.spec.dtype is dtype:
            return leaf
        self.cast[part] += 1
        spec = ArraySpec(shape=value.spec.shape, dtype=dtype)
        made = value.model_copy(update={"spec": spec})
        return Leaf(value=made, op=_op(leaf.op, made))


def _is_meant(found: DType, asked: DType) -> bool:
    return (found.is_float and asked.is_float) or (found.is_integer and asked.is_integer)


def _op(op: Op, made: ArrayValue) -> Op:
    """Floats are rounded; a number that counts something is the same, or refused."""
    dtype = made.spec.dtype
    match op:
        case Fill():
            return Fill(value=made)
        case Cast(of=of) if dtype.is_integer:
            return Cast(of=of, dtype=dtype)
        case _:
            return Cast(of=op, dtype=dtype, rounding=Rounding.COUNTED if dtype.is_float else Rounding.REFUSED)


def _nothing(asked: PartDType) -> Problem:
    wanted = "a step" if asked.part is PartName.STEP else f"floats in the part {asked.part.value}"
    return Problem(
        code=Code.MISSING_ENTRY,
        expected=f"{wanted} to cast to {asked.dtype.value}",
        found="none",
        hint=f"leave out --dtype {asked.part.value}={asked.dtype.value}",
    )


def _note(asked: PartDType, number: int) -> Note:
    arrays = "1 array" if number == 1 else f"{number} arrays"
    text = f"cast to {asked.dtype.value}, as asked: {arrays} of {asked.part.value}"
    return Note(code=NoteCode.CAST, text=text)
