"""A source that has a receipt is held against it while it is read, so that no damage is carried over."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from linen_nnx.convert.proof.covering import arrays_of, chunks_of, region_of
from linen_nnx.convert.proof.hashing import Region, digest
from linen_nnx.convert.proof.receipts import read_receipt
from linen_nnx.convert.store.extents import Extent
from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.schema.digest import StoredChunks
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem

_HINT = (
    "take the source from another copy; `linen-nnx verify` tells all that is damaged. If it was changed on "
    "purpose, `linen-nnx seal --overwrite` takes its digests anew"
)


@dataclass(frozen=True, slots=True)
class Custody:
    """What receipts say of chunks in files, and what inline ones (at hand already) are not as they say."""

    expected: Mapping[Region, tuple[KeyPath, str]]
    problems: tuple[Problem, ...]

    def problems_of(self, found: Mapping[Region, str]) -> list[Problem]:
        """Every array of which a chunk is not what the receipt says; each once."""
        wrong: dict[KeyPath, Problem] = {problem.path: problem for problem in self.problems}
        for region, result in found.items():
            if region in self.expected and self.expected[region][1] != result:
                path = self.expected[region][0]
                wrong.setdefault(path, _problem(path, str(region.file)))
        return list(wrong.values())


def custody_of(items: Iterable[OrbaxItem]) -> Custody:
    """Of the sources of a conversion. Raises `CheckpointError` where a receipt is damaged."""
    expected: dict[Region, tuple[KeyPath, str]] = {}
    problems: list[Problem] = []
    for item in items:
        receipt = read_receipt(item.location.item)
        arrays = {} if receipt is None else arrays_of(item)
        for entry in () if receipt is None else receipt.entries:
            stored = arrays.get((entry.place, entry.target))
            for sealed in entry.digests:
                if stored is not None and isinstance(sealed, StoredChunks):
                    problems += _expect(entry.target, stored, sealed, expected)
    return Custody(expected, tuple(problems))


def _expect(
    path: KeyPath, stored: StoredArray, sealed: StoredChunks, expected: dict[Region, tuple[KeyPath, str]]
) -> list[Problem]:
    chunks = chunks_of(stored)
    if len(chunks) != len(sealed.chunks):
        return [_problem(path, str(stored.folder))]
    for (_, value), known in zip(chunks, sealed.chunks, strict=True):
        if isinstance(value, Extent) and known is not None:
            expected[region_of(stored, value)] = (path, known)
        elif known != (digest(value) if isinstance(value, bytes) else None):
            return [_problem(path, str(stored.folder))]
    return []


def _problem(path: KeyPath, file: str) -> Problem:
    return Problem(
        code=Code.DIGEST_MISMATCH,
        path=path,
        file=file,
        expected="the stored bytes that the source's own receipt knows",
        found="others",
        hint=_HINT,
    )
