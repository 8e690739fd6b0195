"""Stack, unstack or rename layers: weights, moments and other variables together."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from linen_nnx.convert.layers.check import layer_gaps, stages, unlike_layers, unrestackable
from linen_nnx.convert.layers.families import Family
from linen_nnx.convert.layers.recognise import GroupKey, Seen, collect, recount
from linen_nnx.convert.layers.restack import Restacking, restack
from linen_nnx.convert.layers.target import LayerForm, axis_before, axis_problem, target_group, unsettled
from linen_nnx.convert.passes.runner import Passed
from linen_nnx.convert.passes.strays import layer_strays
from linen_nnx.convert.passes.whole_leaf import whole_leaf_notes
from linen_nnx.schema.ir import (
    PARAMS,
    Leaf,
    OptimizerLeaf,
    Slot,
    TrainState,
    Variable,
    address,
    optimizer_address,
)
from linen_nnx.schema.layout import LayerGroup, LayerStacking
from linen_nnx.schema.model import Model
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Note, NoteCode
from linen_nnx.schema.problem import Code, Problem

AUX_AXIS = 0
"""All variables but parameters are stacked on their first axis, by Linen's scan and NNX's alike."""

Together = TypeVar("Together")
Item = TypeVar("Item", Variable, OptimizerLeaf)


class LayersPass(Model):
    """Bring every layer group into `form`."""

    name: str = "layers"
    form: LayerForm
    aux_axis: int = AUX_AXIS

    def apply(self, state: TrainState) -> Passed:
        """Restack every group of the state."""
        stacking = self.form.stacking
        seen = collect(state.variables)
        problems = layer_gaps(seen, state.groups)
        if stacking is not None:
            problems += unrestackable(state.variables, state.groups)
        if stacking is not LayerStacking.UNSTACKED:
            problems += unlike_layers(seen, state.groups)
        work = _Work(state, seen, self.aux_axis)
        if not problems:
            work.restack(state.groups, self.form)
        return Passed(
            TrainState(
                step=state.step,
                variables=tuple(work.variables),
                optimizer=tuple(work.optimizer),
                groups=tuple(work.groups),
                aside=(*state.aside, *work.apart),
                replicas=state.replicas,
            ),
            problems=[*problems, *work.problems],
            notes=work.notes(),
        )


class _Work:
    """The state while its groups are rewritten one by one."""

    def __init__(self, state: TrainState, seen: Mapping[GroupKey, Seen], aux_axis: int) -> None:
        self._aux_axis = aux_axis
        self._seen = seen
        self.variables = list(state.variables)
        self.optimizer = list(state.optimizer)
        self.groups: list[LayerGroup] = []
        self.apart: list[Variable] = []
        self.problems: list[Problem] = []
        self.restacked = False
        self._unsettled: list[Note] = []
        self._strays = layer_strays(state)

    def restack(self, groups: Sequence[LayerGroup], form: LayerForm) -> None:
        """Rewrite all that stands in layers."""
        found = [axis_before(group, form) for group in groups]
        self.problems.extend(problem for _, faults in found for problem in faults)
        if self.problems:
            return
        known = [
            axis if _is_known(group, axis, form) else None
            for group, (axis, _) in zip(groups, found, strict=True)
        ]
        for group, (axis, _) in zip(recount(groups, self._seen, known), found, strict=True):
            self._restack(group, axis, form)

    def _restack(self, group: LayerGroup, axis: int, form: LayerForm) -> None:
        after, faults = target_group(group, form, self._seen)
        self.problems.extend(faults)
        if (family := unsettled(after, form, self._seen)) is not None:
            self._unsettled.append(_older_blocks(group, family))
        how = Restacking(group, after, axis, form.axis.after(axis))
        if not faults and how.regroups and group.has_stacks and group.axis is None:
            # Blocks are cut anew, though nobody asked for other stacking.
            self.problems.append(axis_problem(group, form.axis.stated))
            return
        if after.stacking is LayerStacking.STACKED and how.changes:
            after = after.model_copy(update={"axes": (how.axis_after,)})
        self.groups.append(after)
        if faults or not how.changes:
            return
        self.restacked = self.restacked or how.has_stacks
        self._variables(how)
        self._optimizer(how)
        if how.has_stacks:
            self.problems.extend(self._strays)

    def _variables(self, how: Restacking) -> None:
        by_collection, kept = _grouped(self.variables, how, _slot_of, lambda v: v.slot.collection)
        for collection, leaves in by_collection.items():
            done = restack(leaves, how if collection == PARAMS else self._aux(how))
            self.problems.extend(_of_variable(collection, problem) for problem in done.faults)
            kept.extend([_variable(collection, path, leaf) for path, leaf in done.leaves.items()])
            if collection == PARAMS:
                self.problems.extend(_of_variable(collection, problem) for problem in done.problems)
            else:
                self.apart.extend(_variable(collection, path, leaf) for path, leaf in done.apart.items())
        self.variables = kept

    def _optimizer(self, how: Restacking) -> None:
        slots = {(v.slot.collection, v.slot.path): v.slot for v in self.variables}
        by_mirror, kept = _grouped(
            self.optimizer,
            how,
            _mirrored,
            lambda m: (m.at, m.mirrors.collection if m.mirrors else "", m.factored),
        )
        for (at, collection, factored), leaves in by_mirror.items():
            if factored and how.has_stacks:
                self.problems.extend(
                    _factored(at, Slot(collection=collection, path=path), leaf)
                    for path, leaf in leaves.items()
                )
                continue
            done = restack(leaves, how if collection == PARAMS else self._aux(how))
            faults = [*done.faults, *done.problems]
            self.problems.extend(_of_moment(at, collection, problem) for problem in faults)
            for path, leaf in done.leaves.items():
                slot = slots.get((collection, path)) or Slot(collection=collection, path=path)
                kept.append(OptimizerLeaf(at=at, mirrors=slot, factored=factored, leaf=leaf))
        self.optimizer = kept

    def _aux(self, how: Restacking) -> Restacking:
        return Restacking(how.before, how.after, self._aux_axis, self._aux_axis)

    def _stages_kept(self) -> list[Note]:
        """Of layers that are restacked, those of a pipeline's stages are not, as in a run of MaxText."""
        at = stages(self.variables) if self.restacked else ()
        text = "pipeline stages are kept as they are: a run has them so, whether it scans other layers or not"
        return [Note(code=NoteCode.STAGES_KEPT, text=text, paths=at)] if at else []

    def notes(self) -> list[Note]:
        """What the user should know."""
        notes = [*self._unsettled, *self._stages_kept()]
        notes += whole_leaf_notes(self.optimizer) if self.restacked else []
        if not self.apart:
            return notes
        paths = tuple(variable.slot.path for variable in self.apart)
        text = (
            f"{len(paths)} variables stand in some layers only (NNX stores a shared object once) "
            "and cannot be stacked"
        )
        return [*notes, Note(code=NoteCode.AUX_NOT_STACKABLE, text=text, paths=paths[:5])]


def _is_known(group: LayerGroup, axis: int, form: LayerForm) -> bool:
    """Whether a stack's axis is proved or stated: where none is needed, a guess must not become a record."""
    return group.stacking is LayerStacking.STACKED and axis in (group.axis, form.axis.stated)


def _grouped(
    items: Sequence[Item],
    how: Restacking,
    slot_of: Callable[[Item], Slot | None],
    key_of: Callable[[Item], Together],
) -> tuple[dict[Together, dict[KeyPath, Leaf]], list[Item]]:
    """Leaves of layers, by what is restacked together, and the items that are of no layer."""
    inside: dict[Together, dict[KeyPath, Leaf]] = defaultdict(dict)
    outside: list[Item] = []
    for item in items:
        slot = slot_of(item)
        if slot is not None and how.place_of(slot.path) is not None:
            inside[key_of(item)][slot.path] = item.leaf
        else:
            outside.append(item)
    return inside, outside


def _slot_of(variable: Variable) -> Slot:
    return variable.slot


def _mirrored(moment: OptimizerLeaf) -> Slot | None:
    return moment.mirrors


def _variable(collection: str, path: KeyPath, leaf: Leaf) -> Variable:
    return Variable(slot=Slot(collection=collection, path=path), leaf=leaf)


def _older_blocks(group: LayerGroup, family: Family) -> Note:
    text = (
        f"blocks kept as they are; if the layers are {family.name}'s and not {family.twin}'s, MaxText reads "
        f"others since 0.2.5: say --decoder {family.name}"
    )
    return Note(code=NoteCode.OLDER_BLOCKS, text=text, paths=(group.at,))


def _factored(at: KeyPath, slot: Slot, leaf: Leaf) -> Problem:
    return Problem(
        code=Code.LAYERS_NOT_STACKABLE,
        path=optimizer_address(at, slot),
        expected="a moment of its parameter's shape, to be restacked with it",
        found=f"{leaf.value}, a factor of a reduced shape",
        hint="keep the layers as they are (no --scan-layers or --no-scan-layers), or use --params-only",
    )


def _of_variable(collection: str, problem: Problem) -> Problem:
    return problem.model_copy(update={"path": address(Slot(collection=collection, path=problem.path))})


def _of_moment(at: KeyPath, collection: str, problem: Problem) -> Problem:
    slot = Slot(collection=collection, path=problem.path)
    return problem.model_copy(update={"path": optimizer_address(at, slot)})
