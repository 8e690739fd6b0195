r"""The text of rules: patterns that a path is held against, and templates that another path is made by.

A pattern is a path that may end in `*` (one key or more) and may hold `{i}` (a number), or a regular
expression over the whole path. A template is a path in which `*` stands for what the pattern's `*` took,
`{i}` for the number, `{2}` for the second group of the expression; `{i+1}` and `{2-1}` count on.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

REST = "rest"
"""What `*` takes."""
INDEX = "i"
"""What `{i}` takes."""
NUMBER = r"0|[1-9]\d*"
_HOLE = re.compile(r"\{(i|\d+)([+-]\d+)?\}")


@dataclass(frozen=True, slots=True)
class Hole:
    """A place of a template that a name fills; `add` counts a number on."""

    name: str
    add: int = 0

    def __str__(self) -> str:
        """As it is written."""
        if self.name == REST:
            return "*"
        return f"{{{self.name}{f'{self.add:+d}' if self.add else ''}}}"


Template = tuple[str | Hole, ...]
"""Text and holes, in order."""


@lru_cache(maxsize=4096)
def template(text: str) -> Template:
    """Read a path with holes."""
    parts: list[str | Hole] = []
    end = 0
    body, rest = (text[:-1], True) if text == "*" or text.endswith("/*") else (text, False)
    for found in _HOLE.finditer(body):
        parts.append(body[end : found.start()])
        parts.append(Hole(found[1], int(found[2] or 0)))
        end = found.end()
    parts.append(body[end:])
    if rest:
        parts.append(Hole(REST))
    return tuple(part for part in parts if part != "")


def names_of(parts: Template) -> list[str]:
    """The names of the holes, in order, repeats included."""
    return [part.name for part in parts if isinstance(part, Hole)]


@lru_cache(maxsize=4096)
def pattern(text: str) -> re.Pattern[str]:
    """The expression for a path with `*` and `{i}`; a second `{i}` must be the same number."""
    seen: set[str] = set()
    out = []
    for part in template(text):
        if isinstance(part, str):
            out.append(re.escape(part))
        elif part.name in seen:
            out.append(f"(?P={part.name})")
        else:
            seen.add(part.name)
            out.append(f"(?P<{part.name}>{'.+' if part.name == REST else NUMBER})")
    return re.compile("".join(out))


def expression(text: str) -> re.Pattern[str]:
    """The regular expression of `match`. Raises `ValueError` on one that is none."""
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error


def bindings(found: re.Match[str]) -> dict[str, str]:
    """What each hole is filled with: groups by number, `*` and `{i}` by name."""
    named = {name: value for name, value in found.groupdict().items() if value is not None}
    return {**{str(n): value or "" for n, value in enumerate(found.groups(), 1)}, **named}


def filled(parts: Template, values: dict[str, str]) -> str:
    """The path of a template. Raises `ValueError` where a number counts below zero, or is none."""
    return "".join(part if isinstance(part, str) else _value(part, values[part.name]) for part in parts)


def _value(hole: Hole, value: str) -> str:
    if not hole.add:
        return value
    if not value.isdecimal():
        raise ValueError(f"{value!r} is no number, and {hole} counts")
    if int(value) + hole.add < 0:
        raise ValueError(f"{hole} counts {value} below zero")
    return str(int(value) + hole.add)


def glob(text: str) -> re.Pattern[str]:
    """The expression for `**/rngs/*`: `**` is any number of keys, a `*` at the end one or more."""
    parts = text.split("/")
    out = []
    for n, part in enumerate(parts):
        last = n == len(parts) - 1
        if part == "**":
            out.append(".+" if last else "(?:.+/)?")
        elif part == "*":
            out.append(".+" if last else "[^/]+/")
        else:
            out.append(re.escape(part) + ("" if last else "/"))
    return re.compile("".join(out))
