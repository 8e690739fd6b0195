"""Hold a checkpoint against an expected train state: missing, unexpected, shape, dtype, all at once."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from linen_nnx.convert.layouts import Lifted, on_disk
from linen_nnx.schema.array import ArraySpec, ArrayValue, Value
from linen_nnx.schema.ir import Slot, address, optimizer_address
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.problem import Code, Problem, near
from linen_nnx.schema.spec import Spec


def spec_problems(found: Lifted, spec: Spec) -> list[Problem]:
    """Every way in which a train state is not the expected one.

    Empties are compared in Linen states alone (NNX stores none), the dtype of the step not at all: it is a
    Python number before the first jitted step. A spec of a model alone says nothing of optimizer and step.
    """
    if found.form.layout.is_nnx != spec.layout.is_nnx:
        return [_other_framework(found, spec)]
    empties = not spec.layout.is_nnx
    problems = [
        _about_streams(problem, spec) for problem in _held(_variables(found, spec), _expected_variables(spec))
    ]
    if spec.optimizer or spec.step is not None:
        problems += _held(_optimizer(found, spec, empties), _expected_optimizer(spec, empties))
        problems += _step(found, spec)
    return on_disk(problems, found.form)


def _other_framework(found: Lifted, spec: Spec) -> Problem:
    return Problem(
        code=Code.WRONG_KIND,
        expected=f"a state in the layout {spec.layout.value}, as the spec's",
        found=f"one in the layout {found.form.layout.value}",
        hint=f"convert it first, with --to {spec.layout.value}",
    )


def _slot(slot: Slot, spec: Spec) -> Slot:
    """In NNX a path is enough: no checkpoint tells the collection."""
    return replace(slot, collection="params") if spec.layout.is_nnx else slot


def _variables(found: Lifted, spec: Spec) -> dict[KeyPath, Value]:
    return {
        address(_slot(variable.slot, spec)): variable.leaf.value
        for variable in found.state.variables
        if isinstance(variable.leaf.value, ArrayValue)
    }


def _expected_variables(spec: Spec) -> dict[KeyPath, Value]:
    return {address(_slot(leaf.slot, spec)): ArrayValue(spec=leaf.spec) for leaf in spec.leaves}


def _optimizer(found: Lifted, spec: Spec, empties: bool) -> dict[KeyPath, Value]:
    return {
        optimizer_address(
            item.at, None if item.mirrors is None else _slot(item.mirrors, spec)
        ): item.leaf.value
        for item in found.state.optimizer
        if empties or isinstance(item.leaf.value, ArrayValue)
    }


def _expected_optimizer(spec: Spec, empties: bool) -> dict[KeyPath, Value]:
    return {
        optimizer_address(leaf.at, None if leaf.mirrors is None else _slot(leaf.mirrors, spec)): leaf.value
        for leaf in spec.optimizer
        if empties or isinstance(leaf.value, ArrayValue)
    }


def _held(ours: Mapping[KeyPath, Value], theirs: Mapping[KeyPath, Value]) -> list[Problem]:
    surplus = [path for path in ours if path not in theirs]
    problems = []
    for path in dict.fromkeys((*theirs, *ours)):
        one, other = ours.get(path), theirs.get(path)
        code = _difference(one, other)
        if code is not None:
            missing = code is Code.MISSING_ENTRY and len(surplus) < 1000
            problems.append(
                Problem(
                    code=code,
                    path=path,
                    expected=_text(other),
                    found=_text(one),
                    hint=near(path, surplus) if missing else None,
                )
            )
    return problems


def _about_streams(problem: Problem, spec: Spec) -> Problem:
    """Linen has no PRNG streams to give: say what a model does without them."""
    streams = {address(Slot(collection="params", path=path)) for path in spec.rngs}
    if problem.code is not Code.MISSING_ENTRY or problem.path not in streams:
        return problem
    hint = "`load` leaves a model its own streams; convert with --template to write those of a fresh model"
    return problem.model_copy(update={"hint": hint})


def _difference(one: Value | None, other: Value | None) -> Code | None:
    if one is None:
        return Code.MISSING_ENTRY
    if other is None:
        return Code.UNEXPECTED_ENTRY
    if not (isinstance(one, ArrayValue) and isinstance(other, ArrayValue)):
        return None if one == other else Code.WRONG_KIND
    return _spec_difference(one.spec, other.spec)


def _spec_difference(one: ArraySpec, other: ArraySpec) -> Code | None:
    if one.key_impl != other.key_impl:
        return Code.KEY_IMPL_MISMATCH
    if one.shape != other.shape:
        return Code.SHAPE_MISMATCH
    return None if one.dtype is other.dtype else Code.DTYPE_MISMATCH


def _text(value: Value | None) -> str:
    if value is None:
        return "nothing"
    return str(value.spec) if isinstance(value, ArrayValue) else str(value)


def _step(found: Lifted, spec: Spec) -> list[Problem]:
    if (found.state.step is None) == (spec.step is None):
        return []
    missing = found.state.step is None
    return [
        Problem(
            code=Code.MISSING_ENTRY if missing else Code.UNEXPECTED_ENTRY,
            path=ROOT / "step",
            expected=str(spec.step or "nothing"),
            found="nothing" if missing else "a step",
        )
    ]


def unlike(
    what: str, wanted: Mapping[KeyPath, ArraySpec], found: Mapping[KeyPath, ArraySpec]
) -> Iterator[Problem]:
    """Every variable of a checkpoint that a model, which should be its own, has otherwise."""
    for path in sorted({*wanted, *found}, key=KeyPath.natural):
        if wanted.get(path) != found.get(path):
            expected, has = wanted.get(path, "no such variable"), found.get(path, "none")
            yield Problem(
                code=Code.NO_SPEC,
                path=path,
                expected=str(expected),
                found=f"{has} in {what}",
                hint="give the models that the checkpoint and the spec are of",
            )
