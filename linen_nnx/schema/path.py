r"""Typed key paths: where an entry stands in a pytree, and the one text form of it.

A pytree path is more than names: `opt_state/[0]` (a sequence index) and `opt_state/0` (a dict key that
happens to be a digit) are different places, and telling them apart is half of what separates a Linen
optimizer state from an NNX one. The text form keeps the difference:

| key            | text    | orbax `key_type` |
|----------------|---------|------------------|
| dict key       | `name`  | 2                |
| sequence index | `[3]`   | 1                |
| attribute      | `.name` | written as 2     |

Inside a name, `/` and `\` are escaped by a backslash, as is a leading `[` or `.`; an empty name is `\0`.
Control characters, which would end a line or steer a terminal, are written `\x1b`, lone surrogates `\ud800`.

A plan handles millions of keys and paths. So there is one object for each key, and a path is the tuple of
its keys: paths then compare and hash by the identity of their keys, without a call into Python.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Self, SupportsIndex, TypeVar, overload

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

T = TypeVar("T")

Natural = tuple[tuple[int, int, str], ...]
"""A sort key in which numbers inside of names count as numbers."""
Rank = tuple[Natural, str]
"""The same, and no two keys have one: below a field is something else than below a dict key of its name."""

_SPLIT = re.compile(r"((?:[^/\\]|\\.)*)(?:/|$)")
_ESCAPED = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|(.))")
_UNPRINTED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DIGITS = re.compile(r"(\d+)")
_INDEX = re.compile(r"\[(\d+)\]")


def _escape(name: str) -> str:
    if not name:
        return "\\0"
    escaped = name.replace("\\", "\\\\").replace("/", "\\/")
    if not name.isprintable():
        escaped = _UNPRINTED.sub(_by_number, escaped)
    return "\\" + escaped if escaped[0] in "[." else escaped


def _by_number(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def _unescape(text: str) -> str:
    return "" if text == "\\0" else _ESCAPED.sub(_meant, text)


def _meant(found: re.Match[str]) -> str:
    number = found[1] or found[2]
    return found[3] if number is None else chr(int(number, 16))


def _natural(name: str) -> Natural:
    return tuple(
        (0, int(part), part) if part.isdecimal() and part.isascii() else (1, 0, part)
        for part in _DIGITS.split(name)
        if part
    )


@dataclass(frozen=True, slots=True, eq=False, init=False)
class _Key:
    """What all keys have; equal keys are one object, which is made once and kept."""

    name: str = field(init=False)
    """As orbax's `_METADATA` has it; an index in digits."""
    text: str = field(init=False, repr=False)
    """As it stands in the text form of a path."""
    natural: Natural = field(init=False, repr=False)

    @property
    def rank(self) -> Rank:
        """Its place among other keys, natural and strict."""
        return self.natural, self.text

    @classmethod
    def _made(cls, name: str, text: str, natural: Natural) -> Self:
        key = object.__new__(cls)
        for field_name, value in (("name", name), ("text", text), ("natural", natural)):
            object.__setattr__(key, field_name, value)
        return key


@dataclass(frozen=True, slots=True, eq=False, init=False)
class DictKey(_Key):
    """A key of a dict. NNX's integer keys are dict keys too: orbax writes them as digits."""

    __match_args__ = ("name",)
    _all: ClassVar[dict[str, "DictKey"]] = {}

    def __new__(cls, name: str) -> "DictKey":
        """The one dict key of this name."""
        return cls._all.get(name) or cls._all.setdefault(
            str(name), cls._made(str(name), _escape(name), _natural(name))
        )

    def __reduce__(self) -> tuple[type["DictKey"], tuple[str]]:
        """Copies are the key itself."""
        return DictKey, (self.name,)


@dataclass(frozen=True, slots=True, eq=False, init=False)
class SequenceKey(_Key):
    """A position in a list or tuple."""

    __match_args__ = ("index",)
    index: int = field(init=False)
    _all: ClassVar[dict[int, "SequenceKey"]] = {}

    def __new__(cls, index: int) -> "SequenceKey":
        """The one key of this position."""
        if (known := cls._all.get(index)) is not None:
            return known
        key = cls._made(str(int(index)), f"[{index}]", ((0, index, ""),))
        object.__setattr__(key, "index", int(index))
        return cls._all.setdefault(int(index), key)

    def __reduce__(self) -> tuple[type["SequenceKey"], tuple[int]]:
        """Copies are the key itself."""
        return SequenceKey, (self.index,)


@dataclass(frozen=True, slots=True, eq=False, init=False)
class AttributeKey(_Key):
    """A field of a named tuple or dataclass of a live tree; on disk orbax makes it a dict key."""

    __match_args__ = ("name",)
    _all: ClassVar[dict[str, "AttributeKey"]] = {}

    def __new__(cls, name: str) -> "AttributeKey":
        """The one attribute of this name."""
        return cls._all.get(name) or cls._all.setdefault(
            str(name), cls._made(str(name), "." + _escape(name), _natural(name))
        )

    def __reduce__(self) -> tuple[type["AttributeKey"], tuple[str]]:
        """Copies are the key itself."""
        return AttributeKey, (self.name,)


Key = DictKey | SequenceKey | AttributeKey


@lru_cache(maxsize=65536)
def _parse_key(text: str) -> Key:
    if match := _INDEX.fullmatch(text):
        return SequenceKey(int(match[1]))
    if text.startswith("."):
        return AttributeKey(_unescape(text[1:]))
    return DictKey(_unescape(text))


class KeyPath(tuple[Key, ...]):
    """An immutable tuple of typed keys, outermost first. Printed in its text form."""

    __slots__ = ()

    @classmethod
    def of(cls, *names: str | int) -> Self:
        """`KeyPath.of("opt_state", 0, "mu")`: strings are dict keys, integers sequence indices."""
        return cls([DictKey(n) if isinstance(n, str) else SequenceKey(n) for n in names])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form. The empty text is the root."""
        if not text:
            return cls()
        parts = [match[1] for match in _SPLIT.finditer(text)]
        # The pattern also matches the empty rest at the end of the text.
        return cls([_parse_key(part) for part in parts[:-1] or parts])

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys as a plain tuple."""
        return tuple(self)

    @property
    def names(self) -> tuple[str, ...]:
        """The keys as plain strings, as orbax's `_METADATA` has them; their types are lost."""
        return tuple([key.name for key in self])

    @property
    def param_name(self) -> str:
        """The name orbax stores an array under: keys joined with dots. Not unique in general."""
        return ".".join([key.name for key in self])

    @property
    def parent(self) -> "KeyPath":
        """All keys but the last; the root is its own parent."""
        return KeyPath(tuple.__getitem__(self, _ALL_BUT_LAST))

    def natural(self) -> tuple[Natural, ...]:
        """A sort key in which `layers_2` comes before `layers_10`."""
        return tuple([key.natural for key in self])

    def rank(self) -> tuple[Rank, ...]:
        """The same, and strict: what stands below one path stands together."""
        return tuple([key.rank for key in self])

    @property
    def with_digits(self) -> "KeyPath":
        """Sequence positions as dict keys of digits, as NNX writes them."""
        return KeyPath([DictKey(str(k.index)) if isinstance(k, SequenceKey) else k for k in self])

    def startswith(self, prefix: "KeyPath") -> bool:
        """Whether the first keys are those of `prefix`."""
        return tuple.__getitem__(self, slice(len(prefix))) == prefix

    def __add__(self, other: tuple[Any, ...]) -> "KeyPath":
        """`a + b`: the place `b` below `a`."""
        return KeyPath(tuple.__add__(self, other))

    def __truediv__(self, name: str | int) -> "KeyPath":
        """`path / "mu"` and `path / 0`: one dict key or sequence index further."""
        return KeyPath((*self, DictKey(name) if isinstance(name, str) else SequenceKey(name)))

    @overload
    def __getitem__(self, part: SupportsIndex) -> Key: ...
    @overload
    def __getitem__(self, part: slice) -> "KeyPath": ...
    def __getitem__(self, part: SupportsIndex | slice) -> "Key | KeyPath":
        """One key, or the path of a slice of the keys."""
        if isinstance(part, slice):
            return KeyPath(tuple.__getitem__(self, part))
        return tuple.__getitem__(self, part)

    def __bool__(self) -> bool:
        """Every path is true, the root too: ask `len` for emptiness."""
        return True

    def __str__(self) -> str:
        """The text form."""
        return "/".join([key.text for key in self])

    def __repr__(self) -> str:
        """For a debugger."""
        return f"KeyPath({str(self)!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """In Python a `KeyPath`, in JSON its text form."""
        text = core_schema.chain_schema(
            [core_schema.str_schema(), core_schema.no_info_plain_validator_function(cls.parse)]
        )
        return core_schema.json_or_python_schema(
            json_schema=text,
            python_schema=core_schema.is_instance_schema(cls),
            serialization=core_schema.to_string_ser_schema(),
        )


ROOT = KeyPath()

_ALL_BUT_LAST = slice(-1)


def naturally(items: Iterable[T], path_of: Callable[[T], KeyPath]) -> list[T]:
    """`items` sorted by `natural` of their paths. Each key is ranked once, then ranks are compared."""
    known = list(items)
    paths = list(map(path_of, known))
    order = sorted(frozenset[Key]().union(*paths), key=lambda key: key.rank)
    place = {key: number for number, key in enumerate(order)}.__getitem__
    ranks = [[*map(place, path)] for path in paths]
    return [known[at] for at in sorted(range(len(known)), key=ranks.__getitem__)]
