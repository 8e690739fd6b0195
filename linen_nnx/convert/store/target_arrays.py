"""How a target array is stored: the metadata of what it is made of, with the op's axes moved."""

import json
from collections.abc import Callable
from typing import Any, assert_never

from linen_nnx.convert.store.read import StoredArray
from linen_nnx.convert.store.recast import recast, recompressed
from linen_nnx.schema.array import ArraySpec, ArrayValue, DType
from linen_nnx.schema.choices import Codec
from linen_nnx.schema.model import record
from linen_nnx.schema.ops import (
    Cast,
    Concat,
    Copy,
    Fill,
    MoveAxis,
    Op,
    Ref,
    Split,
    Stack,
    Take,
    moved,
    resized,
)
from linen_nnx.schema.orbax_metadata import NamedSharding
from linen_nnx.schema.zarr import METADATA_KEYS, ZarrV2, ZarrV3, zarr_json

_V2_TYPES = {
    DType.BOOL: "|b1",
    DType.INT8: "|i1",
    DType.UINT8: "|u1",
    **{d: f"<i{d.itemsize}" for d in (DType.INT16, DType.INT32, DType.INT64)},
    **{d: f"<u{d.itemsize}" for d in (DType.UINT16, DType.UINT32, DType.UINT64)},
    **{d: f"<f{d.itemsize}" for d in (DType.FLOAT16, DType.FLOAT32, DType.FLOAT64)},
    **{d: f"<c{d.itemsize}" for d in (DType.COMPLEX64, DType.COMPLEX128)},
}

_FAST = -1
"""The first level of zstd that leaves what does not repeat as it is."""


@record
class TargetArray:
    """Everything of a target array but its name and bytes."""

    zarr: ZarrV2 | ZarrV3
    write_shape: tuple[int, ...]
    sharding: NamedSharding | None

    def over(self, change: "Callable[[tuple[int, ...]], tuple[int, ...]]") -> "TargetArray":
        """With every shape changed alike; the sharding is left."""
        zarr = self.zarr.reshaped(
            change(self.zarr.shape), change(self.zarr.chunk_shape), change(self.zarr.read_chunk_shape)
        )
        return TargetArray(zarr, change(self.write_shape), self.sharding)

    def in_one_chunk(self) -> "TargetArray":
        """The whole as one stored chunk."""
        whole = _chunk(self.zarr.shape)
        return TargetArray(self.zarr.reshaped(self.zarr.shape, whole, whole), whole, self.sharding)

    def compressed(self, codec: Codec) -> "TargetArray":
        """With its chunks compressed otherwise."""
        zarr = compressed(self.zarr, codec)
        return self if zarr is self.zarr else TargetArray(zarr, self.write_shape, self.sharding)


def target_array(op: Op, stored: Callable[[Ref], StoredArray], zarr_format: int) -> TargetArray:
    """The storage of the array that `op` makes, in an item of `zarr_format`."""
    match op:
        case Copy(source=source):
            return as_stored(stored(source), zarr_format)
        case Take(of=of, axis=axis):
            return _without(target_array(of, stored, zarr_format), axis)
        case Stack(parts=parts, axis=axis):
            return _with(target_array(parts[0], stored, zarr_format), axis, len(parts))
        case MoveAxis(of=of, source=source, destination=destination):
            return _moved(target_array(of, stored, zarr_format), source, destination)
        case Concat(parts=parts, axis=axis):
            return _joined(target_array(parts[0], stored, zarr_format), axis, len(parts))
        case Split(of=of, axis=axis, count=count):
            return _piece(target_array(of, stored, zarr_format), axis, count)
        case Cast(of=of, dtype=dtype):
            inner = target_array(of, stored, zarr_format)
            return TargetArray(recoded(inner.zarr, dtype), inner.write_shape, inner.sharding)
        case Fill(value=ArrayValue(spec=spec)):
            return TargetArray(fresh_zarr(spec, zarr_format, _chunk(spec.shape)), spec.shape, None)
        case Fill(value=value):
            raise TypeError(f"{value} is no array")
        case _:
            assert_never(op)


def as_stored(array: StoredArray, zarr_format: int) -> TargetArray:
    """The storage of a copy of a stored array."""
    zarr = array.zarr
    if zarr.zarr_format != zarr_format:
        zarr = fresh_zarr(zarr.spec, zarr_format, zarr.chunk_shape)
    write_shape = array.written.write_shape if array.written is not None else zarr.chunk_shape
    return TargetArray(zarr, write_shape, array.sharding)


def _without(array: TargetArray, axis: int) -> TargetArray:
    def change(shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[:axis] + shape[axis + 1 :]

    out = array.over(change)
    return TargetArray(out.zarr, out.write_shape, out.sharding and out.sharding.without_axis(axis))


def _with(array: TargetArray, axis: int, count: int) -> TargetArray:
    def change(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:axis], count, *shape[axis:])

    out = array.over(change)
    return TargetArray(out.zarr, out.write_shape, out.sharding and out.sharding.with_axis(axis))


def _moved(array: TargetArray, source: int, destination: int) -> TargetArray:
    def change(shape: tuple[int, ...]) -> tuple[int, ...]:
        return moved(shape, source, destination)

    out, rank = array.over(change), len(array.zarr.shape)
    sharding = out.sharding and out.sharding.with_moved_axis(source, destination, rank)
    return TargetArray(out.zarr, out.write_shape, sharding)


def _joined(array: TargetArray, axis: int, count: int) -> TargetArray:
    """As one write of the whole, or with the chunks of the parts where these have several."""
    whole = array.zarr.chunk_shape[axis] == array.zarr.shape[axis]
    return _sized(array, axis, lambda size: size * count, count if whole else 1)


def _piece(array: TargetArray, axis: int, count: int) -> TargetArray:
    """The chunks are those of the whole, as far as the piece goes."""
    return _sized(array, axis, lambda size: size // count, 1)


def _sized(array: TargetArray, axis: int, resize: Callable[[int], int], longer: int) -> TargetArray:
    zarr = array.zarr
    size = resize(zarr.shape[axis])

    def cut(shape: tuple[int, ...]) -> tuple[int, ...]:
        return resized(shape, axis, max(1, min(size, shape[axis] * longer)))

    chunk, inner = cut(zarr.chunk_shape), cut(zarr.read_chunk_shape)
    if chunk[axis] % inner[axis]:
        # A shard is made of whole inner chunks.
        inner = resized(inner, axis, chunk[axis])
    out = zarr.reshaped(resized(zarr.shape, axis, size), chunk, inner)
    return TargetArray(out, cut(array.write_shape), array.sharding)


def _chunk(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(1, size) for size in shape)


def recoded(zarr: ZarrV2 | ZarrV3, dtype: DType) -> ZarrV2 | ZarrV3:
    """The same chunks and codec for another dtype; orbax's own where the codec is made for the old one."""
    fresh = fresh_zarr(ArraySpec(shape=zarr.shape, dtype=dtype), zarr.zarr_format, zarr.chunk_shape)
    if isinstance(zarr, ZarrV2):
        extra = zarr.model_extra or {}
        kept: dict[str, Any] = {name: extra[name] for name in ("compressor", "order") if name in extra}
        kept["dimension_separator"] = zarr.dimension_separator
        return fresh if extra.get("filters") else fresh.model_copy(update=kept)
    codecs = recast(zarr.codecs, dtype.itemsize)
    if codecs is None:
        return fresh
    kept = {"codecs": codecs, "chunk_key_encoding": zarr.chunk_key_encoding}
    return fresh.model_copy(update=kept)


def compressed(zarr: ZarrV2 | ZarrV3, codec: Codec) -> ZarrV2 | ZarrV3:
    """The same array and chunks, compressed otherwise; filters, order and checksums stay."""
    match codec:
        case Codec.SOURCE:
            return zarr
        case Codec.FAST:
            level: int | None = _FAST
        case Codec.NONE:
            level = None
        case _:
            assert_never(codec)
    if isinstance(zarr, ZarrV3):
        return zarr.model_copy(update={"codecs": recompressed(zarr.codecs, level)})
    return zarr.model_copy(update={"compressor": None if level is None else {"id": "zstd", "level": level}})


def fresh_zarr(spec: ArraySpec, zarr_format: int, chunk: tuple[int, ...]) -> ZarrV2 | ZarrV3:
    """Metadata as orbax writes it, for an array that has none to inherit."""
    if zarr_format == 2:
        document: dict[str, Any] = {
            "zarr_format": 2,
            "shape": spec.shape,
            "chunks": chunk,
            "dtype": _V2_TYPES.get(spec.dtype, spec.dtype.value),
            "compressor": {"id": "zstd", "level": 1},
            "fill_value": None,
            "filters": None,
            "order": "C",
        }
        return ZarrV2.model_validate(document)
    to_bytes: dict[str, Any] = {"name": "bytes"}
    if spec.dtype.itemsize > 1:
        to_bytes["configuration"] = {"endian": "little"}
    zstd = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    inner = {"chunk_shape": list(chunk), "codecs": [to_bytes, zstd], "index_codecs": index}
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": spec.shape,
        "data_type": spec.dtype.value,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default"},
        "codecs": [{"name": "sharding_indexed", "configuration": inner}],
        "fill_value": _zero(spec.dtype),
    }
    return ZarrV3.model_validate(document)


def _zero(dtype: DType) -> object:
    if dtype is DType.BOOL:
        return False
    if dtype.is_integer:
        return 0
    return [0.0, 0.0] if dtype in (DType.COMPLEX64, DType.COMPLEX128) else 0.0


def metadata_document(zarr: ZarrV2 | ZarrV3) -> tuple[str, bytes]:
    """The key of an array's metadata below its name, and the document."""
    return METADATA_KEYS[zarr.zarr_format], json.dumps(zarr_json(zarr)).encode()
