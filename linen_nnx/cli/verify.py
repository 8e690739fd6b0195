"""`linen-nnx verify`: hold a checkpoint against its source, or against what orbax restores."""

from pathlib import Path
from typing import Annotated

import typer

from linen_nnx.cli import render
from linen_nnx.cli.exits import Exit
from linen_nnx.cli.options import Item, Json, Source, Step
from linen_nnx.schema.report import Problems

NAME = "verify"


def run(
    path: Source,
    against: Annotated[
        Path | None, typer.Option("--against", help="The source: every value must be there, bit for bit.")
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Let orbax restore it in a process of its own, and compare.")
    ] = False,
    step: Step = None,
    item: Item = None,
    as_json: Json = False,
) -> None:
    """Read every array; compare values through the intermediate representation, whatever the layouts."""
    from linen_nnx.convert.comparing import verify

    render.step_taken(path, step, item)
    found = Problems(problems=tuple(verify(path, against, restore=restore, step=step, item=item)))
    if as_json:
        render.json(found)
    else:
        render.problems(found.problems)
        render.verdict(_verdict(found, against, restore))
    raise typer.Exit(Exit.REFUSED if found.problems else Exit.DONE)


def _verdict(found: Problems, against: Path | None, restore: bool) -> str:
    if found.problems:
        return f"not verified: {len(found.problems)} problems"
    held = [f"every value of {against} is there, bit for bit"] if against else ["every array can be read"]
    return "verified: " + "; ".join([*held, *(["orbax restores it as it is stored"] if restore else [])])
