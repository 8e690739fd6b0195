"""Write a receipt of digests for a checkpoint as it stands, so that `verify` watches it from then on."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from platform import python_version

from linen_nnx.convert.compare.little import NOTHING, Known, is_little
from linen_nnx.convert.engine.progress import Progress
from linen_nnx.convert.proof.measuring import Measured, measure
from linen_nnx.convert.proof.receipts import read_receipt, receipt_file, write_receipt
from linen_nnx.convert.store.location import Location, locate
from linen_nnx.convert.store.orbax_source import OrbaxItem, open_item
from linen_nnx.schema.array import Value
from linen_nnx.schema.digest import ChunkDigests
from linen_nnx.schema.errors import CheckpointError, ProblemsError, StorageError, raise_if
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Place
from linen_nnx.schema.problem import Code
from linen_nnx.schema.receipt import NO_DIGEST, Digested, Receipt, Seal, Sealed, Versions
from linen_nnx.schema.routing import Effort
from linen_nnx.version import __version__


def content_of(
    item: OrbaxItem, layer_axis: int | None, effort: Effort, known: Known = NOTHING, *, wanted: bool | None
) -> str | None:
    """The fingerprint of a state's content, if it is `wanted`; None leaves that to what it costs."""
    if wanted is False or (wanted is None and not is_little(item, known)):
        return None
    # Here, since the room that compares is many files, for which large states have no use.
    from linen_nnx.convert.compare.fingerprint import cheap_fingerprint, fingerprint_of

    take = fingerprint_of if wanted else cheap_fingerprint
    return take(item, layer_axis, effort, known)


def versions() -> Versions:
    """What is at work here."""
    return Versions(
        linen_nnx=__version__,
        python=python_version(),
        tensorstore=installed("tensorstore"),
        zstandard=installed("zstandard"),
        blake3=installed("blake3"),
    )


def now() -> datetime:
    """UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def seal(
    path: Path | str,
    *,
    step: int | None = None,
    item: str | None = None,
    overwrite: bool = False,
    fingerprint: bool | None = None,
    layer_axis: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Receipt | Seal:
    """Write digests of all that a checkpoint holds into its own `linen_nnx/receipt.json`, and nothing else.

    That of a legacy file lies beside it, as `.linen-nnx-receipt.NAME.json`.

    Reads every file once. With `overwrite` the digests replace those of an earlier receipt; what that says
    of a conversion is kept. `fingerprint` adds that of the content, which decodes every array: True always,
    False never, None where that is little (64 MiB); `layer_axis`: where shapes do not prove the axis of
    stacked layers. Raises `CheckpointError` where a receipt stands
    already or the checkpoint has faults, `StorageError` where it cannot be read or written.
    """
    location = locate(Path(path), step, item)
    earlier = _earlier(location, overwrite=overwrite)
    opened = open_item(location)
    raise_if(opened.problems, CheckpointError)
    if opened.side is not None and opened.side.item is not None:
        raise_if(opened.side.item.problems, CheckpointError)
    effort = Effort(workers=workers)
    try:
        content = content_of(opened, layer_axis, effort, wanted=fingerprint)
    except StorageError:
        if fingerprint:
            raise
        # It says what is stored, whether or not that decodes.
        content = None
    measured = measure(opened, {}, workers=workers, progress=progress)
    entries = tuple(_entries(opened, measured))
    if isinstance(earlier, Receipt) and _same(earlier, entries):
        return write_receipt(_renewed(earlier, entries, measured, content), location.item)
    seal = Seal(
        tool=versions(),
        at=now(),
        fingerprint=content,
        entries=entries,
        files=measured.files,
        digest=NO_DIGEST,
    )
    return write_receipt(seal, location.item)


def _earlier(location: Location, *, overwrite: bool) -> Receipt | Seal | None:
    file = receipt_file(location.item)
    if file.exists() and not overwrite:
        raise CheckpointError.one(
            Code.ALREADY_SEALED,
            expected="a checkpoint without a receipt",
            found="one with a receipt",
            file=str(file),
            hint="hold the checkpoint against it with `linen-nnx verify`; --overwrite takes the digests anew",
        )
    try:
        return read_receipt(location.item)
    except ProblemsError:
        # It is to be overwritten, and there is nothing in it that could be trusted.
        return None


def _entries(opened: OrbaxItem, measured: Measured) -> Iterator[Sealed]:
    for entry in opened.inventory.entries:
        yield _sealed(Place.ITEM, entry.path, entry.value, measured)
    if opened.side is not None:
        for path, value in opened.side.values.items():
            yield _sealed(Place.SIDE, path, value, measured)


def _sealed(place: Place, path: KeyPath, value: Value, measured: Measured) -> Sealed:
    found = measured.arrays.get((place, path))
    digests: tuple[ChunkDigests, ...] = () if found is None else (found,)
    return Sealed(place=place, target=path, value=value, digests=digests)


def _same(earlier: Receipt, entries: tuple[Sealed, ...]) -> bool:
    """Whether a conversion wrote these very entries."""
    ours = {(entry.place, entry.target): entry.value for entry in earlier.entries}
    return ours == {(entry.place, entry.target): entry.value for entry in entries}


def _renewed(
    earlier: Receipt, entries: tuple[Sealed, ...], measured: Measured, content: str | None
) -> Receipt:
    digests = {(entry.place, entry.target): entry.digests for entry in entries}
    return earlier.model_copy(
        update={
            "at": now(),
            "tool": versions(),
            "digested": Digested.SEALED,
            "fingerprint": content,
            "files": measured.files,
            "entries": tuple(
                entry.model_copy(update={"digests": digests[entry.place, entry.target]})
                for entry in earlier.entries
            ),
        }
    )
