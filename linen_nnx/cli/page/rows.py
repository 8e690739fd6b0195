"""Rows and findings, which the pages of all results are made of."""

import shlex
from collections.abc import Iterable, Sequence

from linen_nnx.cli.page.model import Finding, Findings, Row, Tone
from linen_nnx.cli.render.plan import op
from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.ops import Copy, Fill, Op
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Drop, Note, Place
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.routing import Route

_ASIDE = "linen_nnx (kept aside)"
_DROPPED = "dropped"

_TONE = {
    Route.METADATA: Tone.MADE,
    Route.REFERENCE: Tone.KEPT,
    Route.CHUNK: Tone.CHUNK,
    Route.DECODE: Tone.DECODE,
}


def row(
    path: KeyPath,
    value: Value,
    tone: Tone = Tone.PLAIN,
    remark: str = "",
    *,
    digest: str = "",
    below: str | None = None,
) -> Row:
    """An entry; `below` puts it under a branch of its own."""
    keys = tuple(str(path[i : i + 1]) for i in range(len(path)))
    return Row(
        keys=keys if below is None else (below, *keys),
        spec=str(value),
        nbytes=value.spec.nbytes if isinstance(value, ArrayValue) else 0,
        tone=tone,
        remark=remark,
        digest=digest,
    )


def written(place: Place, target: KeyPath, value: Value, how: Op, route: Route, digest: str = "") -> Row:
    """An entry that a conversion makes, and how."""
    match how:
        case Fill():
            tone, remark = Tone.MADE, "put in"
        case Copy(source=source) if str(source) == str(target):
            tone, remark = _TONE[route], ""
        case made:
            tone, remark = _TONE[route], op(made)
    if place is Place.SIDE:
        return row(target, value, Tone.ASIDE, remark, digest=digest, below=_ASIDE)
    return row(target, value, tone, remark, digest=digest)


def dropped(drop: Drop, value: Value) -> Row:
    """A source entry that is not written."""
    return row(drop.source.path, value, Tone.DROPPED, drop.rule.reason, below=_DROPPED)


def losses(drops: Sequence[Drop], notes: Sequence[Note]) -> tuple[Findings, ...]:
    """The sections of what is dropped, with the rules, and of what is remarked."""
    rules = (Finding(kind=drop.rule.value, where=str(drop.source), text=drop.rule.reason) for drop in drops)
    return sections(
        Findings(heading="Dropped", found=tuple(rules)),
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
