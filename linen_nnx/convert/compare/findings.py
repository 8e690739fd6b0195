"""Name what explains differences: from the differences themselves, and from content that stands elsewhere."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from linen_nnx.convert.compare.moved import Unequal, permuted, renamed
from linen_nnx.convert.compare.pairing import Pair
from linen_nnx.schema.array import ArrayValue, DType
from linen_nnx.schema.difference import LeafDifference, Missing, SpecDiffers, Unexpected, ValuesDiffer
from linen_nnx.schema.finding import (
    DTypeChanged,
    FactorsApart,
    FieldMove,
    FieldsMoved,
    Finding,
    LayerMove,
    LayersMissing,
    LayersMoved,
    LeafMove,
    LeavesMoved,
    PartMissing,
    RngsMissing,
    Which,
    Zeroed,
)
from linen_nnx.schema.inspection import PartName
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.path import ROOT, KeyPath

Numbers = Mapping[KeyPath, tuple[set[int], set[int]]]
"""The numbers of the layers of each group, on both sides."""


def layer_numbers(found: Sequence[Pair]) -> Numbers:
    """The layers that both sides have of a group: of parameters, or of moments where there are none."""
    groups: dict[KeyPath, tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
    parts = {pair.part for pair in found}
    part = PartName.PARAMS if PartName.PARAMS in parts else PartName.OPTIMIZER
    for pair in found:
        for at, leaf in enumerate((pair.a, pair.b)):
            if leaf is not None and leaf.layer is not None and pair.part is part:
                groups[leaf.layer.group][at].add(leaf.layer.number)
    return {group: numbers for group, numbers in groups.items() if all(numbers)}


def missing(
    found: Sequence[Pair], differences: Sequence[LeafDifference], layouts: tuple[Layout, Layout]
) -> Iterator[Finding]:
    """Layers, streams of random numbers and whole parts that one side has not."""
    pairs = {pair.path: pair for pair in found}
    for which, kind, layout in ((Which.A, Unexpected, layouts[0]), (Which.B, Missing, layouts[1])):
        lost = [pairs[one.path] for one in differences if isinstance(one, kind)]
        at = 0 if which is Which.A else 1
        for group, numbers in layer_numbers(found).items():
            gone = numbers[1 - at] - numbers[at]
            paths = [
                p.path
                for p in lost
                if (layer := p.either.layer) and layer.group == group and layer.number in gone
            ]
            if gone:
                yield LayersMissing(
                    missing_in=which, group=group, layers=tuple(sorted(gone)), paths=tuple(paths)
                )
        if rngs := tuple(pair.path for pair in lost if pair.either.is_rng):
            yield RngsMissing(missing_in=which, no_place=layout is Layout.LINEN, paths=rngs)
        yield from _parts_missing(found, lost, which, at)


def _parts_missing(
    found: Sequence[Pair], lost: Sequence[Pair], which: Which, at: int
) -> Iterator[PartMissing]:
    for part in PartName:
        of_part = [pair for pair in found if pair.part is part and not pair.either.is_rng]
        if of_part and all((pair.a, pair.b)[at] is None for pair in of_part):
            paths = tuple(pair.path for pair in lost if pair.part is part and not pair.either.is_rng)
            if paths:
                yield PartMissing(missing_in=which, part=part, paths=paths)


def dtype_changes(differences: Iterable[LeafDifference]) -> Iterator[DTypeChanged]:
    """Leaves of another dtype, by part and dtypes."""
    found: dict[tuple[PartName, DType, DType], list[SpecDiffers]] = defaultdict(list)
    for one in differences:
        match one:
            case SpecDiffers(a=a, b=b) if isinstance(a.value, ArrayValue) and isinstance(b.value, ArrayValue):
                ours, theirs = a.value.spec, b.value.spec
                if ours.shape == theirs.shape and ours.dtype is not theirs.dtype:
                    found[one.part, ours.dtype, theirs.dtype].append(one)
            case _:
                continue
    for (part, dtype, other), changed in found.items():
        read = [one.statistics for one in changed if one.statistics is not None]
        yield DTypeChanged(
            part=part,
            a=dtype,
            b=other,
            same_values=all(s.differing == 0 for s in read) if len(read) == len(changed) else None,
            paths=tuple(one.path for one in changed),
        )


def factors_apart(found: Sequence[Pair], differences: Sequence[LeafDifference]) -> Iterator[FactorsApart]:
    """Factored moments under names that one side alone has: of stacked layers, and of layers one by one."""
    factored = {pair.path: pair.either.field for pair in found if pair.either.factored}
    alone = [one for one in differences if isinstance(one, Missing | Unexpected) and one.path in factored]
    if len({one.kind for one in alone}) > 1:
        fields = {field for one in alone if (field := factored[one.path]) is not None}
        yield FactorsApart(
            fields=tuple(sorted(fields, key=lambda field: field.natural())),
            paths=tuple(one.path for one in alone),
        )


def zeroed(
    differences: Iterable[LeafDifference], nonzero: Mapping[KeyPath, tuple[bool, bool]]
) -> Iterator[Zeroed]:
    """Leaves that are all zero on one side alone; `nonzero` tells for each side whether a value is not."""
    found: dict[tuple[Which, PartName], list[KeyPath]] = defaultdict(list)
    for one in differences:
        a, b = nonzero.get(one.path, (True, True))
        if isinstance(one, ValuesDiffer) and a != b:
            found[Which.B if a else Which.A, one.part].append(one.path)
    for (which, part), paths in found.items():
        yield Zeroed(zero_in=which, part=part, paths=tuple(paths))


def moves(pairs: Sequence[Pair], found: Sequence[Unequal]) -> Iterator[Finding]:
    """Layers, fields and leaves that stand elsewhere. `found` refer to `pairs` by position."""
    explained: set[KeyPath] = set()
    elsewhere: list[LayersMoved | FieldsMoved] = [*_layers(pairs, found), *_fields(pairs, found)]
    for finding in elsewhere:
        explained.update(finding.paths)
        yield finding
    left = [one for one in found if pairs[one.at].path not in explained and _size(pairs[one.at]) > 1]
    if moved := renamed(left):
        named = [(pairs[one.at].path, pairs[other.at].path) for one, other in moved]
        paths = tuple(dict.fromkeys(path for pair in named for path in pair))
        yield LeavesMoved(moves=tuple(LeafMove(a=a, b=b) for a, b in named), paths=paths)


def _size(pair: Pair) -> int:
    value = pair.either.leaf.value
    return value.spec.size if isinstance(value, ArrayValue) else 0


def _layers(pairs: Sequence[Pair], found: Sequence[Unequal]) -> list[LayersMoved]:
    families: dict[tuple[KeyPath, PartName, KeyPath | None], list[Unequal]] = defaultdict(list)
    for one in found:
        leaf = pairs[one.at].either
        if leaf.layer is not None:
            families[leaf.layer.group, pairs[one.at].part, leaf.field].append(one)

    def number(one: Unequal) -> int:
        layer = pairs[one.at].either.layer
        return -1 if layer is None else layer.number

    def rest(one: Unequal) -> KeyPath:
        layer = pairs[one.at].either.layer
        return ROOT if layer is None else layer.rest

    merged: dict[tuple[KeyPath, tuple[LayerMove, ...]], tuple[list[PartName], list[KeyPath]]] = {}
    for (group, part, _), members in families.items():
        moved = permuted(members, number, rest)
        if not moved:
            continue
        key = group, tuple(LayerMove(a=a, b=b) for a, b in sorted(moved.items()))
        parts, paths = merged.setdefault(key, ([], []))
        parts.append(part)
        both = {*moved, *moved.values()}
        paths += [pairs[one.at].path for one in members if number(one) in both]
    return [
        LayersMoved(group=group, parts=tuple(dict.fromkeys(parts)), moves=moved, paths=tuple(paths))
        for (group, moved), (parts, paths) in merged.items()
    ]


def _fields(pairs: Sequence[Pair], found: Sequence[Unequal]) -> list[FieldsMoved]:
    members = [
        one for one in found if pairs[one.at].either.field is not None and len(pairs[one.at].either.path)
    ]

    def field(one: Unequal) -> KeyPath:
        return pairs[one.at].either.field or ROOT

    def rest(one: Unequal) -> KeyPath:
        return pairs[one.at].either.path

    moved = permuted(members, field, rest)
    if not moved:
        return []
    both = {*moved, *moved.values()}
    paths = tuple(pairs[one.at].path for one in members if field(one) in both)
    ordered = sorted(moved.items(), key=lambda move: move[0].natural())
    return [FieldsMoved(moves=tuple(FieldMove(a=a, b=b) for a, b in ordered), paths=paths)]
