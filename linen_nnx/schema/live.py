"""`LiveReceipt`: what became of a state that was put into live objects."""

from linen_nnx.schema.layout import Layout
from linen_nnx.schema.model import Model
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Drop, Note
from linen_nnx.schema.rules import Rules


class Left(Model):
    """Something that was left as it was, or left behind, and why."""

    path: KeyPath
    reason: str


class LiveReceipt(Model):
    """A model and its optimizer, filled in place."""

    source_layout: Layout
    filled: int
    """Arrays that were put into the model and the optimizer."""
    nbytes: int
    """Their bytes."""
    kept: tuple[Left, ...] = ()
    """What the model kept of its own, such as its PRNG streams."""
    left: tuple[Left, ...] = ()
    """What the source has and the live objects have no place for."""
    rules: Rules | None = None
    """The rules that were followed, given or inferred."""
    drops: tuple[Drop, ...] = ()
    notes: tuple[Note, ...] = ()
