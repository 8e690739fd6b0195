"""`verify`: a checkpoint against its receipt, its source, and what orbax restores."""

import errno
from dataclasses import dataclass
from pathlib import Path

from linen_nnx.convert.compare.against import value_problems
from linen_nnx.convert.engine.progress import Progress
from linen_nnx.convert.proof.holding import receipt_problems
from linen_nnx.convert.proof.receipts import read_receipt, receipt_file
from linen_nnx.convert.restoring import restore_problems
from linen_nnx.convert.store.location import Location, locate
from linen_nnx.convert.store.orbax_source import OrbaxItem, open_item
from linen_nnx.convert.store.read import read_array
from linen_nnx.convert.validating import validate
from linen_nnx.schema.digest import Level, LogicalChunks
from linen_nnx.schema.errors import ProblemsError, StorageError
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Place
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.receipt import Digested, Receipt, Seal
from linen_nnx.schema.routing import Effort


def verify(
    path: Path | str,
    against: Path | str | None = None,
    *,
    restore: bool = False,
    step: int | None = None,
    item: str | None = None,
    workers: int | None = None,
) -> list[Problem]:
    """Every way in which a checkpoint is not what it should be; an empty list means verified.

    Every stored byte is held against the digests of the receipt that a conversion or `seal` left. Without a
    receipt every array is decoded, and that there is none is a problem, unless there is something else to
    hold the checkpoint against: with `against`, every value must be that of the source, bit for bit; with
    `restore`, orbax restores it in a process of its own, and every leaf must be what is stored.
    """
    return list(check(path, against, restore=restore, step=step, item=item, workers=workers).problems)


@dataclass(frozen=True, slots=True)
class Checked:
    """What `verify` found, and the receipt that it went by."""

    problems: tuple[Problem, ...]
    receipt: Receipt | Seal | None = None


def check(
    path: Path | str,
    against: Path | str | None = None,
    *,
    restore: bool = False,
    step: int | None = None,
    item: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Checked:
    """As `verify`; `progress` is told of the bytes held against the receipt."""
    try:
        location = locate(Path(path), step, item)
        receipt = read_receipt(location.item)
    except ProblemsError as error:
        return Checked(error.problems)
    location = _whole(location, receipt)
    opened, problems = _held(location, receipt, workers, progress)
    if opened is not None and not problems:
        problems = _beyond(opened, receipt, against, restore=restore, workers=workers)
    return Checked(tuple(problems), receipt)


def _held(
    location: Location, receipt: Receipt | Seal | None, workers: int | None, progress: Progress | None
) -> tuple[OrbaxItem | None, list[Problem]]:
    """The item, if it can be opened, and what is wrong by its receipt; without one, by its metadata."""
    opened, problems = _opened(location, receipt)
    if receipt is not None:
        # Files first: what cannot be opened is explained by the file that is damaged.
        problems = [*receipt_problems(receipt, location, opened, workers, progress), *problems]
    elif opened is not None:
        problems = validate(opened)
    return opened, problems


def _beyond(
    opened: OrbaxItem,
    receipt: Receipt | Seal | None,
    against: Path | str | None,
    *,
    restore: bool,
    workers: int | None,
) -> list[Problem]:
    """What is wrong by more than the receipt; without one, by all that there is."""
    problems: list[Problem] = []
    if against is not None:
        problems += value_problems(open_item(locate(Path(against))), opened, Effort(workers=workers))
    if restore:
        problems += restore_problems(opened, _logical(receipt))
    if against is None and (receipt is None or receipt.digested is Digested.NEVER):
        problems += _undecodable(opened)
        if not restore:
            problems.append(_not_sealed(opened.location, receipt))
    return problems


def _whole(location: Location, receipt: Receipt | Seal | None) -> Location:
    """A receipt of a state in two items speaks of both, whichever folder the user named."""
    if receipt is None or location.parts or not _spans_items(receipt):
        return location
    return locate(location.item.parent)


def _spans_items(receipt: Receipt | Seal) -> bool:
    return any(file.level is Level.STEP and "/" in file.path for file in receipt.files)


def _opened(location: Location, receipt: Receipt | Seal | None) -> tuple[OrbaxItem | None, list[Problem]]:
    try:
        return open_item(location), []
    except ProblemsError as error:
        return None, list(error.problems)
    except (StorageError, ValueError) as error:
        # What is damaged is told by the receipt; what the system will not read is another matter.
        if receipt is None or _refused(error.__cause__):
            raise
        first = str(error).splitlines()[0]
        expected = "an item that can be opened"
        return None, [Problem(code=Code.STORAGE_MISMATCH, expected=expected, found=first)]


def _logical(receipt: Receipt | Seal | None) -> dict[KeyPath, LogicalChunks]:
    """Digests of elements, where the conversion had them in hand."""
    if receipt is None:
        return {}
    items = [entry for entry in receipt.entries if entry.place is Place.ITEM]
    return {e.target: d for e in items for d in e.digests if isinstance(d, LogicalChunks)}


def _refused(cause: BaseException | None) -> bool:
    return isinstance(cause, OSError) and cause.errno not in {None, errno.ENOENT}


def _undecodable(item: OrbaxItem) -> list[Problem]:
    problems = []
    for path, stored in item.arrays.items():
        try:
            read_array(stored)
        except StorageError as error:
            expected, found = "chunks that decode", str(error)[:200]
            problems.append(Problem(code=Code.STORAGE_MISMATCH, path=path, expected=expected, found=found))
    return problems


def _not_sealed(location: Location, receipt: Receipt | Seal | None) -> Problem:
    path = location.root
    return Problem(
        code=Code.NOT_SEALED,
        file=str(receipt_file(location.item)),
        expected="a receipt with digests to hold the stored bytes against",
        found="none" if receipt is None else "one without digests of arrays",
        hint=f"`linen-nnx seal {path}` writes one, and from then on `verify` watches the checkpoint; "
        "--against SOURCE and --restore need none",
    )
