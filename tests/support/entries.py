"""What stands in a checkpoint, as orbax itself tells it: read with orbax alone, never with linen_nnx.

A path is a tuple of keys: a string is a dict key, an integer a position in a sequence.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

Key = str | int
Keys = tuple[Key, ...]
Array = np.ndarray[Any, Any]

EMPTIES = {"None": "None", "Dict": "{}", "List": "[]", "Tuple": "()"}
"""Orbax's names of the leafless entries, and how they are written in the golden files."""


@dataclass(frozen=True, eq=False)
class Leaf:
    """One entry: orbax's value type, its words for a PRNG key, and the data (None for an empty)."""

    kind: str = "jax.Array"
    data: Array | None = None
    key_impl: str | None = None
    text: str | None = None

    @property
    def spec(self) -> str:
        """`float32[16,5]`, `key<unsafe_rbg>[5]`, `None`: all but the values."""
        if self.kind in EMPTIES:
            return EMPTIES[self.kind]
        if self.data is None:
            return self.kind
        shape = self.data.shape if self.key_impl is None else self.data.shape[:-1]
        name = str(self.data.dtype) if self.key_impl is None else f"key<{self.key_impl}>"
        bare = f"{name}[{','.join(map(str, shape))}]"
        return bare if self.kind == "jax.Array" else f"{bare} ({self.kind})"

    @property
    def content(self) -> bytes:
        """The raw bytes."""
        if self.data is None:
            return (self.text or "").encode()
        return np.ascontiguousarray(self.data).tobytes()


NONE = Leaf(kind="None")

Entries = dict[Keys, Leaf]


def text_of(path: Keys) -> str:
    """`opt_state/[0]/mu`."""
    return "/".join(f"[{key}]" if isinstance(key, int) else key for key in path)


def path_of(text: str) -> Keys:
    """The inverse of `text_of`."""
    parts = text.split("/") if text else []
    return tuple(int(part[1:-1]) if part.startswith("[") else part for part in parts)


def read(item: Path) -> Entries:
    """Every entry of an item: values as orbax restores them, paths and value types from `_METADATA`."""
    checkpointer = ocp.PyTreeCheckpointer()
    restored = dict(flat(checkpointer.restore(item)))
    metadata: dict[str, Any] = json.loads((item / "_METADATA").read_text())
    found: Entries = {}
    for entry in metadata["tree_metadata"].values():
        path = tuple(int(k["key"]) if k["key_type"] == 1 else str(k["key"]) for k in entry["key_metadata"])
        found[path] = _leaf(entry["value_metadata"]["value_type"], restored.pop(path))
    assert not restored, f"restored, but not in _METADATA: {list(restored)}"
    return found


def _leaf(kind: str, value: Any) -> Leaf:
    if kind in EMPTIES:
        assert value is None or (not isinstance(value, jax.Array | np.ndarray) and len(value) == 0)
        return Leaf(kind=kind)
    if kind == "string":
        return Leaf(kind=kind, text=value)
    if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        data = np.asarray(jax.random.key_data(value))
        return Leaf(kind=kind, data=data, key_impl=str(jax.random.key_impl(value)))
    return Leaf(kind=kind, data=np.asarray(value))


def flat(tree: Any, at: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    children: list[tuple[Key, Any]] = []
    if isinstance(tree, Mapping):
        children = [(str(key), child) for key, child in tree.items()]
    elif isinstance(tree, list | tuple):
        children = list(enumerate(tree))
    if not children:
        yield at, tree
    for key, child in children:
        yield from flat(child, (*at, key))


def specs(entries: Entries) -> dict[str, str]:
    """The structure alone, in the text form of the golden files."""
    return {text_of(path): leaf.spec for path, leaf in entries.items()}


def differences(found: Entries, expected: Entries) -> list[str]:
    """Every entry that is missing, unexpected, of another spec or of other bytes; empty if all are equal."""
    lines = [f"missing {text_of(path)}" for path in expected if path not in found]
    lines += [f"unexpected {text_of(path)}" for path in found if path not in expected]
    for path, leaf in expected.items():
        if path not in found:
            continue
        other = found[path]
        if other.spec != leaf.spec:
            lines.append(f"{text_of(path)}: expected {leaf.spec}, found {other.spec}")
        elif other.content != leaf.content:
            lines.append(f"{text_of(path)}: other bytes")
    return lines
