"""Pair two trees of one colour, module by module, and say of each pair by what it is known."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import factorial

from linen_nnx.convert.mapping.colours import Colours
from linen_nnx.convert.mapping.evidence import PROBED, REFUTED, UNIQUE, Evidence, Pairs, paired, weaker
from linen_nnx.convert.mapping.modules import Keys, Node


@dataclass(frozen=True, slots=True)
class Pair:
    """A module of Linen and one of NNX (as Linen would have it), with all that is in them."""

    linen: Node
    nnx: Node
    evidence: Evidence
    inside: tuple["Pair", ...]

    def walk(self) -> Iterator["Pair"]:
        """This pair and all below."""
        yield self
        for pair in self.inside:
            yield from pair.walk()

    @property
    def weakest(self) -> Evidence:
        """The least that any pair in it is known by."""
        found = self.evidence
        for pair in self.inside:
            found = weaker(found, pair.weakest)
        return found


@dataclass(frozen=True, slots=True)
class Alike:
    """Modules that nothing proves to be one or the other: as many ways as their number's factorial."""

    linen: tuple[Node, ...]
    nnx: tuple[Node, ...]
    evidence: Evidence

    @property
    def ways(self) -> int:
        """In how many ways they can be paired."""
        return factorial(len(self.linen))


Place = tuple[Keys, Keys]
"""Where a module of NNX stands: its path, which layers of a stack share, and its keys below the one above."""

Settled = Mapping[Keys, Place]
"""The place of the NNX module that a Linen one is, by the Linen one's path."""


def place_of(nnx: Node) -> Place:
    """Where it stands."""
    return nnx.path, nnx.label


def pair(
    linen: Node, nnx: Node, colours: Colours, settled: Settled | None = None, *, refuted: bool = False
) -> tuple[Pair, list[Alike]]:
    """Pair two trees of one colour; what is `settled` is taken as known.

    `refuted`: what names and order say of the rest is known to be wrong.
    """
    work = _Pairing(colours, settled or {}, refuted=refuted)
    return work.pair(linen, nnx, UNIQUE), work.alike


class _Pairing:
    def __init__(self, colours: Colours, settled: Settled, *, refuted: bool) -> None:
        self.alike: list[Alike] = []
        self._colours, self._settled, self._refuted = colours, settled, refuted

    def pair(self, linen: Node, nnx: Node, evidence: Evidence) -> Pair:
        inside: list[Pair] = []
        ours, theirs = _by_colour(linen.children, self._colours), _by_colour(nnx.children, self._colours)
        for colour, found in ours.items():
            for pairs, by in self._paired(found, theirs[colour], nnx):
                why = REFUTED if by.grade and self._refuted else by
                if why.grade:
                    self.alike.append(Alike(tuple(a for a, _ in pairs), tuple(b for _, b in pairs), why))
                inside += [self.pair(a, b, why) for a, b in pairs]
        order = {id(child): n for n, child in enumerate(linen.children)}
        inside.sort(key=lambda one: order[id(one.linen)])
        return Pair(linen, nnx, evidence, tuple(inside))

    def _paired(
        self, linen: Sequence[Node], nnx: Sequence[Node], above: Node
    ) -> Iterator[tuple[Pairs, Evidence]]:
        by_place = {place_of(node): node for node in nnx}
        known = [
            (node, by_place[place]) for node in linen if (place := self._settled.get(node.path)) in by_place
        ]
        if not known:
            yield from paired(linen, nnx, above)
            return
        taken = {id(node) for both in known for node in both}
        ours, theirs = ([node for node in nodes if id(node) not in taken] for nodes in (linen, nnx))
        if len(ours) == 1:
            # All others are known.
            known = [*known, (ours.pop(), theirs.pop())]
        yield known, PROBED
        if ours:
            yield from paired(ours, theirs, above)


def _by_colour(nodes: Sequence[Node], colours: Colours) -> dict[int, list[Node]]:
    found: dict[int, list[Node]] = defaultdict(list)
    for node in nodes:
        found[colours.of(node)].append(node)
    return found
