"""Convert a checkpoint: open, plan, write aside, check what was written, rename."""

import hashlib
import time
from importlib.metadata import version as installed
from pathlib import Path

from linen_nnx.convert.engine.commit import staged, target_problems
from linen_nnx.convert.engine.execute import execution, parts_of, write_item
from linen_nnx.convert.engine.journal import fingerprint
from linen_nnx.convert.engine.progress import Progress, Silent
from linen_nnx.convert.planner import plan as plan_source
from linen_nnx.convert.store.location import OWN_FOLDER, Location, absolute, locate
from linen_nnx.convert.store.orbax_source import OrbaxItem, open_item
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.convert.surroundings import write_surroundings
from linen_nnx.convert.validating import differences
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.errors import ConversionError, InvariantError, ProblemsError, StorageError, raise_if
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.ops import Origin
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.plan import Note, NoteCode, Place, Plan
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.receipt import RECEIPT_FILE, Receipt, Versions
from linen_nnx.schema.residue import RESIDUE_FILE, SIDE_ITEM
from linen_nnx.schema.routing import Effort, RoutedPlan
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
        problems += [problem for opened in self._items() for problem in opened.problems]
        try:
            self.plan = plan_source(self.item, options, self.template)
        except InvariantError:
            raise_if(problems, ConversionError)
            raise
        except ProblemsError as error:
            raise type(error)([*problems, *error.problems]) from error
        raise_if(problems, ConversionError)
        placed = self.location.moved_to(Path(), self.plan.target.layout)
        prefixes = [part.prefix for part in placed.items]
        self.parts = parts_of(self.plan, self.items, self.item.storage, prefixes)

    def routed(self, effort: Effort) -> RoutedPlan:
        """The plan, with what carrying it out will cost."""
        return RoutedPlan.of(self.plan, execution(self.plan, self.parts, self.items, effort))

    def _items(self) -> list[OrbaxItem]:
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
) -> Receipt:
    """Convert `source` into `target`, which is written in the form of the source: run, step or item.

    `effort` bounds threads and memory. Raises `CheckpointError` or `ConversionError` before anything is
    written, `StorageError` if reading or writing fails; then no target is left.
    """
    options, target, progress = with_layout(options, to), absolute(target), progress or Silent()
    began = time.monotonic()
    opened = Opened(
        source, options, template=template, target=target, overwrite=overwrite, step=step, item=item
    )
    progress.start(_nbytes(opened.plan))
    layout = opened.plan.target.layout

    def items(folder: Path) -> list[Path]:
        return [part.folder for part in opened.location.moved_to(folder, layout).items]

    with staged(target, _fingerprint(opened, options), items) as folder:
        try:
            placed = opened.location.moved_to(folder, layout)
            notes = _write(opened, placed, effort or Effort(), progress)
            receipt = _receipt(opened, options, target, notes, time.monotonic() - began)
            own = placed.item / OWN_FOLDER
            own.mkdir(exist_ok=True)
            (own / RECEIPT_FILE).write_text(receipt.model_dump_json(indent=1), encoding="utf-8")
            write_surroundings(opened.location, placed, opened.plan)
            _check_written(opened.plan, placed)
        except OSError as error:
            raise StorageError(str(error)) from error
    return receipt


def _nbytes(plan: Plan) -> int:
    return sum(w.value.spec.nbytes for w in plan.writes if isinstance(w.value, ArrayValue))


def _fingerprint(opened: Opened, options: ConversionOptions) -> str:
    """Equal as long as a conversion would do the very same."""
    folders = {array.folder for item in opened.items.values() for array in item.arrays.values()}
    text = f"{__version__} {options.model_dump_json()} {opened.plan.model_dump_json()}"
    # Not the run folder: other steps may come and go while it trains.
    return fingerprint(text, sorted({opened.location.step or opened.location.item, *folders}))


def _write(opened: Opened, placed: Location, effort: Effort, progress: Progress) -> list[Note]:
    plan, storage = opened.plan, opened.item.storage
    own = placed.item / OWN_FOLDER
    folders = {part.prefix: part.folder for part in placed.items}
    copied = 0
    for part in opened.parts:
        if part.place is Place.SIDE:
            folder, custom = own / SIDE_ITEM, None
        else:
            folder, custom = folders[part.prefix], opened.item.custom_metadata
        copied += write_item(part, opened.items, folder, storage, custom, effort, progress)
    if plan.residue is not None:
        own.mkdir(exist_ok=True)
        (own / RESIDUE_FILE).write_text(plan.residue.model_dump_json(), encoding="utf-8")
    text = f"{copied} data files were copied: the filesystem would not link them"
    return [Note(code=NoteCode.COPIED_NOT_LINKED, text=text)] if copied else []


def _receipt(
    opened: Opened, options: ConversionOptions, target: Path, notes: list[Note], seconds: float
) -> Receipt:
    plan = opened.plan
    return Receipt(
        tool=Versions(linen_nnx=__version__, tensorstore=installed("tensorstore")),
        source=str(opened.location.step or opened.location.item),
        target=str(target),
        source_layout=plan.source.layout,
        target_layout=plan.target.layout,
        options=options,
        entries=len(plan.item_writes),
        kept_aside=len(plan.side_writes),
        nbytes=_nbytes(plan),
        drops=plan.drops,
        notes=(*plan.notes, *notes),
        plan_digest=hashlib.sha256(plan.model_dump_json().encode()).hexdigest(),
        seconds=round(seconds, 3),
    )


def _check_written(plan: Plan, placed: Location) -> None:
    """Read the target back and hold it against the plan, before it is given its name."""
    written = open_item(placed)
    expected = Inventory.of(Entry(path=w.target, value=w.value) for w in plan.item_writes)
    problems: list[Problem] = [*written.problems, *differences(written.inventory, expected)]
    if plan.side_writes and written.side is not None and written.side.item is not None:
        kept = Inventory.of(Entry(path=w.target, value=w.value) for w in plan.side_writes)
        problems += [*written.side.item.problems, *differences(written.side.item.inventory, kept)]
    if problems:
        raise InvariantError("writing", problems)
