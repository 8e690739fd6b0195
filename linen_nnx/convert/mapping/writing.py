"""Write rules as TOML, with what a person must look at marked.

By hand, not by a library: a rules file is flat, and comments must stand where a reader looks for them.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from linen_nnx.schema.inference import TODO, Inference
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.rules import Rule

_HEAD = """\
# Where each variable of a Linen model goes in an NNX one. The first rule that fits is a variable's rule;
# moments go with their parameters. `linen-nnx schema rules` describes the file.
"""
_SEAL = "\n# `map` replaces this file unasked only as long as nobody edits it: "
"""Begins the last line, which ends in a digest of all before it."""


def written(found: Inference) -> str:
    """The rules file of an inference."""
    text = "\n".join(_lines(found)) + "\n"
    return text + _seal(text)


def is_as_written(text: str) -> bool:
    """Whether a rules file is one that was written here, and that nobody edited since."""
    body, mark, _ = text.rpartition(_SEAL)
    return bool(mark) and text == body + _seal(body)


def _seal(text: str) -> str:
    return f"{_SEAL}{hashlib.sha256(text.encode()).hexdigest()[:16]}\n"


def _lines(found: Inference) -> Iterator[str]:
    yield _HEAD
    yield from _open(found.problems)
    yield "version = 1"
    if found.rules.collections:
        yield "\n[collections]"
        for name, kind in found.rules.collections.items():
            yield f"{_key(name)} = {_value(kind if isinstance(kind, str) else kind.model_dump())}"
    for rule in found.rules.rules:
        yield ""
        yield from _rule(rule)
    for keep in found.rules.keep:
        yield "\n[[keep]]"
        yield f"to = {_value(keep.to)}"
        yield f"from = {_value(keep.source)}"


def _open(problems: Sequence[Problem]) -> Iterator[str]:
    for problem in problems:
        for line in f"{TODO} {problem}".splitlines():
            yield f"# {line}"
    if problems:
        yield ""


def _rule(rule: Rule) -> Iterator[str]:
    if rule.evidence is not None and rule.evidence.startswith(TODO):
        yield "# TODO a candidate, not followed until its evidence is deleted: check it"
    yield "[[rule]]"
    document = json.loads(rule.model_dump_json(by_alias=True, exclude_none=True))
    for name, value in document.items():
        yield f"{name} = {_value(value)}"


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)


def _value(value: JsonValue) -> str:
    """One value on a line. JSON's strings are TOML's basic strings."""
    match value:
        case dict():
            return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case _:
            return json.dumps(value)
