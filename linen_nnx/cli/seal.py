"""`linen-nnx seal`: digests of a checkpoint as it stands."""

from typing import Annotated

import typer

from linen_nnx.cli.options import Item, Json, KeptFingerprint, KnownAxis, Source, Step, Workers

NAME = "seal"


def run(
    path: Source,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Take digests anew where a receipt stands already.")
    ] = False,
    fingerprint: KeptFingerprint = None,
    layer_axis: KnownAxis = None,
    workers: Workers = None,
    step: Step = None,
    item: Item = None,
    as_json: Json = False,
) -> None:
    """Write a receipt for a checkpoint that was never converted.

    It has digests of all that PATH holds, for `verify`, and lies in its own linen_nnx/ folder, or beside a
    legacy file: the only file that is written, which readers of orbax and flax ignore. Every file is read
    once.
    """
    from linen_nnx.cli import render
    from linen_nnx.convert.proof.sealing import seal

    render.step_taken(path, step, item)
    with render.progress() as progress:
        done = seal(
            path, step=step, item=item, overwrite=overwrite, fingerprint=fingerprint,
            layer_axis=layer_axis, workers=workers, progress=progress,
        )  # fmt: skip
    if as_json:
        render.json(done)
    else:
        render.sealed(done, path)
