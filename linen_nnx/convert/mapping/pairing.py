"""Pair two trees of one colour, module by module, and say of each pair by what it is known."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import factorial

from linen_nnx.convert.mapping.colours import Colours
from linen_nnx.convert.mapping.evidence import UNIQUE, Evidence, paired, weaker
from linen_nnx.convert.mapping.modules import Node


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


def pair(linen: Node, nnx: Node, colours: Colours) -> tuple[Pair, list[Alike]]:
    """Pair two trees of one colour."""
    alike: list[Alike] = []
    return _pair(linen, nnx, UNIQUE, colours, alike), alike


def _pair(linen: Node, nnx: Node, evidence: Evidence, colours: Colours, alike: list[Alike]) -> Pair:
    inside: list[Pair] = []
    ours, theirs = _by_colour(linen.children, colours), _by_colour(nnx.children, colours)
    for colour, found in ours.items():
        for pairs, why in paired(found, theirs[colour], nnx):
            if why.grade:
                alike.append(Alike(tuple(a for a, _ in pairs), tuple(b for _, b in pairs), why))
            inside += [_pair(a, b, why, colours, alike) for a, b in pairs]
    order = {id(child): n for n, child in enumerate(linen.children)}
    inside.sort(key=lambda one: order[id(one.linen)])
    return Pair(linen, nnx, evidence, tuple(inside))


def _by_colour(nodes: Sequence[Node], colours: Colours) -> dict[int, list[Node]]:
    found: dict[int, list[Node]] = defaultdict(list)
    for node in nodes:
        found[colours.of(node)].append(node)
    return found
