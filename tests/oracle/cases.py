"""Every case: which state goes which way into which run, and what its losses are held against."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.oracle.moving import ByHand, Converted, Copied, Move, to_form
from tests.oracle.trainers import FORMS, STEP_FOLDER, Form, Stack, Trainer

GROUND_TRUTH = Path(__file__).parents[3] / "shared" / "ground-truth"
_REFUSED_TODAY = (
    "old-nnx-scan-llama2-adamw",
    "old-nnx-unscan-llama2-adamw",
    "mid-nnx-unscan-llama2-adamw",
    "old-nnx-unscan-deepseek-adamw",
    "mid-nnx-unscan-deepseek-adamw",
    "old-nnx-scan-gemma3-adamw",
)
"""What MaxText wrote in May and July 2026 and its releases of today do not read."""


class Group(StrEnum):
    """What a case is for; a heading of the report."""

    CONTROL = "no conversion: a run that stops and resumes, and a state that is wrong on purpose"
    ACROSS = "converted, resumed by another framework, release or stacking"
    BACK = "converted there and back, resumed by the same"
    MORE = "with a template, and through native NNX"
    OLDER = "states of older versions that 0.2.5 refuses"


class Expected(StrEnum):
    """What must come of a case."""

    UNINTERRUPTED = "as the uninterrupted run"
    BY_HAND = "as the same state reshaped by hand"
    REFUSED = "refused"
    DIFFERENT = "not as the uninterrupted run"


@dataclass(frozen=True)
class Resume:
    """A run that goes on from a state, brought to it in one or more moves."""

    source: Path
    moves: tuple[Move, ...]
    form: Form


@dataclass(frozen=True)
class Case:
    """One line of the report."""

    group: Group
    state: str
    what: str
    resume: Resume
    expected: Expected
    uninterrupted: Form | None = None
    """Whose run of six steps this one continues, where there is one."""
    reference: Resume | None = None
    """The run whose losses these must be, where that is not the uninterrupted one."""

    def __str__(self) -> str:
        return f"{self.state}: {self.what}"


@dataclass(frozen=True)
class Trained:
    """Where the uninterrupted runs lie, and the converter."""

    folder: Path
    cli: Path

    def run(self, form: Form) -> Path:
        return self.folder / form.slug

    def state(self, form: Form) -> Path:
        """The state after step 3."""
        return self.run(form) / "checkpoints" / STEP_FOLDER


def cases(at: Trained) -> list[Case]:
    found = [*_controls(at), *_across(at), *_back(at), *_more(at)]
    return found + (list(_older(at)) if GROUND_TRUTH.is_dir() else [])


def _controls(at: Trained) -> Iterator[Case]:
    for form in FORMS:
        resume = Resume(at.state(form), (Copied(),), form)
        what = "resumed as it is"
        yield Case(Group.CONTROL, str(form), what, resume, Expected.UNINTERRUPTED, uninterrupted=form)
    form = Form(Trainer.LINEN, Stack.UNSCAN)
    resume = Resume(at.state(form), (ByHand("wrong"),), form)
    what = "with the moments of two layers exchanged"
    yield Case(Group.CONTROL, str(form), what, resume, Expected.DIFFERENT, uninterrupted=form)


def _across(at: Trained) -> Iterator[Case]:
    for source in FORMS:
        for target in FORMS:
            if source != target and _is_asked(source, target):
                yield _crossing(at, source, target)


def _is_asked(source: Form, target: Form) -> bool:
    """From 0.2.4 to everything; from today's release to the other stacking, and back to Linen."""
    if source.trainer is not Trainer.NNX_TODAY:
        return True
    return target.trainer is source.trainer or (
        target.trainer is Trainer.LINEN and target.stack == source.stack
    )


def _crossing(at: Trained, source: Form, target: Form, template: Path | None = None) -> Case:
    """Held against the uninterrupted run where source and target compute in the same order."""
    state = at.state(source)
    resume = Resume(state, (to_form(at.cli, target, template),), target)
    group, what = Group.ACROSS, f"→ {target}"
    if template is not None:
        group, what = Group.MORE, f"{what}, with a template"
    if source.trainer.release == target.trainer.release and source.stack == target.stack:
        return Case(group, str(source), what, resume, Expected.UNINTERRUPTED, uninterrupted=source)
    reference = Resume(state, (ByHand(target.stack),), target)
    return Case(group, str(source), what, resume, Expected.BY_HAND, uninterrupted=source, reference=reference)


def _back(at: Trained) -> Iterator[Case]:
    """By way of the form that is farthest: the other layout, release and stacking."""
    far = {Trainer.LINEN: Trainer.NNX_TODAY, Trainer.NNX: Trainer.LINEN, Trainer.NNX_TODAY: Trainer.LINEN}
    for form in FORMS:
        via = Form(far[form.trainer], form.stack.other)
        moves = (to_form(at.cli, via), to_form(at.cli, form))
        what = f"→ {via} → back"
        resume = Resume(at.state(form), moves, form)
        yield Case(Group.BACK, str(form), what, resume, Expected.UNINTERRUPTED, uninterrupted=form)


def _more(at: Trained) -> Iterator[Case]:
    for target in (Form(Trainer.NNX, Stack.SCAN), Form(Trainer.NNX_TODAY, Stack.UNSCAN)):
        linen = Form(Trainer.LINEN, target.stack)
        yield _crossing(at, linen, target, template=at.state(target))
    for stack in Stack:
        linen, today = Form(Trainer.LINEN, stack), Form(Trainer.NNX_TODAY, stack)
        native = Converted(at.cli, "nnx", ("--leaves", "bare"))
        refused = Resume(at.state(linen), (native,), today)
        state = str(linen)
        yield Case(Group.MORE, state, f"→ native NNX, resumed by {today}", refused, Expected.REFUSED)
        resume = Resume(at.state(linen), (native, to_form(at.cli, today)), today)
        reference = Resume(at.state(linen), (ByHand(stack),), today)
        what = f"→ native NNX → {today}"
        yield Case(Group.MORE, state, what, resume, Expected.BY_HAND, linen, reference)


def _older(at: Trained) -> Iterator[Case]:
    for name in _REFUSED_TODAY:
        state = GROUND_TRUTH / name / STEP_FOLDER
        today = Form(Trainer.NNX_TODAY, _stack_of(name), _family_of(name))
        refused = Resume(state, (Copied(),), today)
        yield Case(Group.OLDER, name, f"resumed by {today}", refused, Expected.REFUSED)
        resume = Resume(state, (to_form(at.cli, today),), today)
        reference = Resume(state, (ByHand("kept"),), today)
        yield Case(Group.OLDER, name, f"→ {today}", resume, Expected.BY_HAND, reference=reference)


def _stack_of(name: str) -> Stack:
    return Stack.UNSCAN if "-unscan-" in name else Stack.SCAN


def _family_of(name: str) -> tuple[str, ...]:
    """The flags that the state was written with, but for those that chose framework and stacking."""
    flags = json.loads((GROUND_TRUTH / name / "inventory.json").read_text())["flags"]
    return tuple(flag for flag in flags if "nnx" not in flag and not flag.startswith("scan_layers"))
