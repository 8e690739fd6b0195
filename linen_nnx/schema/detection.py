"""`Detection`: the layout of a checkpoint, and why it is that one and no other."""

from linen_nnx.schema.layout import Layout
from linen_nnx.schema.model import Model


class Against(Model):
    """Why a layout was ruled out."""

    layout: Layout
    reason: str


class Detection(Model):
    """The layout found, with the evidence for it and against the others."""

    layout: Layout
    evidence: tuple[str, ...] = ()
    against: tuple[Against, ...] = ()
