"""Array metadata of zarr v2 (`.zarray`) and v3 (`zarr.json`), as orbax writes it through tensorstore.

Only what a conversion must know or change is typed; all else is kept as it stands and written back.
Source of the facts: the zarr v2 and v3 specifications, and checkpoints of orbax 0.11 and 0.12.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from linen_nnx.schema.array import ArraySpec, DType, spec_of

_V2_NAMES = {
    "b1": DType.BOOL,
    "i1": DType.INT8,
    "i2": DType.INT16,
    "i4": DType.INT32,
    "i8": DType.INT64,
    "u1": DType.UINT8,
    "u2": DType.UINT16,
    "u4": DType.UINT32,
    "u8": DType.UINT64,
    "f2": DType.FLOAT16,
    "f4": DType.FLOAT32,
    "f8": DType.FLOAT64,
    "c8": DType.COMPLEX64,
    "c16": DType.COMPLEX128,
}


_SIZES: TypeAdapter[tuple[int, ...]] = TypeAdapter(tuple[int, ...], config=ConfigDict(defer_build=True))


class _Stored(BaseModel):
    """Metadata as stored: fields that we do not interpret are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)


@lru_cache(maxsize=256)
def _only_key(rank: int, separator: str) -> str:
    """The key of version 2 of an array's only chunk."""
    return separator.join(["0"] * rank) or "0"


class ZarrV2(_Stored):
    """`.zarray`. One key a chunk: `0.i.0`, or `0` for a scalar."""

    zarr_format: Literal[2]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    dimension_separator: Literal[".", "/"] = "."

    @property
    def spec(self) -> ArraySpec:
        """Shape and dtype. Raises `ValueError` on an element type that jax does not have."""
        name = self.dtype[1:] if self.dtype[:1] in "<>|" else self.dtype
        return spec_of(self.shape, _V2_NAMES.get(name) or DType(self.dtype))

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """What one stored value holds."""
        return self.chunks

    @property
    def read_chunk_shape(self) -> tuple[int, ...]:
        """What one read must decode."""
        return self.chunks

    def reshaped(
        self, shape: tuple[int, ...], chunk: tuple[int, ...], read_chunk: tuple[int, ...]
    ) -> "ZarrV2":
        """The same array metadata for another shape; `read_chunk` has no meaning in v2."""
        del read_chunk
        return self.model_copy(update={"shape": shape, "chunks": chunk})

    def chunk_key(self, index: tuple[int, ...]) -> str:
        """The key of one chunk below the array's folder."""
        return self.dimension_separator.join(map(str, index)) or "0"

    def chunk_keys(self) -> Iterator[str]:
        """The key of every chunk."""
        if self.shape == self.chunks and 0 not in self.shape:
            return iter((_only_key(len(self.shape), self.dimension_separator),))
        return map(self.chunk_key, chunk_grid(self))


class _ChunkShape(_Stored):
    chunk_shape: tuple[int, ...]


class _RegularGrid(_Stored):
    name: Literal["regular"]
    configuration: _ChunkShape


class _KeySettings(_Stored):
    separator: Literal["/", "."] | None = None


class _KeyEncoding(_Stored):
    name: Literal["default", "v2"] = "default"
    configuration: _KeySettings = _KeySettings()


class ZarrV3(_Stored):
    """`zarr.json` of an array. One key a shard: `c/0/i/0`, or `c` for a scalar."""

    zarr_format: Literal[3]
    node_type: Literal["array"]
    shape: tuple[int, ...]
    data_type: str
    chunk_grid: _RegularGrid
    chunk_key_encoding: _KeyEncoding = _KeyEncoding()
    codecs: tuple[dict[str, JsonValue], ...] = ()

    @property
    def spec(self) -> ArraySpec:
        """Shape and dtype. Raises `ValueError` on an element type that jax does not have."""
        return spec_of(self.shape, DType(self.data_type))

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """What one stored value (a shard, if sharded) holds."""
        return self.chunk_grid.configuration.chunk_shape

    @property
    def read_chunk_shape(self) -> tuple[int, ...]:
        """What one read must decode: the inner chunk of the `sharding_indexed` codec, if any."""
        for codec in self.codecs:
            configuration = codec.get("configuration")
            if codec.get("name") == "sharding_indexed" and isinstance(configuration, dict):
                return _SIZES.validate_python(configuration["chunk_shape"], strict=False)
        return self.chunk_shape

    def reshaped(
        self, shape: tuple[int, ...], chunk: tuple[int, ...], read_chunk: tuple[int, ...]
    ) -> "ZarrV3":
        """The same array metadata for another shape, shard and inner chunk."""
        grid = self.chunk_grid.model_copy(update={"configuration": _ChunkShape(chunk_shape=chunk)})
        codecs = tuple(_with_inner_chunk(codec, read_chunk) for codec in self.codecs)
        return self.model_copy(update={"shape": shape, "chunk_grid": grid, "codecs": codecs})

    def chunk_key(self, index: tuple[int, ...]) -> str:
        """The key of one shard below the array's folder."""
        default = self.chunk_key_encoding.name == "default"
        parts = (*(("c",) if default else ()), *map(str, index))
        separator = self.chunk_key_encoding.configuration.separator or ("/" if default else ".")
        return separator.join(parts) or "0"

    def chunk_keys(self) -> Iterator[str]:
        """The key of every shard."""
        return map(self.chunk_key, chunk_grid(self))


def _with_inner_chunk(codec: dict[str, JsonValue], chunk: tuple[int, ...]) -> dict[str, JsonValue]:
    configuration = codec.get("configuration")
    if codec.get("name") != "sharding_indexed" or not isinstance(configuration, dict):
        return codec
    return {**codec, "configuration": {**configuration, "chunk_shape": list(chunk)}}


ZarrArray = Annotated[ZarrV2 | ZarrV3, Field(discriminator="zarr_format")]
"""Metadata of a stored array, of either version."""


def chunk_grid(array: ZarrV2 | ZarrV3) -> Iterator[tuple[int, ...]]:
    """The index of every stored chunk."""
    if array.shape == array.chunk_shape and 0 not in array.shape:
        return iter(((0,) * len(array.shape),))
    sizes = zip(array.shape, array.chunk_shape, strict=True)
    return product(*(range(-(-size // part)) for size, part in sizes))


METADATA_KEYS = {2: ".zarray", 3: "zarr.json"}
"""The key that holds it, below the array's folder."""

_MOST = 2**63
"""No size is as large: tensorstore counts in 64 bits."""
_ADAPTER: TypeAdapter[ZarrV2 | ZarrV3] = TypeAdapter(ZarrArray, config=ConfigDict(defer_build=True))


@lru_cache(maxsize=4096)
def parse_zarr(text: bytes) -> ZarrV2 | ZarrV3:
    """Read array metadata. Raises `ValueError` (pydantic's `ValidationError` is one) on anything else.

    Equal texts are parsed once: the arrays of a model are of few shapes.
    """
    array = _ADAPTER.validate_json(text)
    if isinstance(array, ZarrV3):
        _check_codecs(array.codecs)
    for chunk in (array.chunk_shape, array.read_chunk_shape):
        if len(chunk) != len(array.shape) or not all(0 < size < _MOST for size in chunk):
            raise ValueError(f"chunks {chunk} do not fit shape {array.shape}")
    if not all(0 <= size < _MOST for size in array.shape):
        raise ValueError(f"there is no shape {array.shape}")
    return array


def _check_codecs(codecs: object) -> None:
    """What is read of codecs later is there. Raises `ValueError`."""
    if not isinstance(codecs, list | tuple):
        raise ValueError(f"codecs are a list, and no {codecs!r}")
    for codec in codecs:
        match codec:
            case {"name": "sharding_indexed", "configuration": {"chunk_shape": list(), **rest}}:
                _check_codecs(rest.get("codecs", ()))
                _check_codecs(rest.get("index_codecs", ()))
            case {"name": str(name)} if name != "sharding_indexed":
                pass
            case _:
                raise ValueError(f"{codec!r} is no codec")


def zarr_json(array: ZarrV2 | ZarrV3) -> dict[str, Any]:
    """The JSON document, as tensorstore takes it."""
    return array.model_dump(mode="json", exclude_unset=True)
