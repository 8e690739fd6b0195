"""Which rules may fit a path: each path is held against few of them, however many there are."""

import re
from collections import defaultdict
from collections.abc import Sequence

from linen_nnx.schema.path import DictKey, KeyPath
from linen_nnx.schema.rule_text import Hole, expression, pattern, template
from linen_nnx.schema.rules import Rule

Candidate = tuple[int, int, re.Pattern[str]]
"""The number of a rule, the position of one of its sources, and its pattern."""


class Index:
    """Rules by the text that their sources begin with, so that a path is held against few of them."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Read every source once."""
        self._by_text: dict[str, list[Candidate]] = defaultdict(list)
        self._others: list[Candidate] = []
        for number, rule in enumerate(rules):
            for position, one in enumerate(_patterns(rule)):
                text = _fixed(rule, position)
                (self._others if text is None else self._by_text[text]).append((number, position, one))

    def candidates(self, text: str) -> list[Candidate]:
        """Those that may fit, in the order of the rules."""
        ends = [at + 1 for at, letter in enumerate(text) if letter == "/"]
        found = [one for end in (0, *ends, len(text)) for one in self._by_text.get(text[:end], ())]
        return sorted([*found, *self._others], key=lambda one: one[:2])


def _fixed(rule: Rule, position: int) -> str | None:
    """The text before a `*` at the end, or all of it; None where a number or an expression stands in it."""
    if rule.match is not None or rule.path is not None:
        return None
    match template(rule.sources[position]):
        case (str(text),) | (str(text), Hole(name="rest")):
            return text
        case (Hole(name="rest"),):
            return ""
        case _:
            return None


def _patterns(rule: Rule) -> tuple[re.Pattern[str], ...]:
    if rule.match is not None:
        return (expression(rule.match),)
    if rule.path is not None:
        return (re.compile(re.escape(str(KeyPath(tuple(map(DictKey, rule.path)))))),)
    return tuple(map(pattern, rule.sources))
