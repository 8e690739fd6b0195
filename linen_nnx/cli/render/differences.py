"""What tells two checkpoints apart: explanations first, then what they leave, then the verdict."""

from typing import assert_never

from linen_nnx.cli.render.out import notes, size
from linen_nnx.schema.difference import (
    Compared,
    Depth,
    Difference,
    EmptiesDiffer,
    LayersDiffer,
    LeafDifference,
    Missing,
    PartSummary,
    SpecDiffers,
    Statistics,
    TextDiffers,
    Unexpected,
    ValuesDiffer,
    Verdict,
)
from linen_nnx.schema.finding import (
    DTypeChanged,
    FactorsApart,
    FieldsMoved,
    Finding,
    LayersMissing,
    LayersMoved,
    LeavesMoved,
    PartMissing,
    RngsMissing,
    Which,
    Zeroed,
)

NEAR = 2**16
"""Distances beyond it say nothing in ulp."""
SHOWN = 40
"""Lines of one kind; `--json` has all."""


def difference(found: Difference) -> None:
    """The whole result."""
    _side("A", found.a)
    _side("B", found.b)
    for part in found.parts:
        if part.leaves:
            print(part_text(part))
    for finding in found.findings:
        print(f"{finding_text(finding)}: {_count(len(finding.paths), 'leaf', 'leaves')}")
    explained = {path for finding in found.findings for path in finding.paths}
    _lines([line(one) for one in found.differences if one.path not in explained])
    _lines([f"within tolerance: {line(one)}" for one in found.within])
    notes(found.notes)
    print(verdict_text(found))


def _side(name: str, side: Compared) -> None:
    step = "no step" if side.step is None else f"step {side.step}"
    print(f"{name}  {side.layout.value:<8} {step:<10} {side.item}")


def _lines(lines: list[str]) -> None:
    print("\n".join(lines[:SHOWN]), end="\n" if lines else "")
    if len(lines) > SHOWN:
        print(f"… and {len(lines) - SHOWN:,} more, in --json")


def _count(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def part_text(part: PartSummary) -> str:
    """`params  48 leaves, 47 equal, 1 different   max abs … at …`."""
    counts = [f"{part.equal:,} equal"]
    counts += [f"{part.within:,} within tolerance"] if part.within else []
    counts += [f"{part.different:,} different"] if part.different else []
    text = f"{part.part.value:<10} {part.leaves:>6,} leaves: {', '.join(counts)}; {size(part.nbytes)}"
    if part.undecoded:
        text += f", {size(part.undecoded)} of it stored as the same bytes"
    if part.max_abs is not None:
        text += f"\n{'':<10} max abs {part.max_abs:.6g} at {part.max_abs_at}"
    if part.max_rel is not None:
        text += f"\n{'':<10} max rel {part.max_rel:.6g} at {part.max_rel_at}"
    return text


def _other(which: Which) -> str:
    return which.value.upper()


def finding_text(found: Finding) -> str:
    """An explanation on a line."""
    match found:
        case LayersMoved(group=group, parts=parts, moves=moves):
            names = ", ".join(part.value for part in parts)
            pairs = {(move.a, move.b) for move in moves}
            if len(pairs) == 2 and all((b, a) in pairs for a, b in pairs):
                return f"layers {moves[0].a} and {moves[0].b} of {group} are swapped ({names})"
            order = ", ".join(f"{move.a} of A is {move.b} of B" for move in moves)
            return f"layers of {group} stand in another order ({names}): {order}"
        case FieldsMoved(moves=moves):
            if len(moves) == 2 and (moves[0].a, moves[0].b) == (moves[1].b, moves[1].a):
                return f"the optimizer's {moves[0].a} and {moves[0].b} are swapped"
            return "fields of the optimizer moved: " + ", ".join(f"{m.a} of A is {m.b} of B" for m in moves)
        case LeavesMoved(moves=moves):
            first = f"{moves[0].a} of A is {moves[0].b} of B"
            more = f", and {len(moves) - 1} more" if len(moves) > 1 else ""
            return f"leaves of the same values under another name: {first}{more}"
        case LayersMissing(missing_in=which, group=group, layers=layers):
            numbers = ", ".join(map(str, layers))
            return f"{_other(which)} has no layer {numbers} of {group}"
        case RngsMissing(missing_in=which, no_place=no_place):
            why = ", whose layout has no place for any" if no_place else ""
            return f"streams of random numbers are missing in {_other(which)}{why}"
        case PartMissing(missing_in=which, part=part):
            return f"{_other(which)} has no {part.value} at all"
        case DTypeChanged(part=part, a=a, b=b, same_values=same):
            values = "no value was read" if same is None else "the same values" if same else "other values"
            return f"{part.value} in another dtype, {a.value} in A and {b.value} in B, {values}"
        case FactorsApart(fields=fields):
            names = ", ".join(map(str, fields))
            return f"factors of moments ({names}) of stacked layers and of layers one by one: not comparable"
        case Zeroed(zero_in=which, part=part):
            return f"{part.value}: all zero in {_other(which)} and not in the other"
        case _:
            assert_never(found)


def line(one: LeafDifference) -> str:
    """One difference."""
    match one:
        case Missing(path=path, a=a):
            return f"{path}: only in A, {a.value}"
        case Unexpected(path=path, b=b):
            return f"{path}: only in B, {b.value}"
        case SpecDiffers(path=path, a=a, b=b, statistics=counted):
            values = "" if counted is None else f"; {_statistics(counted)}"
            return f"{path}: {a.value} in A, {b.value} in B{values}"
        case TextDiffers(path=path, a=a, b=b):
            return f"{path}: {a.value} in A, {b.value} in B"
        case EmptiesDiffer(path=path, a=a, b=b):
            ours, theirs = ("nothing" if leaf is None else str(leaf.value) for leaf in (a, b))
            return f"{path}: {ours} in A, {theirs} in B"
        case LayersDiffer(path=path, a=a, b=b):
            return f"{path}: {a} layers in A, {b} in B"
        case ValuesDiffer(path=path, statistics=counted):
            return f"{path}: {_statistics(counted)}"
        case _:
            assert_never(one)


def _statistics(found: Statistics) -> str:
    """`1 of 48 elements differ, by 1 ulp, max abs …; first at [5, 4]: 1.0 in A, 1.0000001 in B`."""
    if not found.differing:
        return "every value the same"
    text = f"{found.differing:,} of {found.elements:,} elements differ"
    details = [f"{found.beyond:,} beyond tolerance"] if 0 < found.beyond < found.differing else []
    if found.ulps is not None and found.ulps <= NEAR:
        details.append(f"by {'at most ' if found.differing > 1 else ''}{found.ulps:,} ulp")
    if found.max_abs is not None:
        details.append(f"max abs {found.max_abs:.6g}")
    if found.max_rel is not None:
        details.append(f"max rel {found.max_rel:.6g}")
    if found.scale is not None:
        details.append(f"scale {found.scale:.6g}")
    if found.nans:
        details.append(f"{found.nans:,} NaN on one side alone")
    if found.zero_signs:
        details.append(f"{found.zero_signs:,} in the sign of zero alone")
    text = ", ".join([text, *details])
    if found.first is None:
        return text
    where = f"first at {list(found.first.index)}: " if found.first.index else ""
    return f"{text}; {where}{found.first.a} in A, {found.first.b} in B"


def verdict_text(found: Difference) -> str:
    """The whole result in words."""
    leaves = sum(part.leaves for part in found.parts)
    structure = found.asked.depth is Depth.STRUCTURE
    match found.verdict:
        case Verdict.EQUAL:
            how = "names, shapes and dtypes" if structure else "bit for bit"
            return f"equal: {_count(leaves, 'leaf', 'leaves')}, {how}"
        case Verdict.WITHIN:
            return f"equal within tolerance: {len(found.within):,} of {leaves:,} leaves are not the same bits"
        case Verdict.DIFFERENT:
            unlike = sum(part.different for part in found.parts)
            return f"different: {unlike:,} of {leaves:,} leaves"
        case _:
            assert_never(found.verdict)
