"""Fill from a template what the source cannot give: PRNG streams, other variables, empty states.

The template is a checkpoint of the target. What both have is taken from the source if it fits; what only
the source has is set aside, since the template shows that the target has no place for it.
"""

from collections.abc import Sequence
from dataclasses import replace

from linen_nnx.convert.passes.runner import Passed
from linen_nnx.schema.array import EmptyValue
from linen_nnx.schema.ir import PARAMS, UNKNOWN, OptimizerLeaf, Slot, TrainState, Variable, address
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import same_content
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.rule_text import glob
from linen_nnx.schema.rules import Keep


class FromTemplate:
    """`template` is the lifted template, in the layer form of the target."""

    name = "template"

    def __init__(self, template: TrainState, keep: Sequence[Keep] = ()) -> None:
        """Fill from `template`, also what `keep` says that no source gives."""
        self._template = template
        self._kept = [glob(one.to) for one in keep]

    def _is_kept(self, variable: Variable) -> bool:
        text = str(variable.slot.path)
        return any(one.fullmatch(text) for one in self._kept)

    def _aux(self, given: set[KeyPath]) -> list[Variable]:
        """What it may give: no parameters, but for what rules keep; no checkpoint tells for certain."""
        found = [v for v in self._template.variables if v.slot.collection != PARAMS]
        kept = [v for v in self._template.variables if v.slot.collection == PARAMS and self._is_kept(v)]
        own = [replace(v.slot, collection=UNKNOWN) for v in kept]
        return found + [
            replace(v, slot=slot) for v, slot in zip(kept, own, strict=True) if v.slot.path not in given
        ]

    def apply(self, state: TrainState) -> Passed:
        """Take aux variables and empty optimizer states of the template where the source has none."""
        ours = {v.slot.path: v for v in state.variables}
        aux = self._aux(set(ours))
        wanted = {v.slot.path for v in aux}
        filled = tuple(_chosen(v, ours.get(v.slot.path)) for v in aux)
        kept = tuple(v for v in state.variables if v.slot.collection == PARAMS)
        chosen = {id(v) for v in filled}
        surplus = tuple(
            v
            for v in state.variables
            if v.slot.collection != PARAMS and (v.slot.path not in wanted or id(v) not in chosen)
        )
        at = {(item.at, item.mirrors) for item in state.optimizer}
        empties = tuple(
            item
            for item in self._template.optimizer
            if isinstance(item.leaf.value, EmptyValue) and (item.at, item.mirrors) not in at
        )
        return Passed(
            state.model_copy(
                update={
                    "variables": (*kept, *filled),
                    "optimizer": (*state.optimizer, *_beside(empties, state)),
                    "aside": (*state.aside, *surplus),
                }
            ),
            problems=self._unlike(state),
        )

    def _unlike(self, state: TrainState) -> list[Problem]:
        """Parameters in which source and template differ: then it is not a template of the target."""
        ours = {v.slot.path: v for v in state.variables if v.slot.collection == PARAMS}
        theirs = {v.slot.path: v for v in self._template.variables if v.slot.collection == PARAMS}
        theirs = {path: v for path, v in theirs.items() if path in ours or not self._is_kept(v)}
        problems = []
        for path in dict.fromkeys((*ours, *theirs)):
            one, other = ours.get(path), theirs.get(path)
            if one is None or other is None:
                code = Code.UNEXPECTED_ENTRY if other is None else Code.MISSING_ENTRY
            elif not same_content(one.leaf.value, other.leaf.value):
                code = Code.SHAPE_MISMATCH
            else:
                continue
            problems.append(_unlike(code, path, one, other))
        return problems


def _unlike(code: Code, path: KeyPath, one: Variable | None, other: Variable | None) -> Problem:
    return Problem(
        code=code,
        path=address(Slot(collection=PARAMS, path=path)),
        expected=f"{other.leaf.value if other else 'nothing'}, as in the template",
        found=str(one.leaf.value if one else "nothing"),
        hint="the template must be a checkpoint of the same model in the target's layout",
    )


def _chosen(theirs: Variable, ours: Variable | None) -> Variable:
    if ours is None or not same_content(ours.leaf.value, theirs.leaf.value):
        return theirs
    return ours


def _beside(empties: tuple[OptimizerLeaf, ...], state: TrainState) -> list[OptimizerLeaf]:
    """Empties that stand neither above nor below an entry of the state."""
    taken = {item.at[:depth] for item in state.optimizer for depth in range(len(item.at) + 1)}
    leaves = {item.at for item in state.optimizer}
    return [
        item
        for item in empties
        if item.at not in taken and not any(item.at[:depth] in leaves for depth in range(len(item.at)))
    ]
