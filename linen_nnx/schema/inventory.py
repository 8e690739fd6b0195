"""`Inventory`: every entry of one checkpoint (or live tree), without array bytes."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise

from pydantic import field_validator, model_validator

from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.model import Model, value
from linen_nnx.schema.path import Key, KeyPath, Rank, naturally


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
        paths = [entry.path for entry in self.entries]
        if len(set(paths)) != len(paths):
            twice = [str(path) for path, times in Counter(paths).items() if times > 1]
            raise ValueError(f"paths stand more than once: {', '.join(twice)}")
        # In natural order what is below a path comes right behind it.
        both = [one for one, after in pairwise(paths) if len(one) < len(after) and after.startswith(one)]
        if both:
            raise ValueError(f"paths are leaf and subtree at once: {', '.join(sorted(map(str, both)))}")
        return self

    @cached_property
    def by_path(self) -> dict[KeyPath, Value]:
        """Each value under its path."""
        return {entry.path: entry.value for entry in self.entries}

    def below(self, prefix: KeyPath) -> tuple[Entry, ...]:
        """The entries under `prefix`, their paths relative to it (a leaf at `prefix` has the root path)."""
        depth = len(prefix)
        if not depth:
            return self.entries
        return tuple([Entry(path=entry.path[depth:], value=entry.value) for entry in self.under(prefix)])

    def under(self, prefix: KeyPath) -> tuple[Entry, ...]:
        """The entries under `prefix` as they are; in natural order they stand together."""
        depth, wanted = len(prefix), prefix.rank()

        def head(entry: Entry) -> tuple[Rank, ...]:
            return entry.path[:depth].rank()

        first = bisect_left(self.entries, wanted, key=head)
        return self.entries[first : bisect_right(self.entries, wanted, lo=first, key=head)]

    @cached_property
    def keys(self) -> frozenset[Key]:
        """Every key that stands in a path."""
        return frozenset().union(*[entry.path for entry in self.entries])

    @cached_property
    def top(self) -> tuple[str, ...]:
        """The names at the root, in order."""
        return tuple(dict.fromkeys(e.path[0].name for e in self.entries if len(e.path)))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays in memory."""
        return sum(e.value.spec.nbytes for e in self.entries if isinstance(e.value, ArrayValue))
