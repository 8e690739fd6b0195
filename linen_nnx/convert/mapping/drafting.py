"""From pairs of modules to rules: one for a whole module where names inside it are the same on both sides."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from linen_nnx.convert.mapping.evidence import Evidence, weaker
from linen_nnx.convert.mapping.library import GRU_GATES
from linen_nnx.convert.mapping.modules import AxisMoved, Cell, Keys, Leaf, Node, Restacked, Unstacked
from linen_nnx.convert.mapping.pairing import Pair
from linen_nnx.schema.ir import PARAMS
from linen_nnx.schema.path import DictKey, KeyPath
from linen_nnx.schema.rules import (
    Dropping,
    Joining,
    Moving,
    OpConcat,
    OpDrop,
    Operation,
    OpMove,
    OpStack,
    OpUnstack,
    Requirement,
    Rule,
    Stacking,
    Unstacking,
)

HOLE = "{i}"


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule, and what it rests on."""

    rule: Rule
    evidence: Evidence
    linen: Keys
    """The module that it is about."""


@dataclass(frozen=True, slots=True)
class _At:
    """Where a pair stands, once a number may stand for each layer, and what is done to its arrays."""

    linen: Keys
    nnx: Keys
    op: Operation | None = None


def drafts(pair: Pair) -> list[Draft]:
    """The rules of a pair of models."""
    return list(_drafts(pair, _At(pair.linen.path, pair.nnx.path), pair.evidence))


def _drafts(pair: Pair, at: _At, evidence: Evidence) -> Iterator[Draft]:
    match pair.nnx.variant:
        case Cell(gates=gates):
            yield from _cell(pair, at, gates, evidence)
            return
        case AxisMoved(linen=linen, nnx=nnx):
            at = replace(at, op=OpMove(move_axis=Moving(source=linen, destination=nnx)))
        case Unstacked(axis=axis):
            at = replace(at, nnx=(*pair.nnx.path[:-1], HOLE), op=OpUnstack(unstack=Unstacking(axis=axis)))
        case _:
            pass
    if _same_inside(pair):
        yield from _whole(pair, at, evidence)
        return
    for leaf in pair.linen.leaves:
        yield _draft(at, leaf.collection, (leaf.name,), (leaf.name,), evidence, pair.linen.path)
    for one in _inside(pair):
        # A module is no better known than the one that it stands in.
        yield from _drafts(one, _below(at, pair, one), weaker(one.evidence, evidence))


def _inside(pair: Pair) -> Iterator[Pair]:
    """The pairs in it; of layers that become a stack the first, which speaks for all."""
    for one in pair.inside:
        variant = one.nnx.variant
        if not (isinstance(variant, Restacked) and variant.index):
            yield one


def _below(at: _At, pair: Pair, one: Pair) -> _At:
    linen = at.linen + one.linen.path[len(pair.linen.path) :]
    nnx = at.nnx + one.nnx.path[len(pair.nnx.path) :]
    variant = one.nnx.variant
    if not isinstance(variant, Restacked):
        return _At(linen, nnx, at.op)
    last = one.linen.label[-1].rstrip("0123456789") + HOLE
    return _At((*linen[:-1], last), nnx, OpStack(stack=Stacking(axis=variant.axis)))


def _same_inside(pair: Pair) -> bool:
    """Whether every variable below has one and the same path below both modules, with nothing done to it."""
    for one in pair.walk():
        if one is not pair and one.nnx.variant is not None:
            return False
        if one.linen.path[len(pair.linen.path) :] != one.nnx.path[len(pair.nnx.path) :]:
            return False
    return True


def _whole(pair: Pair, at: _At, evidence: Evidence) -> Iterator[Draft]:
    weakest = weaker(evidence, pair.weakest)
    for collection in pair.linen.collections:
        yield _draft(at, collection, ("*",), ("*",), weakest, pair.linen.path)


def _draft(at: _At, collection: str, linen: Keys, nnx: Keys, evidence: Evidence, about: Keys) -> Draft:
    if _needs_keys(at.linen + linen) or _needs_keys(at.nnx + nnx):
        rule = Rule(path=(collection, *at.linen, *linen), to_path=at.nnx + nnx, op=at.op)
    else:
        rule = Rule(source=text_of((collection, *at.linen, *linen)), to=text_of(at.nnx + nnx), op=at.op)
    return Draft(rule, evidence, about)


def _needs_keys(keys: Keys) -> bool:
    """Braces and stars of a name's own would be read as holes."""
    return any(
        ("{" in key and key != HOLE and HOLE not in key) or (key == "*" and n + 1 < len(keys))
        for n, key in enumerate(keys)
    )


def text_of(keys: Keys) -> str:
    """The text form of a path."""
    return str(KeyPath(tuple(map(DictKey, keys))))


def _cell(pair: Pair, at: _At, gates: Keys, evidence: Evidence) -> Iterator[Draft]:
    """The gates are joined; first of all what has no home is dropped."""
    by_gate = {one.nnx.label[-1]: one.linen for one in pair.inside}
    op = OpConcat(concat=Joining(axis=-1))
    extra = _extra_bias(by_gate, gates)
    if extra is not None:
        node, bias = extra
        drop = Dropping(
            reason="NNX's GRUCell has no bias there",
            require=Requirement.ZERO,
            shape=bias.spec.shape,
            dtype=bias.spec.dtype,
        )
        source = text_of((bias.collection, *_within(at, pair, node), bias.name))
        yield Draft(Rule(source=source, op=OpDrop(drop=drop)), evidence, node.path)
    for side in ("i", "h"):
        nodes = [by_gate[side + gate] for gate in gates]
        for leaf in nodes[0].leaves:
            sources = tuple(text_of((leaf.collection, *_within(at, pair, node), leaf.name)) for node in nodes)
            to = text_of((*at.nnx, "dense_" + side, leaf.name))
            yield Draft(Rule(source=sources, to=to, op=op), evidence, pair.linen.path)


def _within(at: _At, pair: Pair, node: Node) -> Keys:
    return at.linen + node.path[len(pair.linen.path) :]


def _extra_bias(by_gate: dict[str, Node], gates: Keys) -> tuple[Node, Leaf] | None:
    if gates != GRU_GATES:
        return None
    others = {leaf.name for leaf in by_gate["hr"].leaves}
    node = by_gate["hn"]
    found = [leaf for leaf in node.leaves if leaf.name not in others and leaf.collection == PARAMS]
    return (node, found[0]) if found else None


def flat_drafts(
    pairs: Sequence[tuple[tuple[Keys, Leaf], tuple[Keys, Leaf]]], evidence: Evidence
) -> list[Draft]:
    """A rule for each variable."""
    out = []
    for (linen, one), (nnx, other) in pairs:
        out.append(_draft(_At(linen, nnx), one.collection, (one.name,), (other.name,), evidence, linen))
    return out
