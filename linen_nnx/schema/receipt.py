"""`Receipt`: what a conversion did. It lies in the target's own `linen_nnx/` folder."""

from typing import Literal

from linen_nnx.schema.layout import Layout
from linen_nnx.schema.model import Model
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.plan import Drop, Note

RECEIPT_FILE = "receipt.json"


class Versions(Model):
    """Of this tool and the library that stored the bytes."""

    linen_nnx: str
    tensorstore: str


class Receipt(Model):
    """A finished conversion."""

    version: Literal[1] = 1
    tool: Versions
    source: str
    target: str
    source_layout: Layout
    target_layout: Layout
    options: ConversionOptions
    entries: int
    """Entries written into the item."""
    kept_aside: int
    """Entries written into the side item."""
    nbytes: int
    """Bytes of arrays written, in memory."""
    drops: tuple[Drop, ...]
    notes: tuple[Note, ...]
    plan_digest: str
    """SHA-256 of the plan's JSON."""
    seconds: float
