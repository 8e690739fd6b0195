"""Options that several commands share."""

import re
from pathlib import Path
from typing import Annotated

import typer

from linen_nnx.convert.rules.reading import read_rules
from linen_nnx.convert.spec.document import read_spec
from linen_nnx.schema.layout import LayerNames, LayerStacking, Layout, Leaves
from linen_nnx.schema.options import Accept, Aux, Chunks, ConversionOptions, Direction, Parts
from linen_nnx.schema.routing import Effort, Transfer

Source = Annotated[
    Path, typer.Argument(help="A run, step or item folder, or a legacy file of flax.", show_default=False)
]
Step = Annotated[int | None, typer.Option("--step", help="The step of a run folder. [default: the latest]")]
Item = Annotated[str | None, typer.Option("--item", help="The item of a step folder, where it has several.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; `schema` describes it.")]
From = Annotated[
    Layout | None,
    typer.Option(
        "--from", help="The source's layout, such as params for a bare model tree. [default: detected]"
    ),
]
To = Annotated[Layout | None, typer.Option("--to", help="The target layout.")]
DirectionOption = Annotated[
    Direction, typer.Option("--direction", help="Shorthand for --to; auto is the other framework.")
]
Scan = Annotated[
    bool | None,
    typer.Option(
        "--scan-layers/--no-scan-layers",
        help="Layers stacked on an axis, or one by one; weights, moments and aux together. "
        "[default: as the source has them]",
    ),
]
Axis = Annotated[
    int | None,
    typer.Option(
        "--layer-axis", min=0, help="The axis of stacked parameters. [default: the source's, else 1]"
    ),
]
Cycle = Annotated[
    int | None,
    typer.Option(
        "--layer-cycle",
        min=1,
        help="Layers in one block, where stacking anew and neither shapes nor the model's family tell.",
    ),
]
LeavesOption = Annotated[
    Leaves | None,
    typer.Option(
        "--leaves",
        help="NNX leaves: under `value` (nnx.State), bare (to_pure_dict), or the model's alone. "
        "[default: the template's, else wrapped]",
    ),
]
Names = Annotated[
    LayerNames | None,
    typer.Option(
        "--layer-names", help="Unscanned layers as layers_3 or layers/3. [default: by target layout]"
    ),
]
Template = Annotated[
    Path | None,
    typer.Option(
        "--template",
        help="A checkpoint of the target: its rngs, other aux variables, empty states and leaf form.",
    ),
]
ParamsOnly = Annotated[bool, typer.Option("--params-only", help="Weights alone.")]
NoKeepAux = Annotated[
    bool,
    typer.Option(
        "--no-keep-aux", help="Drop what the target layout cannot hold, instead of keeping it aside."
    ),
]
ChunksOption = Annotated[
    Chunks,
    typer.Option(
        "--chunks",
        help="The target's stored chunks: the source's (a layer's own where layers are stacked; nothing is "
        "decoded for it), or one whole chunk an array.",
    ),
]
TransferOption = Annotated[
    Transfer,
    typer.Option(
        "--transfer",
        help="Data files that are kept as they are: copied, or hard-linked (instant; source and target then "
        "share bytes on disk, which orbax never overwrites in place).",
    ),
]
Fingerprint = Annotated[
    bool,
    typer.Option("--fingerprint", help="One digest of the content, equal in every layout; decodes it all."),
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Threads. [default: all cores]")]
Memory = Annotated[str, typer.Option("--memory", help="Bound on bytes of arrays in flight: 512MiB, 2GiB, …")]

RulesFile = Annotated[
    Path | None,
    typer.Option(
        "--rules", help="A rules file (TOML): which variable of a Linen model is which of an NNX one."
    ),
]
SpecFile = Annotated[
    Path | None,
    typer.Option(
        "--spec",
        help="What the target must be, as `spec` wrote it; without --rules, rules are inferred from it.",
    ),
]
Inverse = Annotated[bool, typer.Option("--inverse", help="Follow the rules backwards, from NNX to Linen.")]
AcceptOption = Annotated[
    Accept,
    typer.Option("--accept", help="What evidence is enough to infer rules: proof, equal names, or order."),
]

_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(i?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def nbytes(text: str) -> int:
    """Read a size; units are powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise typer.BadParameter(f"{text!r} is no size; write 512MiB or 2GiB", param_hint="--memory")
    return int(match[1]) * _UNITS[match[2].upper()]


def effort(transfer: Transfer, workers: int | None, memory: str) -> Effort:
    """What the conversion may use."""
    return Effort(transfer=transfer, workers=workers, memory=nbytes(memory))


def conversion(
    source: Layout | None,
    to: Layout | None,
    direction: Direction,
    scan: bool | None,
    axis: int | None,
    cycle: int | None,
    leaves: Leaves | None,
    names: LayerNames | None,
    params_only: bool,
    no_keep_aux: bool,
    rules: Path | None,
    spec: Path | None,
    inverse: bool,
    accept: Accept,
    chunks: Chunks,
) -> ConversionOptions:
    """The options as the conversion takes them."""
    if leaves is Leaves.MIXED:
        raise typer.BadParameter("mixed leaves are kept, never made", param_hint="--leaves")
    stacking = None
    if scan is not None:
        stacking = LayerStacking.STACKED if scan else LayerStacking.UNSTACKED
    return ConversionOptions(
        source=source,
        to=to,
        direction=direction,
        stacking=stacking,
        layer_axis=axis,
        layer_cycle=cycle,
        leaves=leaves,
        layer_names=names,
        parts=Parts.PARAMS if params_only else Parts.ALL,
        aux=Aux.DROP if no_keep_aux else Aux.KEEP,
        rules=None if rules is None else read_rules(rules),
        inverse=inverse,
        spec=None if spec is None else read_spec(spec),
        accept=accept,
        chunks=chunks,
    )


def spelled(options: ConversionOptions) -> list[str]:
    """The options as a user types them: the way back from `conversion`, but for files of rules and specs."""
    valued = {
        "--from": options.source,
        "--to": options.to,
        "--direction": None if options.direction is Direction.AUTO else options.direction,
        "--layer-axis": options.layer_axis,
        "--layer-cycle": options.layer_cycle,
        "--leaves": options.leaves,
        "--layer-names": options.layer_names,
        "--accept": None if options.accept is Accept.PROVED else options.accept,
        "--chunks": None if options.chunks is Chunks.SOURCE else options.chunks,
    }
    flags = {
        "--scan-layers": options.stacking is LayerStacking.STACKED,
        "--no-scan-layers": options.stacking is LayerStacking.UNSTACKED,
        "--params-only": options.parts is Parts.PARAMS,
        "--no-keep-aux": options.aux is Aux.DROP,
        "--inverse": options.inverse,
    }
    typed = [word for name, value in valued.items() if value is not None for word in (name, str(value))]
    return typed + [name for name, given in flags.items() if given]
