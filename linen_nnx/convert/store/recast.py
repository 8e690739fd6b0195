"""The codecs of a zarr v3 array, for elements of another size."""

from collections.abc import Sequence
from typing import Any

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
