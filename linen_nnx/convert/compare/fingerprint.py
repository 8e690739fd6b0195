"""One digest of a train state that does not depend on its layout.

Equal for Linen and NNX, for layers stacked and one by one, for every leaf form, chunking and storage form,
if the content is: weights and other variables, moments and the rest of the optimizer, the step. Not part of
the content are PRNG streams, which Linen has no place for, and empty states, which are a matter of form; nor
is what kind of object a leaf was, nor the integer type of the step.
"""

from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from linen_nnx.convert.compare.digests import digests
from linen_nnx.convert.compare.leaves import Named, repeated
from linen_nnx.convert.compare.little import LITTLE, NOTHING, Known, is_little
from linen_nnx.convert.compare.sides import Side, sides
from linen_nnx.convert.compare.slices import Slice, slice_of
from linen_nnx.convert.engine.encoding import bytes_as_here
from linen_nnx.convert.engine.progress import Progress, Silent
from linen_nnx.convert.store.location import locate
from linen_nnx.convert.store.orbax_source import OrbaxItem, open_item
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.schema.array import ArrayValue, EmptyValue, StringValue
from linen_nnx.schema.errors import ProblemsError
from linen_nnx.schema.inspection import PartName
from linen_nnx.schema.ir import REFERENCE
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.routing import Effort

DOMAIN = b"linen-nnx train state 1\n"
"""What is digested first: a later definition of the fingerprint begins otherwise."""


def fingerprint(
    path: Path | str,
    *,
    step: int | None = None,
    item: str | None = None,
    layer_axis: int | None = None,
    effort: Effort | None = None,
    progress: Progress | None = None,
) -> str:
    """64 hexadecimal digits. Reads every array. Raises `CheckpointError`, `LayoutError`, `StorageError`.

    `layer_axis` is needed where shapes do not prove on which axis layers are stacked.
    """
    opened = open_item(locate(Path(path), step, item))
    return fingerprint_of(opened, layer_axis, effort or Effort(), progress=progress)


def fingerprint_of(
    item: OrbaxItem,
    layer_axis: int | None,
    effort: Effort,
    known: Known = NOTHING,
    progress: Progress | None = None,
) -> str:
    """That of an opened item; digests of elements that are `known` need not be taken."""
    (side,) = sides([item], layer_axis)
    return _taken(side, _known(side, known), effort, progress or Silent())


def cheap_fingerprint(
    item: OrbaxItem, layer_axis: int | None, effort: Effort, known: Known = NOTHING
) -> str | None:
    """As `fingerprint_of`, where little is left to decode and to look at; else None.

    Nor is there one of what wants an axis named: who asks for a fingerprint is told. Raises `StorageError`.
    """
    if not is_little(item, known):
        return None
    try:
        (side,) = sides([item], layer_axis)
        found = _known(side, known)
        left = sum(array.zarr.spec.nbytes for array, one in _wanted(side) if one not in found)
        return _taken(side, found, effort, Silent()) if left <= LITTLE else None
    except ProblemsError:
        return None


def _known(side: Side, known: Known) -> dict[Slice, bytes]:
    """Those of leaves that are arrays of one chunk, whose elements stand there as they are in memory."""
    found = {}
    for array, one in _wanted(side):
        zarr = array.zarr
        if not one.fixed and zarr.chunk_shape == zarr.shape and bytes_as_here(zarr):
            key = f"{array.name}/{zarr.chunk_key((0,) * len(zarr.shape))}"
            if (digest := known.get((array.folder, key))) is not None:
                found[one] = bytes.fromhex(digest)
    return found


def _taken(side: Side, known: dict[Slice, bytes], effort: Effort, progress: Progress) -> str:
    leaves = [leaf for leaf in side.leaves if _is_content(leaf)]
    left = [(array, one) for array, one in _wanted(side) if one not in known]
    progress.start(sum(v.spec.nbytes for leaf in leaves if isinstance(v := leaf.leaf.value, ArrayValue)))
    found = known | digests(left, effort, progress.advance)
    twice = repeated(leaves)
    lines = sorted(_line(leaf, side, found, twice) for leaf in leaves)
    return blake3(DOMAIN + b"".join(lines)).hexdigest()


def _is_content(leaf: Named) -> bool:
    return not (leaf.is_rng or isinstance(leaf.leaf.value, EmptyValue))


def _wanted(side: Side) -> Iterator[tuple[StoredArray, Slice]]:
    for leaf in side.leaves:
        array = isinstance(leaf.leaf.value, ArrayValue)
        if array and leaf.part is not PartName.STEP and _is_content(leaf):
            one = slice_of(leaf.leaf.op)
            yield side.array(one.ref), one


def _line(leaf: Named, side: Side, found: dict[Slice, bytes], twice: set[KeyPath]) -> bytes:
    """Name, spec and content of a leaf; names hold no line break that they do not escape."""
    value = leaf.leaf.value
    match value:
        case _ if leaf.part is PartName.STEP:
            spec, content = "step", str(side.step).encode()
        case ArrayValue(spec=array):
            spec, content = str(array), found[slice_of(leaf.leaf.op)].hex().encode()
        case StringValue(text=text):
            spec, content = "string", blake3(text.encode()).hexdigest().encode()
        case _:
            raise TypeError(f"{value} is no content")
    name = blake3(str(_name(leaf, twice)).encode()).hexdigest()
    return b" ".join((name.encode(), spec.encode(), content)) + b"\n"


def _name(leaf: Named, twice: set[KeyPath]) -> KeyPath:
    """A leaf's name in every layout: its collection is told only where a path alone would not do."""
    told = leaf.collection if leaf.collection == REFERENCE or leaf.path in twice else None
    level = ROOT if told is None else ROOT / told
    if leaf.part is PartName.STEP:
        return leaf.path
    if leaf.part is PartName.OPTIMIZER:
        return ROOT / "optimizer" / str(leaf.field) + level + leaf.path
    return ROOT / "model" + level + leaf.path
