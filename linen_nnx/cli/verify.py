"""`linen-nnx verify`: hold a checkpoint against its receipt, its source, or what orbax restores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linen_nnx.cli.exits import Exit
from linen_nnx.cli.options import Item, Json, Source, Step, Workers

if TYPE_CHECKING:
    from linen_nnx.convert.proof.verifying import Checked

NAME = "verify"


def run(
    path: Source,
    against: Annotated[
        Path | None, typer.Option("--against", help="The source: every value must be there, bit for bit.")
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Let orbax restore it in a process of its own, and compare.")
    ] = False,
    workers: Workers = None,
    step: Step = None,
    item: Item = None,
    as_json: Json = False,
) -> None:
    """Hold every stored byte against the digests of its receipt.

    The receipt is the one that `convert` or `seal` left.

    --against SOURCE compares values through the intermediate representation, whatever the layouts.
    """
    from linen_nnx.cli import render
    from linen_nnx.convert.proof.verifying import check
    from linen_nnx.schema.report import Problems

    render.step_taken(path, step, item)
    with render.progress() as progress:
        checked = check(
            path, against, restore=restore, step=step, item=item, workers=workers, progress=progress
        )
    found = Problems(problems=checked.problems)
    if as_json:
        render.json(found)
    else:
        render.problems(found.problems)
        render.verdict(_verdict(checked, against, restore))
        if checked.receipt is not None and not found.problems:
            render.content(checked.receipt)
    raise typer.Exit(Exit.REFUSED if found.problems else Exit.DONE)


def _verdict(checked: "Checked", against: Path | None, restore: bool) -> str:
    from linen_nnx.schema.receipt import Digested

    if checked.problems:
        from linen_nnx.cli import render

        return f"not verified: {render.counted(len(checked.problems), 'problem')}"
    held = []
    if checked.receipt is not None and checked.receipt.digested is not Digested.NEVER:
        held.append(f"every stored byte is as receipt {checked.receipt.digest[:16]}… says")
    if against is not None:
        held.append(f"every value of {against} is there, bit for bit")
    if restore:
        held.append("orbax restores it as it is stored")
    return "verified: " + "; ".join(held)
