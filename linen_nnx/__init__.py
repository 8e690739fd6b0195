"""Convert, validate and compare Flax Linen and NNX train-state checkpoints.

Importing this package is cheap: each name loads its module when it is first used, and neither jax nor
orbax is imported where metadata is enough.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from linen_nnx.version import __version__

if TYPE_CHECKING:
    from linen_nnx.cli.page.report import report
    from linen_nnx.convert.compare.differing import diff
    from linen_nnx.convert.compare.fingerprint import fingerprint
    from linen_nnx.convert.converting import convert, plan
    from linen_nnx.convert.inspecting import inspect
    from linen_nnx.convert.live.forward import check_forward
    from linen_nnx.convert.live.nnx import load
    from linen_nnx.convert.mapping.front import infer_rules
    from linen_nnx.convert.memory import Converted, LeftOutWarning, convert_tree, to_linen, to_nnx
    from linen_nnx.convert.probing.probe import Probe
    from linen_nnx.convert.proof.sealing import seal
    from linen_nnx.convert.proof.verifying import verify
    from linen_nnx.convert.rules.reading import read_rules
    from linen_nnx.convert.spec.making import spec_of
    from linen_nnx.convert.validating import validate
    from linen_nnx.schema.array import ArraySpec, DType
    from linen_nnx.schema.difference import Difference, Tolerance
    from linen_nnx.schema.diloco import DilocoTrainState
    from linen_nnx.schema.errors import (
        CheckpointError,
        ConversionError,
        InvariantError,
        LayoutError,
        LinenNnxError,
        MissingExtraError,
        ProblemsError,
        SpecError,
        StorageError,
    )
    from linen_nnx.schema.inference import Inference
    from linen_nnx.schema.inspection import Inspection
    from linen_nnx.schema.inventory import Entry, Inventory
    from linen_nnx.schema.ir import TrainState
    from linen_nnx.schema.layout import LayerNames, LayerStacking, Layout, Leaves
    from linen_nnx.schema.linen import LinenTrainState
    from linen_nnx.schema.live import LiveReceipt
    from linen_nnx.schema.maxtext import MaxtextTrainState
    from linen_nnx.schema.nnx import NnxTrainState, ParamsState, TunixTrainState
    from linen_nnx.schema.options import Accept, Aux, ConversionOptions, Direction, Parts
    from linen_nnx.schema.path import KeyPath
    from linen_nnx.schema.plan import Plan
    from linen_nnx.schema.problem import Code, Problem
    from linen_nnx.schema.receipt import Receipt, Seal
    from linen_nnx.schema.rules import Rules
    from linen_nnx.schema.spec import Spec
    from linen_nnx.schema.tree import inventory_of

_HOMES = {
    "cli.page.report": ("report",),
    "convert.compare.differing": ("diff",),
    "convert.compare.fingerprint": ("fingerprint",),
    "convert.converting": ("convert", "plan"),
    "convert.inspecting": ("inspect",),
    "convert.live.forward": ("check_forward",),
    "convert.live.nnx": ("load",),
    "convert.mapping.front": ("infer_rules",),
    "convert.rules.reading": ("read_rules",),
    "convert.memory": ("Converted", "LeftOutWarning", "convert_tree", "to_linen", "to_nnx"),
    "convert.probing.probe": ("Probe",),
    "convert.proof.sealing": ("seal",),
    "convert.proof.verifying": ("verify",),
    "convert.spec.making": ("spec_of",),
    "convert.validating": ("validate",),
    "schema.array": ("ArraySpec", "DType"),
    "schema.difference": ("Difference", "Tolerance"),
    "schema.diloco": ("DilocoTrainState",),
    "schema.errors": (
        "CheckpointError",
        "ConversionError",
        "InvariantError",
        "LayoutError",
        "LinenNnxError",
        "MissingExtraError",
        "ProblemsError",
        "SpecError",
        "StorageError",
    ),
    "schema.inspection": ("Inspection",),
    "schema.inventory": ("Entry", "Inventory"),
    "schema.inference": ("Inference",),
    "schema.ir": ("TrainState",),
    "schema.layout": ("LayerNames", "LayerStacking", "Layout", "Leaves"),
    "schema.linen": ("LinenTrainState",),
    "schema.live": ("LiveReceipt",),
    "schema.maxtext": ("MaxtextTrainState",),
    "schema.nnx": ("NnxTrainState", "ParamsState", "TunixTrainState"),
    "schema.options": ("Accept", "Aux", "ConversionOptions", "Direction", "Parts"),
    "schema.path": ("KeyPath",),
    "schema.plan": ("Plan",),
    "schema.problem": ("Code", "Problem"),
    "schema.rules": ("Rules",),
    "schema.receipt": ("Receipt", "Seal"),
    "schema.spec": ("Spec",),
    "schema.tree": ("inventory_of",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


__all__ = [
    "Accept",
    "ArraySpec",
    "Aux",
    "CheckpointError",
    "Code",
    "ConversionError",
    "ConversionOptions",
    "Converted",
    "DType",
    "Difference",
    "DilocoTrainState",
    "Direction",
    "Entry",
    "Inference",
    "Inspection",
    "InvariantError",
    "Inventory",
    "KeyPath",
    "LayerNames",
    "LayerStacking",
    "Layout",
    "LayoutError",
    "Leaves",
    "LeftOutWarning",
    "LinenNnxError",
    "LinenTrainState",
    "LiveReceipt",
    "MaxtextTrainState",
    "MissingExtraError",
    "NnxTrainState",
    "ParamsState",
    "Parts",
    "Plan",
    "Probe",
    "Problem",
    "ProblemsError",
    "Receipt",
    "Rules",
    "Seal",
    "Spec",
    "SpecError",
    "StorageError",
    "Tolerance",
    "TrainState",
    "TunixTrainState",
    "__version__",
    "check_forward",
    "convert",
    "convert_tree",
    "diff",
    "fingerprint",
    "infer_rules",
    "inspect",
    "inventory_of",
    "load",
    "plan",
    "read_rules",
    "report",
    "seal",
    "spec_of",
    "to_linen",
    "to_nnx",
    "validate",
    "verify",
]
