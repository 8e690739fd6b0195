"""What shapes alone do not show of moments: dtypes out of line, parameters that one field forgot."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from linen_nnx.schema.array import ArrayValue, DType
from linen_nnx.schema.ir import OptimizerLeaf, Slot, TrainState, optimizer_address
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem

_Fields = dict[KeyPath, dict[Slot, OptimizerLeaf]]


def moment_problems(state: TrainState) -> list[Problem]:
    """Every moment that its siblings contradict."""
    fields: _Fields = defaultdict(dict)
    for item in state.optimizer:
        if item.mirrors is not None:
            fields[item.at][item.mirrors] = item
    return [*_dtypes(fields, state), *_uneven(fields)]


def _dtypes(fields: _Fields, state: TrainState) -> Iterator[Problem]:
    """A field keeps its parameters' dtypes, or one dtype of its own (`mu_dtype`)."""
    several = {at: moments for at, moments in fields.items() if not _of_one_dtype(moments.values())}
    if not several:
        return
    parameters = {
        v.slot: v.leaf.value.spec.dtype for v in state.variables if isinstance(v.leaf.value, ArrayValue)
    }
    for at, moments in several.items():
        found: dict[Slot, DType] = {
            slot: item.leaf.value.spec.dtype
            for slot, item in moments.items()
            if isinstance(item.leaf.value, ArrayValue)
        }
        own = {slot: dtype for slot, dtype in found.items() if dtype != parameters.get(slot, dtype)}
        if not own:
            continue
        usual = Counter(found.values()).most_common(1)[0][0]
        for slot, dtype in found.items():
            if dtype != usual and (slot in own or parameters.get(slot) == usual):
                yield _dtype_problem(optimizer_address(at, slot), usual, dtype)


def _of_one_dtype(moments: Iterable[OptimizerLeaf]) -> bool:
    values = [item.leaf.value for item in moments]
    dtypes = [value.spec.dtype for value in values if isinstance(value, ArrayValue)]
    return all(dtype is dtypes[0] for dtype in dtypes)


def _dtype_problem(path: KeyPath, usual: DType, dtype: DType) -> Problem:
    return Problem(
        code=Code.DTYPE_MISMATCH,
        path=path,
        expected=f"{usual.value}, as the other moments of this field",
        found=dtype.value,
    )


def _uneven(fields: _Fields) -> Iterator[Problem]:
    """Fields side by side, such as mu and nu, cover the same parameters."""
    by_parent: dict[KeyPath, list[KeyPath]] = defaultdict(list)
    for at in fields:
        by_parent[at[:-1]].append(at)
    for siblings in by_parent.values():
        if len({frozenset(fields[at]) for at in siblings}) == 1:
            continue
        union = dict.fromkeys(slot for at in siblings for slot in fields[at])
        for at in siblings:
            for slot in union:
                if slot not in fields[at] and not _below_empty(slot, fields[at]):
                    others = next(other for other in siblings if slot in fields[other])
                    yield Problem(
                        code=Code.MISSING_ENTRY,
                        path=optimizer_address(at, slot),
                        expected=f"a moment, as {others} has one",
                        found="nothing",
                    )


def _below_empty(slot: Slot, field: dict[Slot, OptimizerLeaf]) -> bool:
    """An empty may stand for a whole module, or a module for what is an empty elsewhere."""
    return any(
        other.collection == slot.collection
        and (slot.path.startswith(other.path) or other.path.startswith(slot.path))
        for other in field
    )
