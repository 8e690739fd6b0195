"""Rules: every variable goes where its rule says, and its moments with it.

Parameters and moments cannot come apart: what a rule makes of a parameter is made of each mirror of it, from
the same parts in the same order.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from linen_nnx.convert.passes.runner import Passed
from linen_nnx.convert.rules.assign import Assigned, assign, pairs
from linen_nnx.convert.rules.faults import fault, misfit, two_averages, unknown_zeros
from linen_nnx.convert.rules.how import made
from linen_nnx.convert.rules.inverse import inverse
from linen_nnx.schema.array import ArraySpec, ArrayValue, EmptyValue
from linen_nnx.schema.ir import (
    AVERAGE,
    PARAMS,
    RNGS,
    UNKNOWN,
    Leaf,
    OptimizerLeaf,
    Slot,
    TrainState,
    Variable,
    address,
)
from linen_nnx.schema.ops import Copy, Fill, OpError, Origin, Ref, refs
from linen_nnx.schema.path import AttributeKey, KeyPath
from linen_nnx.schema.plan import Drop, DropRule
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.rule_text import glob
from linen_nnx.schema.rules import Mirroring, OpDrop, OpStack, OpUnstack, Rules
from linen_nnx.schema.spec import Spec


class RenamePass:
    """`rules` lead from Linen to NNX, and back with `backwards`."""

    name = "rename"

    def __init__(
        self, rules: Rules, *, backwards: bool, partial: bool = False, spec: Spec | None = None
    ) -> None:
        """`partial`: weights alone are converted. `spec` tells what zeros to put back, where no rule does."""
        self._rules = rules
        self._backwards = backwards
        self._partial = partial
        self._spec = spec
        self._kept = [glob(keep.to) for keep in rules.keep]

    def apply(self, state: TrainState) -> Passed:
        """Give every variable and moment its new place. Layers are what the rules make of them."""
        stays = [v for v in state.variables if self._stays(v)]
        known = {id(v) for v in stays}
        moving = [v for v in state.variables if id(v) not in known]
        rules, problems = inverse(self._rules) if self._backwards else (self._rules, [])
        if problems:
            return Passed(state, problems=problems)
        assigned = assign(rules, moving, inverse=self._backwards, partial=self._partial)
        work = _Work(state, moving, assigned, self._spec, self._averages())
        work.variables()
        if not work.problems and self._backwards:
            work.problems += self._one_way(work, moving)
        work.moments()
        if work.problems:
            return Passed(state, problems=work.problems)
        renamed = TrainState(
            step=state.step,
            variables=(*_untrained(stays, state), *work.made),
            optimizer=tuple(work.optimizer),
            aside=state.aside,
        )
        return Passed(renamed, drops=work.drops(renamed))

    def _averages(self) -> dict[AttributeKey, AttributeKey]:
        """Fields that mirror the parameters: what each is called on the other side."""
        named = [n for n, kind in self._rules.collections.items() if isinstance(kind, Mirroring)]
        both = [(AttributeKey(name), AVERAGE) for name in named]
        return {there: here for here, there in both} if self._backwards else dict(both)

    @property
    def changes_arrays(self) -> bool:
        """Whether any rule does more than to give another name."""
        return any(rule.op is not None and not isinstance(rule.op, OpDrop) for rule in self._rules.rules)

    @property
    def changes_ranks(self) -> bool:
        """Whether any rule stacks layers, or takes them apart."""
        return any(isinstance(rule.op, OpStack | OpUnstack) for rule in self._rules.rules)

    def _stays(self, variable: Variable) -> bool:
        """What no Linen state has: kept beside an earlier conversion, or PRNG streams, or kept by a rule."""
        op = variable.leaf.op
        if isinstance(op, Copy) and op.source.origin is Origin.SIDE:
            return True
        if not self._backwards:
            return False
        text = str(variable.slot.path)
        return variable.slot.collection == RNGS or any(one.fullmatch(text) for one in self._kept)

    def _one_way(self, work: "_Work", moving: Sequence[Variable]) -> Iterator[Problem]:
        """What came back must go there again: rules that overlap may lead back to another name."""
        there = assign(self._rules, work.made, inverse=False, partial=True)
        forth = set(pairs(there.assignments, inverse=False))
        for slot, path in pairs(work.assigned.assignments, inverse=True):
            if (slot, path) not in forth:
                yield Problem(
                    code=Code.NOT_INVERTIBLE,
                    path=address(next(v.slot for v in moving if v.slot.path == path)),
                    expected="rules that lead back to where they come from",
                    found=f"{path} would become {slot}, which the rules send elsewhere",
                    hint="two rules have a target in common; make their targets different",
                )


def _untrained(stays: Sequence[Variable], state: TrainState) -> Iterator[Variable]:
    """What stays behind is no parameter, whatever it looked like, unless it has moments."""
    trained = {item.mirrors for item in state.optimizer}
    for one in stays:
        aside = one.slot.collection == PARAMS and one.slot not in trained
        yield replace(one, slot=replace(one.slot, collection=UNKNOWN)) if aside else one


class _Work:
    """A state while its leaves are given new places."""

    def __init__(
        self,
        state: TrainState,
        moving: Sequence[Variable],
        assigned: Assigned,
        spec: Spec | None,
        averages: Mapping[AttributeKey, AttributeKey],
    ) -> None:
        self.assigned = assigned
        self.problems: list[Problem] = list(assigned.problems)
        self.made: list[Variable] = []
        self.optimizer: list[OptimizerLeaf] = []
        self._state, self._averages = state, averages
        self._leaves = {v.slot: v.leaf for v in moving}
        self._restored = {slot: op.drop.spec or _specified(spec, slot) for slot, op in assigned.restored}

    def variables(self) -> None:
        """Every variable that the rules make."""
        for one in self.assigned.assignments:
            try:
                leaf = made(one.how, [self._leaves[slot] for slot in one.sources])
            except OpError as error:
                self.problems.append(
                    Problem(
                        code=Code.SHAPE_MISMATCH,
                        path=address(one.sources[0]),
                        expected=f"arrays of which {one.target.path} can be made",
                        found=str(error),
                    )
                )
                continue
            self.made.append(Variable(slot=one.target, leaf=leaf))
        for slot, spec in self._restored.items():
            if spec is None:
                self.problems.append(unknown_zeros(slot))
                continue
            self.made.append(Variable(slot=slot, leaf=_zeros(spec)))

    def moments(self) -> None:
        """Every mirror of what the rules make, field by field."""
        fields: dict[KeyPath, dict[Slot, OptimizerLeaf]] = defaultdict(dict)
        for item in self._state.optimizer:
            if item.mirrors is None:
                self.optimizer.append(item)
            else:
                fields[item.at][item.mirrors] = item
        places: dict[KeyPath, KeyPath] = {}
        for at, field in fields.items():
            place = self._place(at)
            if place in places:
                self.problems.append(two_averages(places[place], at, place))
            places[place] = at
            self._field(place, self._spread(field))

    def _place(self, at: KeyPath) -> KeyPath:
        """Where a field stands on the other side: as it did, but for an average that the rules name."""
        first = at.keys[0] if len(at) else None
        found = self._averages.get(first) if isinstance(first, AttributeKey) else None
        return at if found is None else KeyPath((found, *at.keys[1:]))

    def _spread(self, field: dict[Slot, OptimizerLeaf]) -> dict[Slot, OptimizerLeaf]:
        """An empty may stand for a whole module: then for each variable in it."""
        out = dict(field)
        for slot, item in field.items():
            if slot in self._leaves or not isinstance(item.leaf.value, EmptyValue):
                continue
            below = [
                one
                for one in self._leaves
                if one.collection == slot.collection and one.path.startswith(slot.path)
            ]
            if below:
                del out[slot]
                out.update(dict.fromkeys(below, item))
        return out

    def _field(self, at: KeyPath, field: dict[Slot, OptimizerLeaf]) -> None:
        for one in self.assigned.assignments:
            found = [field[slot] for slot in one.sources if slot in field]
            if not found:
                continue
            if refusal := fault(at, one, found):
                self.problems.append(refusal)
                continue
            try:
                leaf = made(one.how, [item.leaf for item in found])
            except OpError as error:
                self.problems.append(misfit(at, one, str(error)))
                continue
            self._add(at, one.target, leaf, factored=found[0].factored)
        dtypes = {i.leaf.value.spec.dtype for i in field.values() if isinstance(i.leaf.value, ArrayValue)}
        for slot, spec in self._restored.items():
            if spec is not None and len(dtypes) == 1 and any(s.collection == slot.collection for s in field):
                self._add(at, slot, _zeros(ArraySpec(shape=spec.shape, dtype=next(iter(dtypes)))))

    def _add(self, at: KeyPath, slot: Slot, leaf: Leaf, *, factored: bool = False) -> None:
        self.optimizer.append(OptimizerLeaf(at=at, mirrors=slot, factored=factored, leaf=leaf))

    def drops(self, after: TrainState) -> list[Drop]:
        """What rules drop, and the moments of it."""
        read = {ref for leaf in after.leaves() for ref in refs(leaf.op)}
        whose = dict(self.assigned.dropped)
        out = [
            _drop(ref, op, checked=True) for slot, op in whose.items() for ref in refs(self._leaves[slot].op)
        ]
        for item in self._state.optimizer:
            if item.mirrors in whose:
                out += [_drop(ref, whose[item.mirrors], checked=False) for ref in refs(item.leaf.op)]
        return [drop for drop in out if drop.source not in read]


def _specified(spec: Spec | None, slot: Slot) -> ArraySpec | None:
    leaf = None if spec is None else spec.by_slot.get(slot)
    return None if leaf is None else leaf.spec


def _zeros(spec: ArraySpec) -> Leaf:
    value = ArrayValue(spec=spec)
    return Leaf(value=value, op=Fill(value=value))


def _drop(ref: Ref, op: OpDrop, *, checked: bool) -> Drop:
    return Drop(
        source=ref,
        rule=DropRule.BY_RULE,
        reason=op.drop.reason,
        require=op.drop.require if checked else None,
    )
