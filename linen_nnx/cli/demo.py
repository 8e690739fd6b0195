"""`linen-nnx demo`: a real Linen checkpoint to NNX and back, before your eyes."""

from pathlib import Path
from typing import Annotated

import typer

from linen_nnx.cli.exits import Exit

NAME = "demo"


def run(
    folder: Annotated[Path, typer.Argument(help="Where to put the checkpoints; must not exist.")] = Path(
        "linen-nnx-demo"
    ),
) -> None:
    """Train a small model, convert it there and back, compare.

    It is a Linen model, saved by orbax.
    """
    from linen_nnx.cli import render
    from linen_nnx.demo import demo

    problems = demo(folder, render.say)
    render.problems(problems)
    if problems:
        render.verdict("the demo failed: the way back is not the checkpoint that was saved")
        raise typer.Exit(Exit.REFUSED)
    render.verdict("Linen -> NNX -> Linen: every entry and every array came back, bit for bit")
