"""Hold a plan against live objects, and fill them: all is checked before the first variable changes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from linen_nnx.convert.live.places import Place, places, update
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.errors import ConversionError, raise_if
from linen_nnx.schema.live import Left, LiveReceipt
from linen_nnx.schema.nnx import NnxTrainState
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.plan import Plan, Write
from linen_nnx.schema.problem import Code, Problem, near
from linen_nnx.schema.rule_text import glob
from linen_nnx.schema.rules import Rules
from linen_nnx.schema.spec import Kind

Streams = Literal["keep", "take"]
"""Whose PRNG streams the model has afterwards: its own, or the source's."""

Read = Callable[[Write, Any], Any]
"""Make the array of a write, like the live one: on its devices, in its sharding."""

_MODEL = ROOT / "model"
_BARE = (
    "an array that stands bare in a module: load the Linen checkpoint itself, or convert it with "
    "a --template of the NNX model"
)
_OF_ONE_PASS = (Kind.CACHE, Kind.INTERMEDIATE)


def fill(
    model: Any,
    optimizer: Any,
    plan: Plan,
    read: Read,
    rngs: Streams,
    doubts: Sequence[Problem] = (),
    rules: Rules | None = None,
) -> LiveReceipt:
    """Fill a model and its optimizer by a plan whose target has bare leaves.

    Raises `ConversionError` with every difference, or else with `doubts` of the plan, and then leaves both
    as they were.
    """
    where = places(model, optimizer)
    own = _owned(where, rngs, rules)
    writes = {w.target: w for w in plan.item_writes if isinstance(w.value, ArrayValue)}
    taken = {path: where[path] for path in where if path in writes and not _keeps(where[path], rngs)}
    kept = tuple(_kept(path, where[path]) for path in where if path not in taken and path in own)
    differences = [
        *_missing(where, writes, own),
        *_unlike(taken, writes),
        *_surplus(where, writes, optimizer),
    ]
    raise_if(differences or list(doubts), ConversionError)
    values = {path: read(writes[path], place.value) for path, place in taken.items()}
    update(values, where)
    return LiveReceipt(
        source_layout=plan.source.layout,
        filled=len(values),
        nbytes=sum(place.spec.nbytes for place in taken.values()),
        kept=kept,
        left=(*_not_asked_for(writes, optimizer), *_streams_left(where, writes, rngs), *_aside(plan)),
        rules=rules,
        drops=plan.drops,
        notes=plan.notes,
    )


def _keeps(place: Place, rngs: Streams) -> bool:
    return place.kind is Kind.RNG and rngs == "keep"


def _owned(where: Mapping[KeyPath, Place], rngs: Streams, rules: Rules | None) -> set[KeyPath]:
    """What may stay the model's own: streams, what lives for one pass, and what rules keep."""
    kept = [] if rules is None else [glob(keep.to) for keep in rules.keep]

    def is_own(path: KeyPath, place: Place) -> bool:
        if place.kind is Kind.RNG:
            return rngs == "keep"
        by_rule = path.startswith(_MODEL) and any(one.fullmatch(str(path[1:])) for one in kept)
        return place.kind in _OF_ONE_PASS or by_rule

    return {path for path, place in where.items() if is_own(path, place)}


def _kept(path: KeyPath, place: Place) -> Left:
    match place.kind:
        case Kind.RNG:
            reason = "the model's own PRNG streams"
        case Kind.CACHE | Kind.INTERMEDIATE:
            reason = "no part of a train state"
        case _:
            reason = "the model's own, by a rule"
    return Left(path=path, reason=reason)


def _missing(
    where: Mapping[KeyPath, Place], writes: Mapping[KeyPath, Write], own: set[KeyPath]
) -> list[Problem]:
    surplus = [path for path in writes if path not in where]
    return [
        Problem(
            code=Code.MISSING_ENTRY,
            path=path,
            expected=str(place.spec),
            found="nothing",
            hint=_BARE
            if place.variable is place.value
            else near(path, surplus)
            if len(surplus) < 1000
            else None,
        )
        for path, place in where.items()
        if path not in writes and path not in own
    ]


def _unlike(taken: Mapping[KeyPath, Place], writes: Mapping[KeyPath, Write]) -> list[Problem]:
    problems = []
    for path, place in taken.items():
        value = writes[path].value
        assert isinstance(value, ArrayValue)
        if value.spec != place.spec:
            shape = value.spec.shape != place.spec.shape
            code = Code.SHAPE_MISMATCH if shape else Code.DTYPE_MISMATCH
            problems.append(Problem(code=code, path=path, expected=str(place.spec), found=str(value.spec)))
    return problems


def _surplus(
    where: Mapping[KeyPath, Place], writes: Mapping[KeyPath, Write], optimizer: Any
) -> list[Problem]:
    """What the objects have no place for; streams of another form are not asked for."""
    return [
        Problem(
            code=Code.UNEXPECTED_ENTRY,
            path=path,
            expected="nothing: the model has no such variable",
            found=str(write.value),
        )
        for path, write in writes.items()
        if path not in where
        and not _is_stream(write)
        and not _of_average(path)
        and (optimizer is not None or not _of_optimizer(path))
    ]


def _is_stream(write: Write) -> bool:
    keyed = isinstance(write.value, ArrayValue) and write.value.spec.key_impl is not None
    return keyed or "rngs" in write.target.names


def _of_average(path: KeyPath) -> bool:
    average = NnxTrainState.roots.average
    return average is not None and path.startswith(average)


def _of_optimizer(path: KeyPath) -> bool:
    return path.startswith(ROOT / "optimizer")


def _not_asked_for(writes: Mapping[KeyPath, Write], optimizer: Any) -> list[Left]:
    averages = [Left(path=p, reason="an average, of no live object") for p in writes if _of_average(p)]
    if optimizer is not None:
        return averages
    return [Left(path=p, reason="no optimizer was given") for p in writes if _of_optimizer(p)] + averages


def _streams_left(
    where: Mapping[KeyPath, Place], writes: Mapping[KeyPath, Write], rngs: Streams
) -> list[Left]:
    reason = "a PRNG stream of the source; the model keeps its own"
    return [
        Left(path=path, reason=reason)
        for path, write in writes.items()
        if _is_stream(write) and (path not in where or rngs == "keep") and not _of_optimizer(path)
    ]


def _aside(plan: Plan) -> list[Left]:
    reason = "an NNX model has no place for it"
    return [Left(path=w.target, reason=reason) for w in plan.side_writes if isinstance(w.value, ArrayValue)]
