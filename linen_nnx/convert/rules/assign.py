"""Hold rules against the variables of a state: which becomes which. Every fault at once, no guess."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import assert_never

from linen_nnx.convert.rules.how import How, Joined, Moved, Piece, Renamed, Stacked, Taken, from_start
from linen_nnx.convert.rules.index import Index
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.ir import Slot, Variable, address
from linen_nnx.schema.ops import logical_rank
from linen_nnx.schema.path import DictKey, KeyPath
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.rule_text import INDEX, bindings, filled, template
from linen_nnx.schema.rules import OpConcat, OpDrop, OpMove, OpSplit, OpStack, OpUnstack, Rule, Rules


@dataclass(frozen=True, slots=True)
class Assignment:
    """One target, what it is made of, and how; `rule` counts from 0."""

    target: Slot
    sources: tuple[Slot, ...]
    how: How
    rule: int


@dataclass
class Assigned:
    """What rules make of a state's variables."""

    assignments: list[Assignment] = field(default_factory=list)
    dropped: list[tuple[Slot, OpDrop]] = field(default_factory=list)
    restored: list[tuple[Slot, OpDrop]] = field(default_factory=list)
    """On the way back: what was dropped because it was zero."""
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Heading:
    """From Linen, whose addresses begin with their collection, to NNX; or back."""

    inverse: bool

    def text(self, slot: Slot) -> str:
        """The path that rules are held against."""
        return str(slot.path if self.inverse else KeyPath((DictKey(slot.collection), *slot.path.keys)))

    def target(self, path: KeyPath, source: Slot) -> Slot:
        """The slot at a path that a rule made. Raises `ValueError` on one that is no variable's."""
        if not self.inverse:
            return Slot(collection=source.collection, path=path)
        if len(path) < 2:
            raise ValueError(f"{path} is no Linen address: it begins with a collection")
        return Slot(collection=path.names[0], path=path[1:])


@dataclass(frozen=True, slots=True)
class _Hit:
    """A variable and its rule: which of the rule's sources it is, and what fills the holes."""

    variable: Variable
    rule: int
    position: int
    values: dict[str, str]


def assign(rules: Rules, variables: Sequence[Variable], *, inverse: bool, partial: bool = False) -> Assigned:
    """Give every variable a target, or a named drop.

    With `inverse` the variables are NNX's and `rules` are turned round. `partial`: the state is not whole, so
    a rule may have nothing to do.
    """
    work = _Work(Heading(inverse), rules)
    for variable in variables:
        work.take(variable)
    work.gather()
    work.two_writers()
    if not partial:
        work.unused()
    return work.out


class _Work:
    def __init__(self, heading: Heading, rules: Rules) -> None:
        self.out = Assigned()
        self._heading = heading
        self._rules = rules.rules
        self._index = Index(rules.rules)
        self._used: set[int] = set()
        self._gathered: dict[tuple[int, KeyPath], list[tuple[int, Slot]]] = defaultdict(list)

    def take(self, variable: Variable) -> None:
        """Find the rule of one variable, and do what it says."""
        text = self._heading.text(variable.slot)
        hit = self._hit(variable, text)
        if hit is None:
            self.out.problems.append(self._ruleless(variable.slot, text))
            return
        self._used.add(hit.rule)
        try:
            self._follow(hit)
        except ValueError as error:
            self.out.problems.append(
                _problem(Code.RULES_INVALID, variable.slot, "a target", f"{self._rules[hit.rule]}: {error}")
            )

    def _hit(self, variable: Variable, text: str) -> _Hit | None:
        hits = self._hits(variable, text)
        if not self._heading.inverse:
            return next(hits, None)
        # Back in Linen a module's variables part by collection: several rules may lead to one NNX module.
        found = list(hits)
        own = variable.slot.collection
        return next((hit for hit in found if own in self._collections(hit)), found[0] if found else None)

    def _hits(self, variable: Variable, text: str) -> Iterator[_Hit]:
        for number, position, one in self._index.candidates(text):
            if found := one.fullmatch(text):
                yield _Hit(variable, number, position, bindings(found))

    def _collections(self, hit: _Hit) -> set[str]:
        """The collections that the rule leads back to."""
        rule = self._rules[hit.rule]
        if rule.to_path is not None:
            return {rule.to_path[0]}
        return {KeyPath.parse(text).names[0] for text in rule.targets}

    def _follow(self, hit: _Hit) -> None:
        rule, slot = self._rules[hit.rule], hit.variable.slot
        match rule.op:
            case None:
                self._add(hit, 0, Renamed())
            case OpMove(move_axis=how):
                self._add(hit, 0, Moved(how.source, how.destination))
            case OpDrop():
                self.out.dropped.append((slot, rule.op))
            case OpUnstack(unstack=how):
                for index in range(_size(hit.variable, how.axis)):
                    self._add(hit, 0, Taken(how.axis, index), {INDEX: str(index)})
            case OpSplit(split=how):
                for index in range(len(rule.targets)):
                    self._add(hit, index, Piece(how.axis, index, len(rule.targets)))
            case OpStack():
                name = rule.index or INDEX
                self._gathered[hit.rule, _path(rule, 0, hit.values)].append((int(hit.values[name]), slot))
            case OpConcat():
                self._gathered[hit.rule, _path(rule, 0, hit.values)].append((hit.position, slot))
            case _:
                assert_never(rule.op)

    def _add(self, hit: _Hit, target: int, how: How, more: dict[str, str] | None = None) -> None:
        slot = hit.variable.slot
        path = _path(self._rules[hit.rule], target, {**hit.values, **(more or {})})
        self.out.assignments.append(Assignment(self._heading.target(path, slot), (slot,), how, hit.rule))

    def gather(self) -> None:
        """What is made of several variables, once all of them are known."""
        for (number, path), found in self._gathered.items():
            rule = self._rules[number]
            found.sort(key=lambda one: one[0])
            places, slots = [place for place, _ in found], tuple(slot for _, slot in found)
            wanted = len(rule.sources) if isinstance(rule.op, OpConcat) else len(found)
            if places != list(range(wanted)):
                self.out.problems.append(_gap(rule, path, places, slots[0], wanted))
                continue
            how: How
            if isinstance(rule.op, OpConcat):
                how = Joined(rule.op.concat.axis)
            else:
                assert isinstance(rule.op, OpStack)
                how = Stacked(rule.op.stack.axis)
            target = self._heading.target(path, slots[0])
            self.out.assignments.append(Assignment(target, slots, how, number))

    def two_writers(self) -> None:
        """Targets that several assignments make."""
        # An NNX module has one attribute of a name, whatever the collections of its sources.
        writers: dict[object, list[Assignment]] = defaultdict(list)
        for one in self.out.assignments:
            writers[one.target if self._heading.inverse else one.target.path].append(one)
        for found in writers.values():
            if len(found) > 1:
                sources = " and ".join(self._heading.text(one.sources[0]) for one in found)
                self.out.problems.append(
                    _problem(
                        Code.TWO_WRITERS,
                        found[1].sources[0],
                        f"one source of {found[0].target.path}",
                        sources,
                    )
                )

    def unused(self) -> None:
        """Rules under which nothing falls: a name was mistyped, or an earlier rule took it all."""
        for number, rule in enumerate(self._rules):
            if number in self._used:
                continue
            if self._heading.inverse and isinstance(rule.op, OpDrop):
                path = (
                    KeyPath(tuple(map(DictKey, rule.path))) if rule.path else KeyPath.parse(rule.sources[0])
                )
                self.out.restored.append((self._heading.target(path, _NOWHERE), rule.op))
                continue
            self.out.problems.append(
                Problem(
                    code=Code.UNUSED_RULE,
                    expected="a variable under every rule",
                    found=f"rule {number + 1}, {rule}: none, or an earlier rule takes them all",
                )
            )

    def _ruleless(self, slot: Slot, text: str) -> Problem:
        sources = [source for rule in self._rules for source in rule.sources]
        close = get_close_matches(text, sources, n=2, cutoff=0.6)
        hint = (
            f"the nearest rule is from {' or '.join(close)}"
            if close
            else "add a rule, or a drop with its reason"
        )
        return _problem(Code.NO_RULE, slot, "a rule for every variable", f"none for {text}", hint)


_NOWHERE = Slot(collection="", path=KeyPath())


def _path(rule: Rule, target: int, values: dict[str, str]) -> KeyPath:
    if rule.to_path is not None:
        return KeyPath(tuple(map(DictKey, rule.to_path)))
    return KeyPath.parse(filled(template(rule.targets[target]), values))


def _size(variable: Variable, axis: int) -> int:
    value = variable.leaf.value
    if not isinstance(value, ArrayValue):
        raise ValueError(f"{value} has no layers to take apart")
    rank = logical_rank(value.spec)
    at = from_start(axis, rank)
    if at >= rank:
        raise ValueError(f"{value.spec} has no axis {axis}")
    return value.spec.shape[at]


def _gap(rule: Rule, path: KeyPath, places: list[int], slot: Slot, wanted: int) -> Problem:
    if isinstance(rule.op, OpConcat):
        missing = [source for place, source in enumerate(rule.sources) if place not in places]
        return _problem(
            Code.MISSING_ENTRY, slot, f"all {wanted} parts of {path}", f"none of {', '.join(missing)}"
        )
    numbers = ", ".join(map(str, places))
    return _problem(Code.LAYER_GAP, slot, f"layers 0 to {max(places)} of {path}, each once", numbers)


def _problem(code: Code, slot: Slot, expected: str, found: str, hint: str | None = None) -> Problem:
    return Problem(code=code, path=address(slot), expected=expected, found=found, hint=hint)


def pairs(assignments: Sequence[Assignment], *, inverse: bool) -> Iterator[tuple[Slot, KeyPath]]:
    """Which Linen variable goes with which NNX path, whichever way the rules were read."""
    for one in assignments:
        for source in one.sources:
            yield (one.target, source.path) if inverse else (source, one.target.path)
