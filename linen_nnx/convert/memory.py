"""Convert live trees by the same passes and the same plan as checkpoints on disk."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from linen_nnx.convert.converting import with_layout
from linen_nnx.convert.engine.evaluate import Arrays, evaluate
from linen_nnx.convert.planner import plan
from linen_nnx.convert.requirements import unmet_of
from linen_nnx.convert.store.memory_source import MemorySource
from linen_nnx.convert.twins import twin_problems
from linen_nnx.schema.array import ArrayValue, Empty, EmptyValue, StringValue
from linen_nnx.schema.errors import ConversionError, raise_if
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.live import LiveReceipt
from linen_nnx.schema.ops import Copy, Origin, Ref
from linen_nnx.schema.options import Accept, ConversionOptions
from linen_nnx.schema.path import KeyPath, SequenceKey
from linen_nnx.schema.plan import Plan, Write

if TYPE_CHECKING:
    from flax.nnx import Module, Optimizer

    from linen_nnx.convert.live.filling import Streams
    from linen_nnx.convert.live.ruling import AnyRules

T = TypeVar("T")
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


@overload
def to_nnx(tree: object, options: ConversionOptions | None = None, /, *, template: object = None) -> Tree: ...


@overload
def to_nnx(tree: object, *, options: ConversionOptions, template: object = None) -> Tree: ...


@overload
def to_nnx(
    tree: object,
    model: "Module",
    optimizer: object = None,
    *,
    rules: "AnyRules | None" = None,
    accept: Accept | str = Accept.PROVED,
    rngs: "Streams" = "keep",
    options: ConversionOptions | None = None,
) -> LiveReceipt: ...


def to_nnx(
    tree: object,
    model: "Module | ConversionOptions | None" = None,
    optimizer: object = None,
    *,
    options: ConversionOptions | None = None,
    template: object = None,
    rules: "AnyRules | None" = None,
    accept: Accept | str = Accept.PROVED,
    rngs: "Streams" = "keep",
) -> Tree | LiveReceipt:
    """A live train state of any layout as NNX: as a tree, or put into a model and its optimizer.

    `to_nnx(tree, options, template=…)` returns a native train state, `{"model": …, "optimizer": …}`. Arrays
    keep their kind (numpy, jax, `ShapeDtypeStruct`) and are shared with `tree` where they are not restacked.
    Warns (`LeftOutWarning`) of arrays that NNX has no place for.

    `to_nnx(tree, model, optimizer)` fills live objects in place and returns a `LiveReceipt`: every variable
    keeps its type, metadata and sharding, PRNG streams stay the model's own (`rngs="take"`: become the
    source's). Which variable is which follows `rules` (a `Rules` or a file), else from the structure of both,
    as far as that proves it; `accept="names"` and `"order"` settle for less. All is checked before the first
    variable changes. Needs flax.

    Takes what `validate` takes. Raises `LayoutError`, `ConversionError` with all problems at once.
    """
    if model is None or isinstance(model, ConversionOptions):
        return _warned(convert_tree(tree, Layout.NNX, model or options, template=template))
    # Here: live objects need flax, and trees do not.
    from linen_nnx.convert.live.nnx import into_nnx

    return into_nnx(tree, model, optimizer, options, rules, accept, rngs)


@overload
def to_linen(
    tree: object, options: ConversionOptions | None = None, /, *, template: object = None
) -> Tree: ...


@overload
def to_linen(tree: object, *, options: ConversionOptions, template: object = None) -> Tree: ...


@overload
def to_linen(
    tree: "Module",
    optimizer: "Optimizer[Any] | None" = None,
    *,
    template: T,
    rules: "AnyRules | None" = None,
    accept: Accept | str = Accept.PROVED,
    options: ConversionOptions | None = None,
) -> T: ...


def to_linen(
    tree: object,
    optimizer: object = None,
    *,
    options: ConversionOptions | None = None,
    template: Any = None,
    rules: "AnyRules | None" = None,
    accept: Accept | str = Accept.PROVED,
) -> Any:
    """A train state as Linen: a tree, or a state like a template.

    `to_linen(tree, options, template=…)` returns `{"step": …, "params": …, "opt_state": …}` of any live train
    state, as `to_nnx` does; PRNG streams are what Linen has no place for.

    `to_linen(model, optimizer, template=state)` takes a live NNX model with its optimizer, and returns a
    state like `state`, which may be abstract (`jax.eval_shape`): it gives the lengths of lists, the empty
    states, and every field that NNX has not. `rules` (which lead from Linen to NNX) and `accept` are those of
    `to_nnx`. Needs flax.
    """
    if _is_model(tree):
        from linen_nnx.convert.live.linen import into_linen

        if template is None:
            raise TypeError("to_linen(model, optimizer) needs a template: the TrainState to make")
        return into_linen(tree, optimizer, template, options, rules, accept)
    asked = optimizer if isinstance(optimizer, ConversionOptions) else options
    return _warned(convert_tree(tree, Layout.LINEN, asked, template=template))


def _is_model(node: object) -> bool:
    """Whether it is an NNX module; told without importing flax."""
    bases = {(base.__module__, base.__name__) for base in type(node).__mro__}
    return ("flax.nnx.module", "Module") in bases


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
    made = prepared(tree, with_layout(options, to), template)
    root: Tree = {}
    for write in made.plan.item_writes:
        _put(root, write.target, made.leaf(write))
    aside = {write.target: made.leaf(write) for write in made.plan.side_writes}
    return Converted(_with_lists(root, made.plan.item_writes), made.plan, aside)


@dataclass(frozen=True)
class Prepared:
    """A plan for live trees, and the means to carry it out leaf by leaf."""

    plan: Plan
    sources: dict[Origin, MemorySource]

    def leaf(self, write: Write) -> Any:
        """What a write makes: an array like the source's, an empty, a string."""
        return _leaf(write, self._read, self.sources[Origin.SOURCE].arrays)

    def _read(self, ref: Ref) -> Any:
        return self.sources[ref.origin].leaf(ref.path)


def prepared(tree: object, options: ConversionOptions, template: object = None) -> Prepared:
    """Plan the conversion of a live tree. Raises `LayoutError`, `ConversionError`."""
    source = MemorySource(tree)
    sources = {Origin.SOURCE: source}
    if template is not None:
        sources[Origin.TEMPLATE] = MemorySource(template)
    made = plan(source, options, sources.get(Origin.TEMPLATE))
    raise_if(twin_problems(made.drops, source.opened), ConversionError)
    raise_if(unmet_of(made, lambda ref: _is_zero(sources[ref.origin].leaf(ref.path))), ConversionError)
    return Prepared(made, sources)


def _is_zero(leaf: Any) -> bool:
    """Of a spec nobody knows; what is made of it is a spec as well."""
    return type(leaf).__name__ == "ShapeDtypeStruct" or not bool((leaf != 0).any())


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
