"""What a page shows of a checkpoint and of a plan."""

import shlex
from collections.abc import Iterable, Sequence

from linen_nnx.cli.page.model import Fact, Finding, Findings, Page, Row, Tone, Verdict
from linen_nnx.cli.render.inspection import group_text
from linen_nnx.cli.render.out import size
from linen_nnx.cli.render.plan import op
from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.inspection import Inspection
from linen_nnx.schema.ops import Copy, Fill
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Drop, Note, Place, Write
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.routing import Route, RoutedPlan

_ASIDE = "linen_nnx (kept aside)"
_DROPPED = "dropped"

_TONE = {
    Route.METADATA: Tone.MADE,
    Route.REFERENCE: Tone.KEPT,
    Route.CHUNK: Tone.CHUNK,
    Route.DECODE: Tone.DECODE,
}


def of_checkpoint(found: Inspection, faults: Sequence[Problem]) -> Page:
    """A checkpoint as it stands; `faults` is what `validate` says of it."""
    faulty = {problem.path for problem in faults}
    rows = [
        _row(entry.path, entry.value, tone=Tone.FAULTY if entry.path in faulty else Tone.PLAIN)
        for entry in found.inventory.entries
    ]
    return Page(
        title=found.path,
        verdict=Verdict.BAD if faults else Verdict.GOOD,
        saying=f"{len(faults)} problems"
        if faults
        else "valid: its metadata agrees with itself and what is stored",
        facts=tuple(_of_inspection(found)),
        findings=sections(problems_of(faults), *losses((), found.notes)),
        rows=tuple(rows),
        commands=commands("inspect", found.path) + commands("validate", found.path),
    )


def of_plan(made: RoutedPlan) -> Page:
    """What a conversion would do."""
    values = {entry.source: entry.value for entry in made.inputs}
    rows = [
        _write(write, _TONE[routed.route])
        for write, routed in zip(made.writes, made.execution.writes, strict=True)
    ]
    rows += [
        _row(drop.source.path, values[drop.source], Tone.DROPPED, drop.rule.reason, below=_DROPPED)
        for drop in made.drops
    ]
    cost = made.execution
    facts = (
        Fact(name="layouts", text=f"{made.source.layout.value} to {made.target.layout.value}"),
        Fact(name="entries", text=_counts(len(made.item_writes), len(made.side_writes), len(made.drops))),
        Fact(
            name="stored bytes",
            text=f"{size(cost.referenced)} by reference, {size(cost.moved)} moved one by one, "
            f"{size(cost.decoded)} decoded",
        ),
        Fact(name="memory", text=f"at most {size(cost.peak_memory)}"),
    )
    return Page(
        title=f"plan: {made.source.layout.value} to {made.target.layout.value}",
        verdict=Verdict.OPEN,
        saying="a plan: nothing has been written",
        facts=facts,
        findings=losses(made.drops, made.notes),
        rows=tuple(rows),
        commands=(),
    )


def losses(drops: Sequence[Drop], notes: Sequence[Note]) -> tuple[Findings, ...]:
    """The sections of what is dropped, with the rules, and of what is remarked."""
    dropped = (Finding(kind=drop.rule.value, where=str(drop.source), text=drop.rule.reason) for drop in drops)
    return sections(
        Findings(heading="Dropped", found=tuple(dropped)),
        Findings(heading="Notes", found=tuple(map(_note, notes))),
    )


def problems_of(faults: Iterable[Problem]) -> Findings:
    """The section of problems."""
    return Findings(
        heading="Problems",
        found=tuple(
            Finding(
                kind=problem.code.value,
                where=str(problem.path),
                text=f"expected {problem.expected}, found {problem.found}",
                hint=problem.hint or "",
            )
            for problem in faults
        ),
    )


def commands(verb: str, *arguments: str) -> tuple[str, ...]:
    """A command to type, its arguments quoted for a shell."""
    return (shlex.join(["linen-nnx", verb, *arguments]),)


def sections(*every: Findings) -> tuple[Findings, ...]:
    """Those that have something to say."""
    return tuple(section for section in every if section.found)


def _note(note: Note) -> Finding:
    return Finding(kind=note.code.value, where="", text=note.text)


def _counts(entries: int, aside: int, dropped: int) -> str:
    return f"{entries} written, {aside} kept aside, {dropped} dropped"


def _of_inspection(found: Inspection) -> Iterable[Fact]:
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


def _write(write: Write, tone: Tone) -> Row:
    if write.place is Place.SIDE:
        return _row(write.target, write.value, Tone.ASIDE, op(write.op), below=_ASIDE)
    match write.op:
        case Fill():
            return _row(write.target, write.value, Tone.MADE, "put in")
        case Copy(source=source) if str(source) == str(write.target):
            return _row(write.target, write.value, tone)
        case made:
            return _row(write.target, write.value, tone, op(made))


def _row(
    path: KeyPath, value: Value, tone: Tone = Tone.PLAIN, remark: str = "", *, below: str | None = None
) -> Row:
    keys = tuple(str(path[i : i + 1]) for i in range(len(path)))
    return Row(
        keys=keys if below is None else (below, *keys),
        spec=str(value),
        nbytes=value.spec.nbytes if isinstance(value, ArrayValue) else 0,
        tone=tone,
        remark=remark,
    )
