"""`linen-nnx convert`: do it."""

from pathlib import Path
from typing import Annotated

import typer

from linen_nnx.cli import options as opt
from linen_nnx.cli import render
from linen_nnx.schema.options import Accept, Chunks, Direction
from linen_nnx.schema.routing import Transfer

NAME = "convert"


def run(
    source: opt.Source,
    target: Annotated[Path, typer.Argument(help="The new checkpoint; must not exist.", show_default=False)],
    layout: opt.From = None,
    to: opt.To = None,
    direction: opt.DirectionOption = Direction.AUTO,
    scan_layers: opt.Scan = None,
    layer_axis: opt.Axis = None,
    layer_cycle: opt.Cycle = None,
    leaves: opt.LeavesOption = None,
    layer_names: opt.Names = None,
    template: opt.Template = None,
    rules: opt.RulesFile = None,
    spec: opt.SpecFile = None,
    inverse: opt.Inverse = False,
    accept: opt.AcceptOption = Accept.PROVED,
    params_only: opt.ParamsOnly = False,
    no_keep_aux: opt.NoKeepAux = False,
    chunks: opt.ChunksOption = Chunks.SOURCE,
    transfer: opt.TransferOption = Transfer.COPY,
    workers: opt.Workers = None,
    memory: opt.Memory = "2GiB",
    step: opt.Step = None,
    item: opt.Item = None,
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
    fingerprint: opt.Fingerprint = False,
    as_json: opt.Json = False,
) -> None:
    """Convert SOURCE into TARGET, written in the form of the source (run, step or item)."""
    from linen_nnx.convert.converting import check, convert

    options = opt.conversion(
        layout, to, direction, scan_layers, layer_axis, layer_cycle, leaves, layer_names, params_only,
        no_keep_aux, rules, spec, inverse, accept, chunks,
    )  # fmt: skip
    effort = opt.effort(transfer, workers, memory)
    render.step_taken(source, step, item)
    if dry_run:
        made = check(
            source, target, options, template=template, step=step, item=item,
            overwrite=overwrite, effort=effort,
        )  # fmt: skip
        render.json(made) if as_json else render.plan(made)
        return
    with render.progress() as progress:
        receipt = convert(
            source, target, options=options, template=template, step=step, item=item,
            overwrite=overwrite, effort=effort, progress=progress, digest=not no_digest,
            fingerprint=fingerprint,
        )  # fmt: skip
    if as_json:
        render.json(receipt)
    else:
        render.receipt(receipt)
