"""`linen-nnx plan`: what a conversion would do."""

from linen_nnx.cli import options as opt
from linen_nnx.cli import render
from linen_nnx.schema.options import Accept, Chunks, Direction
from linen_nnx.schema.routing import Transfer

NAME = "plan"


def run(
    source: opt.Source,
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
    as_json: opt.Json = False,
) -> None:
    """Show every write and every drop, leaf by leaf. Reads metadata alone."""
    from linen_nnx.convert.converting import plan

    options = opt.conversion(
        layout, to, direction, scan_layers, layer_axis, layer_cycle, leaves, layer_names, params_only,
        no_keep_aux, rules, spec, inverse, accept, chunks,
    )  # fmt: skip
    effort = opt.effort(transfer, workers, memory)
    render.step_taken(source, step, item)
    made = plan(source, options=options, template=template, step=step, item=item, effort=effort)
    if as_json:
        render.json(made)
    else:
        render.plan(made)
