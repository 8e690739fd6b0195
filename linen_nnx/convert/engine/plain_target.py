"""Write the arrays of an item of plain folders: a file a chunk, copied, linked or made anew."""

from collections.abc import Callable, Iterator
from pathlib import Path

from linen_nnx.convert.engine.files import bring
from linen_nnx.convert.engine.routes import Settled
from linen_nnx.convert.engine.run import run, work_of, workers_of
from linen_nnx.convert.engine.sink import FolderSink
from linen_nnx.convert.engine.tap import Tap
from linen_nnx.convert.store.extents import Extent
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.convert.store.target_arrays import metadata_document
from linen_nnx.schema.routing import Carriage, Effort, Traffic


def write_folders(
    settled: Settled, items: Items, folder: Path, effort: Effort, advance: Callable[[int], None], tap: Tap
) -> Traffic:
    """All arrays of an item, and what that moved."""
    worked = run(work_of(settled.writes, items, effort), FolderSink(folder, tap), effort, advance)
    brought = bring(_files(settled, folder), effort.transfer, workers_of(effort), tap)
    for write in settled.writes:
        if write.entry.array is not None:
            key, document = metadata_document(write.entry.array.zarr)
            file = folder / write.write.target.param_name / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(document)
    return worked + brought + Traffic(referenced=brought.copied + brought.linked)


def _files(settled: Settled, folder: Path) -> Iterator[tuple[Path, Path]]:
    for write in settled.writes:
        if write.carriage is Carriage.FILE and write.chunked is not None:
            for key, array, index in write.chunked.chunks():
                value = array.chunk(index)
                if isinstance(value, Extent):
                    yield array.folder / value.file, folder / write.write.target.param_name / key
