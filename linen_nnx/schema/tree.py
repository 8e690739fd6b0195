"""Flatten a live tree into entries, by the same rules as orbax, without importing jax or flax.

Takes nested dicts, lists, tuples, named tuples, `flax.struct` dataclasses (a `TrainState`), `nnx.State`
and anything else that is a mapping; leaves are arrays (numpy, jax, `ShapeDtypeStruct`), Python scalars,
strings, `None`, and `nnx` variables, which orbax writes under a last key `value`.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from linen_nnx.schema.array import (
    KEY_WORDS,
    ArraySpec,
    ArrayValue,
    DType,
    Empty,
    EmptyValue,
    Holder,
    StringValue,
    Value,
)
from linen_nnx.schema.errors import LayoutError, raise_if
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.problem import Code, Problem

_DTYPES = frozenset(dtype.value for dtype in DType)
_KEY_TAGS = {"fry": "threefry2x32", "rbg": "rbg", "urbg": "unsafe_rbg"}
"""jax prints a key dtype as `key<tag>`; the tag is not the name that orbax stores."""


def inventory_of(tree: object) -> Inventory:
    """The entries of a live tree. Raises `LayoutError` with every leaf that no checkpoint can hold."""
    return inventory_of_leaves(flatten(tree))


def inventory_of_leaves(leaves: Iterable[tuple[KeyPath, object]]) -> Inventory:
    """The same of leaves that are flattened already."""
    entries, problems = [], []
    for path, leaf in leaves:
        try:
            entries.append(Entry(path=path, value=value_of(leaf)))
        except TypeError as error:
            problems.append(_not_held(path, error))
    raise_if(problems, LayoutError)
    return Inventory.of(entries)


def _not_held(path: KeyPath, error: TypeError) -> Problem:
    return Problem(
        code=Code.WRONG_KIND,
        path=path,
        expected="an array of a dtype that jax has, a Python number, a string or nothing",
        found=str(error),
    )


def flatten(tree: object, at: KeyPath = ROOT) -> Iterator[tuple[KeyPath, object]]:
    """Every leaf with its path. Empties and `None` are leaves."""
    children = _children(tree)
    if not children:
        yield at, tree
        return
    for key, child in children:
        yield from flatten(child, at / key)


def _children(node: Any) -> list[tuple[str | int, object]]:
    if isinstance(node, Mapping) or _is_nnx_state(node):
        return [(str(key), child) for key, child in node.items()]
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        return [(name, getattr(node, name)) for name in node._fields]
    if isinstance(node, list | tuple):
        return list(enumerate(node))
    if _is_array(node):
        return []
    if _is_nnx_variable(node):
        return [("value", node.get_value())]
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        return [
            (f.name, getattr(node, f.name))
            for f in dataclasses.fields(node)
            if f.metadata.get("pytree_node", True)
        ]
    return []


def _is_nnx_state(node: Any) -> bool:
    return type(node).__name__ in {"State", "FlatState"} and hasattr(node, "items")


def _is_nnx_variable(node: Any) -> bool:
    return hasattr(node, "get_value") and hasattr(node, "set_value")


def _is_array(node: Any) -> bool:
    return hasattr(node, "shape") and hasattr(node, "dtype") and not _is_nnx_variable(node)


def value_of(leaf: Any) -> Value:
    """What a leaf is. Raises `TypeError` on one that no checkpoint can hold."""
    match leaf:
        case None:
            return EmptyValue()
        case str():
            return StringValue(text=leaf)
        case bool():
            return _scalar(DType.BOOL)
        case int():
            return _scalar(DType.INT64)
        case float():
            return _scalar(DType.FLOAT64)
        case list() | tuple() | Mapping():
            return EmptyValue(empty=_empty(leaf))
        case _ if _is_array(leaf):
            return ArrayValue(spec=_spec(leaf), holder=_holder(leaf))
        case _ if _is_nnx_state(leaf) or dataclasses.is_dataclass(leaf):
            return EmptyValue(empty=Empty.DICT)
        case _:
            raise TypeError(f"an object of type {type(leaf).__name__}")


def _empty(leaf: object) -> Empty:
    if isinstance(leaf, tuple):
        # optax's EmptyState and MaskedNode are named tuples without fields: orbax writes them as None.
        return Empty.NONE if hasattr(leaf, "_fields") else Empty.TUPLE
    return Empty.LIST if isinstance(leaf, list) else Empty.DICT


def _scalar(dtype: DType) -> ArrayValue:
    return ArrayValue(spec=ArraySpec(shape=(), dtype=dtype), holder=Holder.SCALAR)


def _spec(leaf: Any) -> ArraySpec:
    name, shape = str(leaf.dtype), tuple(int(size) for size in leaf.shape)
    if not name.startswith("key<"):
        if name not in _DTYPES:
            raise TypeError(f"an array of the dtype {name}")
        return ArraySpec(shape=shape, dtype=DType(name))
    impl = _KEY_TAGS.get(name[4:-1], name[4:-1])
    if impl not in KEY_WORDS:
        raise TypeError(f"PRNG keys of the implementation {impl}")
    return ArraySpec(shape=(*shape, KEY_WORDS[impl]), dtype=DType.UINT32, key_impl=impl)


def _holder(leaf: Any) -> Holder:
    module = type(leaf).__module__.partition(".")[0]
    if module != "numpy":
        return Holder.JAX
    return Holder.NUMPY if type(leaf).__name__ == "ndarray" else Holder.SCALAR
