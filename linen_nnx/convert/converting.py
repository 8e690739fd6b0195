"""Convert a checkpoint: open, plan, write aside, check what was written, rename."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from linen_nnx.convert.engine.commit import staged
from linen_nnx.convert.engine.execute import Part, write_item
from linen_nnx.convert.engine.journal import fingerprint
from linen_nnx.convert.engine.memory import most_resident
from linen_nnx.convert.engine.progress import Progress, Silent
from linen_nnx.convert.opening import Planned, Sources
from linen_nnx.convert.proof.ahead import Ahead
from linen_nnx.convert.proof.custody import custody_of
from linen_nnx.convert.proof.identity import identity
from linen_nnx.convert.proof.observing import Observer
from linen_nnx.convert.proof.receipts import write_receipt
from linen_nnx.convert.proof.recording import Done, measured, receipt_of, recorded_content
from linen_nnx.convert.requirements import unmet
from linen_nnx.convert.store.location import OWN_FOLDER, Location, absolute
from linen_nnx.convert.store.orbax_source import OrbaxItem, open_item
from linen_nnx.convert.surroundings import write_surroundings
from linen_nnx.convert.twins import twin_problems
from linen_nnx.convert.validating import differences
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.errors import ConversionError, InvariantError, StorageError, raise_if
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.plan import Note, NoteCode, Place, Plan
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.receipt import Receipt, Times
from linen_nnx.schema.residue import RESIDUE_FILE, SIDE_ITEM
from linen_nnx.schema.routing import Effort, RoutedPlan, Traffic, Transfer
from linen_nnx.version import __version__


def plan(
    source: Path | str,
    to: Layout | str | None = None,
    options: ConversionOptions | None = None,
    *,
    template: Path | str | None = None,
    step: int | None = None,
    item: str | None = None,
    effort: Effort | None = None,
) -> RoutedPlan:
    """What `convert` would do. Reads metadata alone. Raises `CheckpointError`, `ConversionError`."""
    sources = Sources.open(source, template=template, step=step, item=item)
    return Planned(sources, with_layout(options, to)).routed(effort or Effort())


def check(
    source: Path | str,
    target: Path | str,
    options: ConversionOptions | None = None,
    *,
    template: Path | str | None = None,
    step: int | None = None,
    item: str | None = None,
    overwrite: bool = False,
    effort: Effort | None = None,
) -> RoutedPlan:
    """All that `convert` checks, without writing: the plan, or every problem, the target's included."""
    path = absolute(target)
    options = options or ConversionOptions()
    sources = Sources.open(source, template=template, step=step, item=item)
    planned = Planned(sources, options, target=path, overwrite=overwrite)
    raise_if(unmet(planned.plan, sources.items), ConversionError)
    return planned.routed(effort or Effort())


def with_layout(options: ConversionOptions | None, to: Layout | str | None) -> ConversionOptions:
    """The options with the target layout `to`, if it is given."""
    options = options or ConversionOptions()
    return options if to is None else options.model_copy(update={"to": Layout(to)})


def convert(
    source: Path | str,
    target: Path | str,
    to: Layout | str | None = None,
    options: ConversionOptions | None = None,
    *,
    template: Path | str | None = None,
    step: int | None = None,
    item: str | None = None,
    overwrite: bool = False,
    effort: Effort | None = None,
    progress: Progress | None = None,
    digest: bool = True,
    fingerprint: bool | None = None,
) -> Receipt:
    """Convert `source` into `target`, which is written in the form of the source: run, step or item.

    `effort` bounds threads and memory. The receipt holds digests of all that was written; without `digest`
    none of arrays, so that no byte need be read that is linked. `fingerprint` adds that of the target's
    content, for which every array is decoded that the conversion did not decode: True always, False never,
    and None where that is little (64 MiB). Raises `CheckpointError` or
    `ConversionError` before anything is written, `StorageError` if reading or writing fails; then no target
    is left.
    """
    asked = _Asked(
        target=absolute(target),
        options=with_layout(options, to),
        effort=effort or Effort(),
        progress=progress or Silent(),
        overwrite=overwrite,
        digest=digest,
        fingerprint=fingerprint,
        began=time.monotonic(),
    )
    sources = Sources.open(source, template=template, step=step, item=item)
    with _ahead(sources, asked) as ahead:
        planned = Planned(sources, asked.options, target=asked.target, overwrite=overwrite)
        raise_if(twin_problems(planned.plan.drops, sources.leaf), ConversionError)
        raise_if(unmet(planned.plan, sources.items), ConversionError)
        if fingerprint:
            from linen_nnx.convert.compare.sides import unproved

            raise_if(unproved(planned.plan.target.groups, asked.options.layer_axis), ConversionError)
        return _carried_out(planned, asked, ahead)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A conversion as it was asked for, and when."""

    target: Path
    options: ConversionOptions
    effort: Effort
    progress: Progress
    overwrite: bool
    digest: bool
    fingerprint: bool | None
    began: float


@contextmanager
def _ahead(sources: Sources, asked: _Asked) -> Iterator[Ahead | None]:
    if not asked.digest or asked.effort.transfer is not Transfer.LINK:
        yield None
        return
    with Ahead(sources.checkpoints(), asked.effort.workers) as ahead:
        yield ahead


def _carried_out(planned: Planned, asked: _Asked, ahead: Ahead | None) -> Receipt:
    """Write aside, check, rename."""
    sources, effort = planned.sources, asked.effort
    asked.progress.start(_nbytes(planned.plan))

    def items(folder: Path) -> list[Path]:
        return [part.folder for part in planned.moved_to(folder).items]

    source_identity, work = identity(sources.location), _fingerprint(planned, asked.options)
    with staged(asked.target, work, items, overwrite=asked.overwrite) as folder:
        try:
            placed = planned.moved_to(folder)
            ready = time.monotonic()
            with _observer(planned, placed, asked, ahead) as observer:
                traffic = _write(planned, placed, asked, observer)
                write_surroundings(sources.location, placed, planned.plan)
                wrote = time.monotonic()
                # Digests that are not taken yet are taken meanwhile.
                written = _check_written(planned.plan, placed)
                taken = None if observer is None else observer.result()
            found = measured(written, folder, taken, effort)
            content, undecodable = recorded_content(
                written, asked.options.layer_axis, effort, taken, wanted=asked.fingerprint
            )
            done = Done(
                plan=planned.plan,
                parts=planned.parts,
                source=source_identity,
                target=asked.target,
                options=asked.options,
                effort=effort,
                notes=[*planned.plan.notes, *_notes(traffic), *undecodable],
                times=_times(asked.began, ready, wrote),
                traffic=traffic + Traffic(peak_memory=most_resident()),
            )
            return write_receipt(receipt_of(done, written, found, taken, content), placed.item)
        except OSError as error:
            raise StorageError(str(error)) from error


def _times(began: float, planned: float, wrote: float) -> Times:
    """Of a conversion that is done but for its receipt."""
    now = time.monotonic()
    return Times(
        planning=round(planned - began, 3),
        writing=round(wrote - planned, 3),
        digesting=round(now - wrote, 3),
        total=round(now - began, 3),
    )


@contextmanager
def _observer(
    planned: Planned, placed: Location, asked: _Asked, ahead: Ahead | None
) -> Iterator[Observer | None]:
    if not asked.digest:
        yield None
        return
    items = [(_folder(part, placed), part.settled) for part in planned.parts]
    custody = custody_of(planned.sources.checkpoints())
    with Observer(items, custody, asked.effort, ahead) as observer:
        yield observer


def _folder(part: Part, placed: Location) -> Path:
    """Where the item of a part lies."""
    if part.place is Place.SIDE:
        return placed.item / OWN_FOLDER / SIDE_ITEM
    return next(item.folder for item in placed.items if item.prefix == part.prefix)


def _nbytes(plan: Plan) -> int:
    return sum(w.value.spec.nbytes for w in plan.writes if isinstance(w.value, ArrayValue))


def _fingerprint(planned: Planned, options: ConversionOptions) -> str:
    """Equal as long as a conversion would do the very same."""
    location = planned.sources.location
    folders = {array.folder for item in planned.sources.items.values() for array in item.arrays.values()}
    text = f"{__version__} {options.model_dump_json()} {planned.plan.model_dump_json()}"
    # Not the run folder: other steps may come and go while it trains.
    return fingerprint(text, sorted({location.step or location.item, *folders}))


def _write(planned: Planned, placed: Location, asked: _Asked, observer: Observer | None) -> Traffic:
    plan, item, items = planned.plan, planned.sources.item, planned.sources.items
    own = placed.item / OWN_FOLDER
    traffic = Traffic()
    for part in planned.parts:
        folder = _folder(part, placed)
        custom = None if part.place is Place.SIDE else item.custom_metadata
        tap = None if observer is None else observer.tap(folder)
        traffic += write_item(part, items, folder, item.storage, custom, asked.effort, asked.progress, tap)
    if plan.residue is not None:
        own.mkdir(exist_ok=True)
        (own / RESIDUE_FILE).write_text(plan.residue.model_dump_json(), encoding="utf-8")
    return traffic


def _notes(traffic: Traffic) -> Iterator[Note]:
    if traffic.unlinked_files:
        text = f"{traffic.unlinked_files} data files were copied: the filesystem would not link them"
        yield Note(code=NoteCode.COPIED_NOT_LINKED, text=text)
    if traffic.rounded:
        text = f"{traffic.rounded} elements were rounded: cast back, they are not what they were"
        yield Note(code=NoteCode.ROUNDED, text=text)


def _check_written(plan: Plan, placed: Location) -> OrbaxItem:
    """Read the target back and hold it against the plan, before it is given its name."""
    written = open_item(placed)
    expected = Inventory.of(Entry(path=w.target, value=w.value) for w in plan.item_writes)
    problems: list[Problem] = [*written.problems, *differences(written.inventory, expected)]
    if plan.side_writes and written.side is not None and written.side.item is not None:
        kept = Inventory.of(Entry(path=w.target, value=w.value) for w in plan.side_writes)
        problems += [*written.side.item.problems, *differences(written.side.item.inventory, kept)]
    if problems:
        raise InvariantError("writing", problems)
    return written
