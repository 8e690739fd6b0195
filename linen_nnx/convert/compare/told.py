"""Differences told as problems."""

from linen_nnx.schema.difference import Statistics
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem


def values_differ(path: KeyPath, counted: Statistics, whose: str = "the source's values") -> Problem:
    """Elements that are not what they should be; A is what they should be."""
    first = counted.first
    assert first is not None
    place = f"at {list(first.index)} {first.a}" if first.index else first.a
    return Problem(
        code=Code.VALUE_DIFFERS,
        path=path,
        expected=f"{whose}, bit for bit; {place}",
        found=f"{counted.differing} of {counted.elements} elements that differ; there {first.b}",
    )
