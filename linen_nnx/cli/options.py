"""Options that several commands share."""

import re
from pathlib import Path
from typing import Annotated

import typer

from linen_nnx.schema.choices import (
    Accept,
    Chunks,
    Codec,
    Decoder,
    Direction,
    LayerNames,
    Layout,
    Leaves,
    Transfer,
)

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
KnownAxis = Annotated[
    int | None,
    typer.Option("--layer-axis", min=0, help="The axis of stacked parameters, where shapes do not prove it."),
]
Cycle = Annotated[
    int | None,
    typer.Option(
        "--layer-cycle",
        min=1,
        help="Layers in one block, where stacking anew and neither shapes nor the model's family tell.",
    ),
]
DecoderOption = Annotated[
    Decoder | None,
    typer.Option(
        "--decoder",
        help="Whose layers they are, where they do not tell: MaxText's `decoder_block`.",
    ),
]
LeavesOption = Annotated[
    Leaves | None,
    typer.Option(
        "--leaves",
        # `mixed` is a form that a state may have and keep, and none to choose.
        metavar="<wrapped|bare|model-wrapped>",
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
DTypes = Annotated[
    list[str] | None,
    typer.Option(
        "--dtype",
        metavar="PART=DTYPE",
        help="Cast the floats of a part, as in params=bfloat16; parts are params, optimizer and aux. What "
        "changes is counted. step=int64 casts the step, exactly. May be repeated.",
    ),
]
CodecOption = Annotated[
    Codec,
    typer.Option(
        "--codec",
        help="How chunks are compressed that are encoded anew: as the source's, fast (zstd at level -1: "
        "zeros shrink, floats hardly do), or not at all.",
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
KeptFingerprint = Annotated[
    bool | None,
    typer.Option(
        "--fingerprint/--no-fingerprint",
        help="Keep one digest of the content, equal in every layout, in the receipt. "
        "[default: where no more than 64 MiB must be decoded for it]",
    ),
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
ProbeOption = Annotated[
    str | None,
    typer.Option(
        "--probe",
        metavar="MODULE:FACTORY",
        help="A function that makes a linen_nnx.Probe of both models: they are run to settle what structure "
        "leaves open.",
    ),
]

_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(i?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def nbytes(text: str) -> int:
    """Read a size; units are powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise typer.BadParameter(f"{text!r} is no size; write 512MiB or 2GiB", param_hint="--memory")
    return int(match[1]) * _UNITS[match[2].upper()]
