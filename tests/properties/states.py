"""Train states as a model has them, and how each framework lays the same one out on disk.

`linen` and `nnx` render one `State` in either layout, written from the documented layouts alone: what a
conversion of the one gives can be held, entry by entry and byte by byte, against the other.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

import numpy as np

from linen_nnx.convert.engine.evaluate import numpy_dtype
from linen_nnx.schema.array import ArraySpec, ArrayValue, DType, Empty, EmptyValue, Holder, Value
from linen_nnx.schema.layout import Leaves
from linen_nnx.schema.path import ROOT, KeyPath

Array = np.ndarray[Any, Any]
Names = tuple[str, ...]
REFERENCE = "reference_params"
"""The frozen weights of DPO: in Linen a collection, in NNX a model beside the model."""


@dataclass(frozen=True, repr=False, eq=False)
class Content:
    """What stands at a path: its value and, for an array, its bytes."""

    value: Value
    data: Array | None = None

    def __eq__(self, other: object) -> bool:
        """Equal values and equal bits."""
        if not isinstance(other, Content) or self.value != other.value:
            return False
        if self.data is None or other.data is None:
            return self.data is other.data
        same = self.data.dtype == other.data.dtype and self.data.shape == other.data.shape
        return same and self.data.tobytes() == other.data.tobytes()

    def __hash__(self) -> int:
        """By the value."""
        return hash(self.value)

    def __repr__(self) -> str:
        """Short, for failing examples."""
        return str(self.value)


Tree = dict[KeyPath, Content]
"""A whole checkpoint: content by path."""


def array(data: Array, *, holder: Holder = Holder.JAX, key_impl: str | None = None) -> Content:
    """An array leaf."""
    spec = ArraySpec(shape=data.shape, dtype=DType(data.dtype.name), key_impl=key_impl)
    return Content(ArrayValue(spec=spec, holder=holder), data)


def empty(kind: Empty = Empty.NONE) -> Content:
    """An empty leaf."""
    return Content(EmptyValue(empty=kind))


def noise(seed: int, shape: Sequence[int], dtype: DType) -> Array:
    """Any bits: NaN with payloads, infinities and minus zero among them."""
    kind = numpy_dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    data = np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8)
    if dtype is DType.BOOL:
        data &= 1
    return np.frombuffer(data.tobytes(), kind).reshape(tuple(shape))


@dataclass(frozen=True)
class Group:
    """A run of layers: `count` layers in blocks of `cycle`, what does not fill a block at the end."""

    parent: Names
    name: str
    count: int
    first: int = 0
    cycle: Names = ()

    @property
    def width(self) -> int:
        """Layers in a block."""
        return max(1, len(self.cycle))

    @property
    def filled(self) -> int:
        """Layers in whole blocks."""
        return self.count // self.width * self.width


@dataclass(frozen=True, repr=False)
class Var:
    """A variable, one a layer: `group` and `layer` say which, `path` follows. `data` None is a hole."""

    collection: str
    path: Names
    data: Content
    group: Group | None = None
    layer: int = 0

    def __repr__(self) -> str:
        """Short, for failing examples."""
        where = "" if self.group is None else f"{'/'.join(self.group.parent)}/{self.group.name}_{self.layer}/"
        return f"<{self.collection}:{where}{'/'.join(self.path)} {self.data!r}>"


@dataclass(frozen=True)
class Chain:
    """An optax chain: a tuple of states."""

    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Fields:
    """A named tuple or dict of states."""

    parts: tuple[tuple[str, "Node"], ...]


@dataclass(frozen=True)
class Mirror:
    """A tree like the parameters, with holes where a leaf is masked."""

    moments: tuple[Var, ...]


@dataclass(frozen=True)
class Single:
    """One leaf that mirrors nothing: a count, a learning rate, a list of losses."""

    content: Content


@dataclass(frozen=True)
class Nothing:
    """A state without fields."""

    kind: Empty = Empty.NONE


Node = Chain | Fields | Mirror | Single | Nothing


@dataclass(frozen=True)
class State:
    """A whole train state."""

    variables: tuple[Var, ...]
    optimizer: Node | None
    step: int

    def without(self, collection: str) -> "State":
        """The state without a collection."""
        kept = tuple(v for v in self.variables if v.collection != collection)
        return replace(self, variables=kept)


@dataclass(frozen=True)
class Form:
    """How layers stand: stacked on an axis, or one by one in either style."""

    stacked: bool
    axis: int = 1
    nested: bool = False


# ---------------------------------------------------------------- layers


def placed(variables: Iterable[Var], form: Form) -> dict[tuple[str, Names], Content]:
    """Collection and path of every variable in the layer form."""
    out: dict[tuple[str, Names], Content] = {}
    stacks: dict[tuple[str, Names], list[Content]] = {}
    for var in sorted(variables, key=lambda v: v.layer):
        group = var.group
        if group is None:
            out[var.collection, var.path] = var.data
        elif not form.stacked:
            out[var.collection, (*group.parent, *alone(group, var.layer, nested=form.nested), *var.path)] = (
                var.data
            )
        elif var.layer >= group.filled:
            left = ("layers_remainder", f"layers_{var.layer - group.filled}")
            out[var.collection, (*group.parent, *left, *var.path)] = var.data
        else:
            slot = (group.cycle[var.layer % group.width],) if group.cycle else ()
            path = (*group.parent, group.name, *slot, *var.path)
            stacks.setdefault((var.collection, path), []).append(var.data)
    for (collection, path), parts in stacks.items():
        out[collection, path] = stacked(parts, form.axis if collection in ("params", REFERENCE) else 0)
    return out


def alone(group: Group, layer: int, *, nested: bool) -> Names:
    """A layer's own name: DeepSeek's differ between the two styles in more than the separator."""
    if not nested:
        return (f"{group.name}_{layer}",)
    if group.name == "dense_layers":
        return (f"dense_layer_{layer}",)
    return ("layers", str(group.first + layer))


def stacked(parts: Sequence[Content], axis: int) -> Content:
    """Layers in one array; an empty stands for all of them."""
    first = parts[0]
    if first.data is None or not isinstance(first.value, ArrayValue):
        return first
    arrays = [part.data for part in parts if part.data is not None]
    assert len(arrays) == len(parts)
    return array(stack_bits(arrays, axis), holder=first.value.holder, key_impl=first.value.spec.key_impl)


def bits(data: Array) -> Array:
    """The same array as unsigned words, which no arithmetic touches."""
    words = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[data.dtype.itemsize]
    return np.ascontiguousarray(data).view(words).reshape(data.shape)


def stack_bits(arrays: Sequence[Array], axis: int) -> Array:
    """`np.stack`, bit by bit."""
    made = np.stack([bits(one) for one in arrays], axis)
    return np.ascontiguousarray(made).view(arrays[0].dtype).reshape(made.shape)


# ---------------------------------------------------------------- Linen


def linen(
    state: State,
    form: Form,
    *,
    double: bool = True,
    step: DType = DType.INT32,
    boxed: Callable[[Names], bool] = lambda path: False,
) -> Tree:
    """A Linen `TrainState`; `double` keeps the whole variables dict below `params`.

    Variables whose path is `boxed` stand in flax boxes, and so do their moments.
    """
    scalar = Holder.SCALAR if step is DType.INT64 else Holder.JAX
    out: Tree = {KeyPath.of("step"): array(np.asarray(state.step, numpy_dtype(step)), holder=scalar)}

    def level(collection: str) -> Names:
        return (collection,) if double else ()

    for (collection, path), content in placed(state.variables, form).items():
        out[_end(KeyPath.of("params", *level(collection), *path), boxed(path))] = content

    def mirrored(at: KeyPath, mirror: Mirror) -> Iterator[tuple[KeyPath, Content]]:
        for (collection, path), content in placed(mirror.moments, form).items():
            yield _end(at + KeyPath.of(*level(collection), *path), boxed(path)), content

    if state.optimizer is not None:
        out.update(linen_node(state.optimizer, KeyPath.of("opt_state"), mirrored))
    return out


Mirrored = Callable[[KeyPath, Mirror], Iterator[tuple[KeyPath, Content]]]


def linen_node(node: Node, at: KeyPath, mirrored: Mirrored) -> Iterator[tuple[KeyPath, Content]]:
    match node:
        case Chain(parts):
            for index, part in enumerate(parts):
                yield from linen_node(part, at / index, mirrored)
        case Fields(fields):
            for name, part in fields:
                yield from linen_node(part, at / name, mirrored)
        case Mirror():
            yield from mirrored(at, node)
        case Single(content):
            yield at, content
        case Nothing(kind):
            yield at, empty(kind)
        case _:
            assert_never(node)


# ---------------------------------------------------------------- NNX


def nnx(state: State, form: Form, leaves: Leaves, *, step: DType = DType.UINT32) -> Tree:
    """A native NNX train state."""
    out: Tree = {}
    wrapped = leaves is Leaves.WRAPPED
    model_wrapped = leaves in (Leaves.WRAPPED, Leaves.MODEL_WRAPPED)
    for (collection, path), content in placed(state.variables, form).items():
        root = "reference_model" if collection == REFERENCE else "model"
        out[_end(KeyPath.of(root, *path), model_wrapped)] = content
    out[_end(KeyPath.of("optimizer", "step"), wrapped)] = array(np.asarray(state.step, numpy_dtype(step)))

    def mirrored(at: KeyPath, mirror: Mirror) -> Iterator[tuple[KeyPath, Content]]:
        for (collection, path), content in placed(mirror.moments, form).items():
            if collection == "params":
                yield at + KeyPath.of(*path), content

    if state.optimizer is not None:
        for at, content in nnx_node(state.optimizer, KeyPath.of("optimizer", "opt_state"), mirrored):
            out[_end(at, wrapped)] = content
    return out


def _end(path: KeyPath, wrapped: bool) -> KeyPath:
    return path / "value" if wrapped else path


def nnx_node(node: Node, at: KeyPath, mirrored: Mirrored) -> Iterator[tuple[KeyPath, Content]]:
    match node:
        case Chain(parts):
            for index, part in enumerate(parts):
                yield from nnx_node(part, at / str(index), mirrored)
        case Fields(fields):
            for name, part in fields:
                yield from nnx_node(part, at / name, mirrored)
        case Mirror():
            yield from mirrored(at, node)
        case Single(content):
            yield at, content
        case Nothing():
            return
        case _:
            assert_never(node)


def seen_in_nnx(node: Node | None) -> Node | None:
    """What an NNX checkpoint tells of an optimizer: gaps can be filled, ends and empty fields are lost."""
    match node:
        case None | Nothing():
            return None
        case Chain(parts):
            known = [seen_in_nnx(part) for part in parts]
            while known and known[-1] is None:
                known.pop()
            return Chain(tuple(part or Nothing() for part in known)) if known else None
        case Fields(fields):
            kept = [(name, part) for name, field in fields if (part := seen_in_nnx(field))]
            return Fields(tuple(kept)) if kept else None
        case Mirror(moments):
            trained = tuple(var for var in moments if var.collection == "params")
            return Mirror(trained) if trained else None
        case Single():
            return node
        case _:
            assert_never(node)


# ---------------------------------------------------------------- live trees


def live(tree: Mapping[KeyPath, Content], leaf: Callable[[Content], object]) -> dict[str, Any]:
    """Nested dicts and lists of a checkpoint, each leaf made by `leaf`."""
    root: dict[Any, Any] = {}
    for path, content in tree.items():
        node = root
        for key in path.keys[:-1]:
            node = node.setdefault(key, {})
        node[path.keys[-1]] = leaf(content)
    made: dict[str, Any] = _nested(root)
    return made


def _nested(node: Any) -> Any:
    if not (isinstance(node, dict) and node and all(hasattr(key, "__slots__") for key in node)):
        return node
    if all(hasattr(key, "index") for key in node):
        return [_nested(node[key]) for key in sorted(node, key=lambda key: key.index)]
    return {key.name: _nested(child) for key, child in node.items()}


EMPTIES: dict[Empty, Callable[[], object]] = {
    Empty.NONE: lambda: None,
    Empty.DICT: dict,
    Empty.LIST: list,
    Empty.TUPLE: tuple,
}


__all__ = [
    "EMPTIES",
    "REFERENCE",
    "ROOT",
    "Array",
    "Chain",
    "Content",
    "Fields",
    "Form",
    "Group",
    "Mirror",
    "Node",
    "Nothing",
    "Single",
    "State",
    "Tree",
    "Var",
    "array",
    "bits",
    "empty",
    "linen",
    "live",
    "nnx",
    "nnx_node",
    "noise",
    "placed",
    "seen_in_nnx",
    "stack_bits",
]
