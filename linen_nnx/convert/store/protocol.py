"""What a conversion reads from: entries known without their bytes, and the bytes on demand."""

from typing import Protocol

from linen_nnx.schema.array import Value
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.residue import Residue


class Side(Protocol):
    """What an earlier conversion kept beside a checkpoint."""

    @property
    def residue(self) -> Residue:
        """Addresses of the kept leaves, and the form of the checkpoint that they came from."""
        ...

    @property
    def values(self) -> dict[KeyPath, Value]:
        """The value of each kept entry by its path in the side item."""
        ...


class Source(Protocol):
    """A checkpoint on disk or a tree in memory."""

    @property
    def inventory(self) -> Inventory:
        """Every entry. No array is read."""
        ...

    @property
    def side(self) -> Side | None:
        """The side item, if there is one."""
        ...

    def scalar(self, path: KeyPath) -> int | None:
        """The value of an integer scalar; reads one leaf. None where only its spec is known."""
        ...
