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
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self, assert_never

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True, slots=True)
class DictKey:
    """A key of a dict. NNX's integer keys are dict keys too: orbax writes them as digits."""

    name: str


@dataclass(frozen=True, slots=True)
class SequenceKey:
    """A position in a list or tuple."""

    index: int


@dataclass(frozen=True, slots=True)
class AttributeKey:
    """A field of a named tuple or dataclass of a live tree; on disk orbax makes it a dict key."""

    name: str


Key = DictKey | SequenceKey | AttributeKey

_SPLIT = re.compile(r"((?:[^/\\]|\\.)*)(?:/|$)")
_UNESCAPE = re.compile(r"\\(.)")
_DIGITS = re.compile(r"(\d+)")
_INDEX = re.compile(r"\[(\d+)\]")


def _escape(name: str) -> str:
    if not name:
        return "\\0"
    escaped = name.replace("\\", "\\\\").replace("/", "\\/")
    return "\\" + escaped if escaped[0] in "[." else escaped


def _unescape(text: str) -> str:
    return "" if text == "\\0" else _UNESCAPE.sub(r"\1", text)


@lru_cache(maxsize=65536)
def _key_text(key: Key) -> str:
    match key:
        case DictKey(name):
            return _escape(name)
        case SequenceKey(index):
            return f"[{index}]"
        case AttributeKey(name):
            return "." + _escape(name)
        case _:
            assert_never(key)


@lru_cache(maxsize=65536)
def _parse_key(text: str) -> Key:
    if match := _INDEX.fullmatch(text):
        return SequenceKey(int(match[1]))
    if text.startswith("."):
        return AttributeKey(_unescape(text[1:]))
    return DictKey(_unescape(text))


@lru_cache(maxsize=65536)
def _natural(key: Key) -> tuple[tuple[int, int, str], ...]:
    match key:
        case SequenceKey(index):
            return ((0, index, ""),)
        case DictKey(name) | AttributeKey(name):
            return tuple(
                (0, int(part), part) if part.isdecimal() and part.isascii() else (1, 0, part)
                for part in _DIGITS.split(name)
                if part
            )
        case _:
            assert_never(key)


class KeyPath:
    """An immutable tuple of typed keys. Compared, hashed and printed by its keys."""

    __slots__ = ("_hash", "keys")

    keys: tuple[Key, ...]

    def __init__(self, keys: tuple[Key, ...] = ()) -> None:
        """Make the path of `keys`, outermost first."""
        self.keys = keys
        self._hash = hash(keys)

    @classmethod
    def of(cls, *names: str | int) -> Self:
        """`KeyPath.of("opt_state", 0, "mu")`: strings are dict keys, integers sequence indices."""
        return cls(tuple(DictKey(n) if isinstance(n, str) else SequenceKey(n) for n in names))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form. The empty text is the root."""
        if not text:
            return cls()
        parts = [match[1] for match in _SPLIT.finditer(text)]
        # The pattern also matches the empty rest at the end of the text.
        return cls(tuple(_parse_key(part) for part in parts[:-1] or parts))

    @property
    def names(self) -> tuple[str, ...]:
        """The keys as plain strings, as orbax's `_METADATA` has them; their types are lost."""
        return tuple(str(key.index) if isinstance(key, SequenceKey) else key.name for key in self.keys)

    @property
    def param_name(self) -> str:
        """The name orbax stores an array under: keys joined with dots. Not unique in general."""
        return ".".join(self.names)

    def natural(self) -> tuple[tuple[tuple[int, int, str], ...], ...]:
        """A sort key in which `layers_2` comes before `layers_10`."""
        return tuple(map(_natural, self.keys))

    def startswith(self, prefix: "KeyPath") -> bool:
        """Whether the first keys are those of `prefix`."""
        return self.keys[: len(prefix.keys)] == prefix.keys

    def __add__(self, other: "KeyPath") -> "KeyPath":
        """`a + b`: the place `b` below `a`."""
        return KeyPath(self.keys + other.keys)

    def __truediv__(self, name: str | int) -> "KeyPath":
        """`path / "mu"` and `path / 0`: one dict key or sequence index further."""
        return KeyPath((*self.keys, DictKey(name) if isinstance(name, str) else SequenceKey(name)))

    def __getitem__(self, part: slice) -> "KeyPath":
        """A slice of the keys."""
        return KeyPath(self.keys[part])

    def __len__(self) -> int:
        """How many keys deep."""
        return len(self.keys)

    def __bool__(self) -> bool:
        """Every path is true, the root too: ask `len` for emptiness."""
        return True

    def __iter__(self) -> Iterator[Key]:
        """The keys, outermost first."""
        return iter(self.keys)

    def __eq__(self, other: object) -> bool:
        """Equal keys of equal types."""
        return isinstance(other, KeyPath) and self._hash == other._hash and self.keys == other.keys

    def __hash__(self) -> int:
        """By the keys."""
        return self._hash

    def __str__(self) -> str:
        """The text form."""
        return "/".join(map(_key_text, self.keys))

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
