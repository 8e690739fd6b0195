"""Digests that are begun before there is a plan.

To plan takes about as long as to read a gigabyte. What a target refers to without a copy (linked files) is
read for its digests alone, and nearly every plan refers to every large chunk: so they are read meanwhile.
"""

from collections.abc import Iterable

from linen_nnx.convert.proof.covering import arrays_of
from linen_nnx.convert.proof.hashing import Region, Short
from linen_nnx.convert.proof.reading import Reading
from linen_nnx.convert.store.extents import Extent
from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.schema.errors import StorageError

_LARGE = 2**20
"""Bytes of a chunk. Smaller ones cost more to list than reading them sooner saves."""


class Ahead(Reading):
    """Takes digests of large chunks, until it is said which of them are wanted, and then of these alone."""

    def __init__(self, sources: Iterable[OrbaxItem], workers: int | None) -> None:
        """Begin."""
        super().__init__(large_chunks(sources), workers)

    def result(self) -> dict[Region, str | Short]:
        """Wait for what is wanted; nothing where a file could not be read, which may not matter."""
        try:
            return super().result()
        except StorageError:
            return {}


def large_chunks(sources: Iterable[OrbaxItem]) -> Iterable[Region]:
    """Where the chunks of a megabyte or more lie; all that is large is a chunk."""
    stores = {array.folder: array.store for item in sources for array in arrays_of(item).values()}
    for folder, store in stores.items():
        for value in store.stored.values():
            if isinstance(value, Extent) and value.length >= _LARGE:
                yield Region(folder / value.file, value.offset, value.length)
