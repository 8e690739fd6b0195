"""`linen-nnx diff`: what tells two checkpoints apart."""

from pathlib import Path
from typing import Annotated

import typer

from linen_nnx.cli import options as opt
from linen_nnx.cli.exits import Exit
from linen_nnx.schema.choices import PartName

NAME = "diff"


def run(
    a: Annotated[
        Path, typer.Argument(help="A run, step or item folder, or a legacy file of flax.", show_default=False)
    ],
    b: Annotated[Path, typer.Argument(help="Another, of any layout.", show_default=False)],
    only: Annotated[
        list[PartName] | None, typer.Option("--only", help="Only this part; may be given more than once.")
    ] = None,
    structure: Annotated[
        bool, typer.Option("--structure", help="Names, shapes and dtypes alone; read no array.")
    ] = False,
    atol: Annotated[
        float, typer.Option("--atol", min=0, help="Tolerance, times the largest magnitude of the array in A.")
    ] = 0.0,
    rtol: Annotated[
        float, typer.Option("--rtol", min=0, help="Tolerance, times the larger of the two magnitudes.")
    ] = 0.0,
    layer_axis: opt.KnownAxis = None,
    workers: opt.Workers = None,
    memory: opt.Memory = "2GiB",
    step: opt.Step = None,
    item: opt.Item = None,
    as_json: opt.Json = False,
) -> None:
    """Compare two checkpoints of any layouts, bit for bit.

    Structure, shapes and dtypes, every value; with tolerances where they are given.
    """
    from linen_nnx.cli import render
    from linen_nnx.convert.compare.differing import diff
    from linen_nnx.schema.difference import Tolerance
    from linen_nnx.schema.routing import Effort

    for path in (a, b):
        render.step_taken(path, step, item)
    with render.progress() as progress:
        found = diff(
            a, b, only=tuple(only or ()), structure=structure,
            tolerance=Tolerance(atol=atol, rtol=rtol) if atol or rtol else None,
            steps=(step, step), items=(item, item), layer_axis=layer_axis,
            effort=Effort(workers=workers, memory=opt.nbytes(memory)), progress=progress,
        )  # fmt: skip
    render.json(found) if as_json else render.difference(found)
    raise typer.Exit(Exit.DONE if found.equal else Exit.REFUSED)
