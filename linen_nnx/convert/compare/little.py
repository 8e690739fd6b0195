"""Whether a fingerprint of the content costs little, from metadata alone: of a large state it does not."""

from collections.abc import Mapping
from pathlib import Path

from linen_nnx.convert.store.orbax_source import OrbaxItem

Known = Mapping[tuple[Path, str], str]
"""BLAKE3 of the elements of chunks, by the item's folder and the key, as a conversion takes them."""
NOTHING: Known = {}
LITTLE = 64 * 2**20
"""Bytes that are decoded unasked, and"""
_FEW = 2000
"""arrays that are looked at: a tenth of a second."""


def is_little(item: OrbaxItem, known: Known) -> bool:
    """Whether few arrays are left to decode, those left out of which the digests of elements are `known`."""
    if len(item.arrays) > _FEW:
        return False
    left = (
        array.zarr.spec.nbytes
        for array in item.arrays.values()
        if (array.folder, f"{array.name}/{next(array.zarr.chunk_keys(), '')}") not in known
    )
    return sum(left) <= LITTLE
