"""Every fault of a checkpoint or a live tree, all at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from linen_nnx.convert.checking import layout_problems
from linen_nnx.convert.layouts import lift
from linen_nnx.convert.reading import Read, read_entries
from linen_nnx.convert.spec.against import spec_problems
from linen_nnx.convert.spec.document import read_spec
from linen_nnx.convert.store.location import locate
from linen_nnx.convert.store.orbax_source import OrbaxItem, open_item
from linen_nnx.convert.store.protocol import Side
from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.errors import LayoutError, ProblemsError
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem, near
from linen_nnx.schema.spec import Spec
from linen_nnx.schema.tree import inventory_of


def validate(
    subject: object,
    layout: Layout | str | None = None,
    against: object = None,
    *,
    step: int | None = None,
    item: str | None = None,
) -> list[Problem]:
    """Every problem of a checkpoint (a path) or of a live tree; an empty list means valid.

    `layout` says what it must be; without it the layout is detected. `against` is another checkpoint or
    tree with the same entries, or a `Spec` (or the file of one): missing, unexpected, shape, dtype. No array
    is read.
    """
    try:
        inventory, side, problems = _entries(subject, step, item)
    except ProblemsError as error:
        return list(error.problems)
    read: Read | None = None
    try:
        read = read_entries(inventory, side, None if layout is None else Layout(layout))
        inside = read.framed
        problems += inside.on_disk(layout_problems(read.wire, read.problems, inside.inventory))
    except ProblemsError as error:
        problems += error.problems
    expected = _expected(against)
    match expected:
        case None:
            return problems
        case Spec():
            return [*problems, *_spec_problems(read, expected)]
        case _Other():
            apart = [] if read is None else _other_layout(read.detection.layout, expected)
            return [*problems, *apart, *differences(inventory, expected.inventory)]
        case _:
            assert_never(expected)


@dataclass(frozen=True, slots=True)
class _Other:
    """What another checkpoint or tree holds."""

    inventory: Inventory
    side: Side | None


def _other_layout(layout: Layout, expected: _Other) -> list[Problem]:
    """Entries of two layouts have few paths in common: said once, before all that follows from it."""
    try:
        wanted = read_entries(expected.inventory, expected.side).detection.layout
    except LayoutError:
        return []
    if wanted is layout:
        return []
    return [
        Problem(
            code=Code.WRONG_KIND,
            expected=f"a state in the layout {wanted.value}, as that which it is held against",
            found=f"one in the layout {layout.value}",
            hint="`diff` compares states of different layouts",
        )
    ]


def _expected(against: object) -> Spec | _Other | None:
    """A file is a spec, a folder a checkpoint."""
    if against is None or isinstance(against, Spec):
        return against
    if isinstance(against, str | Path) and Path(against).suffix == ".json" and Path(against).is_file():
        return read_spec(against)
    inventory, side, _ = _entries(against, None, None)
    return _Other(inventory, side)


def _spec_problems(read: Read | None, spec: Spec) -> list[Problem]:
    """Entries that form no state have no addresses to compare; what is wrong with them is said already."""
    if read is None or read.problems:
        return []
    return read.framed.on_disk(spec_problems(lift(read.wire, read.framed.inventory, {}), spec))


def _entries(
    subject: object, step: int | None, item: str | None
) -> tuple[Inventory, Side | None, list[Problem]]:
    if isinstance(subject, Inventory):
        return subject, None, []
    if isinstance(subject, str | Path):
        subject = open_item(locate(Path(subject), step, item))
    if isinstance(subject, OrbaxItem):
        return subject.inventory, subject.side, list(subject.problems)
    return inventory_of(subject), None, []


def differences(found: Inventory, expected: Inventory) -> list[Problem]:
    """Entries that are missing, unexpected, or of another kind, shape or dtype."""
    ours, theirs = found.by_path, expected.by_path
    problems = []
    for path in dict.fromkeys((*theirs, *ours)):
        one, other = ours.get(path), theirs.get(path)
        if one == other:
            continue
        if one is None or other is None:
            code = Code.MISSING_ENTRY if one is None else Code.UNEXPECTED_ENTRY
        else:
            code = _difference(one, other)
        problems.append(_problem(code, path, other, one, set(ours) - set(theirs)))
    return problems


def _difference(one: Value, other: Value) -> Code:
    if not (isinstance(one, ArrayValue) and isinstance(other, ArrayValue)):
        return Code.WRONG_KIND
    if one.spec.shape != other.spec.shape:
        return Code.SHAPE_MISMATCH
    if one.spec.dtype is not other.spec.dtype:
        return Code.DTYPE_MISMATCH
    return Code.KEY_IMPL_MISMATCH if one.spec.key_impl != other.spec.key_impl else Code.WRONG_KIND


def _problem(
    code: Code, path: KeyPath, expected: Value | None, found: Value | None, surplus: set[KeyPath]
) -> Problem:
    return Problem(
        code=code,
        path=path,
        expected=str(expected or "nothing"),
        found=str(found or "nothing"),
        hint=near(path, surplus) if code is Code.MISSING_ENTRY and len(surplus) < 1000 else None,
    )
