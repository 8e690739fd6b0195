"""What the wire layouts share."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.errors import LayoutError, raise_if
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.model import Model
from linen_nnx.schema.path import ROOT, KeyPath, SequenceKey
from linen_nnx.schema.problem import Code, Problem, near
from linen_nnx.schema.tree import inventory_of

VALUE = "value"
"""The last key of a leaf that stands in a wrapper: an `nnx.Variable`, or a flax box."""
Wrapped = frozenset[KeyPath]
"""The leaves of a whole checkpoint that stand in a wrapper, by their paths, `value` included."""


class WireState(Model):
    """A train state in one wire layout. `of` takes a live tree, `parse` what a checkpoint holds."""

    @classmethod
    def of(cls, tree: object) -> Self:
        """Read a live tree (what `inventory_of` takes). Raises `LayoutError` with every problem."""
        return cls.parse(inventory_of(tree))

    @classmethod
    def parse(cls, inventory: Inventory) -> Self:
        """Read the layout. Raises `LayoutError` with every problem."""
        state, problems = cls.examine(inventory)
        raise_if(problems, LayoutError)
        return state

    @classmethod
    def examine(cls, inventory: Inventory, wrapped: Wrapped | None = None) -> tuple[Self, list[Problem]]:
        """What is of this layout, and every way in which the entries are not.

        `wrapped` says which leaves stand under a last key `value`, where that is on record; without it,
        looks decide.
        """
        state = cls.read(inventory, wrapped)
        problems = [
            *unknown_entries(inventory, cls.known()),
            *broken_lists(inventory),
            *_no_step(inventory, cls.step_path()),
            *state.check(),
        ]
        return state, problems

    @classmethod
    @abstractmethod
    def known(cls) -> Sequence[KeyPath]:
        """Everything stands below one of these."""

    @classmethod
    @abstractmethod
    def step_path(cls) -> KeyPath | None:
        """Where the step stands, if the layout has one."""

    @classmethod
    @abstractmethod
    def read(cls, inventory: Inventory, wrapped: Wrapped | None = None) -> Self:
        """Sort the entries into the fields; what stands elsewhere is left out."""

    @abstractmethod
    def inventory(self) -> Inventory:
        """The same state as entries."""

    @abstractmethod
    def check(self) -> list[Problem]:
        """Every broken invariant of the layout."""


def joined(base: KeyPath, entries: tuple[Entry, ...]) -> Iterator[Entry]:
    """The entries with `base` before their paths."""
    return (Entry(path=base + entry.path, value=entry.value) for entry in entries)


def unnamed(base: KeyPath, entries: Sequence[Entry]) -> Iterator[Problem]:
    """A leaf where variables should stand, each by its name."""
    for entry in entries:
        if len(entry.path) == 0:
            yield Problem(
                code=Code.WRONG_KIND, path=base, expected="a collection of variables", found=str(entry.value)
            )


def positioned(model: Iterable[Entry]) -> frozenset[KeyPath]:
    """The paths of a model's entries that have list or tuple positions: a variable's value may be a tuple."""
    return frozenset(e.path for e in model if any(isinstance(key, SequenceKey) for key in e.path))


def without_end(path: KeyPath, ends: frozenset[KeyPath]) -> KeyPath:
    """What of a path stands before the longest of `ends` that it ends in: a moment ends in its variable's."""
    return next((path[:depth] for depth in range(len(path)) if path[depth:] in ends), path) if ends else path


def step_problems(path: KeyPath, value: Value | None) -> Iterator[Problem]:
    """A step, where there is one, is an integer scalar."""
    if value is None:
        return
    if not isinstance(value, ArrayValue) or value.spec.shape or not value.spec.dtype.is_integer:
        yield Problem(code=Code.WRONG_KIND, path=path, expected="an integer scalar", found=str(value))


def _no_step(inventory: Inventory, step: KeyPath | None) -> list[Problem]:
    """A problem for all that stands at or below the step and is no array there."""
    if step is None:
        return []
    below = inventory.below(step)
    wrapped = len(below) == 1 and below[0].path == ROOT / VALUE
    return [
        Problem(
            code=Code.WRONG_KIND,
            path=step + entry.path,
            expected=f"an integer scalar at {step}, and nothing else",
            found=str(entry.value),
        )
        for entry in below
        if not isinstance(entry.value, ArrayValue) or not (wrapped or len(entry.path) == 0)
    ]


def broken_lists(inventory: Inventory) -> list[Problem]:
    """A problem for each list that skips a position (an empty one is None), or that has names as well."""
    problems = []
    for path, positions in _lists(inventory).items():
        expected = f"positions 0 to {max(positions)} of a list, and nothing else"
        missing = [path / index for index in range(max(positions)) if index not in positions]
        problems += [
            Problem(code=Code.MISSING_ENTRY, path=at, expected=expected, found="nothing") for at in missing
        ]
        if (name := _name_in(inventory, path)) is not None:
            problems.append(Problem(code=Code.WRONG_KIND, path=name, expected=expected, found="a name"))
    return problems


def _lists(inventory: Inventory) -> dict[KeyPath, set[int]]:
    """The positions of each list; those that hold more than leaves come first."""
    found = {key: key.index for key in inventory.keys if isinstance(key, SequenceKey)}
    of_trees: dict[KeyPath, set[int]] = {}
    of_leaves: dict[KeyPath, set[int]] = {}
    for entry in inventory.entries if found else ():
        path = entry.path
        if found.keys().isdisjoint(path):
            continue
        for depth, key in enumerate(path, 1):
            if key in found:
                lists = of_leaves if depth == len(path) else of_trees
                lists.setdefault(path[: depth - 1], set()).add(found[key])
    return {
        path: of_trees.get(path, set()) | of_leaves.get(path, set()) for path in {**of_trees, **of_leaves}
    }


def _name_in(inventory: Inventory, path: KeyPath) -> KeyPath | None:
    """A place in a list that is no position of it: the last leaf, or the last tree."""
    depth = len(path)
    named = [e.path for e in inventory.under(path) if not isinstance(e.path[depth], SequenceKey)]
    leaves = [one for one in named if len(one) == depth + 1]
    return next((one[: depth + 1] for one in reversed(leaves or named)), None)


def unknown_entries(inventory: Inventory, known: Sequence[KeyPath]) -> list[Problem]:
    """A problem for each subtree that stands under none of the `known` prefixes."""
    apart = [path for path in set(known) if not any(path[:depth] in known for depth in range(len(path)))]
    if sum(len(inventory.under(path)) for path in apart) == len(inventory.entries):
        return []
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


def bare_paths(inventory: Inventory, root: KeyPath, wrapped: Wrapped | None) -> list[KeyPath | None]:
    """For each entry under `root` its path without a wrapper's `value`, or None where it has none.

    Which are `wrapped` may be on record. Else looks decide: a last key of exactly that name, without
    siblings. A variable may be *named* `value`, or `cached_value`.
    """
    paths = [entry.path for entry in inventory.under(root)]
    if wrapped is not None:
        return [path.parent if path in wrapped else None for path in paths]
    if not any(key.name == VALUE for key in inventory.keys):
        return [None] * len(paths)
    parents = [path.parent for path in paths]
    bare: list[KeyPath | None] = []
    for path, parent, before, after in zip(
        paths, parents, [ROOT, *parents], [*parents[1:], ROOT], strict=False
    ):
        is_value = len(path) >= len(root) + 2 and path[-1].name == VALUE
        bare.append(parent if is_value and not _has_siblings(parent, before, after) else None)
    return bare


def _has_siblings(parent: KeyPath, before: KeyPath, after: KeyPath) -> bool:
    """Whether one of the neighbours stands below `parent` too: all below one place stands together."""
    if parent in (before, after):
        return True
    deeper = max(len(before), len(after)) > len(parent)
    return deeper and (before.startswith(parent) or after.startswith(parent))
