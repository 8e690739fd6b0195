"""`linen-nnx map`: infer rules."""

from pathlib import Path
from typing import Annotated

import typer

from linen_nnx.cli import options as opt
from linen_nnx.cli.exits import Exit
from linen_nnx.cli.outfile import Overwrite, check, put
from linen_nnx.schema.choices import Accept

NAME = "map"


def run(
    source: opt.Source,
    spec: Annotated[
        Path, typer.Option("--spec", help="What the target must be, as `spec` wrote it.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the rules into this file. [default: stdout]")
    ] = None,
    overwrite: Overwrite = False,
    probe: opt.ProbeOption = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Of an NNX source: the spec of its own model, which knows the classes."),
    ] = None,
    accept: opt.AcceptOption = Accept.PROVED,
    step: opt.Step = None,
    item: opt.Item = None,
    as_json: opt.Json = False,
) -> None:
    """Infer which Linen variable is which NNX one, as rules.

    Structure proves it, or a run of both models; names and order are evidence, accepted on request. What is
    left open is written as candidates marked TODO, which no conversion follows, and the exit code is 1.
    Rules at --out that `map` wrote and nobody edited are replaced, any other file only with --overwrite.
    """
    from linen_nnx.cli import render
    from linen_nnx.cli.user_code import probe_of
    from linen_nnx.convert.mapping.front import infer_rules
    from linen_nnx.convert.mapping.writing import is_as_written, written

    if out is not None:
        check(out, is_as_written, overwrite=overwrite)
    render.step_taken(source, step, item)
    both = None if probe is None else probe_of(probe)
    found = infer_rules(source, spec, accept, probe=both, model=model, step=step, item=item)
    if out is not None:
        put(out, written(found))
    if as_json:
        render.json(found)
    elif out is None:
        render.text(written(found))
    render.inferred(found, out)
    if found.problems:
        raise typer.Exit(Exit.REFUSED)
