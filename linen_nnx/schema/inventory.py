"""`Inventory`: every entry of one checkpoint (or live tree), without array bytes."""

from collections import Counter
from collections.abc import Iterable
from functools import cached_property

from pydantic import model_validator

from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.model import Model
from linen_nnx.schema.path import KeyPath, naturally


class Entry(Model):
    """One path and what stands there."""

    path: KeyPath
    value: Value

    def __str__(self) -> str:
        """`path: float32[16,5]`."""
        return f"{self.path}: {self.value}"


class Inventory(Model):
    """Entries in natural order (`layers_2` before `layers_10`), each path once, none inside another."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Inventory":
        """Sort and check `entries`. Raises pydantic's `ValidationError` on a repeated or nested path."""
        return cls(entries=tuple(naturally(entries, lambda entry: entry.path)))

    @model_validator(mode="after")
    def _each_path_once(self) -> "Inventory":
        leaves = {entry.path for entry in self.entries}
        if len(leaves) != len(self.entries):
            twice = [str(path) for path, times in Counter(e.path for e in self.entries).items() if times > 1]
            raise ValueError(f"paths stand more than once: {', '.join(twice)}")
        if both := sorted(map(str, leaves & _inner(leaves))):
            raise ValueError(f"paths are leaf and subtree at once: {', '.join(both)}")
        return self

    @cached_property
    def by_path(self) -> dict[KeyPath, Value]:
        """Each value under its path."""
        return {entry.path: entry.value for entry in self.entries}

    def below(self, prefix: KeyPath) -> tuple[Entry, ...]:
        """The entries under `prefix`, their paths relative to it (a leaf at `prefix` has the root path)."""
        depth = len(prefix)
        return tuple(
            Entry(path=entry.path[depth:], value=entry.value)
            for entry in self.entries
            if entry.path.startswith(prefix)
        )

    @cached_property
    def top(self) -> tuple[str, ...]:
        """The names at the root, in order."""
        return tuple(dict.fromkeys(e.path.names[0] for e in self.entries if len(e.path)))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays in memory."""
        return sum(e.value.spec.nbytes for e in self.entries if isinstance(e.value, ArrayValue))


def _inner(leaves: set[KeyPath]) -> set[KeyPath]:
    """Every path that has something below it. Stops climbing where another leaf has been before."""
    inner: set[KeyPath] = set()
    for leaf in leaves:
        above = leaf.parent
        while len(leaf) and above not in inner:
            inner.add(above)
            above = above.parent
    return inner
