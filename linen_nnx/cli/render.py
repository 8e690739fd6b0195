"""The only module that formats: results to stdout, all that is for people to stderr."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from linen_nnx.convert.store.location import locate
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.errors import ProblemsError
from linen_nnx.schema.inspection import Inspection
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.layout import LayerGroup, LayerStacking
from linen_nnx.schema.ops import Cast, Copy, Fill, Op, Stack, Take
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Drop, Note, Write
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.receipt import Receipt
from linen_nnx.schema.report import Problems
from linen_nnx.schema.routing import Execution, RoutedPlan, Transfer

if TYPE_CHECKING:
    from linen_nnx.convert.engine.progress import Progress

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def json(document: BaseModel) -> None:
    """One JSON document on stdout."""
    print(document.model_dump_json(indent=1))


def say(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr)


def verdict(text: str) -> None:
    """The result, in words."""
    print(text)


def step_taken(path: Path, step: int | None, item: str | None) -> None:
    """Which step of a run folder was taken. What is no checkpoint is for the command itself to refuse."""
    try:
        location = locate(path, step, item)
    except ProblemsError:
        return
    if location.run is not None:
        say(f"step folder {location.step_number} of {location.run}")


def problems(found: Sequence[Problem]) -> None:
    """Each problem, with its hint."""
    for problem in found:
        print(problem)


def error(error: BaseException, *, as_json: bool) -> None:
    """What ended a command."""
    found = error.problems if isinstance(error, ProblemsError) else ()
    if as_json and found:
        json(Problems(problems=tuple(found)))
    for line in [str(problem) for problem in found] or [f"{type(error).__name__}: {error}"]:
        say(line)


def our_fault(error: BaseException) -> None:
    """How to report a fault of ours."""
    say("this is a fault of linen-nnx, not of your checkpoint; please report it with these lines:")
    say("".join(traceback.format_exception(error)))


def size(nbytes: int) -> str:
    """Bytes for people."""
    amount = float(nbytes)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError


def inspection(found: Inspection) -> None:
    """All but the tree."""
    print(f"{found.item}")
    if found.detection is not None:
        print(f"layout     {found.detection.layout.value}")
        for line in found.detection.evidence:
            print(f"           + {line}")
        for against in found.detection.against:
            print(f"           - not {against.layout.value}: {against.reason}")
    print(f"step       {'none' if found.step is None else found.step}")
    storage = "OCDBT" if found.storage.ocdbt else "a folder an array"
    print(f"storage    {storage}, zarr v{found.storage.zarr_format}")
    _parts(found)
    for group in found.groups:
        print(f"layers     {_group(group)}")
    for field in found.mirrors:
        holes = f", {field.empty} of them empty" if field.empty else ""
        print(f"optimizer  {field.at} mirrors {field.moments} parameters{holes}")
    if found.kept_aside:
        print(f"aside      {found.kept_aside} entries of another layout, kept by an earlier conversion")
    notes(found.notes)
    for problem in found.problems:
        say(str(problem))


def _parts(found: Inspection) -> None:
    total = sum(part.nbytes for part in found.parts) or 1
    for part in found.parts:
        if part.entries:
            bar = "#" * round(20 * part.nbytes / total)
            kinds = ", ".join(f"{d.dtype} x{d.arrays}" for d in found.dtypes if d.part is part.name)
            print(
                f"{part.name.value:<10} {part.entries:>6} entries {part.elements:>14,} elements "
                f"{size(part.nbytes):>10}  {bar:<20}  {kinds}".rstrip()
            )


def _group(group: LayerGroup) -> str:
    if group.stacking is LayerStacking.UNSTACKED:
        style = group.names.value
        return f"{group.at}: {group.count} layers, one by one ({style} names)"
    if not group.axes:
        return f"{group.at}: stacked, but its arrays share no axis"
    axis = (
        f"axis {group.axis}"
        if group.axis is not None
        else f"axis {' or '.join(map(str, group.axes))}: not proved"
    )
    places = f" in {len(group.arrays)} places" if len(group.arrays) > 1 else ""
    return f"{group.at}: {group.count} layers stacked on {axis}{places}"


def flat(inventory: Inventory) -> None:
    """Every entry on a line."""
    for entry in inventory.entries:
        print(entry)


def tree(inventory: Inventory, depth: int) -> None:
    """The tree down to `depth`; what is deeper is summed up."""
    print()
    counts: dict[KeyPath, list[int]] = {}
    order: dict[KeyPath, str] = {}
    for entry in inventory.entries:
        nbytes = entry.value.spec.nbytes if isinstance(entry.value, ArrayValue) else 0
        for level in range(1, min(depth, len(entry.path)) + 1):
            at = entry.path[:level]
            order[at] = str(entry.value) if at == entry.path else ""
            total = counts.setdefault(at, [0, 0])
            total[0] += 1
            total[1] += nbytes
    for at, leaf in order.items():
        name = "  " * (len(at) - 1) + str(at[len(at) - 1 :])
        what = leaf or f"{counts[at][0]} entries, {size(counts[at][1])}"
        print(f"{name:<44} {what}")


def plan(made: RoutedPlan) -> None:
    """Every write with its route, every drop, and what it all costs."""
    for write, routed in zip(made.writes, made.execution.writes, strict=True):
        print(
            f"{write.place.value:<4} {routed.route.value:<9} {write.target}: {write.value}  <- {op(write.op)}"
        )
    drops(made.drops)
    notes(made.notes)
    print(
        f"{made.source.layout.value} -> {made.target.layout.value}: {len(made.item_writes)} entries, "
        f"{len(made.side_writes)} kept aside, {len(made.drops)} dropped, {size(_nbytes(made.writes))}"
    )
    execution(made.execution)


def execution(cost: Execution) -> None:
    """Bytes by route, and memory."""
    verb = "linked" if cost.effort.transfer is Transfer.LINK else "copied"
    print(
        f"stored bytes: {size(cost.referenced)} by reference, {size(cost.moved)} moved one by one; "
        f"{size(cost.decoded)} decoded; {cost.files} data files ({size(cost.file_bytes)}) {verb}"
    )
    if cost.sparse_files:
        print(f"{cost.sparse_files} data files stay behind, being mostly of no use; their values are moved")
    print(f"memory at most {size(cost.peak_memory)}")


def _nbytes(writes: Sequence[Write]) -> int:
    return sum(write.value.spec.nbytes for write in writes if isinstance(write.value, ArrayValue))


def op(made: Op) -> str:
    """An op on a line."""
    match made:
        case Copy(source=source):
            return str(source)
        case Take(of=of, axis=axis, index=index):
            return f"{op(of)}, slice {index} of axis {axis}"
        case Stack(parts=parts, axis=axis):
            return f"{len(parts)} on axis {axis}: {op(parts[0])} … {op(parts[-1])}"
        case Cast(of=of, dtype=dtype):
            return f"{op(of)} as {dtype.value}"
        case Fill(value=value):
            return f"{value}, put in"


def drops(dropped: Sequence[Drop]) -> None:
    """Each drop with its rule."""
    for drop in dropped:
        print(f"drop {drop.source}: {drop.rule.reason}  [{drop.rule.value}]")


def notes(found: Sequence[Note]) -> None:
    """Remarks, to stderr."""
    for note in found:
        say(f"note: {note.text}  [{note.code.value}]")


def receipt(done: Receipt) -> None:
    """What was done."""
    drops(done.drops)
    notes(done.notes)
    print(
        f"{done.source_layout.value} -> {done.target_layout.value}: {done.target}\n"
        f"{done.entries} entries, {done.kept_aside} kept aside, {len(done.drops)} dropped, "
        f"{size(done.nbytes)} in {done.seconds:.1f} s"
    )
    say(f"hint: linen-nnx verify {done.target} --against {done.source}")


@contextmanager
def progress() -> "Iterator[Progress]":
    """A bar on stderr, if that is a terminal."""
    from linen_nnx.convert.engine.progress import Silent

    if not sys.stderr.isatty():
        yield Silent()
        return
    from linen_nnx.cli.bar import Bar

    with Bar() as bar:
        yield bar
