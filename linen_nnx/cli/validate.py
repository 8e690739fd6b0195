"""`linen-nnx validate`: every fault of a checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from linen_nnx.cli.exits import Exit
from linen_nnx.cli.options import Item, Json, Source, Step
from linen_nnx.schema.choices import Layout

NAME = "validate"


def run(
    path: Source,
    layout: Annotated[
        Layout | None, typer.Option("--layout", help="What it must be. [default: detected]")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="What it must hold: another checkpoint, or a spec (.json)."),
    ] = None,
    step: Step = None,
    item: Item = None,
    as_json: Json = False,
) -> None:
    """List every problem of a checkpoint at once.

    Of its layout, shapes and dtypes, layers, moments, storage. Reads no array.
    """
    from linen_nnx.cli import render
    from linen_nnx.convert.validating import validate
    from linen_nnx.schema.report import Problems

    render.step_taken(path, step, item)
    found = Problems(problems=tuple(validate(path, layout, against, step=step, item=item)))
    if as_json:
        render.json(found)
    else:
        render.problems(found.problems)
        render.verdict("valid" if not found.problems else render.counted(len(found.problems), "problem"))
    raise typer.Exit(Exit.REFUSED if found.problems else Exit.DONE)
