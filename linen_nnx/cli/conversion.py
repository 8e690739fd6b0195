"""The options that `plan` and `convert` share, as one group; and how they are typed."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from linen_nnx.cli import options as opt
from linen_nnx.schema.choices import (
    Accept,
    Aux,
    Chunks,
    Codec,
    Direction,
    LayerStacking,
    Leaves,
    PartName,
    Parts,
    Transfer,
)

if TYPE_CHECKING:
    from linen_nnx.schema.options import ConversionOptions, PartDType
    from linen_nnx.schema.routing import Effort
    from linen_nnx.schema.rules import Rules
    from linen_nnx.schema.spec import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """Each field is an option of the command line."""

    layout: opt.From = None
    to: opt.To = None
    direction: opt.DirectionOption = Direction.AUTO
    scan_layers: opt.Scan = None
    layer_axis: opt.Axis = None
    layer_cycle: opt.Cycle = None
    decoder: opt.DecoderOption = None
    leaves: opt.LeavesOption = None
    layer_names: opt.Names = None
    template: opt.Template = None
    rules: opt.RulesFile = None
    spec: opt.SpecFile = None
    probe: opt.ProbeOption = None
    inverse: opt.Inverse = False
    accept: opt.AcceptOption = Accept.PROVED
    params_only: opt.ParamsOnly = False
    no_keep_aux: opt.NoKeepAux = False
    chunks: opt.ChunksOption = Chunks.SOURCE
    codec: opt.CodecOption = Codec.SOURCE
    dtype: opt.DTypes = None
    transfer: opt.TransferOption = Transfer.COPY
    workers: opt.Workers = None
    memory: opt.Memory = "2GiB"
    step: opt.Step = None
    item: opt.Item = None

    def effort(self) -> "Effort":
        """What the conversion may use."""
        from linen_nnx.schema.routing import Effort

        return Effort(transfer=self.transfer, workers=self.workers, memory=opt.nbytes(self.memory))

    def options(self) -> "ConversionOptions":
        """The options as the conversion takes them, files of rules and specs read."""
        from linen_nnx.schema.options import ConversionOptions

        if self.leaves is Leaves.MIXED:
            raise typer.BadParameter("mixed leaves are kept, never made", param_hint="--leaves")
        stacking = None
        if self.scan_layers is not None:
            stacking = LayerStacking.STACKED if self.scan_layers else LayerStacking.UNSTACKED
        return ConversionOptions(
            source=self.layout,
            to=self.to,
            direction=self.direction,
            stacking=stacking,
            layer_axis=self.layer_axis,
            layer_cycle=self.layer_cycle,
            decoder=self.decoder,
            leaves=self.leaves,
            layer_names=self.layer_names,
            parts=Parts.PARAMS if self.params_only else Parts.ALL,
            aux=Aux.DROP if self.no_keep_aux else Aux.KEEP,
            rules=None if self.rules is None else _rules(self.rules),
            inverse=self.inverse,
            spec=None if self.spec is None else _spec(self.spec),
            accept=self.accept,
            chunks=self.chunks,
            codec=self.codec,
            dtypes=_dtypes(self.dtype or []),
        )

    def options_for(self, source: Path) -> "ConversionOptions":
        """The same, with the rules that running both models proves, if that is asked for.

        Raises `ConversionError` where anything is left open.
        """
        options = self.options()
        if self.probe is None:
            return options
        from linen_nnx.cli import render
        from linen_nnx.cli.user_code import probe_of
        from linen_nnx.convert.mapping.front import infer_rules
        from linen_nnx.schema.errors import ConversionError, raise_if

        if options.spec is None or options.rules is not None:
            raise typer.BadParameter(
                "rules are inferred of --spec, and without --rules", param_hint="--probe"
            )
        probe = probe_of(self.probe)
        found = infer_rules(source, options.spec, self.accept, probe=probe, step=self.step, item=self.item)
        raise_if(found.problems, ConversionError)
        render.inferred(found, None)
        inverse = not options.spec.layout.is_nnx
        return options.model_copy(update={"rules": found.rules, "inverse": inverse})


def _rules(file: Path) -> "Rules":
    from linen_nnx.convert.rules.reading import read_rules

    return read_rules(file)


def _spec(file: Path) -> "Spec":
    from linen_nnx.convert.spec.document import read_spec

    return read_spec(file)


def _dtypes(asked: Sequence[str]) -> "tuple[PartDType, ...]":
    from linen_nnx.schema.options import PartDType

    wire = (dict(zip(("part", "dtype"), word.split("=", 1), strict=False)) for word in asked)
    try:
        found = tuple(PartDType.model_validate(one, strict=False) for one in wire)
    except ValueError:
        found = ()
    if len({one.part for one in found}) != len(asked):
        parts = ", ".join(part.value for part in PartName)
        raise typer.BadParameter(
            f"{' '.join(asked)}: write PART=DTYPE, as params=bfloat16, once a part; parts are {parts}; the "
            "step is an integer, of the others floats are cast",
            param_hint="--dtype",
        )
    return found


def takes_conversion(run: Callable[..., None]) -> Callable[..., None]:
    """A command with an option for each field of the `Conversion` that `run` takes as `asked`."""
    group = {field.name: field for field in fields(Conversion)}
    given = [
        inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=field.default, annotation=field.type
        )
        for name, field in group.items()
    ]

    @wraps(run)
    def command(**typed: Any) -> None:
        asked = Conversion(**{name: typed.pop(name) for name in group})
        run(asked=asked, **typed)

    # What typer reads: the signature, and the annotations by name.
    own = inspect.signature(run)
    parameters = [
        option
        for parameter in own.parameters.values()
        for option in (given if parameter.name == "asked" else [parameter])
    ]
    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {option.name: option.annotation for option in parameters}
    return command


def spelled(options: "ConversionOptions") -> list[str]:
    """The options as a user types them: the way back from `options`, but for files of rules and specs."""
    valued = {
        "--from": options.source,
        "--to": options.to,
        "--direction": None if options.direction is Direction.AUTO else options.direction,
        "--layer-axis": options.layer_axis,
        "--layer-cycle": options.layer_cycle,
        "--decoder": options.decoder,
        "--leaves": options.leaves,
        "--layer-names": options.layer_names,
        "--accept": None if options.accept is Accept.PROVED else options.accept,
        "--chunks": None if options.chunks is Chunks.SOURCE else options.chunks,
        "--codec": None if options.codec is Codec.SOURCE else options.codec,
    }
    flags = {
        "--scan-layers": options.stacking is LayerStacking.STACKED,
        "--no-scan-layers": options.stacking is LayerStacking.UNSTACKED,
        "--params-only": options.parts is Parts.PARAMS,
        "--no-keep-aux": options.aux is Aux.DROP,
        "--inverse": options.inverse,
    }
    typed = [word for name, value in valued.items() if value is not None for word in (name, str(value))]
    for cast in options.dtypes:
        typed += ["--dtype", f"{cast.part.value}={cast.dtype.value}"]
    return typed + [name for name, given in flags.items() if given]
