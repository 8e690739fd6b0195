"""Arrays that are made of stored chunks as they are: which chunk of which stored array stands where.

A layer stacked on an axis is a chunk of size one on that axis, and the bytes of such a chunk are those of
the layer's own: inserting or removing an axis of size one moves no element.
"""

from collections.abc import Callable, Iterator
from typing import Any, assert_never

from linen_nnx.convert.store.read import StoredArray
from linen_nnx.schema.model import record
from linen_nnx.schema.ops import Cast, Concat, Copy, Fill, MoveAxis, Op, Ref, Split, Stack, Take
from linen_nnx.schema.zarr import ZarrV2, ZarrV3, chunk_grid

Index = tuple[int, ...]

_RANK_FREE = frozenset({"bytes", "zstd", "gzip", "blosc", "crc32c", "sharding_indexed"})
"""Codecs whose settings do not speak of axes; the chunk shape of `sharding_indexed` is changed too."""


@record
class Chunked:
    """An array by its chunks: its metadata, and the stored chunk behind the chunk at an index."""

    zarr: ZarrV2 | ZarrV3
    at: Callable[[Index], tuple[StoredArray, Index]]

    def chunks(self) -> Iterator[tuple[str, StoredArray, Index]]:
        """For every chunk its key below the array's name, and where its bytes are."""
        for index in chunk_grid(self.zarr):
            yield (self.zarr.chunk_key(index), *self.at(index))


def by_chunk(op: Op, stored: Callable[[Ref], StoredArray], zarr_format: int) -> Chunked | None:
    """How `op` is made of stored chunks; None if a chunk would have to be decoded."""
    match op:
        case Copy(source=source):
            return _copied(stored(source), zarr_format)
        case Take(of=of, axis=axis, index=index):
            return _taken(by_chunk(of, stored, zarr_format), axis, index)
        case Stack(parts=parts, axis=axis):
            return _stacked([by_chunk(part, stored, zarr_format) for part in parts], axis)
        case MoveAxis() | Concat() | Split() | Cast() | Fill():
            return None
        case _:
            assert_never(op)


def _copied(array: StoredArray, zarr_format: int) -> Chunked | None:
    return Chunked(array.zarr, array.at) if array.zarr.zarr_format == zarr_format else None


def _taken(inner: Chunked | None, axis: int, index: int) -> Chunked | None:
    if inner is None or inner.zarr.chunk_shape[axis] != 1 or not _rank_free(inner.zarr):
        return None
    below = inner.at
    zarr = _reshaped(inner.zarr, lambda shape, _: (*shape[:axis], *shape[axis + 1 :]), 0)
    return Chunked(zarr, lambda at: below((*at[:axis], index, *at[axis:])))


def _stacked(parts: list[Chunked | None], axis: int) -> Chunked | None:
    made = [part for part in parts if part is not None]
    first = made[0].zarr if made else None
    if first is None or len(made) != len(parts) or not _rank_free(first):
        return None
    if any(part.zarr != first for part in made):
        return None
    zarr = _reshaped(first, lambda shape, size: (*shape[:axis], size, *shape[axis:]), len(parts))
    return Chunked(zarr, lambda at: made[at[axis]].at((*at[:axis], *at[axis + 1 :])))


def _reshaped(zarr: ZarrV2 | ZarrV3, change: Callable[[Index, int], Index], count: int) -> ZarrV2 | ZarrV3:
    return zarr.reshaped(
        change(zarr.shape, count), change(zarr.chunk_shape, 1), change(zarr.read_chunk_shape, 1)
    )


def _rank_free(zarr: ZarrV2 | ZarrV3) -> bool:
    """Whether an axis of size one may come or go without a change of stored bytes."""
    if isinstance(zarr, ZarrV2):
        return not (zarr.model_extra or {}).get("filters")
    return not (zarr.model_extra or {}).get("dimension_names") and _codecs_rank_free(zarr.codecs)


def _codecs_rank_free(codecs: Any) -> bool:
    for codec in codecs:
        inner = (codec.get("configuration") or {}).get("codecs", [])
        if codec.get("name") not in _RANK_FREE or not _codecs_rank_free(inner):
            return False
    return True
