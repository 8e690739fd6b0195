"""`linen-nnx inspect`: what a checkpoint is."""

from typing import Annotated

import typer

from linen_nnx.cli.options import Fingerprint, Item, Json, KnownAxis, Source, Step

NAME = "inspect"


def run(
    path: Source,
    depth: Annotated[
        int | None, typer.Option("--depth", min=1, help="How deep to show the tree. [default: 3]")
    ] = None,
    flat: Annotated[bool, typer.Option("--flat", help="Every entry on a line of its own.")] = False,
    fingerprint: Fingerprint = False,
    layer_axis: KnownAxis = None,
    step: Step = None,
    item: Item = None,
    as_json: Json = False,
) -> None:
    """Tell what a checkpoint is: layout, step, layers, the tree.

    With the evidence for the layout, and bytes by part. Reads no array unless asked for a fingerprint.
    """
    from linen_nnx.cli import render
    from linen_nnx.convert.inspecting import inspect

    render.step_taken(path, step, item)
    found = inspect(path, step=step, item=item)
    if fingerprint:
        from linen_nnx.convert.compare.fingerprint import fingerprint as take

        with render.progress() as progress:
            taken = take(path, step=step, item=item, layer_axis=layer_axis, progress=progress)
        found = found.model_copy(update={"fingerprint": taken})
    if as_json:
        render.json(found)
        return
    render.inspection(found)
    if flat:
        render.flat(found.inventory)
    else:
        render.tree(found.inventory, depth or 3)
