"""Compare two sides: pairs by their specs, then by their values, in two passes at most."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from linen_nnx.convert.compare.elements import Tally, is_number
from linen_nnx.convert.compare.pairing import Pair, chosen, pairs
from linen_nnx.convert.compare.reading import Unit, Work, run_units, units
from linen_nnx.convert.compare.sides import Side
from linen_nnx.convert.compare.slices import slice_of
from linen_nnx.convert.engine.progress import Progress
from linen_nnx.schema.array import ArrayValue, EmptyValue, StringValue
from linen_nnx.schema.difference import (
    Asked,
    Depth,
    Element,
    EmptiesDiffer,
    LeafDifference,
    Missing,
    SpecDiffers,
    Statistics,
    TextDiffers,
    Unexpected,
    ValuesDiffer,
)
from linen_nnx.schema.inspection import PartName
from linen_nnx.schema.ir import Leaf
from linen_nnx.schema.routing import Effort


@dataclass
class Comparison:
    """All that was found, pair by pair."""

    a: Side
    b: Side
    asked: Asked
    pairs: list[Pair]
    tallies: dict[int, Tally] = field(default_factory=dict)
    """Of the pairs whose values were read, by their position."""
    spared: dict[PartName, int] = field(default_factory=lambda: defaultdict(int))
    """Bytes that need not be decoded."""

    def difference(self, at: int) -> LeafDifference | None:
        """What tells the two leaves of a pair apart, within tolerance or not."""
        pair = self.pairs[at]
        match pair.a, pair.b:
            case None, None:
                return None
            case None, b if b is not None:
                return _alone(pair, None, b.leaf)
            case a, None if a is not None:
                return _alone(pair, a.leaf, None)
            case a, b if a is not None and b is not None:
                return self._both(at, pair, a.leaf, b.leaf)
            case _:
                raise AssertionError

    def _both(self, at: int, pair: Pair, a: Leaf, b: Leaf) -> LeafDifference | None:
        match a.value, b.value:
            case EmptyValue() | StringValue(), _ if a.value == b.value:
                return None
            case (EmptyValue(), _) | (_, EmptyValue()):
                return EmptiesDiffer(path=pair.path, part=pair.part, a=a, b=b)
            case StringValue(), StringValue():
                return TextDiffers(path=pair.path, part=pair.part, a=a, b=b)
            case ArrayValue() as one, ArrayValue() as other:
                if pair.part is PartName.STEP and one.spec.shape == other.spec.shape == ():
                    return self._step(pair, a, b)
                return self._arrays(at, pair, a, b, same=one.spec == other.spec)
            case _:
                return SpecDiffers(path=pair.path, part=pair.part, a=a, b=b)

    def _arrays(self, at: int, pair: Pair, a: Leaf, b: Leaf, *, same: bool) -> LeafDifference | None:
        tally = self.tallies.get(at)
        if not same:
            statistics = None if tally is None else tally.statistics()
            return SpecDiffers(path=pair.path, part=pair.part, a=a, b=b, statistics=statistics)
        if tally is None or not tally.differing:
            return None
        return ValuesDiffer(path=pair.path, part=pair.part, a=a, b=b, statistics=tally.statistics())

    def _step(self, pair: Pair, a: Leaf, b: Leaf) -> LeafDifference | None:
        """Its integer type is a matter of the layout."""
        if self.asked.depth is Depth.STRUCTURE or self.a.step == self.b.step:
            return None
        element = Element(index=(), a=str(self.a.step), b=str(self.b.step))
        apart = float(abs((self.a.step or 0) - (self.b.step or 0)))
        found = Statistics(elements=1, differing=1, beyond=1, first=element, largest=element, max_abs=apart)
        return ValuesDiffer(path=pair.path, part=pair.part, a=a, b=b, statistics=found)


def _alone(pair: Pair, a: Leaf | None, b: Leaf | None) -> LeafDifference:
    leaf = a or b
    assert leaf is not None
    if isinstance(leaf.value, EmptyValue):
        return EmptiesDiffer(path=pair.path, part=pair.part, a=a, b=b)
    if b is None:
        return Missing(path=pair.path, part=pair.part, a=leaf)
    return Unexpected(path=pair.path, part=pair.part, b=leaf)


def compare(a: Side, b: Side, asked: Asked, effort: Effort, progress: Progress) -> Comparison:
    """Hold `a` against `b`. Raises `StorageError`."""
    comparison = Comparison(a, b, asked, list(chosen(pairs(a, b), asked.parts)))
    if asked.depth is Depth.STRUCTURE:
        return comparison
    works = dict(_works(comparison))
    comparison.tallies = {at: work.tally for at, work in works.items()}
    made = units(list(works.values()))
    parts = {id(work): comparison.pairs[at].part for at, work in works.items()}
    progress.start(sum(unit.nbytes for unit in made))
    for at, nbytes in run_units(made, effort, progress.advance).items():
        comparison.spared[parts[id(made[at].works[0])]] += nbytes
    _measure_by_scale(works, comparison, effort)
    return comparison


def _works(comparison: Comparison) -> Iterator[tuple[int, Work]]:
    for at, pair in enumerate(comparison.pairs):
        if pair.a is None or pair.b is None or pair.part is PartName.STEP:
            continue
        a, b = pair.a.leaf, pair.b.leaf
        if not (isinstance(a.value, ArrayValue) and isinstance(b.value, ArrayValue)):
            continue
        one, other = a.value.spec, b.value.spec
        numbers = is_number(one) and is_number(other)
        if one == other or (one.shape == other.shape and one.dtype is not other.dtype and numbers):
            slices = slice_of(a.op), slice_of(b.op)
            arrays = comparison.a.array(slices[0].ref), comparison.b.array(slices[1].ref)
            yield at, Work((a.op, b.op), slices, arrays, Tally(one, other, comparison.asked.tolerance))


def _measure_by_scale(works: dict[int, Work], comparison: Comparison, effort: Effort) -> None:
    """Where a tolerance is by the array's own scale, count anew now that the scale is known."""
    again: dict[int, Work] = {}
    for at, work in works.items():
        tally = work.tally
        if tally.wants_scale:
            tally.scale = tally.seen_scale
            if tally.beyond:
                fresh = Tally(tally.a, tally.b, tally.tolerance, tally.seen_scale)
                again[at] = Work(work.ops, work.slices, work.arrays, fresh)
    made: Sequence[Unit] = units(list(again.values()))
    run_units(made, effort, lambda nbytes: None)
    for at, work in again.items():
        comparison.tallies[at] = work.tally
