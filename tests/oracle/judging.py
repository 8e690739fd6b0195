"""Whether a case came out as it must."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from tests.oracle.cases import Case, Expected, Resume
from tests.oracle.running import Run, Step
from tests.oracle.trainers import SAVED_AFTER, STEPS, Form

_MISMATCH = "Checkpoint does not match the model"
_ORDER = 1e-5
"""How far a run may be from another that computes in another order, relatively: ten times what was seen."""

Runs = Mapping[Form, Run]


@dataclass(frozen=True)
class Row:
    """A case with what came of it."""

    case: Case
    losses: tuple[float, ...]
    verdict: str
    passed: bool


def judge(case: Case, runs: Runs, resumed: Mapping[Resume, Run]) -> Row:
    run = resumed[case.resume]
    losses = tuple(step.loss for step in run.steps)
    faults = _faults(case, run, runs, resumed)
    return Row(case, losses, "; ".join(faults) or _praise(case, run, runs), not faults)


def _faults(case: Case, run: Run, runs: Runs, resumed: Mapping[Resume, Run]) -> list[str]:
    match case.expected:
        case Expected.REFUSED:
            return [] if _MISMATCH in run.failure else [run.failure or "not refused"]
        case Expected.UNINTERRUPTED | Expected.BY_HAND | Expected.DIFFERENT:
            if run.failure:
                return [run.failure]
            if [step.number for step in run.steps] != list(range(SAVED_AFTER, STEPS)):
                return [f"not resumed: it took the steps {[step.number for step in run.steps]}"]
            if not all(math.isfinite(value) for step in run.steps for value in _logged(step)):
                return ["not finite"]
            return _differences(case, run, runs, resumed)
        case _:
            assert_never(case.expected)


def _differences(case: Case, run: Run, runs: Runs, resumed: Mapping[Resume, Run]) -> list[str]:
    faults = []
    if case.uninterrupted is not None:
        long = runs[case.uninterrupted]
        if long.failure:
            faults.append(f"{case.uninterrupted} did not train: {long.failure}")
        elif not _is_as_far(case.expected, _distance(run.steps, long.steps[SAVED_AFTER:])):
            faults.append(f"the uninterrupted run has {_losses(long.steps[SAVED_AFTER:])}")
    if case.reference is not None:
        reference = resumed[case.reference]
        if reference.failure or run.steps != reference.steps:
            faults.append(f"differs from the one by hand: {reference.failure or _losses(reference.steps)}")
    return faults


def _is_as_far(expected: Expected, distance: float) -> bool:
    match expected:
        case Expected.BY_HAND:
            return distance <= _ORDER
        case Expected.DIFFERENT:
            return distance > _ORDER
        case Expected.UNINTERRUPTED | Expected.REFUSED:
            return distance == 0
        case _:
            assert_never(expected)


def _praise(case: Case, run: Run, runs: Runs) -> str:
    match case.expected:
        case Expected.REFUSED:
            return f"refused: {_MISMATCH}"
        case Expected.UNINTERRUPTED:
            return "equal to the uninterrupted run"
        case Expected.DIFFERENT:
            return "differs, as it must"
        case Expected.BY_HAND:
            if case.uninterrupted is None:
                return "equal to by hand"
            far = _distance(run.steps, runs[case.uninterrupted].steps[SAVED_AFTER:])
            return f"equal to by hand; {f'{far:.0e} from' if far else 'equal to'} the uninterrupted run"
        case _:
            assert_never(case.expected)


def _distance(these: tuple[Step, ...], those: tuple[Step, ...]) -> float:
    """The greatest relative difference in anything logged; zero means equal to the last digit."""
    pairs = [
        pair
        for this, that in zip(these, those, strict=True)
        for pair in zip(_logged(this), _logged(that), strict=True)
    ]
    return max(abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0 for a, b in pairs)


def _logged(step: Step) -> tuple[float, ...]:
    return step.loss, step.raw_grad_norm, step.param_norm, step.current_learning_rate


def _losses(steps: tuple[Step, ...]) -> str:
    return " ".join(digits(step.loss) for step in steps)


def digits(loss: float) -> str:
    """All the digits that tell a float32 from every other."""
    return f"{loss:.9g}"
