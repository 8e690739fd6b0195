"""The codecs of a zarr v3 array, for elements of another size or compressed otherwise."""

from collections.abc import Sequence
from typing import Any

_COMPRESSORS = {"zstd", "gzip", "blosc"}
_SIZELESS = {"zstd", "gzip", "crc32c", "transpose"}


def recast(codecs: Sequence[dict[str, Any]], itemsize: int) -> tuple[dict[str, Any], ...] | None:
    """The same codecs for elements of `itemsize` bytes; None if one of them is not known."""
    made = [_recast(codec, itemsize) for codec in codecs]
    known = [codec for codec in made if codec is not None]
    return tuple(known) if len(known) == len(made) else None


def _recast(codec: dict[str, Any], itemsize: int) -> dict[str, Any] | None:
    settings = codec.get("configuration") or {}
    match codec.get("name"):
        case "bytes":
            # The order of bytes is told where there are several.
            endian = {"configuration": {"endian": settings.get("endian", "little")}}
            return {"name": "bytes", **(endian if itemsize > 1 else {})}
        case "blosc":
            return {**codec, "configuration": {**settings, "typesize": itemsize}}
        case "sharding_indexed":
            inner = recast(settings.get("codecs", ()), itemsize)
            return None if inner is None else {**codec, "configuration": {**settings, "codecs": list(inner)}}
        case name:
            return codec if name in _SIZELESS else None


def recompressed(codecs: Sequence[dict[str, Any]], level: int | None) -> tuple[dict[str, Any], ...]:
    """The same codecs with zstd of `level`, or nothing, in place of what compresses; within a shard too."""
    if any(codec["name"] == "sharding_indexed" for codec in codecs):
        return tuple(_inside(codec, level) for codec in codecs)
    made = [codec for codec in codecs if codec["name"] not in _COMPRESSORS]
    if level is not None:
        # What compresses comes after what makes bytes of elements, and before a checksum of them.
        at = next((n for n, codec in enumerate(made) if codec["name"] == "crc32c"), len(made))
        made.insert(at, {"name": "zstd", "configuration": {"level": level, "checksum": False}})
    return tuple(made)


def _inside(codec: dict[str, Any], level: int | None) -> dict[str, Any]:
    if codec["name"] != "sharding_indexed":
        return codec
    settings = codec.get("configuration") or {}
    inner = list(recompressed(settings.get("codecs", ()), level))
    return {**codec, "configuration": {**settings, "codecs": inner}}
