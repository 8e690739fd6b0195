"""`linen-nnx convert`: do it."""

from pathlib import Path
from typing import Annotated

import typer

from linen_nnx.cli import options as opt
from linen_nnx.cli.conversion import Conversion, takes_conversion

NAME = "convert"


@takes_conversion
def run(
    source: opt.Source,
    target: Annotated[Path, typer.Argument(help="The new checkpoint; must not exist.", show_default=False)],
    asked: Conversion,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, write nothing; print the plan.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing target.")] = False,
    no_digest: Annotated[
        bool,
        typer.Option(
            "--no-digest",
            help="Take no digests of arrays: what is linked need not be read; `verify` has less to go by.",
        ),
    ] = False,
    fingerprint: opt.KeptFingerprint = None,
    as_json: opt.Json = False,
) -> None:
    """Convert SOURCE into TARGET. It is written in the form of the source: run, step or item."""
    from linen_nnx.cli import render
    from linen_nnx.convert.converting import check, convert

    options, effort = asked.options_for(source), asked.effort()
    render.step_taken(source, asked.step, asked.item)
    if dry_run:
        made = check(
            source, target, options, template=asked.template, step=asked.step, item=asked.item,
            overwrite=overwrite, effort=effort,
        )  # fmt: skip
        render.json(made) if as_json else render.plan(made)
        return
    with render.progress() as progress, render.resumable():
        receipt = convert(
            source, target, options=options, template=asked.template, step=asked.step, item=asked.item,
            overwrite=overwrite, effort=effort, progress=progress, digest=not no_digest,
            fingerprint=fingerprint,
        )  # fmt: skip
    if as_json:
        render.json(receipt)
    else:
        render.receipt(receipt)
