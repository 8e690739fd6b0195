r"""Turn rules round: the same file leads from NNX back to Linen, where every rule allows it.

A rename, a move of an axis, stack and unstack, concat and split each have an opposite. A regular expression
can be turned round if it is text with groups, each of which the target uses once; what is dropped can be put
back if it was zero and its shape is known.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.rule_text import NUMBER, REST, Hole, names_of, template
from linen_nnx.schema.rules import (
    Joining,
    Moving,
    OpConcat,
    OpDrop,
    Operation,
    OpMove,
    OpSplit,
    OpStack,
    OpUnstack,
    Requirement,
    Rule,
    Rules,
    Splitting,
    Stacking,
    Unstacking,
)

_LITERAL = re.compile(r"(?:[\w/ :'\",@#%&=<>~-]|\\[^\w\s])*")
"""Text of an expression that stands for itself; escaped signs stand for the sign."""
_GROUP = re.compile(r"\((?!\?)((?:[^()\\]|\\.)*)\)")


def inverse(rules: Rules) -> tuple[Rules, list[Problem]]:
    """The rules from NNX to Linen; and which cannot be turned round, with the reason."""
    turned, problems = [], []
    for rule in rules.rules:
        try:
            turned.append(inverted(rule))
        except ValueError as error:
            problems.append(
                Problem(
                    code=Code.NOT_INVERTIBLE,
                    expected="rules that lead back as well",
                    found=f"{rule}: {error}",
                    hint="write the rule so that nothing is lost, or another file for the other direction",
                )
            )
    return rules.model_copy(update={"rules": tuple(turned)}), problems


def inverted(rule: Rule) -> Rule:
    """The rule that undoes `rule`; a drop stays, and means that zeros are put back. Raises `ValueError`."""
    if isinstance(rule.op, OpDrop):
        return _undropped(rule)
    if rule.match is not None:
        return _unmatched(rule)
    op = _opposite(rule.op)
    if rule.path is not None:
        if rule.to_path is None and any(names_of(template(text)) for text in rule.targets):
            raise ValueError("its target has holes that keys do not fill")
        to_path = rule.to_path or KeyPath.parse(rule.targets[0]).names
        return Rule(path=to_path, to_path=rule.path, op=op, evidence=rule.evidence)
    if rule.to_path is not None:
        if names_of(template(rule.sources[0])):
            raise ValueError("its source has holes that its target does not keep")
        return Rule(path=rule.to_path, to=rule.source, op=op, evidence=rule.evidence)
    _each_once(rule)
    if any(isinstance(part, Hole) and part.add for text in rule.targets for part in template(text)):
        return _unmatched(_as_match(rule))
    return Rule(source=rule.to, to=rule.source, op=op, evidence=rule.evidence)


def _undropped(rule: Rule) -> Rule:
    assert isinstance(rule.op, OpDrop)
    if rule.op.drop.require is not Requirement.ZERO:
        raise ValueError(
            'what it drops cannot be put back; only what is required to be zero can (require = "zero")'
        )
    if rule.match is not None or any(names_of(template(text)) for text in rule.sources):
        raise ValueError("what it drops has no one name")
    return rule


def _opposite(op: Operation | None) -> Operation | None:
    match op:
        case None:
            return None
        case OpStack(stack=how):
            return OpUnstack(unstack=Unstacking(axis=how.axis))
        case OpUnstack(unstack=how):
            return OpStack(stack=Stacking(axis=how.axis))
        case OpMove(move_axis=how):
            return OpMove(move_axis=Moving(source=how.destination, destination=how.source))
        case OpConcat(concat=how):
            return OpSplit(split=Splitting(axis=how.axis))
        case OpSplit(split=how):
            return OpConcat(concat=Joining(axis=how.axis))
        case OpDrop():
            raise ValueError("it is dropped")
        case _:
            assert_never(op)


def _each_once(rule: Rule) -> None:
    """What the target does not keep is lost; what it keeps twice may disagree."""
    bound = set(names_of(template(rule.sources[0]))) - {rule.index}
    for text in rule.targets:
        if bound - set(names_of(template(text))):
            raise ValueError(f"{text} does not keep all that its source leaves open")


def _as_match(rule: Rule) -> Rule:
    """A rule with `{i}` in `from` as one with `match`: only these can count backwards."""
    groups: dict[str, int] = {}
    out = []
    for part in template(rule.sources[0]):
        if isinstance(part, str):
            out.append(_escaped(part))
        else:
            groups[part.name] = len(groups) + 1
            out.append("(.+)" if part.name == REST else r"(\d+)")
    texts = []
    for text in rule.targets:
        parts = [
            part if isinstance(part, str) else str(Hole(str(groups[part.name]), part.add))
            for part in template(text)
        ]
        texts.append("".join(parts))
    return rule.model_copy(
        update={"source": None, "match": "".join(out), "to": texts[0] if len(texts) == 1 else tuple(texts)}
    )


def _escaped(text: str) -> str:
    return re.sub(r"([^\w/ :'\",@#%&=<>~-])", r"\\\1", text)


def _unmatched(rule: Rule) -> Rule:
    """An expression of text and groups, turned round."""
    assert rule.match is not None
    if not isinstance(rule.to, str):
        raise ValueError("an expression leads back from a single `to` alone")
    pieces = list(_pieces(rule.match))
    groups = [piece for piece in pieces if isinstance(piece, _Group)]
    index = rule.index
    holes = [part for part in template(rule.to) if isinstance(part, Hole)]
    kept = [hole.name for hole in holes if hole.name != "i"]
    wanted = [str(n) for n in range(1, len(groups) + 1) if str(n) != index]
    if sorted(kept) != sorted(wanted):
        raise ValueError(f"{rule.to} does not keep each group once")
    order = {hole.name: n for n, hole in enumerate(holes, 1)}
    adds = {hole.name: hole.add for hole in holes}
    out = []
    for part in template(rule.to):
        if isinstance(part, str):
            out.append(_escaped(part))
        elif part.name == "i":
            out.append(r"(\d+)")
        else:
            out.append(f"({_inner(groups[int(part.name) - 1], part)})")
    back, number = [], 0
    for piece in pieces:
        if isinstance(piece, str):
            back.append(piece)
            continue
        number += 1
        name = str(number)
        back.append("{i}" if name == index else str(Hole(str(order[name]), -adds[name])))
    op = _opposite(rule.op)
    if isinstance(op, OpStack):
        op = OpStack(stack=Stacking(axis=op.stack.axis, by=order["i"]))
    return Rule(match="".join(out), to="".join(back), op=op, evidence=rule.evidence)


@dataclass(frozen=True, slots=True)
class _Group:
    """A group, by its inside."""

    text: str


def _inner(group: _Group, hole: Hole) -> str:
    if hole.add and group.text not in (r"\d+", NUMBER):
        raise ValueError(f"{hole} counts, and its group ({group.text}) is not (\\d+)")
    return group.text


def _pieces(expression: str) -> Iterator[str | _Group]:
    """The text and the groups of an expression that has nothing else. Raises `ValueError`."""
    at = 0
    body = expression.removeprefix("^").removesuffix("$")
    while at < len(body):
        if found := _GROUP.match(body, at):
            yield _Group(found[1])
        elif (found := _LITERAL.match(body, at)) and found[0]:
            yield re.sub(r"\\(.)", r"\1", found[0])
        else:
            raise ValueError(f"{body[at]!r} of the expression stands for more than itself")
        at = found.end()
