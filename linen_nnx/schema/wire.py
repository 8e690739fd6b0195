"""What the wire layouts share."""

from collections.abc import Iterator

from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.inventory import Entry
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem


def joined(base: KeyPath, entries: tuple[Entry, ...]) -> Iterator[Entry]:
    """The entries with `base` before their paths."""
    return (Entry(path=base + entry.path, value=entry.value) for entry in entries)


def step_problems(path: KeyPath, value: Value | None) -> Iterator[Problem]:
    """A step, where there is one, is an integer scalar."""
    if value is None:
        return
    if not isinstance(value, ArrayValue) or value.spec.shape or not value.spec.dtype.is_integer:
        yield Problem(code=Code.WRONG_KIND, path=path, expected="an integer scalar", found=str(value))
