"""Which rules a conversion follows: those of a user, or those that a spec of the target allows to infer."""

import hashlib
from collections import Counter
from dataclasses import dataclass

from linen_nnx.convert.layouts import Lifted
from linen_nnx.convert.passes.runner import Passed
from linen_nnx.convert.passes.strays import strays
from linen_nnx.convert.passes.whole_leaf import muon, whole_leaf_notes
from linen_nnx.convert.rules.expected import expectation_problems, left_to_target
from linen_nnx.convert.training import dropped_notes
from linen_nnx.schema.errors import ConversionError, raise_if
from linen_nnx.schema.inference import TODO, Inference
from linen_nnx.schema.ir import TrainState, optimizer_address
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.plan import Note, NoteCode
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.rules import Rules
from linen_nnx.schema.spec import Spec


@dataclass(frozen=True)
class Ruled:
    """The rules, and which way they are read."""

    rules: Rules
    backwards: bool
    notes: tuple[Note, ...] = ()

    @property
    def digest(self) -> str:
        """Of what the rules say."""
        return hashlib.sha256(self.rules.model_dump_json().encode()).hexdigest()


def rules_of(lifted: Lifted, layout: Layout, options: ConversionOptions) -> Ruled | None:
    """The rules to follow, if there are any. Raises `ConversionError`."""
    source = lifted.form.layout
    if options.rules is not None:
        problems = [
            *_direction(source, layout, options.inverse),
            *_layers(options),
            *_candidates(options.rules),
        ]
        raise_if(problems, ConversionError)
        return Ruled(options.rules, options.inverse)
    if options.spec is None or source.is_nnx == layout.is_nnx:
        return None
    # Here, as below: most conversions follow no rules, and the rooms of rules are many files.
    from linen_nnx.convert.mapping.matching import inferred

    found = inferred(lifted, options.spec, options.accept)
    raise_if([*found.problems, *_layers(options)], ConversionError)
    return Ruled(found.rules, source.is_nnx, (_inferred_note(found),))


def _candidates(rules: Rules) -> list[Problem]:
    """What `map` could not prove is no rule before somebody has looked at it."""
    return [
        Problem(
            code=Code.AMBIGUOUS_MAPPING,
            expected="rules that somebody has checked",
            found=f"rule {number}, {rule}: {rule.evidence}",
            hint="check it and delete its evidence, or let map accept names or order",
        )
        for number, rule in enumerate(rules.rules, 1)
        if rule.evidence is not None and rule.evidence.startswith(TODO)
    ]


def _inferred_note(found: Inference) -> Note:
    words = Counter(rule.evidence for rule in found.rules.rules)
    said = ", ".join(f"{count} {word}" for word, count in words.items())
    text = f"{len(found.rules.rules)} rules were inferred from the spec ({said}); `map` writes them down"
    return Note(code=NoteCode.INFERRED_RULES, text=text)


def _direction(source: Layout, target: Layout, inverse: bool) -> list[Problem]:
    ways = ("NNX to Linen, for rules read with --inverse", "Linen to NNX, for rules read without --inverse")
    if source.is_nnx == inverse and target.is_nnx != inverse:
        return []
    turned = source.is_nnx != inverse and source.is_nnx != target.is_nnx
    hint = "add --inverse" if turned and not inverse else "leave --inverse out" if turned else None
    return [
        Problem(
            code=Code.DIRECTION_CONTRADICTION,
            expected=ways[0 if inverse else 1],
            found=f"{source.value} to {target.value}",
            hint=hint or "name the target with --to",
        )
    ]


def _layers(options: ConversionOptions) -> list[Problem]:
    asked = {
        "--scan-layers": options.stacking,
        "--layer-axis": options.layer_axis,
        "--layer-cycle": options.layer_cycle,
        "--decoder": options.decoder,
        "--layer-names": options.layer_names,
    }
    return [
        Problem(
            code=Code.UNSUPPORTED,
            expected="rules alone, which say what becomes of layers",
            found=f"{name} beside them",
            hint="write stack, unstack or move_axis in the rules; or restack in a second conversion",
        )
        for name, value in asked.items()
        if value is not None
    ]


class FollowRules:
    """The pass of the rules, with what must be said of it."""

    name = "rules"

    def __init__(self, ruled: Ruled, *, partial: bool, spec: Spec | None) -> None:
        """`partial`: weights alone are converted."""
        from linen_nnx.convert.passes.rename import RenamePass

        self._ruled = ruled
        self._spec = spec
        self._pass = RenamePass(ruled.rules, backwards=ruled.backwards, partial=partial, spec=spec)

    def apply(self, state: TrainState) -> Passed:
        """Refuse what would be left behind, then rename."""
        passed = self._pass.apply(state)
        problems = [*strays(state), *passed.problems, *self._other_matrices(state)]
        if problems:
            return Passed(state, problems=problems)
        notes = dropped_notes(state, passed.state)
        if self._pass.changes_arrays:
            notes += whole_leaf_notes(state.optimizer)
        return Passed(passed.state, drops=passed.drops, notes=[*self._ruled.notes, *notes])

    def _other_matrices(self, state: TrainState) -> list[Problem]:
        """Muon sorts arrays by their rank: layers that are stacked would be matrices no longer, or anew."""
        at = muon(state.optimizer)
        spec = self._spec is not None and self._spec.optimizer
        if at is None or spec or not self._pass.changes_ranks:
            return []
        return [
            Problem(
                code=Code.UNSUPPORTED,
                path=optimizer_address(at, None),
                expected="arrays of the rank that they have: muon sorts them by it",
                found="rules that stack or unstack",
                hint="give --spec with the optimizer, which says what each moment must be; or --params-only",
            )
        ]


class MeetSpec:
    """Hold the state against the spec of the target."""

    name = "spec"

    def __init__(self, spec: Spec, rules: Rules) -> None:
        """`rules` say what the target keeps of its own."""
        self._spec = spec
        self._rules = rules

    def apply(self, state: TrainState) -> Passed:
        """Nothing is changed."""
        problems = expectation_problems(state, self._spec, self._rules)
        kept = left_to_target(state, self._spec, self._rules)
        text = (
            f"{len(kept)} variables of the target are given by no source: a model keeps its own when it "
            "loads the rest; give --template a checkpoint of the target to write them"
        )
        notes = [Note(code=NoteCode.KEPT_FROM_TARGET, text=text, paths=tuple(kept[:5]))] if kept else []
        return Passed(state, problems=problems, notes=notes)
