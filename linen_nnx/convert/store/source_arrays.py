"""The checkpoints that a plan reads, by what its references call them."""

from collections.abc import Mapping

from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.schema.ops import Origin

Items = Mapping[Origin, OrbaxItem]
"""The opened item of each origin that a plan reads."""
