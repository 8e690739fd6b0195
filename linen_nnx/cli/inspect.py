"""`linen-nnx inspect`: what a checkpoint is."""

from typing import Annotated

import typer

from linen_nnx.cli import render
from linen_nnx.cli.options import Item, Json, Source, Step

NAME = "inspect"


def run(
    path: Source,
    depth: Annotated[int | None, typer.Option("--depth", min=1, help="How deep to show the tree.")] = None,
    flat: Annotated[bool, typer.Option("--flat", help="Every entry on a line of its own.")] = False,
    step: Step = None,
    item: Item = None,
    as_json: Json = False,
) -> None:
    """Show layout and evidence, step, bytes by part, layers, optimizer and the tree. Reads no array."""
    from linen_nnx.convert.inspecting import inspect

    render.step_taken(path, step, item)
    found = inspect(path, step=step, item=item)
    if as_json:
        render.json(found)
        return
    render.inspection(found)
    if flat:
        render.flat(found.inventory)
    else:
        render.tree(found.inventory, depth or 3)
