"""How long a conversion will take: its bytes, over what cores and disks were seen to do with them.

The rates are those of the benchmarks: a disk that takes 2 GB/s, cores of 2025, digests taken. Where the disk
is slower, so is the conversion.
"""

from linen_nnx.convert.engine.codec import Shard, Zstd, chunk_codec
from linen_nnx.convert.engine.routes import Routed, Settled
from linen_nnx.convert.engine.run import Work, threads_of, workers_of
from linen_nnx.convert.engine.units import Move
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.routing import Effort, Route, Transfer
from linen_nnx.schema.zarr import ZarrV2, ZarrV3

START = 0.4
"""Seconds of a process that converts next to nothing."""
_LEAF = 1.5e-4
"""Seconds for each write: to plan it, write its metadata, read that back and put it into the receipt."""
_COPIED = 2e9
"""Bytes a second of data files, all threads together: the disk's part."""
_DIGESTED = 5e9
"""Bytes a second and thread of data files that are linked, and so only read for their digests."""
_MOVED = 0.7e9
_DECODED = 0.35e9
"""Bytes a second and thread, in memory, of what is decoded and encoded by a codec that shrinks floats."""
_DECODED_ONLY = 0.6e9
"""The same, where what is encoded is hardly compressed."""


def seconds(settled: Settled, work: Work, effort: Effort) -> float:
    """For one item; `work` is what is done on its values."""
    carried = sum(settled.files.values()) / (
        _COPIED if effort.transfer is Transfer.COPY else _DIGESTED * workers_of(effort)
    )
    moved = sum(unit.cost for unit in work.units if isinstance(unit, Move)) / _MOVED
    made = [write for write in settled.writes if write.route is Route.DECODE]
    # Slices of one array are stored alike.
    arrays = {id(write.array): write.array.zarr for write in made}
    rates = {number: _DECODED if _shrinks(zarr) else _DECODED_ONLY for number, zarr in arrays.items()}
    decoded = sum(_nbytes(write) / rates[id(write.array)] for write in made)
    return _LEAF * len(settled.writes) + carried + (moved + decoded) / threads_of(work, effort)


def _nbytes(write: Routed) -> int:
    value = write.write.value
    return value.spec.nbytes if isinstance(value, ArrayValue) else 0


def _shrinks(zarr: ZarrV2 | ZarrV3) -> bool:
    match chunk_codec(zarr):
        case Zstd(level=level) | Shard(inner=Zstd(level=level)):
            return level > 0
        case None:
            return True
        case _:
            return False
