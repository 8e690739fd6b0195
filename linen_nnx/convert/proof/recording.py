"""The receipt of a conversion: its plan, and digests of what was written."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from linen_nnx.convert.compare.little import NOTHING
from linen_nnx.convert.engine.execute import Part
from linen_nnx.convert.engine.journal import JOURNAL
from linen_nnx.convert.proof.covering import Address, arrays_of, chunks_of
from linen_nnx.convert.proof.measuring import Measured, measure, measure_files
from linen_nnx.convert.proof.observing import Taken
from linen_nnx.convert.proof.sealing import content_of, now, versions
from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.convert.store.read import StoredArray
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.digest import ChunkDigests, LogicalChunks
from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.plan import Note, NoteCode, Plan
from linen_nnx.schema.receipt import NO_DIGEST, Digested, Identity, Receipt, Recorded, Times
from linen_nnx.schema.routing import Effort, Route, Traffic


@dataclass(frozen=True, slots=True)
class Done:
    """What is known of a conversion when all but its receipt is written."""

    plan: Plan
    parts: Sequence[Part]
    source: Identity
    target: Path
    options: ConversionOptions
    effort: Effort
    notes: Sequence[Note]
    times: Times
    traffic: Traffic


def measured(written: OrbaxItem, staged: Path, taken: Taken | None, effort: Effort) -> Measured:
    """Digests of a target that is not committed yet: `taken` on the way, the rest read.

    Where none were to be taken, of files alone.
    """
    besides = (staged / JOURNAL,)
    if taken is None:
        return Measured({}, measure_files(written, besides=besides))
    return measure(written, taken.stored, besides=besides, workers=effort.workers)


def recorded_content(
    written: OrbaxItem, axis: int | None, effort: Effort, taken: Taken | None, *, wanted: bool | None
) -> tuple[str | None, list[Note]]:
    """The fingerprint of what was written, if it is `wanted`; None leaves that to what it costs.

    Raises `StorageError` where it is wanted and chunks do not decode; else they are noted.
    """
    wanted = False if wanted is None and taken is None else wanted
    known = NOTHING if taken is None else taken.elements
    try:
        return content_of(written, axis, effort, known, wanted=wanted), []
    except StorageError as error:
        if wanted:
            raise
        # What is carried over as it is stored is decoded here alone, and nobody asked for that.
        why, _, _ = str(error).partition("; ")
        text = f"carried over as it is stored, but it does not decode, in the source either: {why}"
        return None, [Note(code=NoteCode.UNDECODABLE, text=text)]


def receipt_of(
    done: Done, written: OrbaxItem, found: Measured, taken: Taken | None, fingerprint: str | None = None
) -> Receipt:
    """All of the receipt but the digest of itself."""
    plan, arrays = done.plan, arrays_of(written)
    routes: dict[Address, Route] = {
        (part.place, part.prefix + write.write.target): write.route
        for part in done.parts
        for write in part.settled.writes
    }
    entries = []
    for write in plan.writes:
        at = (write.place, write.target)
        digests: list[ChunkDigests] = [found.arrays[at]] if at in found.arrays else []
        if taken is not None and at in arrays and (logical := _logical(arrays[at], taken)) is not None:
            digests.append(logical)
        entries.append(
            Recorded(
                place=write.place,
                target=write.target,
                value=write.value,
                digests=tuple(digests),
                op=write.op,
                route=routes[at],
            )
        )
    return Receipt(
        tool=versions(),
        at=now(),
        source=done.source.path,
        source_identity=done.source,
        target=str(done.target),
        source_layout=plan.source.layout,
        target_layout=plan.target.layout,
        options=done.options,
        effort=done.effort,
        nbytes=sum(w.value.spec.nbytes for w in plan.writes if isinstance(w.value, ArrayValue)),
        times=done.times,
        traffic=done.traffic,
        plan_digest=hashlib.sha256(plan.model_dump_json().encode()).hexdigest(),
        drops=plan.drops,
        notes=tuple(done.notes),
        digested=Digested.NEVER if taken is None else Digested.CONVERTED,
        fingerprint=fingerprint,
        entries=tuple(entries),
        files=found.files,
        digest=NO_DIGEST,
    )


def _logical(array: StoredArray, taken: Taken) -> LogicalChunks | None:
    """Of an array whose every chunk was made in this run, and whose chunks do not reach over its edge."""
    shape, part = array.zarr.shape, array.zarr.chunk_shape
    if any(size % step for size, step in zip(shape, part, strict=True)):
        return None
    found = [taken.elements.get((array.folder, key)) for key, _ in chunks_of(array)]
    whole = tuple(digest for digest in found if digest is not None)
    return LogicalChunks(part_shape=part, chunks=whole) if whole and len(whole) == len(found) else None
