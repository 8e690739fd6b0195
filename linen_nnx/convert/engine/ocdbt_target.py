"""Write the arrays of an OCDBT item: work on values, then the data files that come along, then the index."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from linen_nnx.convert.engine.database import commit
from linen_nnx.convert.engine.files import bring
from linen_nnx.convert.engine.routes import Routed, Settled
from linen_nnx.convert.engine.run import run, work_of, workers_of
from linen_nnx.convert.engine.sink import PARTS, DataFileSink
from linen_nnx.convert.engine.tap import Tap
from linen_nnx.convert.store.extents import Extent, StoredValue
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.convert.store.target_arrays import metadata_document
from linen_nnx.schema.routing import Carriage, Effort, Traffic


def write_database(
    settled: Settled, items: Items, folder: Path, effort: Effort, advance: Callable[[int], None], tap: Tap
) -> Traffic:
    """All arrays of an item, and what that moved."""
    if all(write.entry.array is None for write in settled.writes):
        return Traffic()
    with closing(DataFileSink(folder, tap)) as sink:
        worked = run(work_of(settled.writes, items, effort), sink, effort, advance)
    files = [(source / name, folder / name) for source, name in settled.files]
    brought = bring(files, effort.transfer, workers_of(effort), tap)
    references = dict(_references(settled.writes))
    values = {**sink.values, **references, **dict(_documents(settled.writes))}
    _drop_unused(folder, {value.file for value in values.values() if isinstance(value, Extent)})
    commit(folder, values)
    shutil.rmtree(folder / PARTS)
    referenced = sum(
        value.length if isinstance(value, Extent) else len(value) for value in references.values()
    )
    return worked + brought + Traffic(referenced=referenced)


def _references(writes: Sequence[Routed]) -> Iterator[tuple[str, StoredValue]]:
    """What is known to lie in a data file that comes along, or is small and stands in the source's index."""
    for write in writes:
        if write.carriage is Carriage.FILE and write.chunked is not None:
            for key, array, index in write.chunked.chunks():
                if (value := array.chunk(index)) is not None:
                    yield f"{write.write.target.param_name}/{key}", value


def _documents(writes: Sequence[Routed]) -> Iterator[tuple[str, bytes]]:
    # Most arrays share their metadata with many others.
    made: dict[int, tuple[str, bytes]] = {}
    for write in writes:
        if write.entry.array is not None:
            zarr = write.entry.array.zarr
            if id(zarr) not in made:
                made[id(zarr)] = metadata_document(zarr)
            key, document = made[id(zarr)]
            yield f"{write.write.target.param_name}/{key}", document


def _drop_unused(folder: Path, used: set[str]) -> None:
    """Data files of an earlier run, none of whose parts were finished."""
    for file in (folder / "d").iterdir():
        if f"d/{file.name}" not in used:
            file.unlink()
