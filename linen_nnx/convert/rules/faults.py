"""What stands against moments that follow their parameters by rules."""

from collections.abc import Sequence

from linen_nnx.convert.rules.assign import Assignment
from linen_nnx.convert.rules.how import Renamed
from linen_nnx.schema.ir import OptimizerLeaf, Slot, optimizer_address
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem


def fault(at: KeyPath, one: Assignment, found: Sequence[OptimizerLeaf]) -> Problem | None:
    """Why the moments of a rule's parts cannot become one: some are missing, or of a reduced shape."""
    if len(found) < len(one.sources):
        expected = f"a moment for each of the {len(one.sources)} parts of {one.target.path}, or for none"
        return _problem(Code.MISSING_ENTRY, at, one, expected, f"{len(found)} of them")
    if any(item.factored for item in found) and not isinstance(one.how, Renamed):
        return _problem(
            Code.LAYERS_NOT_STACKABLE,
            at,
            one,
            "a moment of its parameter's shape, to be changed with it",
            f"{found[0].leaf.value}, a factor of a reduced shape",
        )
    return None


def misfit(at: KeyPath, one: Assignment, found: str) -> Problem:
    """Moments that do not fit together as their parameters do."""
    return _problem(
        Code.MOMENT_MISMATCH, at, one, f"moments of which that of {one.target.path} can be made", found
    )


def _problem(code: Code, at: KeyPath, one: Assignment, expected: str, found: str) -> Problem:
    return Problem(
        code=code, path=optimizer_address(at, one.sources[0]), expected=expected, found=found,
        hint="convert with --params-only, or keep the arrays as they are",
    )  # fmt: skip


def unknown_zeros(slot: Slot) -> Problem:
    """Zeros to put back of which nobody knows the shape."""
    return Problem(
        code=Code.NOT_INVERTIBLE,
        expected=f"the shape and dtype of {slot}, which was dropped as zero",
        found="none in its rule",
        hint="give --spec of the Linen state, or shape and dtype beside the drop's reason",
    )


def two_averages(one: KeyPath, other: KeyPath, place: KeyPath) -> Problem:
    """Two fields of a Linen state that would become one of NNX."""
    return Problem(
        code=Code.TWO_WRITERS,
        expected=f"one average to become {place}",
        found=f"{one} and {other}",
        hint="name only one in [collections]; others are kept beside the target",
    )
