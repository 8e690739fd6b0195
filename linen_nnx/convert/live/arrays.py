"""Arrays as live objects hold them: of a source in memory or on disk, on the devices of the array before."""

from functools import cache
from typing import Any

from linen_nnx.convert.engine.reader import Reader
from linen_nnx.convert.engine.regions import Regions
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.schema.array import ArraySpec, ArrayValue
from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.plan import Write


def like(value: Any, live: Any) -> Any:
    """`value` as a jax array in the sharding of `live`; shared where it is in that sharding already."""
    import jax
    import jax.numpy as jnp

    sharding = getattr(live, "sharding", None)
    if sharding is None:
        return jnp.asarray(value)
    if isinstance(value, jax.Array) and value.sharding == sharding:
        return value
    return jax.device_put(value, sharding)


def from_disk(write: Write, live: Any, items: Items) -> Any:
    """The array of a write, read shard by shard for each device: none is on the host as a whole.

    Raises `StorageError`. A typed key, which is a few words, is read at once.
    """
    assert isinstance(write.value, ArrayValue)
    spec, regions = write.value.spec, Regions(Reader(items, cache=0))
    try:
        if spec.key_impl is not None:
            return _key(regions.read(write.op, _whole(spec)), spec.key_impl, live)
        return _sharded(write, spec, regions, live)
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot read {write.target}: {error}") from error


def _sharded(write: Write, spec: ArraySpec, regions: Regions, live: Any) -> Any:
    import jax

    sharding = getattr(live, "sharding", None)
    if sharding is None:
        return like(regions.read(write.op, _whole(spec)), live)

    @cache
    def region(bounds: tuple[tuple[int, int], ...]) -> Any:
        # Devices that hold the same part of it share one read.
        return regions.read(write.op, tuple(slice(*pair) for pair in bounds))

    def shard(index: tuple[slice, ...] | None) -> Any:
        bounds = (part.indices(size)[:2] for part, size in zip(index or (), spec.shape, strict=True))
        return region(tuple(bounds))

    return jax.make_array_from_callback(spec.shape, sharding, shard)


def _key(words: Any, impl: str, live: Any) -> Any:
    import jax

    return like(jax.random.wrap_key_data(words, impl=impl), live)


def _whole(spec: ArraySpec) -> tuple[slice, ...]:
    return tuple(slice(0, size) for size in spec.shape)
