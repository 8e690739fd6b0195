"""Write the arrays of an OCDBT item: work on values, then one commit by reference, then the data files."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linen_nnx.convert.engine import database
from linen_nnx.convert.engine.files import bring
from linen_nnx.convert.engine.routes import Routed, Settled
from linen_nnx.convert.engine.run import run_units, units_of, window_of, workers_of
from linen_nnx.convert.engine.sink import Sink
from linen_nnx.convert.engine.tap import Tap
from linen_nnx.convert.store.extents import Extent, walk_database
from linen_nnx.convert.store.keyvalue import Ocdbt
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.convert.store.target_arrays import metadata_document
from linen_nnx.schema.routing import Carriage, Effort

if TYPE_CHECKING:
    import tensorstore as ts


def write_database(
    settled: Settled, items: Items, folder: Path, effort: Effort, advance: Callable[[int], None], tap: Tap
) -> int:
    """All arrays of an item; how many files were copied where links were asked for."""
    if all(write.entry.array is None for write in settled.writes):
        return 0
    context = database.context()
    units = units_of(settled.writes, items)
    if units:
        (folder / database.PARTS).mkdir(exist_ok=True)
        sink = Sink(database.parts(folder, context), context, window_of(effort), tap)
        run_units(units, sink, effort, advance)
    carried = [write for write in settled.writes if write.carriage is Carriage.FILE]
    links = _link_sources(carried, folder)
    _commit(settled.writes, carried, folder, context, with_parts=bool(units))
    return _settle_files(folder, links, effort)


def _link_sources(carried: Sequence[Routed], folder: Path) -> dict[str, Path]:
    """Symbolic links to all files that reading the sources' indexes may need; later they become files."""
    links: dict[str, Path] = {}
    for store in {id(a.store): a.store for write in carried for a in write.sources}.values():
        if isinstance(store, Ocdbt):
            extents = {value.file for value in store.stored.values() if isinstance(value, Extent)}
            links |= {file: store.folder / file for file in extents | store.index_files}
    for file, source in links.items():
        link = folder / file
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(source.resolve())
    return links


def _commit(
    writes: Sequence[Routed],
    carried: Sequence[Routed],
    folder: Path,
    context: "ts.Context",
    *,
    with_parts: bool,
) -> None:
    """One version of the index: references, finished parts, array metadata."""
    import tensorstore as ts

    transaction = ts.Transaction(atomic=True)
    target = database.committed(folder, context).with_transaction(transaction)
    pending: list[Any] = []
    if with_parts:
        pending.append(database.parts(folder, context).experimental_copy_range_to(target))
    pending += _references(carried, folder, target, context)
    for write in writes:
        if write.entry.array is not None:
            key, document = metadata_document(write.entry.array.zarr)
            pending.append(target.write(f"{write.write.target.param_name}/{key}", document))
    for future in pending:
        future.result()
    transaction.commit_async().result()


def _references(
    carried: Sequence[Routed], folder: Path, target: "ts.KvStore", context: "ts.Context"
) -> list[Any]:
    import tensorstore as ts

    alone = ts.KvStore.KeyRange(b"", b"\0")
    views: dict[Path, ts.KvStore] = {}
    pending = []
    for write in carried:
        name = write.write.target.param_name
        for key, array, index in write.chunked.chunks() if write.chunked else ():
            if array.chunk(index) is None:
                continue
            if array.folder not in views:
                views[array.folder] = database.view(folder, array.folder, context)
            source = views[array.folder] / f"{array.name}/{array.zarr.chunk_key(index)}"
            pending.append(source.experimental_copy_range_to(target / f"{name}/{key}", alone))
    return pending


def _settle_files(folder: Path, links: dict[str, Path], effort: Effort) -> int:
    """Links that the index refers to become files; what it does not refer to goes."""
    index = walk_database(folder)
    needed = index.nodes | {value.file for value in index.values.values() if isinstance(value, Extent)}
    kept = [(source, folder / file) for file, source in links.items() if file in needed]
    for file in links.keys() - needed:
        (folder / file).unlink()
    parts = folder / database.PARTS
    if parts.is_dir():
        for left in parts.iterdir():
            left.unlink()
        parts.rmdir()
    data = folder / "d"
    if data.is_dir():
        for own in data.iterdir():
            if f"d/{own.name}" not in needed:
                own.unlink()
    copied = bring(kept, effort.transfer, workers_of(effort))
    _drop_empty({(folder / file).parent for file in links} | {data})
    return copied


def _drop_empty(folders: set[Path]) -> None:
    for folder in folders:
        for empty in (folder, folder.parent):
            if empty.is_dir() and not os.listdir(empty):
                empty.rmdir()
