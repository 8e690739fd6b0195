"""By what one module is known to be another's: proof first, then names, then order.

Modules that hold the same cannot be told apart by what they hold. A library's own names and classes still
prove which is which; a user's names are evidence, no proof (`a` and `b` may have swapped their roles); order
is less.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from linen_nnx.convert.mapping.library import INSIDE, LINEN_CLASSES
from linen_nnx.convert.mapping.modules import Cell, Keys, Node
from linen_nnx.schema.options import Accept


class Grade(IntEnum):
    """How much evidence there is; the less, the higher."""

    PROVED = 0
    NAMES = 1
    ORDER = 2
    NONE = 3
    """Several ways fit, and no name or order could tell."""

    def enough(self, accept: Accept) -> bool:
        """Whether a user who accepts so much accepts this."""
        return (
            self
            <= {Accept.PROVED: Grade.PROVED, Accept.NAMES: Grade.NAMES, Accept.ORDER: Grade.ORDER}[accept]
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why, in a word, and how good a reason that is."""

    word: str
    grade: Grade

    def __str__(self) -> str:
        """The word."""
        return self.word


UNIQUE = Evidence("unique", Grade.PROVED)
CLASSED = Evidence("classed", Grade.PROVED)
FLAT = Evidence("flat", Grade.PROVED)
PROBED = Evidence("probed", Grade.PROVED)
NAMED = Evidence("named", Grade.NAMES)
INDEXED = Evidence("indexed", Grade.NAMES)
AFFIX = Evidence("affix", Grade.NAMES)
SQUARE = Evidence("square", Grade.NAMES)
REFUTED = Evidence("refuted", Grade.NONE)
"""A candidate by names or order, with which the models do not compute the same."""
ORDERED = Evidence("ordered", Grade.ORDER)
AXIS = Evidence("axis", Grade.NONE)
NONE = Evidence("unnumbered", Grade.NONE)

Pairs = list[tuple[Node, Node]]

_AUTO = re.compile(r"([A-Z]\w*?)_(\d+)")
_LISTED = re.compile(r"([a-z]\w*?)_?(\d+)")


def weaker(one: Evidence, other: Evidence) -> Evidence:
    """The one that proves less; of two proofs the one that a run has given."""
    return max(one, other, key=lambda evidence: (evidence.grade, evidence == PROBED))


def paired(linen: Sequence[Node], nnx: Sequence[Node], above: Node) -> list[tuple[Pairs, Evidence]]:
    """Pair modules that hold the same, of one module each; `above` is NNX's, as Linen would have it."""
    if len(linen) == 1:
        return [([(linen[0], nnx[0])], UNIQUE)]
    if inside := _by_library(linen, nnx, above):
        return [(inside, CLASSED)]
    groups = _by_class(linen, nnx)
    if groups is None:
        return [_by_names(linen, nnx)]
    return [([(a[0], b[0])], CLASSED) if len(a) == 1 else _by_names(a, b) for a, b in groups]


def _by_library(linen: Sequence[Node], nnx: Sequence[Node], above: Node) -> Pairs | None:
    names = INSIDE.get(above.name or "", {})
    if isinstance(above.variant, Cell):
        # Gates that were taken apart have Linen's names already.
        names = {node.label[0]: node.label[0] for node in nnx}
    wanted = {node.label[0]: node for node in nnx}
    found = [(node, wanted.get(names.get(node.label[0], ""))) for node in linen]
    if not names or len(wanted) != len(nnx):
        return None
    pairs = [(one, other) for one, other in found if other is not None]
    return pairs if len(pairs) == len({id(other) for _, other in pairs}) == len(linen) else None


def _by_class(linen: Sequence[Node], nnx: Sequence[Node]) -> list[tuple[list[Node], list[Node]]] | None:
    """By class, where Linen's names say it and the classes on both sides are the same in number."""
    ours, theirs = defaultdict(list), defaultdict(list)
    for node in linen:
        auto = _AUTO.fullmatch(node.label[-1])
        ours[LINEN_CLASSES.get(auto[1]) if auto else None].append(node)
    for node in nnx:
        theirs[node.name if node.name in LINEN_CLASSES.values() else None].append(node)
    if {k: len(v) for k, v in ours.items()} != {k: len(v) for k, v in theirs.items()} or len(ours) < 2:
        return None
    return [(found, theirs[name]) for name, found in ours.items()]


def _by_names(linen: Sequence[Node], nnx: Sequence[Node]) -> tuple[Pairs, Evidence]:
    """All by one kind of evidence, the best that fits all of them."""
    for evidence, read in ((NAMED, _whole), (INDEXED, _numbered), (AFFIX, _bare)):
        ours, theirs = read(linen), read(nnx)
        if ours is not None and theirs is not None and ours.keys() == theirs.keys():
            return [(ours[key], theirs[key]) for key in ours], evidence
    return list(zip(_in_order(linen), _in_order(nnx), strict=True)), ORDERED


def _whole(nodes: Sequence[Node]) -> dict[str, Node] | None:
    return _unique({"/".join(node.label): node for node in nodes}, nodes)


def _numbered(nodes: Sequence[Node]) -> dict[str, Node] | None:
    """By their number in a list. Linen's own numbers (`Dense_3`) count construction: no such names."""
    found = {index_of(node.label): node for node in nodes}
    stems = {key[0] for key in found if key is not None}
    if None in found or len(stems) != 1:
        return None
    return _unique({str(key[1]): node for key, node in found.items() if key is not None}, nodes)


def index_of(label: Keys) -> tuple[str, int] | None:
    """The list and the position in it: `stem_3` in Linen, `stem/3` in NNX."""
    if label[-1].isdecimal() and len(label) > 1:
        return "/".join(label[:-1]), int(label[-1])
    match = _LISTED.fullmatch(label[-1])
    return None if match is None else ("/".join((*label[:-1], match[1])), int(match[2]))


def _bare(nodes: Sequence[Node]) -> dict[str, Node] | None:
    """Without what all of them begin and end with."""
    texts = ["_".join(node.label) for node in nodes]
    if any(_AUTO.fullmatch(node.label[-1]) for node in nodes):
        return None
    head = _common(texts)
    tail = _common([text[head:][::-1] for text in texts])
    cores = [text[head : len(text) - tail] for text in texts]
    if any(not core for core in cores):
        return None
    return _unique(dict(zip(cores, nodes, strict=True)), nodes)


def _common(texts: Sequence[str]) -> int:
    """How many letters all texts begin with."""
    same = (len(set(letters)) == 1 for letters in zip(*texts, strict=False))
    return next((n for n, is_same in enumerate(same) if not is_same), min(map(len, texts)))


def _unique(found: dict[str, Node], nodes: Sequence[Node]) -> dict[str, Node] | None:
    return found if len(found) == len(nodes) else None


def _in_order(nodes: Sequence[Node]) -> list[Node]:
    def key(node: Node) -> list[tuple[int, str]]:
        parts = re.split(r"(\d+)", "/".join(node.label))
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]

    return sorted(nodes, key=key)
