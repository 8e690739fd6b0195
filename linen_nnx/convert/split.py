"""Sort the entries of a checkpoint under the names that a layout has at its root."""

from collections.abc import Sequence

from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem, near


def unknown_entries(inventory: Inventory, known: Sequence[KeyPath]) -> list[Problem]:
    """A problem for each subtree that stands under none of the `known` prefixes."""
    found: dict[KeyPath, tuple[Entry, int]] = {}
    for entry in inventory.entries:
        if not any(entry.path.startswith(prefix) for prefix in known):
            head = _head(entry.path, known)
            first, count = found.get(head, (entry, 0))
            found[head] = (first, count + 1)
    return [
        Problem(
            code=Code.UNKNOWN_ENTRY,
            path=head,
            expected="only " + ", ".join(map(str, known)),
            found=f"{count} entries, first {first}",
            hint=near(head, known),
        )
        for head, (first, count) in found.items()
    ]


def _head(path: KeyPath, known: Sequence[KeyPath]) -> KeyPath:
    """The shortest prefix of `path` that is not a prefix of anything known."""
    for depth in range(1, len(path)):
        if not any(prefix.startswith(path[:depth]) for prefix in known):
            return path[:depth]
    return path


def leaf_at(inventory: Inventory, path: KeyPath) -> ArrayValue | None:
    """The array at `path`, if there is one."""
    value = inventory.by_path.get(path)
    return value if isinstance(value, ArrayValue) else None
