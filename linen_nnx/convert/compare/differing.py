"""`diff`: all that tells two checkpoints apart, and what explains it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from linen_nnx.convert.compare.comparing import Comparison, compare
from linen_nnx.convert.compare.digests import digests
from linen_nnx.convert.compare.findings import (
    dtype_changes,
    factors_apart,
    layer_numbers,
    missing,
    moves,
    zeroed,
)
from linen_nnx.convert.compare.moved import Content, Unequal
from linen_nnx.convert.compare.sides import Side, sides
from linen_nnx.convert.compare.slices import Slice, slice_of
from linen_nnx.convert.engine.progress import Progress, Silent
from linen_nnx.convert.store.location import locate
from linen_nnx.convert.store.orbax_source import open_item
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.difference import (
    Asked,
    Compared,
    Depth,
    Difference,
    LayersDiffer,
    LeafDifference,
    Missing,
    PartSummary,
    SpecDiffers,
    Tolerance,
    Unexpected,
    ValuesDiffer,
    verdict_of,
)
from linen_nnx.schema.finding import Finding
from linen_nnx.schema.inspection import PartName
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.routing import Effort


def diff(
    a: Path | str,
    b: Path | str,
    *,
    only: Sequence[PartName | str] = (),
    structure: bool = False,
    tolerance: Tolerance | None = None,
    steps: tuple[int | None, int | None] = (None, None),
    items: tuple[str | None, str | None] = (None, None),
    layer_axis: int | None = None,
    effort: Effort | None = None,
    progress: Progress | None = None,
) -> Difference:
    """All that tells checkpoint `b` from checkpoint `a`, of whatever layouts.

    Bit for bit, unless a `tolerance` is given. Reads every array that both have, but for chunks that are
    stored as the same bytes; with `structure`, none. `only` are the parts to compare (`params`, `optimizer`,
    `step`, `aux`; all by default). `layer_axis` is needed where shapes do not prove the axis of layers.
    Raises `CheckpointError`, `LayoutError`, `StorageError`.
    """
    opened = [
        open_item(locate(Path(path), step, item))
        for path, step, item in zip((a, b), steps, items, strict=True)
    ]
    asked = Asked(
        parts=tuple(PartName(part) for part in only) or tuple(PartName),
        depth=Depth.STRUCTURE if structure else Depth.VALUES,
        tolerance=tolerance,
    )
    one, other = sides(opened, layer_axis)
    effort = effort or Effort()
    return difference_of(compare(one, other, asked, effort, progress or Silent()), effort)


def difference_of(found: Comparison, effort: Effort) -> Difference:
    """The result of a comparison. Reads what differs once more where it may stand elsewhere."""
    beyond: list[LeafDifference] = []
    within: list[ValuesDiffer] = []
    by_path: dict[KeyPath, LeafDifference] = {}
    for at in range(len(found.pairs)):
        one = found.difference(at)
        if one is None:
            continue
        by_path[one.path] = one
        if isinstance(one, ValuesDiffer) and not one.statistics.beyond:
            within.append(one)
        else:
            beyond.append(one)
    summaries = tuple(_summary(part, found, by_path) for part in found.asked.parts)
    findings = _findings(found, beyond, effort)
    beyond = sorted([*_layers(found), *beyond], key=lambda one: one.path.natural())
    return Difference(
        verdict=verdict_of(beyond, within),
        a=_compared(found.a),
        b=_compared(found.b),
        asked=found.asked,
        parts=summaries,
        findings=findings,
        differences=tuple(beyond),
        within=tuple(within),
    )


def _compared(side: Side) -> Compared:
    location = side.item.location
    return Compared(path=str(location.root), item=str(location.item), layout=side.layout, step=side.step)


def _layers(found: Comparison) -> list[LayersDiffer]:
    part = PartName.PARAMS if PartName.PARAMS in found.asked.parts else PartName.OPTIMIZER
    return [
        LayersDiffer(path=ROOT / part.value + group, part=part, a=len(a), b=len(b))
        for group, (a, b) in layer_numbers(found.pairs).items()
        if a != b
    ]


def _findings(
    found: Comparison, differences: Sequence[LeafDifference], effort: Effort
) -> tuple[Finding, ...]:
    if not differences:
        return ()
    nonzero = {
        found.pairs[at].path: (tally.nonzero[0], tally.nonzero[1]) for at, tally in found.tallies.items()
    }
    return (
        *missing(found.pairs, differences, (found.a.layout, found.b.layout)),
        *moves(found.pairs, _unequal(found, differences, effort)),
        *dtype_changes(differences),
        *zeroed(differences, nonzero),
        *factors_apart(found.pairs, differences),
    )


def _unequal(found: Comparison, differences: Sequence[LeafDifference], effort: Effort) -> list[Unequal]:
    """Arrays that differ, with digests of those that may stand elsewhere: their first element does."""
    if found.asked.depth is Depth.STRUCTURE:
        return []
    paths = {
        one.path
        for one in differences
        if isinstance(one, ValuesDiffer | Missing | Unexpected | SpecDiffers)
        and one.part is not PartName.STEP
    }
    positions = [at for at, pair in enumerate(found.pairs) if pair.path in paths]
    seen = [_corners(found, positions, side) for side in (0, 1)]
    contents: list[dict[int, Content]] = []
    for here, (side, ours) in enumerate(zip((found.a, found.b), seen, strict=True)):
        elsewhere = _Elsewhere(seen[1 - here])
        wanted = {at: key for at, key in ours.items() if elsewhere.has(at, key)}
        contents.append(_contents(side, wanted, found, here, effort))
    return [
        Unequal(at, *(_known(contents[here], seen[here], at, here) for here in (0, 1))) for at in positions
    ]


_Corner = tuple[str, bytes | None]
"""Spec and first element of a leaf; None where that was not read."""


def _corners(found: Comparison, positions: Sequence[int], side: int) -> dict[int, _Corner]:
    out: dict[int, _Corner] = {}
    for at in positions:
        leaf = (found.pairs[at].a, found.pairs[at].b)[side]
        if leaf is not None and isinstance(leaf.leaf.value, ArrayValue):
            tally = found.tallies.get(at)
            corners = None if tally is None else tally.corners
            out[at] = str(leaf.leaf.value.spec), None if corners is None else corners[side]
    return out


class _Elsewhere:
    """Where the other side has leaves of the same spec that may begin with the same element."""

    def __init__(self, theirs: dict[int, _Corner]) -> None:
        self._theirs = theirs
        self._corners = Counter(theirs.values())
        self._specs = Counter(spec for spec, _ in theirs.values())

    def has(self, at: int, key: _Corner) -> bool:
        """Whether any stands under another name than that at position `at`."""
        spec, corner = key
        if corner is None:
            return self._specs[spec] > (at in self._theirs and self._theirs[at][0] == spec)
        same = self._corners[key] + self._corners[spec, None]
        return same > (self._theirs.get(at) in (key, (spec, None)))


def _contents(
    side: Side, wanted: dict[int, _Corner], found: Comparison, here: int, effort: Effort
) -> dict[int, Content]:
    slices: dict[int, Slice] = {}
    for at in wanted:
        leaf = (found.pairs[at].a, found.pairs[at].b)[here]
        if leaf is not None:
            slices[at] = slice_of(leaf.leaf.op)
    digested = digests([(side.array(one.ref), one) for one in slices.values()], effort, lambda nbytes: None)
    return {at: (wanted[at][0], digested[one]) for at, one in slices.items()}


def _known(contents: dict[int, Content], seen: dict[int, _Corner], at: int, side: int) -> Content | None:
    """What stands there; where it was not read, since it stands nowhere else, what equals nothing."""
    if at not in seen:
        return None
    return contents.get(at, ("unread", f"{side} {at}".encode()))


def _summary(part: PartName, found: Comparison, by_path: dict[KeyPath, LeafDifference]) -> PartSummary:
    of_part = [pair for pair in found.pairs if pair.part is part]
    unlike = [one for pair in of_part if (one := by_path.get(pair.path)) is not None]
    measured = [one for one in unlike if isinstance(one, ValuesDiffer)]
    within = sum(not one.statistics.beyond for one in measured)
    absolute = max(measured, key=lambda one: one.statistics.max_abs or 0.0, default=None)
    relative = max(measured, key=lambda one: one.statistics.max_rel or 0.0, default=None)
    values = [pair.a.leaf.value for pair in of_part if pair.a is not None]
    return PartSummary(
        part=part,
        leaves=len(of_part),
        equal=len(of_part) - len(unlike),
        within=within,
        different=len(unlike) - within,
        nbytes=sum(value.spec.nbytes for value in values if isinstance(value, ArrayValue)),
        undecoded=found.spared[part],
        elements_differing=sum(one.statistics.differing for one in measured),
        max_abs=absolute.statistics.max_abs if absolute else None,
        max_abs_at=absolute.path if absolute else None,
        max_rel=relative.statistics.max_rel if relative else None,
        max_rel_at=relative.path if relative else None,
    )
