"""Which leaf of A is which leaf of B."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from linen_nnx.convert.compare.leaves import Named, repeated
from linen_nnx.convert.compare.sides import Side
from linen_nnx.schema.array import EmptyValue
from linen_nnx.schema.inspection import PartName
from linen_nnx.schema.ir import PARAMS, REFERENCE, RNGS
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.ops import Origin, refs
from linen_nnx.schema.path import ROOT, KeyPath


@dataclass(frozen=True, slots=True)
class Pair:
    """One name, and the leaf on each side; at least one is there."""

    path: KeyPath
    part: PartName
    a: Named | None
    b: Named | None

    @property
    def either(self) -> Named:
        """The leaf of A, or else of B."""
        one = self.a or self.b
        assert one is not None
        return one


_Key = tuple[object, ...]


def pairs(a: Side, b: Side) -> list[Pair]:
    """Every leaf of either side, in natural order of names.

    An empty that one layout writes and the other does not is a matter of form and left out: where the
    layouts differ, and where it is only kept beside a state whose layout has no place for it.
    """
    collections = _collections_count(a.layout, b.layout)
    twice = repeated(a.leaves) | repeated(b.leaves)
    ones, others = ({_key(leaf, collections, twice): leaf for leaf in side.leaves} for side in (a, b))
    same_layout = a.layout is b.layout
    found = (_pair(ones.get(key), others.get(key), key) for key in dict.fromkeys((*ones, *others)))
    kept = [pair for pair in found if not _is_form(pair, same_layout=same_layout)]
    return sorted(kept, key=lambda pair: pair.path.natural())


def in_collections_of(a: Side, b: Side) -> Side:
    """`b`, each leaf in the collection that it has in `a`, where both have one at its place."""
    ours = {(leaf.field, leaf.path, leaf.layer): leaf for leaf in a.leaves}

    def told(leaf: Named) -> Named:
        one = ours.get((leaf.field, leaf.path, leaf.layer))
        return leaf if one is None else replace(leaf, part=one.part, collection=one.collection)

    return replace(b, leaves=tuple(map(told, b.leaves)))


def _is_form(pair: Pair, *, same_layout: bool) -> bool:
    leaf = pair.either.leaf
    if (pair.a is not None and pair.b is not None) or not isinstance(leaf.value, EmptyValue):
        return False
    return not same_layout or any(ref.origin is Origin.SIDE for ref in refs(leaf.op))


def _collections_count(a: Layout, b: Layout) -> dict[str, str] | None:
    """How both layouts tell collections: by their names (None), or as parameters and the rest, or not."""
    if a is b is Layout.LINEN:
        return None
    if a.is_nnx or b.is_nnx:
        return {}
    return {PARAMS: PARAMS}


def _key(leaf: Named, collections: dict[str, str] | None, twice: set[KeyPath]) -> _Key:
    """The name of a leaf, as far as both sides can tell it."""
    told: str | None = leaf.collection
    if leaf.collection == REFERENCE:
        told = REFERENCE
    elif collections is not None and leaf.path not in twice and leaf.collection is not None:
        told = collections.get(leaf.collection, "")
    return (leaf.part is PartName.STEP, told, leaf.field, leaf.path)


def _pair(a: Named | None, b: Named | None, key: _Key) -> Pair:
    either = a or b
    assert either is not None
    part = PartName.PARAMS if a and b and PartName.PARAMS in (a.part, b.part) else either.part
    return Pair(_path(replace(either, part=part), key[1]), part, a, b)


def _path(leaf: Named, told: object) -> KeyPath:
    """How a name is printed."""
    match leaf.part:
        case PartName.STEP:
            return leaf.path
        case PartName.OPTIMIZER:
            level = ROOT / told if isinstance(told, str) and told not in ("", PARAMS) else ROOT
            return ROOT / "optimizer" + (leaf.field or ROOT) + level + leaf.path
        case PartName.PARAMS:
            return ROOT / "params" + leaf.path
        case PartName.AUX:
            level = ROOT / (leaf.collection or RNGS)
            return ROOT / "aux" + level + leaf.path


def chosen(found: Sequence[Pair], parts: Sequence[PartName]) -> Iterator[Pair]:
    """Those of the parts that were asked for."""
    return (pair for pair in found if pair.part in parts)
