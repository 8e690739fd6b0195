"""Settle by running what structure leaves open: modules that hold the same, axes that are equally long.

All members of a class that nothing tells apart get the same values: then both models are defined without
knowing which member is which, and say the same. One member of Linen's gets other values; the member of NNX
that must get them too for both to say the same again is its like, if no other one will do. Names are not
looked at, nor order.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from linen_nnx.convert.mapping.colours import Colours
from linen_nnx.convert.mapping.drafting import drafts, text_of
from linen_nnx.convert.mapping.modules import Keys, Node, slot_of
from linen_nnx.convert.mapping.pairing import Alike, Pair, Place, Settled, pair, place_of
from linen_nnx.convert.mapping.running import (
    CannotRunError,
    Runner,
    Value,
    apart,
    is_other,
    is_same,
    matches,
    sampled,
)
from linen_nnx.schema.ir import Slot
from linen_nnx.schema.rules import OpDrop, Rule

_ROUNDS = 16


class Verdict(Enum):
    """What a run says of a form of the models."""

    SAME = auto()
    """They compute the same."""
    OTHER = auto()
    """They do not, by far."""
    NEARLY = auto()
    """They differ by more than rounding, and by less than a wrong mapping makes."""
    UNKNOWN = auto()
    """They cannot be run in this form."""


@dataclass(frozen=True)
class Tried:
    """One form of the models, and what a run says of it."""

    tree: Node
    verdict: Verdict
    apart: float = 0.0
    """How far the outputs are from each other, in units of rounding."""
    settled: Settled = field(default_factory=dict)
    upright: frozenset[Keys] = frozenset()
    """Variables of NNX whose axes are not exchanged: it would make a difference."""
    open_differs: bool = False
    """Whether the candidates for what is not settled are wrong."""


def tried(linen: Node, tree: Node, doubted: Sequence[Keys], run: Runner) -> Tried:
    """Run both models in one form; `doubted` are variables of NNX whose axes may be exchanged."""
    try:
        return _Trial(linen, tree, run).tried(doubted)
    except CannotRunError:
        return Tried(tree, Verdict.UNKNOWN)


def values(
    linen: Node,
    rules: Sequence[Rule],
    colours: Colours,
    salt: str,
    groups: Sequence[Alike] = (),
    marked: Keys | None = None,
) -> dict[Slot, Value]:
    """One value for all members of a class, but for the one that is marked; all others each their own."""
    first = {one.path: group.linen[0].path for group in groups for one in group.linen}
    zeros = {text for rule in rules if isinstance(rule.op, OpDrop) for text in rule.sources}

    def below(node: Node, seed: tuple[object, ...], *, shared: bool) -> Iterator[tuple[Slot, Value]]:
        if node.path in first:
            seed, shared = ("class", first[node.path], node.path == marked), True
        for leaf in node.leaves:
            text = repr((salt, seed, leaf.collection, leaf.name))
            address = text_of((leaf.collection, *node.path, leaf.name))
            yield slot_of(node.path, leaf), Value(text, zero=address in zeros)
        for child in node.children:
            inner = (*seed, colours.of(child)) if shared else child.path
            yield from below(child, inner, shared=shared)

    return dict(below(linen, (), shared=False))


def judged(rules: Sequence[Rule], given: Mapping[Slot, Value], run: Runner) -> tuple[Verdict, float]:
    """Whether both models compute the same by these rules, and how far they are apart (in roundings)."""
    distance = apart(run.linen(given), run.nnx(rules, given))
    if is_same(distance):
        return Verdict.SAME, distance
    return Verdict.OTHER if is_other(distance) else Verdict.NEARLY, distance


class _Trial:
    """One form, while classes are settled."""

    def __init__(self, linen: Node, tree: Node, run: Runner) -> None:
        self._linen, self._tree, self._run = linen, tree, run
        self._colours = Colours()
        self._settled: dict[Keys, Place] = {}
        self._made, self._alike = self._paired()

    def _paired(self) -> tuple[Pair, list[Alike]]:
        return pair(self._linen, self._tree, self._colours, self._settled)

    def tried(self, doubted: Sequence[Keys]) -> Tried:
        for number in range(_ROUNDS):
            distance = self._distance(self._values(str(number), self._open()))
            if not is_same(distance):
                return self._failed(distance)
            found = [one for group in self._open() for one in self._matched(group, str(number))]
            if not found:
                break
            self._settled.update(found)
            self._made, self._alike = self._paired()
        return self._judged(doubted)

    def _judged(self, doubted: Sequence[Keys]) -> Tried:
        distance = self._distance(self._values("last", self._open()))
        if not is_same(distance):
            return self._failed(distance)
        return Tried(
            self._tree,
            Verdict.SAME,
            distance,
            self._settled,
            frozenset(self._upright(doubted)),
            bool(self._alike) and not is_same(self._distance(self._values("all", []))),
        )

    def _failed(self, distance: float) -> Tried:
        return Tried(self._tree, Verdict.OTHER if is_other(distance) else Verdict.NEARLY, distance)

    def _open(self) -> list[Alike]:
        """Classes of modules that stand in none of another class."""
        below = {
            node.path
            for group in self._alike
            for one in group.linen
            for child in one.children
            for node in child.walk()
        }
        return [group for group in self._alike if not any(one.path in below for one in group.linen)]

    def _rules(self) -> list[Rule]:
        return [draft.rule for draft in drafts(self._made)]

    def _distance(self, values: Mapping[Slot, Value]) -> float:
        return apart(self._run.linen(values), self._run.nnx(self._rules(), values))

    def _matched(self, group: Alike, salt: str) -> Iterator[tuple[Keys, Place]]:
        """Each member of Linen's that is one member of NNX's, and clearly no other."""
        rules = self._rules()
        ours, theirs = [], []
        for one in group.linen:
            # As paired so far, NNX's member takes what Linen's has.
            values = self._values(salt, self._open(), marked=one.path)
            ours.append(sampled(self._run.linen(values)))
            theirs.append(sampled(self._run.nnx(rules, values)))
        table = [[apart(one, other) for other in theirs] for one in ours]
        for row, column in matches(table):
            yield group.linen[row].path, place_of(group.nnx[column])

    def _upright(self, doubted: Sequence[Keys]) -> Iterator[Keys]:
        values = self._values("last", self._open())
        outputs = self._run.linen(values)
        for path in doubted:
            slot = self._like(path)
            if slot is not None:
                turned = {**values, slot: replace(values[slot], turned=True)}
                if is_other(apart(outputs, self._run.linen(turned))):
                    yield path

    def _like(self, path: Keys) -> Slot | None:
        """The Linen variable of an NNX one whose axes may be exchanged."""
        for one in self._made.walk():
            if one.nnx.path == path[:-1]:
                for leaf in one.linen.leaves:
                    shape = leaf.spec.shape
                    if leaf.name == path[-1] and len(shape) > 1 and shape[0] == shape[1]:
                        return slot_of(one.linen.path, leaf)
        return None

    def _values(self, salt: str, groups: Sequence[Alike], marked: Keys | None = None) -> dict[Slot, Value]:
        return values(self._linen, self._rules(), self._colours, salt, groups, marked)
