"""`Receipt` and `Seal`: what an item holds, by digest, and for a conversion how it came about.

One of the two lies in the item's own `linen_nnx/` folder. The last field is a digest of all that stands
before it in the file, so that the document itself is watched.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from linen_nnx.schema.array import Value
from linen_nnx.schema.digest import Blake3, ChunkDigests, FileDigest
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.model import Model
from linen_nnx.schema.ops import Op
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Drop, Note, Place
from linen_nnx.schema.routing import Effort, Route, Traffic

RECEIPT_FILE = "receipt.json"

NO_DIGEST = "0" * 64
"""Stands in for the digest of a document that is not written yet."""


class Versions(Model):
    """Of this tool, and of what moved, decoded and digested the bytes."""

    linen_nnx: str
    python: str
    tensorstore: str
    zstandard: str
    blake3: str


class Sealed(Model):
    """One entry of an item, or of the side item within it."""

    place: Place = Place.ITEM
    target: KeyPath
    value: Value
    digests: tuple[ChunkDigests, ...] = ()
    """Of an array; what is none stands in `value` itself."""


class Recorded(Sealed):
    """One entry that a conversion wrote, and how it was made; `op` names the source paths."""

    op: Op
    route: Route


class Digested(StrEnum):
    """When digests of arrays were taken."""

    CONVERTED = "converted"
    """By the conversion: of the source's chunks as they are, or of what was made of them."""
    SEALED = "sealed"
    """By `seal`, from what was stored at that time."""
    NEVER = "never"
    """They were not asked for."""


class Identity(Model):
    """Which checkpoint it was."""

    path: str
    step: int | None
    committed: bool
    """Whether a commit marker stood there."""
    commit_timestamp_nsecs: int | None
    metadata: tuple[FileDigest, ...]
    """Its files of metadata."""
    receipt: Blake3 | None
    """The digest of its own receipt, if it had one."""


class Times(Model):
    """Seconds."""

    planning: float
    writing: float
    digesting: float
    """After writing: most digests are taken meanwhile."""
    total: float


class Receipt(Model):
    """A finished conversion."""

    kind: Literal["conversion"] = "conversion"
    version: Literal[1] = 1
    tool: Versions
    at: datetime
    """When it was done (UTC)."""
    source: str
    source_identity: Identity
    target: str
    source_layout: Layout
    target_layout: Layout
    options: ConversionOptions
    effort: Effort
    nbytes: int
    """Bytes of arrays written, in memory."""
    times: Times
    traffic: Traffic
    plan_digest: str
    """SHA-256 of the plan's JSON."""
    drops: tuple[Drop, ...]
    notes: tuple[Note, ...]
    digested: Digested
    fingerprint: str | None = None
    """Of the content, whatever its layout; where it was asked for or cost little."""
    entries: tuple[Recorded, ...]
    files: tuple[FileDigest, ...]
    digest: Blake3
    """Of this document without it."""

    @property
    def written(self) -> int:
        """Entries written into the item."""
        return len(self.entries) - self.kept_aside

    @property
    def kept_aside(self) -> int:
        """Entries written into the side item."""
        return sum(entry.place is Place.SIDE for entry in self.entries)


class Seal(Model):
    """An item as it stood when it was sealed; how it came about is not known."""

    kind: Literal["seal"] = "seal"
    version: Literal[1] = 1
    tool: Versions
    at: datetime
    """When it was done (UTC)."""
    digested: Digested = Digested.SEALED
    fingerprint: str | None = None
    """Of the content, whatever its layout; where it was asked for or cost little."""
    entries: tuple[Sealed, ...]
    files: tuple[FileDigest, ...]
    digest: Blake3
    """Of this document without it."""


AnyReceipt = Annotated[Receipt | Seal, Field(discriminator="kind")]
"""What may lie in an item's own folder."""
