"""`Inventory`: every entry of one checkpoint (or live tree), without array bytes."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from functools import cached_property

from pydantic import field_validator, model_validator

from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.model import Model, value
from linen_nnx.schema.path import ROOT, Key, KeyPath, Natural, naturally


@value
class Entry:
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
        return cls(entries=tuple(entries))

    @field_validator("entries")
    @classmethod
    def _in_order(cls, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        return tuple(naturally(entries, lambda entry: entry.path))

    @model_validator(mode="after")
    def _each_path_once(self) -> "Inventory":
        leaves = {entry.path for entry in self.entries}
        if len(leaves) != len(self.entries):
            twice = [str(path) for path, times in Counter(e.path for e in self.entries).items() if times > 1]
            raise ValueError(f"paths stand more than once: {', '.join(twice)}")
        if both := sorted(map(str, leaves & self.inner.keys())):
            raise ValueError(f"paths are leaf and subtree at once: {', '.join(both)}")
        return self

    @cached_property
    def inner(self) -> dict[KeyPath, None]:
        """Every path that has something below it, in the order of the entries, the outer before the inner."""
        if not any(len(entry.path) for entry in self.entries):
            return {}
        inner: dict[KeyPath, None] = {ROOT: None}
        for entry in self.entries:
            above, new = entry.path.parent, []
            # Stops climbing where another leaf has been before.
            while above not in inner:
                new.append(above)
                above = above.parent
            inner.update(dict.fromkeys(reversed(new)))
        return inner

    @cached_property
    def by_path(self) -> dict[KeyPath, Value]:
        """Each value under its path."""
        return {entry.path: entry.value for entry in self.entries}

    def below(self, prefix: KeyPath) -> tuple[Entry, ...]:
        """The entries under `prefix`, their paths relative to it (a leaf at `prefix` has the root path)."""
        depth = len(prefix)
        return tuple(
            [
                Entry(path=entry.path[depth:], value=entry.value)
                for entry in self._span(prefix)
                if entry.path.startswith(prefix)
            ]
        )

    def count_below(self, prefix: KeyPath) -> int:
        """How many entries stand under `prefix`."""
        return sum(entry.path.startswith(prefix) for entry in self._span(prefix))

    def _span(self, prefix: KeyPath) -> tuple[Entry, ...]:
        """Entries in natural order that all those below `prefix` are among."""
        depth, natural = len(prefix), prefix.natural()

        def head(entry: Entry) -> tuple[Natural, ...]:
            return entry.path.natural()[:depth]

        first = bisect_left(self.entries, natural, key=head)
        return self.entries[first : bisect_right(self.entries, natural, lo=first, key=head)]

    @cached_property
    def keys(self) -> frozenset[Key]:
        """Every key that stands in a path."""
        return frozenset().union(*(entry.path for entry in self.entries))

    @cached_property
    def top(self) -> tuple[str, ...]:
        """The names at the root, in order."""
        return tuple(dict.fromkeys(e.path[0].name for e in self.entries if len(e.path)))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays in memory."""
        return sum(e.value.spec.nbytes for e in self.entries if isinstance(e.value, ArrayValue))
