"""From what a user names to a page: a checkpoint, two of them, or a document that a command printed."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from linen_nnx.cli.page.checkpoints import of_checkpoint
from linen_nnx.cli.page.differences import of_difference
from linen_nnx.cli.page.model import Page
from linen_nnx.cli.page.plans import of_plan
from linen_nnx.cli.page.receipts import of_receipt
from linen_nnx.cli.page.write import write
from linen_nnx.convert.store.location import is_legacy
from linen_nnx.schema.difference import Difference
from linen_nnx.schema.errors import CheckpointError
from linen_nnx.schema.problem import Code
from linen_nnx.schema.receipt import Receipt, Seal
from linen_nnx.schema.routing import RoutedPlan


def report(
    path: Path | str,
    other: Path | str | None = None,
    *,
    out: Path | str,
    verify: bool = False,
    step: int | None = None,
    item: str | None = None,
) -> Page:
    """Write the page of `path` into the file `out`, which is replaced, and return what it shows.

    `path` is a checkpoint, or a file with the JSON of a receipt, of a plan or of a difference. With `other`,
    a second checkpoint of whatever layout, the page shows what tells the two apart. With `verify` every
    stored byte of the one checkpoint is first held against its receipt. Raises `CheckpointError` where there
    is nothing to show, `MissingExtraError` without the extra `report`.
    """
    if other is None:
        page = page_of(Path(path), verify=verify, step=step, item=item)
    else:
        page = _of_two(Path(path), Path(other), step=step, item=item)
    write(page, Path(out))
    return page


def page_of(path: Path, *, verify: bool = False, step: int | None = None, item: str | None = None) -> Page:
    """As `report`, without writing it."""
    if path.is_file() and not is_legacy(path):
        return _of_document(path)
    from linen_nnx.convert.inspecting import inspect
    from linen_nnx.convert.proof.receipts import read_receipt
    from linen_nnx.convert.proof.verifying import check
    from linen_nnx.convert.validating import validate

    found = inspect(path, step=step, item=item)
    faults = validate(path, step=step, item=item)
    if verify:
        known = set(faults)
        checked = check(path, step=step, item=item)
        return of_checkpoint(
            found,
            [*faults, *(problem for problem in checked.problems if problem not in known)],
            checked.receipt,
            verified=True,
        )
    return of_checkpoint(found, faults, read_receipt(Path(found.item)))


def _of_two(a: Path, b: Path, *, step: int | None, item: str | None) -> Page:
    from linen_nnx.convert.compare.differing import diff
    from linen_nnx.convert.inspecting import inspect

    found = diff(a, b, steps=(step, step), items=(item, item))
    return of_difference(found, inspect(a, step=step, item=item).inventory)


_Document = Receipt | Seal | RoutedPlan | Difference
_DOCUMENTS: TypeAdapter[_Document] = TypeAdapter(_Document)


def _of_document(path: Path) -> Page:
    try:
        document = _DOCUMENTS.validate_json(path.read_bytes())
    except ValidationError as error:
        raise CheckpointError.one(
            Code.NOT_A_CHECKPOINT,
            expected="a checkpoint, or the JSON of a receipt, a plan or a difference",
            found=f"{path}, a file of something else",
        ) from error
    match document:
        case RoutedPlan():
            return of_plan(document)
        case Difference():
            return of_difference(document)
        case Receipt() | Seal():
            return of_receipt(document)
