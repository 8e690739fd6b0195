"""Carry out a plan's writes, item by item, and say beforehand what that will cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from linen_nnx.convert.engine.duration import START, seconds
from linen_nnx.convert.engine.ocdbt_target import write_database
from linen_nnx.convert.engine.plain_target import write_folders
from linen_nnx.convert.engine.progress import Progress
from linen_nnx.convert.engine.routes import Routed, Router, Settled, settle
from linen_nnx.convert.engine.run import peak, work_of
from linen_nnx.convert.engine.tap import Tap, Untapped
from linen_nnx.convert.store.orbax_sink import write_item_files
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.options import Storing
from linen_nnx.schema.orbax_metadata import StorageForm
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Place, Plan, Write
from linen_nnx.schema.routing import Carriage, Effort, Execution, Route, RoutedWrite, Traffic

_START = 92 * 2**20
"""Resident bytes of a process that has imported what a conversion needs."""
_LEAF = 16 * 2**10
"""And for each write: entries, array metadata and ops."""


@dataclass(frozen=True, slots=True)
class Part:
    """What goes into one item: its writes, whose targets are relative to `prefix`."""

    place: Place
    prefix: KeyPath
    settled: Settled


def parts_of(
    plan: Plan, items: Items, storage: StorageForm, prefixes: Sequence[KeyPath], storing: Storing
) -> tuple[Part, ...]:
    """The writes of each item of a target, with their routes; `prefixes` are those of the items."""
    parts = []
    for prefix in prefixes:
        depth = len(prefix)
        writes: Sequence[Write] = plan.item_writes
        if depth:
            writes = [
                replace(write, target=write.target[depth:])
                for write in writes
                if write.target.startswith(prefix)
            ]
        parts.append(Part(Place.ITEM, prefix, _settled(writes, items, storage, storing)))
    if plan.side_writes:
        parts.append(Part(Place.SIDE, KeyPath(), _settled(plan.side_writes, items, storage, Storing())))
    return tuple(parts)


def _settled(writes: Sequence[Write], items: Items, storage: StorageForm, storing: Storing) -> Settled:
    router = Router(items, storage, storing)
    return settle([router.route(write) for write in writes], storage)


def execution(plan: Plan, parts: Sequence[Part], items: Items, effort: Effort) -> Execution:
    """What carrying out `parts` will cost."""
    in_item, at_side = (_placed(parts, place) for place in (Place.ITEM, Place.SIDE))
    writes = [(in_item if write.place is Place.ITEM else at_side)[write.target] for write in plan.writes]
    said = [_said(write, *routed) for write, routed in zip(plan.writes, writes, strict=True)]
    files = {file: size for part in parts for file, size in part.settled.files.items()}

    def stored(carriage: Carriage) -> int:
        return sum(write.nbytes for write in said if write.carriage is carriage)

    decoded = [w.write.value for w, _ in writes if w.route is Route.DECODE]
    works = [work_of(part.settled.writes, items, effort) for part in parts]
    held = [peak(work, effort) for work in works]
    took = [seconds(part.settled, work, effort) for part, work in zip(parts, works, strict=True)]
    return Execution(
        effort=effort,
        writes=tuple(said),
        referenced=stored(Carriage.FILE),
        moved=stored(Carriage.VALUE),
        decoded=sum(value.spec.nbytes for value in decoded if isinstance(value, ArrayValue)),
        files=len(files),
        file_bytes=sum(files.values()),
        sparse_files=sum(part.settled.sparse for part in parts),
        peak_memory=_START + _LEAF * len(writes) + max(held, default=0),
        seconds=round(START + sum(took), 3),
    )


def _placed(parts: Sequence[Part], place: Place) -> dict[KeyPath, tuple[Routed, int]]:
    """What goes to a place, by its whole target, with the stored bytes that it reads."""
    return {
        part.prefix + write.write.target if len(part.prefix) else write.write.target: (write, nbytes)
        for part in parts
        if part.place is place
        for write, nbytes in zip(part.settled.writes, part.settled.nbytes, strict=True)
    }


def _said(planned: Write, write: Routed, nbytes: int) -> RoutedWrite:
    return RoutedWrite(
        place=planned.place,
        target=planned.target,
        route=write.route,
        carriage=write.carriage,
        nbytes=nbytes,
    )


def write_item(
    part: Part,
    items: Items,
    folder: Path,
    storage: StorageForm,
    custom_metadata: object,
    effort: Effort,
    progress: Progress,
    tap: Tap | None = None,
) -> Traffic:
    """Write one item into `folder`; what that moved. Raises `StorageError`.

    `tap` sees every chunk that is made or moved by itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settled = part.settled
    try:
        write_arrays = write_database if storage.ocdbt else write_folders
        traffic = write_arrays(settled, items, folder, effort, progress.advance, tap or Untapped())
        progress.advance(_nbytes(w for w in settled.writes if w.carriage is Carriage.FILE))
        write_item_files(folder, storage, [write.entry for write in settled.writes], custom_metadata)
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot write {folder}: {error}") from error
    return traffic


def _nbytes(writes: Iterable[Routed]) -> int:
    values = [write.write.value for write in writes]
    return sum(value.spec.nbytes for value in values if isinstance(value, ArrayValue))
