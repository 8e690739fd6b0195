"""Convert a checkpoint: open, plan, write aside, check what was written, rename."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from linen_nnx.convert.engine.commit import staged, target_problems
from linen_nnx.convert.engine.execute import Part, execution, parts_of, write_item
from linen_nnx.convert.engine.journal import fingerprint
from linen_nnx.convert.engine.memory import most_resident
from linen_nnx.convert.engine.progress import Progress, Silent
from linen_nnx.convert.planner import plan as plan_source
from linen_nnx.convert.proof.custody import custody_of
from linen_nnx.convert.proof.identity import identity
from linen_nnx.convert.proof.observing import Observer
from linen_nnx.convert.proof.receipts import write_receipt
from linen_nnx.convert.proof.recording import Done, measured, receipt_of, recorded_content
from linen_nnx.convert.requirements import unmet
from linen_nnx.convert.store.location import OWN_FOLDER, Location, absolute, locate
from linen_nnx.convert.store.orbax_source import OrbaxItem, open_item
from linen_nnx.convert.store.read import open_array
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.convert.surroundings import items_beside, write_surroundings
from linen_nnx.convert.twins import twin_problems
from linen_nnx.convert.validating import differences
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.errors import ConversionError, InvariantError, ProblemsError, StorageError, raise_if
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.ops import Origin
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Note, NoteCode, Place, Plan
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.receipt import Receipt, Times
from linen_nnx.schema.residue import RESIDUE_FILE, SIDE_ITEM
from linen_nnx.schema.routing import Effort, RoutedPlan, Traffic
from linen_nnx.version import __version__


class Opened:
    """A source (and template) opened, with the plan made of them."""

    def __init__(
        self,
        source: Path | str,
        options: ConversionOptions,
        *,
        template: Path | str | None = None,
        target: Path | None = None,
        overwrite: bool = False,
        step: int | None = None,
        item: str | None = None,
    ) -> None:
        """Open and plan. Raises `CheckpointError` or `ConversionError` with all problems at once."""
        self.location = locate(Path(source), step, item)
        self.item = open_item(self.location)
        self.template = None if template is None else open_item(locate(Path(template)))
        problems = (
            [] if target is None else target_problems(self.location.guarded, target, overwrite=overwrite)
        )
        problems += [problem for opened in self.checkpoints() for problem in opened.problems]
        try:
            made = plan_source(self.item, options, self.template)
        except InvariantError:
            raise_if(problems, ConversionError)
            raise
        except ProblemsError as error:
            raise type(error)([*problems, *error.problems]) from error
        raise_if(problems, ConversionError)
        notes = (*made.notes, *items_beside(self.location))
        self.plan = made.model_copy(update={"notes": notes})
        if self.plan.residue is not None and self.plan.target.layout is Layout.TUNIX:
            residue = self.plan.residue.model_copy(update={"item": self._item_name})
            self.plan = self.plan.model_copy(update={"residue": residue})
        placed = self.moved_to(Path())
        prefixes = [part.prefix for part in placed.items]
        self.parts = parts_of(self.plan, self.items, self.item.storage, prefixes, options.storing)

    @property
    def _item_name(self) -> str | None:
        """What one item of the state is called, or was before it became two."""
        side = self.item.side
        return self.location.item_name or (None if side is None else side.residue.item)

    def moved_to(self, folder: Path) -> Location:
        """Where the target lies below `folder`."""
        return self.location.moved_to(folder, self.plan.target.layout, self._item_name)

    def routed(self, effort: Effort) -> RoutedPlan:
        """The plan, with what carrying it out will cost."""
        return RoutedPlan.of(self.plan, execution(self.plan, self.parts, self.items, effort))

    def leaf(self, path: KeyPath) -> Any | None:
        """An array of the source, opened and not read; None for an entry that is none."""
        return open_array(self.item.arrays[path]) if path in self.item.arrays else None

    def checkpoints(self) -> list[OrbaxItem]:
        """The source, and the template if there is one."""
        return [self.item] if self.template is None else [self.item, self.template]

    @property
    def items(self) -> Items:
        """The item of each origin."""
        items = {Origin.SOURCE: self.item}
        if self.item.side is not None and self.item.side.item is not None:
            items[Origin.SIDE] = self.item.side.item
        if self.template is not None:
            items[Origin.TEMPLATE] = self.template
        return items


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
    opened = Opened(source, with_layout(options, to), template=template, step=step, item=item)
    return opened.routed(effort or Effort())


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
    opened = Opened(
        source, options, template=template, target=path, overwrite=overwrite, step=step, item=item
    )
    raise_if(unmet(opened.plan, opened.items), ConversionError)
    return opened.routed(effort or Effort())


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
    options, target, progress = with_layout(options, to), absolute(target), progress or Silent()
    began = time.monotonic()
    opened = Opened(
        source, options, template=template, target=target, overwrite=overwrite, step=step, item=item
    )
    raise_if(twin_problems(opened.plan.drops, opened.leaf), ConversionError)
    raise_if(unmet(opened.plan, opened.items), ConversionError)
    axis = options.layer_axis
    if fingerprint:
        from linen_nnx.convert.compare.sides import unproved

        raise_if(unproved(opened.plan.target.groups, axis), ConversionError)
    progress.start(_nbytes(opened.plan))

    def items(folder: Path) -> list[Path]:
        return [part.folder for part in opened.moved_to(folder).items]

    source_identity, effort = identity(opened.location), effort or Effort()
    with staged(target, _fingerprint(opened, options), items, overwrite=overwrite) as folder:
        try:
            placed = opened.moved_to(folder)
            planned = time.monotonic()
            with _observer(opened, placed, effort, digest=digest) as observer:
                traffic = _write(opened, placed, effort, progress, observer)
                write_surroundings(opened.location, placed, opened.plan)
                wrote = time.monotonic()
                # Digests that are not taken yet are taken meanwhile.
                written = _check_written(opened.plan, placed)
                taken = None if observer is None else observer.result()
            found = measured(written, folder, taken, effort)
            content, undecodable = recorded_content(written, axis, effort, taken, wanted=fingerprint)
            times = _times(began, planned, wrote)
            notes = [*opened.plan.notes, *_notes(traffic), *undecodable]
            done = Done(
                opened.plan, opened.parts, source_identity, target, options, effort, notes, times,
                traffic + Traffic(peak_memory=most_resident()),
            )  # fmt: skip
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
def _observer(opened: Opened, placed: Location, effort: Effort, *, digest: bool) -> Iterator[Observer | None]:
    if not digest:
        yield None
        return
    items = [(_folder(part, placed), part.settled) for part in opened.parts]
    with Observer(items, custody_of(opened.checkpoints()), effort) as observer:
        yield observer


def _folder(part: Part, placed: Location) -> Path:
    """Where the item of a part lies."""
    if part.place is Place.SIDE:
        return placed.item / OWN_FOLDER / SIDE_ITEM
    return next(item.folder for item in placed.items if item.prefix == part.prefix)


def _nbytes(plan: Plan) -> int:
    return sum(w.value.spec.nbytes for w in plan.writes if isinstance(w.value, ArrayValue))


def _fingerprint(opened: Opened, options: ConversionOptions) -> str:
    """Equal as long as a conversion would do the very same."""
    folders = {array.folder for item in opened.items.values() for array in item.arrays.values()}
    text = f"{__version__} {options.model_dump_json()} {opened.plan.model_dump_json()}"
    # Not the run folder: other steps may come and go while it trains.
    return fingerprint(text, sorted({opened.location.step or opened.location.item, *folders}))


def _write(
    opened: Opened, placed: Location, effort: Effort, progress: Progress, observer: Observer | None
) -> Traffic:
    plan, storage = opened.plan, opened.item.storage
    own = placed.item / OWN_FOLDER
    traffic = Traffic()
    for part in opened.parts:
        folder = _folder(part, placed)
        custom = None if part.place is Place.SIDE else opened.item.custom_metadata
        tap = None if observer is None else observer.tap(folder)
        traffic += write_item(part, opened.items, folder, storage, custom, effort, progress, tap)
    if plan.residue is not None:
        own.mkdir(exist_ok=True)
        (own / RESIDUE_FILE).write_text(plan.residue.model_dump_json(), encoding="utf-8")
    return traffic


def _notes(traffic: Traffic) -> list[Note]:
    text = f"{traffic.unlinked_files} data files were copied: the filesystem would not link them"
    return [Note(code=NoteCode.COPIED_NOT_LINKED, text=text)] if traffic.unlinked_files else []


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
