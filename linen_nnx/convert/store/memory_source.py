"""A live tree as a `Source`."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from linen_nnx.convert.engine.evaluate import Array, Arrays, NumpyArrays, numpy_dtype, piece
from linen_nnx.schema.array import ArrayValue, DType, Holder
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.ops import moved, resized
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.tree import flatten, inventory_of_leaves


class MemorySource:
    """Holds references to the leaves of a tree; nothing is copied."""

    side = None

    def __init__(self, tree: object) -> None:
        """Flatten `tree`."""
        self._leaves = dict(flatten(tree))

    @cached_property
    def inventory(self) -> Inventory:
        """Every entry. Raises `LayoutError` with every leaf that no checkpoint can hold."""
        return inventory_of_leaves(self._leaves.items())

    def leaf(self, path: KeyPath) -> Any:
        """The object at `path`."""
        return self._leaves[path]

    def opened(self, path: KeyPath) -> Any | None:
        """The array at `path` with its key data, if it has values; None for what is none."""
        leaf: Any = self._leaves[path]
        if not isinstance(self.inventory.by_path[path], ArrayValue) or _is_spec(leaf):
            return None
        if str(getattr(leaf, "dtype", "")).startswith("key<"):
            import jax

            return jax.random.key_data(leaf)
        return leaf if hasattr(leaf, "shape") else np.asarray(leaf)

    def scalar(self, path: KeyPath) -> int | None:
        """The value of an integer scalar; None for a spec without a value."""
        leaf: Any = self._leaves[path]
        return None if _is_spec(leaf) else int(leaf)

    @property
    def arrays(self) -> Arrays:
        """What ops do to the arrays of this tree."""
        values = [value for value in self.inventory.by_path.values() if isinstance(value, ArrayValue)]
        concrete = JaxArrays() if any(value.holder is Holder.JAX for value in values) else NumpyArrays()
        return SpecArrays(concrete) if any(_is_spec(leaf) for leaf in self._leaves.values()) else concrete


def _is_spec(leaf: Any) -> bool:
    return type(leaf).__name__ == "ShapeDtypeStruct"


class JaxArrays:
    """Jax arrays, typed keys among them; they stay on their devices."""

    def take(self, array: Array, axis: int, index: int) -> Array:
        """One slice."""
        import jax

        return _as_bits(lambda one: jax.lax.index_in_dim(one, index, axis, keepdims=False), array)

    def stack(self, arrays: list[Array], axis: int) -> Array:
        """Along a new axis."""
        import jax.numpy as jnp

        return _as_bits(lambda *parts: jnp.stack(parts, axis), *arrays)

    def move_axis(self, array: Array, source: int, destination: int) -> Array:
        """One axis to another place."""
        import jax.numpy as jnp

        return _as_bits(lambda one: jnp.moveaxis(one, source, destination), array)

    def concat(self, arrays: list[Array], axis: int) -> Array:
        """One after the other."""
        import jax.numpy as jnp

        return _as_bits(lambda *parts: jnp.concatenate(parts, axis), *arrays)

    def split(self, array: Array, axis: int, index: int, count: int) -> Array:
        """One of equal pieces."""
        return _as_bits(lambda one: one[piece(one.shape, axis, index, count)], array)

    def cast(self, array: Array, dtype: DType) -> Array:
        """To `dtype`; a value that would change is refused."""
        import jax.numpy as jnp

        exact = NumpyArrays().cast(jnp.asarray(array), dtype)
        return jnp.asarray(exact)

    def round(self, array: Array, dtype: DType) -> Array:
        """To the nearest values that `dtype` has."""
        import jax.numpy as jnp

        return jnp.asarray(array, numpy_dtype(dtype))

    def zeros(self, value: ArrayValue) -> Array:
        """An array that has no source."""
        import jax.numpy as jnp

        return jnp.zeros(value.spec.shape, numpy_dtype(value.spec.dtype))


def _as_bits(move: Callable[..., Array], *arrays: Array) -> Array:
    """Move floats of 8 and 16 bits as integers.

    XLA may compute them as wider floats (its CPU backend does), and a signalling NaN that is moved as such
    becomes a quiet one.
    """
    import jax
    import jax.numpy as jnp
    import ml_dtypes

    dtype = arrays[0].dtype
    words = {8: jnp.uint8, 16: jnp.uint16}
    if not jnp.issubdtype(dtype, jnp.floating):
        return move(*arrays)
    width: int = ml_dtypes.finfo(dtype).bits  # type: ignore[no-untyped-call]  # ml_dtypes does not annotate it
    if width not in words:
        return move(*arrays)
    word = words[width]
    bits = [jax.lax.bitcast_convert_type(jnp.asarray(array), word) for array in arrays]
    return jax.lax.bitcast_convert_type(move(*bits), dtype)


class SpecArrays:
    """`ShapeDtypeStruct`s: shapes and dtypes move, there are no values.

    Where a tree has arrays with values too, those keep them; what is made of both is a spec.
    """

    def __init__(self, concrete: Arrays) -> None:
        """`concrete` moves what has values."""
        self._concrete = concrete

    def take(self, array: Array, axis: int, index: int) -> Array:
        """The shape without `axis`."""
        if not _is_spec(array):
            return self._concrete.take(array, axis, index)
        return _spec(array, (*array.shape[:axis], *array.shape[axis + 1 :]))

    def stack(self, arrays: list[Array], axis: int) -> Array:
        """The shape with a new axis."""
        if (like := _first_spec(arrays)) is None:
            return self._concrete.stack(arrays, axis)
        return _spec(like, (*like.shape[:axis], len(arrays), *like.shape[axis:]))

    def move_axis(self, array: Array, source: int, destination: int) -> Array:
        """The shape with one axis at another place."""
        if not _is_spec(array):
            return self._concrete.move_axis(array, source, destination)
        return _spec(array, moved(array.shape, source, destination))

    def concat(self, arrays: list[Array], axis: int) -> Array:
        """The shape with a longer axis."""
        if (like := _first_spec(arrays)) is None:
            return self._concrete.concat(arrays, axis)
        return _spec(like, resized(like.shape, axis, sum(array.shape[axis] for array in arrays)))

    def split(self, array: Array, axis: int, index: int, count: int) -> Array:
        """The shape with a shorter axis."""
        if not _is_spec(array):
            return self._concrete.split(array, axis, index, count)
        return _spec(array, resized(array.shape, axis, array.shape[axis] // count))

    def cast(self, array: Array, dtype: DType) -> Array:
        """The dtype changed."""
        if not _is_spec(array):
            return self._concrete.cast(array, dtype)
        return _spec(array, array.shape, numpy_dtype(dtype))

    def round(self, array: Array, dtype: DType) -> Array:
        """The dtype changed."""
        if not _is_spec(array):
            return self._concrete.round(array, dtype)
        return _spec(array, array.shape, numpy_dtype(dtype))

    def zeros(self, value: ArrayValue) -> Array:
        """What zeros are."""
        import jax

        return _spec(jax.ShapeDtypeStruct((), bool), value.spec.shape, numpy_dtype(value.spec.dtype))  # type: ignore[no-untyped-call]  # jax says nothing of it


def _first_spec(arrays: Sequence[Array]) -> Array | None:
    return next((array for array in arrays if _is_spec(array)), None)


def _spec(like: Any, shape: tuple[int, ...], dtype: Any = None) -> Array:
    return type(like)(shape, like.dtype if dtype is None else dtype)
