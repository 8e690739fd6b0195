"""Convert live trees by the same passes and the same plan as checkpoints on disk."""

import warnings
from dataclasses import dataclass
from typing import Any

from linen_nnx.convert.converting import with_layout
from linen_nnx.convert.engine.evaluate import Arrays, evaluate
from linen_nnx.convert.planner import plan
from linen_nnx.convert.store.memory_source import MemorySource
from linen_nnx.convert.twins import twin_problems
from linen_nnx.schema.array import ArrayValue, Empty, EmptyValue, StringValue
from linen_nnx.schema.errors import ConversionError, raise_if
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.ops import Copy, Origin, Ref
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.path import KeyPath, SequenceKey
from linen_nnx.schema.plan import Plan, Write

Tree = dict[str, Any]
"""Nested dicts and lists, as orbax saves and restores them."""


class LeftOutWarning(UserWarning):
    """A live tree has no folder of its own beside it: what the target cannot hold was left out."""


@dataclass(frozen=True)
class Converted:
    """A converted tree; `aside` holds the leaves that its layout has no place for, by their addresses."""

    tree: Tree
    plan: Plan
    aside: dict[KeyPath, Any]


def to_nnx(tree: object, options: ConversionOptions | None = None, *, template: object = None) -> Tree:
    """A native NNX train state, `{"model": …, "optimizer": …}`, of any live train state.

    Takes what `validate` takes. Arrays keep their kind (numpy, jax, `ShapeDtypeStruct`) and are shared with
    `tree` where they are not restacked. Warns (`LeftOutWarning`) of arrays that NNX has no place for.
    Raises `LayoutError`, `ConversionError`.
    """
    return _warned(convert_tree(tree, Layout.NNX, options, template=template))


def to_linen(tree: object, options: ConversionOptions | None = None, *, template: object = None) -> Tree:
    """A Linen train state, `{"step": …, "params": …, "opt_state": …}`, of any live train state.

    As `to_nnx`; PRNG streams are what Linen has no place for.
    """
    return _warned(convert_tree(tree, Layout.LINEN, options, template=template))


def _warned(converted: Converted) -> Tree:
    arrays = [write.target for write in converted.plan.side_writes if isinstance(write.value, ArrayValue)]
    if arrays:
        layout = converted.plan.target.layout.value
        warnings.warn(
            f"{len(arrays)} arrays have no place in the layout {layout} and are left out, first {arrays[0]}; "
            "convert_tree returns them, ConversionOptions(aux=Aux.DROP) drops them",
            LeftOutWarning,
            stacklevel=3,
        )
    return converted.tree


def convert_tree(
    tree: object,
    to: Layout | str | None = None,
    options: ConversionOptions | None = None,
    *,
    template: object = None,
) -> Converted:
    """Convert a live tree, and return what its new layout cannot hold beside it."""
    given = MemorySource(tree)
    sources = {Origin.SOURCE: given}
    if template is not None:
        sources[Origin.TEMPLATE] = MemorySource(template)
    made = plan(sources[Origin.SOURCE], with_layout(options, to), sources.get(Origin.TEMPLATE))

    raise_if(twin_problems(made.drops, given.opened), ConversionError)

    def read(ref: Ref) -> Any:
        return sources[ref.origin].leaf(ref.path)

    arrays = sources[Origin.SOURCE].arrays
    root: Tree = {}
    for write in made.item_writes:
        _put(root, write.target, _leaf(write, read, arrays))
    aside = {write.target: _leaf(write, read, arrays) for write in made.side_writes}
    return Converted(_with_lists(root, made.item_writes), made, aside)


def _leaf(write: Write, read: Any, arrays: Arrays) -> object:
    if isinstance(write.value, EmptyValue):
        return _empty(write.value)
    if isinstance(write.value, StringValue):
        return write.value.text
    if isinstance(write.op, Copy):
        return read(write.op.source)
    return evaluate(write.op, read, arrays)


def _empty(value: EmptyValue) -> object:
    match value.empty:
        case Empty.NONE:
            return None
        case Empty.DICT:
            return {}
        case Empty.LIST:
            return []
        case Empty.TUPLE | Empty.NAMED_TUPLE:
            return ()


def _put(root: Tree, path: KeyPath, leaf: object) -> None:
    node = root
    for name in path.names[:-1]:
        node = node.setdefault(name, {})
    node[path.names[-1]] = leaf


def _with_lists(root: Tree, writes: tuple[Write, ...]) -> Tree:
    """Turn the dicts that stand for sequences into lists."""
    sequences = {
        write.target.names[:depth]
        for write in writes
        for depth, key in enumerate(write.target)
        if isinstance(key, SequenceKey)
    }

    def rebuilt(node: object, at: tuple[str, ...]) -> Any:
        if not isinstance(node, dict):
            return node
        if at in sequences:
            return [rebuilt(node[str(index)], (*at, str(index))) for index in range(len(node))]
        return {name: rebuilt(child, (*at, name)) for name, child in node.items()}

    tree: Tree = rebuilt(root, ())
    return tree
