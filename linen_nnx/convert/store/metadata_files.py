"""Orbax's large files of metadata, read entry by entry: a state of many arrays has tens of megabytes of them.

The models of `schema.orbax_metadata` say what an entry is. But a file repeats the same few keys, shapes and
shardings for every array, so what a model has once validated is taken for the same wherever it stands again,
and no more of a file is held than what it says.
"""

import json
import re
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from linen_nnx.schema.errors import CheckpointError, StorageError
from linen_nnx.schema.orbax_metadata import (
    ArrayMetadata,
    NamedSharding,
    TreeEntry,
    TreeMetadata,
    ValueMetadata,
    Written,
)
from linen_nnx.schema.path import Key, KeyPath
from linen_nnx.schema.problem import Code

M = TypeVar("M", bound=BaseModel)

_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_SPACE = re.compile(r"[ \t\n\r]*").match
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*").match
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*").match
_NEXT = re.compile(r'[ \t\n\r]*,[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*').match
"""A comma, and the name of one more member; one that has escapes is left to the decoder."""


def parsed(file: Path, model: type[M]) -> M:
    """Read a file of metadata. Raises `StorageError`, or `CheckpointError` on one that is damaged."""
    try:
        return model.model_validate_json(_bytes(file))
    except ValidationError as error:
        raise _unreadable(file, error) from error


class Listed(NamedTuple):
    """One entry of the tree: its path, the name it is stored under, and what it is."""

    path: KeyPath
    name: str
    metadata: ValueMetadata


class Tree(NamedTuple):
    """`_METADATA`: the entries, and all else that it says."""

    entries: list[Listed]
    rest: TreeMetadata


def read_tree(file: Path) -> Tree:
    """Read `_METADATA`. Raises `StorageError`, or `CheckpointError` if it is damaged."""
    text = _text(file)
    rest: dict[str, Any] = {}
    entries: dict[str, Listed] = {}
    known = _Known()
    try:
        document = _Json(text)
        for field in document.members():
            if field == "tree_metadata" and document.opens("{"):
                rest[field] = {}
                for name in document.members():
                    entries[name] = known.entry(document.value())
            else:
                rest[field] = document.value()
        document.end()
        return Tree(list(entries.values()), TreeMetadata.model_validate(rest))
    except (ValueError, RecursionError) as error:
        raise _unreadable(file, error) from error


def read_written(file: Path) -> dict[str, Written]:
    """Read a file of `array_metadatas`, by stored names. Raises as `read_tree` does."""
    text = _text(file)
    written: dict[str, Written] = {}
    known: dict[str, Written] = {}
    try:
        document = _Json(text)
        for field in document.members():
            if field != "array_metadatas" or not document.opens("["):
                document.value()
                continue
            for _ in document.elements():
                name, one = _written(document.value(), known)
                written[name] = one
        document.end()
        return written
    except (ValueError, RecursionError) as error:
        raise _unreadable(file, error) from error


def read_shardings(file: Path) -> dict[str, NamedSharding]:
    """Read `_sharding`, by the names it has. Raises as `read_tree` does."""
    text = _text(file)
    made: dict[str, NamedSharding] = {}
    shardings: dict[str, NamedSharding] = {}
    try:
        document = _Json(text)
        for name in document.members():
            sharding = document.value()
            if sharding not in made:
                made[sharding] = NamedSharding.model_validate_json(sharding)
            shardings[name] = made[sharding]
        document.end()
        return shardings
    except (TypeError, ValueError, RecursionError) as error:
        raise _unreadable(file, error) from error


_KEY = itemgetter("key", "key_type")


class _Known:
    """Keys and kinds of leaves that a model has validated."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, int], Key] = {}
        self._values: dict[str, ValueMetadata] = {}
        self._last: tuple[Any, ValueMetadata] | None = None

    def entry(self, document: Any) -> Listed:
        """One entry of the tree. Raises pydantic's `ValidationError`."""
        try:
            path = KeyPath(map(self._keys.__getitem__, map(_KEY, document["key_metadata"])))
            given = document["value_metadata"]
            # Mostly it is what the entry before has.
            if self._last is None or given != self._last[0]:
                self._last = given, self._values[repr(given)]
            value = self._last[1]
        except (KeyError, TypeError):
            entry = TreeEntry.model_validate(document)
            path, value = entry.path, entry.value_metadata
            self._keys.update(zip(map(_KEY, document["key_metadata"]), path, strict=True))
            self._values[repr(document["value_metadata"])] = value
        return Listed(path, path.param_name, value)


def _written(document: Any, known: dict[str, Written]) -> tuple[str, Written]:
    """One array as a process wrote it, and its name. Raises pydantic's `ValidationError`."""
    array = document.get("array_metadata") if isinstance(document, dict) else None
    if not isinstance(array, dict) or not isinstance(name := array.pop("param_name", None), str):
        # Refused by the model, in its words.
        return ArrayMetadata.model_validate(array).param_name, Written((), None)
    alike = repr(array)
    if (one := known.get(alike)) is None:
        one = known[alike] = ArrayMetadata.model_validate({**array, "param_name": name}).written
    return name, one


class _Json:
    """A JSON text, read value by value. Raises `ValueError` where it is none."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = _past(_SPACE, text, 0)

    def opens(self, bracket: str) -> bool:
        """Whether an object or a list stands here."""
        return self._text.startswith(bracket, self._at)

    def value(self) -> Any:
        """What stands here, whole."""
        try:
            value, self._at = _scan(self._text, self._at)
        except StopIteration as stopped:
            raise json.JSONDecodeError("Expecting value", self._text, stopped.value) from None
        return value

    def members(self) -> Iterator[str]:
        """The names of the object that stands here; whoever asks reads the value of each."""
        text = self._text
        for _ in self._between("{", "}"):
            name = self.value()
            colon = _COLON(text, self._at)
            if colon is None or not isinstance(name, str):
                raise self._broken("a name and a colon")
            self._at = colon.end()
            yield name
            while more := _NEXT(text, self._at):
                self._at = more.end()
                yield more[1]

    def elements(self) -> Iterator[None]:
        """Each place in the list that stands here; whoever asks reads the value."""
        yield from self._between("[", "]")

    def _between(self, first: str, last: str) -> Iterator[None]:
        text = self._text
        if not self.opens(first):
            raise self._broken(first)
        self._at = _past(_SPACE, text, self._at + 1)
        if not self.opens(last):
            yield
            while comma := _COMMA(text, self._at):
                self._at = comma.end()
                yield
        self._at = _past(_SPACE, text, self._at)
        if not self.opens(last):
            raise self._broken(last)
        self._at += 1

    def end(self) -> None:
        """Nothing may follow."""
        if _past(_SPACE, self._text, self._at) != len(self._text):
            raise self._broken("the end")

    def _broken(self, wanted: str) -> ValueError:
        return ValueError(f"expected {wanted} at character {self._at} of {len(self._text)}")


def _past(space: Any, text: str, at: int) -> int:
    return int(space(text, at).end())


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise StorageError(str(error)) from error


def _text(file: Path) -> str:
    try:
        return _bytes(file).decode()
    except UnicodeDecodeError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> CheckpointError:
    first = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
    return CheckpointError.one(
        Code.METADATA_UNREADABLE,
        expected=f"orbax's {file.name} in {file.parent}",
        found=f"{file.stat().st_size} bytes that are not: {first}",
        hint="the file is cut short or damaged; take it from another copy of the checkpoint",
    )
