"""Hold a converted checkpoint against the one that it came from: every value, bit for bit."""

from collections.abc import Iterator

from linen_nnx.convert.compare.comparing import Comparison, compare
from linen_nnx.convert.compare.pairing import in_collections_of
from linen_nnx.convert.compare.ruled import leads_across, ruled_problems
from linen_nnx.convert.compare.sides import sides
from linen_nnx.convert.compare.told import values_differ
from linen_nnx.convert.engine.progress import Silent
from linen_nnx.convert.proof.receipts import read_receipt
from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.difference import (
    Asked,
    EmptiesDiffer,
    LayersDiffer,
    LeafDifference,
    Missing,
    SpecDiffers,
    TextDiffers,
    Unexpected,
    ValuesDiffer,
)
from linen_nnx.schema.errors import ProblemsError
from linen_nnx.schema.inspection import PartName
from linen_nnx.schema.ir import Leaf
from linen_nnx.schema.ops import Ref, refs
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.plan import NoteCode
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.receipt import Receipt
from linen_nnx.schema.routing import Effort


def value_problems(source: OrbaxItem, target: OrbaxItem, effort: Effort | None = None) -> list[Problem]:
    """Every array of `source` that `target` does not hold, bit for bit; and what it holds beside them.

    What the receipt in `target` names as dropped may be missing; variables that are no parameters may
    come from a template.
    """
    receipt = read_receipt(target.folder)
    try:
        if isinstance(receipt, Receipt) and leads_across(receipt.options, source, target):
            return ruled_problems(source, target, receipt.options)
        one, other = sides([source, target])
    except ProblemsError as error:
        return list(error.problems)
    if isinstance(receipt, Receipt) and _other_collections(receipt):
        other = in_collections_of(one, other)
    dropped = {drop.source for drop in receipt.drops} if isinstance(receipt, Receipt) else set()
    compared = compare(one, other, Asked(), effort or Effort(), Silent())
    return [problem for found in _differences(compared) for problem in _problems(found, dropped)]


def _other_collections(receipt: Receipt) -> bool:
    """Whether variables changed their collection, as a template had them."""
    return any(note.code is NoteCode.OTHER_COLLECTION for note in receipt.notes)


def _differences(compared: Comparison) -> Iterator[LeafDifference]:
    for at in range(len(compared.pairs)):
        if (found := compared.difference(at)) is not None:
            yield found


def _problems(found: LeafDifference, dropped: set[Ref]) -> Iterator[Problem]:
    path = _path(found.path, found.part)
    match found:
        case Missing(a=a):
            yield from _missing(path, a, dropped)
        case Unexpected(b=b):
            yield from _unexpected(path, found.part, b)
        case EmptiesDiffer(a=a, b=b):
            if a is not None and isinstance(a.value, ArrayValue):
                yield from _missing(path, a, dropped)
            if b is not None and isinstance(b.value, ArrayValue):
                yield from _unexpected(path, found.part, b)
        case SpecDiffers(a=a, b=b) | TextDiffers(a=a, b=b):
            yield _differs(path, str(a.value), str(b.value))
        case ValuesDiffer(statistics=counted):
            yield values_differ(path, counted)
        case LayersDiffer():
            return


def _path(path: KeyPath, part: PartName) -> KeyPath:
    """Parameters and other variables stand in one model."""
    match part:
        case PartName.PARAMS:
            return ROOT / "model" + path[1:]
        case PartName.AUX:
            return ROOT / "model" + path[2:]
        case PartName.OPTIMIZER | PartName.STEP:
            return path


def _missing(path: KeyPath, leaf: Leaf, dropped: set[Ref]) -> Iterator[Problem]:
    sources = list(refs(leaf.op))
    if not set(sources) <= dropped:
        yield Problem(
            code=Code.MISSING_ENTRY, path=path, expected=f"the values of {sources[0]}", found="nothing"
        )


def _unexpected(path: KeyPath, part: PartName, leaf: Leaf) -> Iterator[Problem]:
    if part is not PartName.AUX:
        yield Problem(
            code=Code.UNEXPECTED_ENTRY,
            path=path,
            expected="nothing: the source has no such leaf",
            found=str(leaf.value),
        )


def _differs(path: KeyPath, expected: str, found: str) -> Problem:
    return Problem(code=Code.VALUE_DIFFERS, path=path, expected=expected, found=found)
