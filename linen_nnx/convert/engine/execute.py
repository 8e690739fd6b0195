"""Run a plan's writes for one item: read, make, write, a bounded number of bytes at a time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linen_nnx.convert.engine.evaluate import NumpyArrays, evaluate
from linen_nnx.convert.engine.progress import Progress
from linen_nnx.convert.store.orbax_sink import TargetEntry, array_spec, write_item_files
from linen_nnx.convert.store.source_arrays import Items, SourceArrays
from linen_nnx.convert.store.target_arrays import target_array
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.ops import Ref, refs
from linen_nnx.schema.orbax_metadata import StorageForm
from linen_nnx.schema.plan import Write

if TYPE_CHECKING:
    import tensorstore as ts


@dataclass(frozen=True, slots=True)
class _Job:
    write: Write
    entry: TargetEntry
    nbytes: int
    sources: tuple[Ref, ...]


def write_item(
    writes: Sequence[Write],
    items: Items,
    folder: Path,
    storage: StorageForm,
    custom_metadata: object,
    memory: int,
    progress: Progress,
) -> None:
    """Write one item into `folder`, holding about `memory` bytes of arrays. Raises `StorageError`."""
    import tensorstore as ts

    folder.mkdir(parents=True, exist_ok=True)
    jobs = [_job(write, items, storage) for write in writes]
    arrays = sorted((job for job in jobs if job.entry.array is not None), key=_by_source)
    held = SourceArrays(items, Counter(ref for job in arrays for ref in set(job.sources)))
    # One context: every array then goes through one open database, and a batch is one commit of its tree.
    context = ts.Context()
    try:
        for batch in _batches(arrays, memory // 2):
            _write_batch(batch, held, folder, storage, context)
            progress.advance(sum(job.nbytes for job in batch))
        write_item_files(folder, storage, [job.entry for job in jobs], custom_metadata)
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot write {folder}: {error}") from error


def _job(write: Write, items: Items, storage: StorageForm) -> _Job:
    if not isinstance(write.value, ArrayValue):
        return _Job(write, TargetEntry(write.target, write.value, None), 0, ())
    array = target_array(write.op, lambda ref: items[ref.origin].arrays[ref.path], storage.zarr_format)
    entry = TargetEntry(write.target, write.value, array)
    return _Job(write, entry, write.value.spec.nbytes, tuple(refs(write.op)))


def _by_source(job: _Job) -> tuple[str, Any, Any]:
    """Writes that read the same array stand together, so that it is read once."""
    first = job.sources[0]
    return (first.origin.value, first.path.natural(), job.write.target.natural())


def _batches(jobs: Sequence[_Job], limit: int) -> Iterator[list[_Job]]:
    batch: list[_Job] = []
    size = 0
    for job in jobs:
        if batch and size + job.nbytes > limit:
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += job.nbytes
    if batch:
        yield batch


def _write_batch(
    batch: Sequence[_Job], held: SourceArrays, folder: Path, storage: StorageForm, context: "ts.Context"
) -> None:
    import tensorstore as ts

    held.fetch([ref for job in batch for ref in job.sources])
    # Plain folders have no tree to commit.
    transaction = ts.Transaction() if storage.ocdbt else None
    opened = [
        ts.open(
            array_spec(folder, storage, job.write.target.param_name, job.entry.array),
            create=True,
            transaction=transaction,
            context=context,
        )
        for job in batch
        if job.entry.array is not None
    ]
    written = []
    for job, store in zip(batch, opened, strict=True):
        data = evaluate(job.write.op, held.array, NumpyArrays())
        written.append(store.result().write(data))
        held.used(tuple(set(job.sources)))
    for future in written:
        future.copy.result()
    if transaction is not None:
        transaction.commit_async().result()
    for future in written:
        future.result()
