"""What a page shows of a checkpoint as it stands, and of what its receipt says of it."""

from collections.abc import Iterable, Sequence

from linen_nnx.cli.page.model import Fact, Page, Row, Tone, Verdict
from linen_nnx.cli.page.receipts import digest_text, of_history, recorded
from linen_nnx.cli.page.rows import commands, losses, problems_of, row, sections
from linen_nnx.cli.render.inspections import group_text
from linen_nnx.cli.render.out import counted, size
from linen_nnx.schema.inspection import Inspection
from linen_nnx.schema.inventory import Entry
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Place
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.receipt import Receipt, Recorded, Seal, Sealed


def of_checkpoint(
    found: Inspection,
    faults: Sequence[Problem],
    receipt: Receipt | Seal | None = None,
    *,
    verified: bool = False,
) -> Page:
    """A checkpoint. `faults` is what `validate` says of it, or with `verified` what `verify` does too."""
    known = {e.target: e for e in receipt.entries if e.place is Place.ITEM} if receipt is not None else {}
    faulty = {problem.path for problem in faults}
    rows = [_row(entry, known.get(entry.path), faulty) for entry in found.inventory.entries]
    if isinstance(receipt, Receipt):
        rows += [recorded(entry) for entry in receipt.entries if entry.place is Place.SIDE]
    drops = receipt.drops if isinstance(receipt, Receipt) else ()
    notes = receipt.notes if isinstance(receipt, Receipt) else found.notes
    good = "verified: every stored byte is what its receipt says" if verified else _VALID
    return Page(
        title=found.path,
        verdict=Verdict.BAD if faults else Verdict.GOOD,
        saying=counted(len(faults), "problem") if faults else good,
        facts=(*_facts(found), *of_history(receipt)),
        findings=sections(problems_of(faults), *losses(drops, notes)),
        rows=tuple(rows),
        commands=tuple(
            line for verb in ("inspect", "validate", "verify") for line in commands(verb, found.path)
        ),
    )


_VALID = "valid: metadata and stored arrays agree; their bytes were not read"


def _row(entry: Entry, known: Sealed | None, faulty: set[KeyPath]) -> Row:
    if entry.path in faulty:
        return row(entry.path, entry.value, Tone.FAULTY, digest=digest_text(known))
    if isinstance(known, Recorded):
        return recorded(known)
    return row(entry.path, entry.value, digest=digest_text(known))


def _facts(found: Inspection) -> Iterable[Fact]:
    if found.detection is not None:
        evidence = "; ".join(found.detection.evidence)
        yield Fact(name="layout", text=f"{found.detection.layout.value} ({evidence})")
    yield Fact(name="step", text="none" if found.step is None else str(found.step))
    form = "OCDBT" if found.storage.ocdbt else "a folder an array"
    yield Fact(name="storage", text=f"{form}, zarr v{found.storage.zarr_format}")
    for part in found.parts:
        if part.entries:
            text = f"{part.entries} entries, {part.elements:,} elements, {size(part.nbytes)}"
            yield Fact(name=part.name.value, text=text)
    for group in found.groups:
        yield Fact(name="layers", text=group_text(group))
    for field in found.mirrors:
        yield Fact(name="optimizer", text=f"{field.at} mirrors {field.moments} parameters")
