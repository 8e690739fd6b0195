"""What a page shows of a difference: the entries of the first checkpoint, and what else the second has."""

from collections import defaultdict

from linen_nnx.cli.page.model import Fact, Finding, Findings, Page, Row, Tone, Verdict
from linen_nnx.cli.page.rows import commands, losses, row, sections
from linen_nnx.cli.render.differences import finding_text, line, part_text, verdict_text
from linen_nnx.schema.array import Value
from linen_nnx.schema.difference import (
    Difference,
    EmptiesDiffer,
    LayersDiffer,
    LeafDifference,
    Missing,
    Unexpected,
)
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.ir import Leaf
from linen_nnx.schema.ops import Origin, refs
from linen_nnx.schema.path import KeyPath

_TOLD = 3
"""Differences of one stacked array that its row tells; the section lists all."""


def of_difference(found: Difference, a: Inventory | None = None) -> Page:
    """A comparison. With the entries of A the tree has the equal ones too, else the differences alone."""
    remarks: dict[KeyPath, list[str]] = defaultdict(list)
    tones: dict[KeyPath, Tone] = {}
    for one in found.differences:
        for path in _entries(_sides(one)[0]):
            remarks[path].append(line(one))
            tones[path] = Tone.FIRST_ONLY if isinstance(one, Missing) else Tone.DIFFERENT
    if a is None:
        rows = [_alone(one) for one in found.differences if _value(one) is not None]
    else:
        rows = [
            row(e.path, e.value, tones.get(e.path, Tone.EQUAL), _told(remarks[e.path])) for e in a.entries
        ]
        rows += [_alone(one) for one in found.differences if isinstance(one, Unexpected)]
    return Page(
        title=f"{found.a.path} and {found.b.path}",
        verdict=Verdict.GOOD if found.equal else Verdict.BAD,
        saying=verdict_text(found),
        facts=tuple(_facts(found)),
        findings=_findings(found),
        rows=tuple(rows),
        commands=commands("diff", found.a.path, found.b.path),
    )


def _findings(found: Difference) -> tuple[Findings, ...]:
    explained = tuple(
        Finding(kind=one.kind, where="", text=f"{finding_text(one)} ({len(one.paths)} leaves)")
        for one in found.findings
    )
    differs = tuple(
        Finding(kind=one.kind, where=str(one.path), text=line(one).removeprefix(f"{one.path}: "))
        for one in found.differences
    )
    within = tuple(
        Finding(kind="within", where=str(one.path), text=line(one).removeprefix(f"{one.path}: "))
        for one in found.within
    )
    return sections(
        Findings(heading="What explains it", found=explained),
        Findings(heading="Differences", found=differs),
        Findings(heading="Within tolerance", found=within),
        *losses((), found.notes),
    )


def _facts(found: Difference) -> list[Fact]:
    facts = [
        Fact(name=name, text=f"{side.item} ({side.layout.value}, step {side.step})")
        for name, side in (("A", found.a), ("B", found.b))
    ]
    return facts + [Fact(name=p.part.value, text=part_text(p)) for p in found.parts if p.leaves]


def _sides(one: LeafDifference) -> tuple[Leaf | None, Leaf | None]:
    match one:
        case LayersDiffer():
            return None, None
        case Missing(a=a):
            return a, None
        case Unexpected(b=b):
            return None, b
        case EmptiesDiffer(a=a, b=b):
            return a, b
        case _:
            return one.a, one.b


def _entries(leaf: Leaf | None) -> set[KeyPath]:
    """The entries of the checkpoint itself that the leaf is read from."""
    return set() if leaf is None else {ref.path for ref in refs(leaf.op) if ref.origin is Origin.SOURCE}


def _value(one: LeafDifference) -> Value | None:
    leaf = next((leaf for leaf in _sides(one) if leaf is not None), None)
    return None if leaf is None else leaf.value


def _alone(one: LeafDifference) -> Row:
    """A difference under the name that both sides share."""
    value = _value(one)
    assert value is not None
    tone = {Missing: Tone.FIRST_ONLY, Unexpected: Tone.SECOND_ONLY}.get(type(one), Tone.DIFFERENT)
    below = "only in the second" if isinstance(one, Unexpected) else None
    return row(one.path, value, tone, line(one), below=below)


def _told(remarks: list[str]) -> str:
    more = [f"and {len(remarks) - _TOLD} more"] if len(remarks) > _TOLD else []
    return "; ".join([*remarks[:_TOLD], *more])
