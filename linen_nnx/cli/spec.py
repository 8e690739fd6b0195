"""`linen-nnx spec`: the expected train state of a model, or of a checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from linen_nnx.cli.options import Item, Step
from linen_nnx.cli.outfile import Overwrite, check, put

NAME = "spec"


def run(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:FACTORY|PATH",
            help="A function of no arguments that makes (model, optimizer), a model or a TrainState, such as "
            "my_model:make or file.py:make; or a checkpoint.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write it into this file. [default: stdout]")
    ] = None,
    overwrite: Overwrite = False,
    step: Step = None,
    item: Item = None,
) -> None:
    """Export the train state that a model or checkpoint has.

    Paths, types, shapes, dtypes, the optimizer. Nothing is allocated. An earlier spec at --out is
    replaced, any other file only with --overwrite.
    """
    from linen_nnx.cli import render
    from linen_nnx.cli.user_code import named
    from linen_nnx.convert.spec.document import is_spec
    from linen_nnx.convert.spec.factory import is_factory
    from linen_nnx.convert.spec.making import spec_of

    if out is not None:
        check(out, is_spec, overwrite=overwrite)
    if is_factory(subject):
        made = spec_of(named(subject))
    else:
        render.step_taken(Path(subject), step, item)
        made = spec_of(subject, step=step, item=item)
    if out is None:
        render.json(made)
    else:
        put(out, made.model_dump_json(indent=1) + "\n")
        render.say(f"{len(made.leaves)} variables, {len(made.optimizer)} optimizer leaves: {out}")
