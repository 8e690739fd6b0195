"""From what a user names to a page: a checkpoint, two of them, or a document that a command printed."""

from pathlib import Path

from pydantic import ValidationError

from linen_nnx.cli.page.gather import of_checkpoint, of_plan
from linen_nnx.cli.page.model import Page
from linen_nnx.cli.page.write import write
from linen_nnx.schema.errors import CheckpointError
from linen_nnx.schema.problem import Code
from linen_nnx.schema.routing import RoutedPlan


def page_of(path: Path | str, *, step: int | None = None, item: str | None = None) -> Page:
    """The page of a checkpoint, or of a plan that `plan --json` printed into a file.

    Raises `CheckpointError` where `path` is neither.
    """
    path = Path(path)
    if path.is_file():
        return _of_document(path)
    from linen_nnx.convert.inspecting import inspect
    from linen_nnx.convert.validating import validate

    return of_checkpoint(inspect(path, step=step, item=item), validate(path, step=step, item=item))


def _of_document(path: Path) -> Page:
    try:
        return of_plan(RoutedPlan.model_validate_json(path.read_bytes()))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError.one(
            Code.NOT_A_CHECKPOINT,
            expected="a checkpoint, or the JSON of a plan",
            found=f"{path}, a file of something else ({where}: {first['msg']})",
        ) from error


def report(path: Path | str, out: Path | str, *, step: int | None = None, item: str | None = None) -> Page:
    """Write the page of `path` into the file `out`, which is replaced, and return what it shows.

    Raises `CheckpointError` where `path` has no page, `MissingExtraError` without the extra `report`.
    """
    page = page_of(path, step=step, item=item)
    write(page, Path(out))
    return page
