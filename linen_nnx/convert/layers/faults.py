"""How a fault of layers is told."""

from linen_nnx.schema.array import ArraySpec
from linen_nnx.schema.ir import PARAMS, Slot, address
from linen_nnx.schema.layout import LayerGroup
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem


def in_params(path: KeyPath) -> KeyPath:
    """The address of a parameter, or of what stands around parameters."""
    return address(Slot(collection=PARAMS, path=path))


def layer_problem(
    path: KeyPath, expected: ArraySpec | None, found: ArraySpec | None, group: LayerGroup, agree: int
) -> Problem:
    """A leaf unlike that of the other layers."""
    match expected, found:
        case ArraySpec(), ArraySpec() if expected.shape == found.shape:
            code = Code.DTYPE_MISMATCH
        case ArraySpec(), ArraySpec():
            code = Code.SHAPE_MISMATCH
        case _:
            code = Code.LAYER_LEAF_MISSING
    return Problem(
        code=code,
        path=in_params(path),
        expected=f"{expected or 'nothing'}, as in {agree} of {group.count} layers",
        found=str(found or "nothing"),
        hint="layers must agree to be stacked; convert with --no-scan-layers to keep them apart",
    )
