"""Source arrays in memory, each read once and kept until its last use."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.convert.store.read import open_array
from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.ops import Origin, Ref

Items = Mapping[Origin, OrbaxItem]
"""The opened item of each origin that a plan reads."""


class SourceArrays:
    """`uses` says how often each array will be asked for."""

    def __init__(self, items: Items, uses: Counter[Ref]) -> None:
        """Nothing is read yet."""
        self._items = items
        self._uses = uses
        self._held: dict[Ref, Any] = {}

    def fetch(self, wanted: Sequence[Ref]) -> None:
        """Read what is not held yet, all at once. Raises `StorageError`."""
        missing = [ref for ref in dict.fromkeys(wanted) if ref not in self._held]
        try:
            futures = [(ref, self._open(ref).read()) for ref in missing]
            for ref, future in futures:
                self._held[ref] = future.result()
        except ValueError as error:
            raise StorageError(f"cannot read the source: {error}") from error

    def _open(self, ref: Ref) -> Any:
        return open_array(self._items[ref.origin].arrays[ref.path])

    def array(self, ref: Ref) -> Any:
        """An array that was fetched."""
        return self._held[ref]

    def used(self, sources: Sequence[Ref]) -> None:
        """Let go of what will not be asked for again."""
        for ref in sources:
            self._uses[ref] -= 1
            if self._uses[ref] == 0:
                del self._held[ref]
