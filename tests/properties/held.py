"""A checkpoint held in memory, and a plan carried out on it by an evaluator of the tests' own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import assert_never

import numpy as np

from linen_nnx.convert.engine.evaluate import numpy_dtype
from linen_nnx.convert.planner import plan
from linen_nnx.schema.array import ArraySpec, ArrayValue, Value
from linen_nnx.schema.errors import ConversionError, LayoutError, ProblemsError
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.ops import Cast, Concat, Copy, Fill, MoveAxis, Op, Origin, Ref, Split, Stack, Take
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import DropRule, Plan, same_content
from linen_nnx.schema.residue import Residue
from tests.properties.states import Content, Tree, bits, stack_bits


@dataclass(frozen=True)
class HeldSide:
    """What a conversion kept beside its target."""

    residue: Residue
    tree: Tree

    @property
    def values(self) -> dict[KeyPath, Value]:
        """Values by path."""
        return {path: content.value for path, content in self.tree.items()}


@dataclass(frozen=True)
class Held:
    """A `Source` without a disk."""

    tree: Tree
    side: HeldSide | None = None
    scan_layers: bool | None = None
    plan: Plan | None = field(default=None, compare=False)
    """The plan that made it."""

    @cached_property
    def inventory(self) -> Inventory:
        """Every entry."""
        return Inventory.of(Entry(path=path, value=c.value) for path, c in self.tree.items())

    def scalar(self, path: KeyPath) -> int | None:
        """The value of a scalar."""
        data = self.tree[path].data
        assert data is not None
        return int(data)

    def converted(self, options: ConversionOptions, template: "Held | None" = None) -> "Held":
        """Plan and carry out."""
        made = plan(self, options, template)
        trees = {Origin.SOURCE: self.tree}
        if self.side is not None:
            trees[Origin.SIDE] = self.side.tree
        if template is not None:
            trees[Origin.TEMPLATE] = template.tree
        return carry_out(made, trees)


def converted_or_refused(source: Held, options: ConversionOptions) -> Held | ProblemsError:
    """The target, or the refusal; a broken invariant of our own is neither."""
    try:
        return source.converted(options)
    except (LayoutError, ConversionError) as refused:
        return refused


def carry_out(made: Plan, trees: Mapping[Origin, Tree]) -> Held:
    """What `made` writes, made of `trees`; every promise of a value is held against what was made."""

    def read(ref: Ref) -> Content:
        return trees[ref.origin][ref.path]

    def written(place: str) -> Tree:
        out: Tree = {}
        for write in made.writes:
            if write.place.value != place:
                continue
            assert write.target not in out
            content = evaluate(write.op, read)
            assert same_content(content.value, write.value), f"{write.target} is not what was promised"
            out[write.target] = Content(write.value, content.data)
        return out

    side = None if made.residue is None else HeldSide(made.residue, written("side"))
    return Held(written("item"), side, plan=made)


def evaluate(op: Op, read: Callable[[Ref], Content]) -> Content:
    """Make the content of an op. Slices and stacks move bits; a cast must keep every value."""
    match op:
        case Copy(source=source):
            return read(source)
        case Fill(value=value):
            return Content(value)
        case Take(of=of, axis=axis, index=index):
            inner = evaluate(of, read)
            if inner.data is None:
                return inner
            words = bits(inner.data)[(slice(None),) * axis + (index,)]
            return _like(inner, np.ascontiguousarray(words).view(inner.data.dtype).reshape(words.shape))
        case Stack(parts=parts, axis=axis):
            contents = [evaluate(part, read) for part in parts]
            arrays = [content.data for content in contents if content.data is not None]
            if not arrays:
                assert len({content.value for content in contents}) == 1
                return contents[0]
            assert len(arrays) == len(contents)
            return _like(contents[0], stack_bits(arrays, axis))
        case Cast(of=of, dtype=dtype):
            inner = evaluate(of, read)
            assert inner.data is not None
            cast = inner.data.astype(numpy_dtype(dtype))
            assert np.array_equal(cast.astype(inner.data.dtype), inner.data)
            assert int(cast.flat[0]) == int(inner.data.flat[0])
            return _like(inner, cast)
        case MoveAxis() | Concat() | Split():
            raise AssertionError(f"only rules make a {op.kind}")
        case _:
            assert_never(op)


def _like(inner: Content, data: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> Content:
    assert isinstance(inner.value, ArrayValue)
    old = inner.value.spec
    cast = ArraySpec(shape=data.shape, dtype=type(old.dtype)(data.dtype.name), key_impl=old.key_impl)
    return Content(ArrayValue(spec=cast, holder=inner.value.holder), data)


FRAME = {
    DropRule.SECOND_MODEL,
    DropRule.GRAPHDEF,
    DropRule.MODULE_STATE,
    DropRule.SOWN,
    DropRule.ABSENT,
}
"""What flax leaves around a state, by name: it is taken off wherever it is met."""


def without_frame(tree: Tree, made: Plan) -> Tree:
    """The entries but those that a plan names as no part of the state."""
    gone = {drop.source.path for drop in made.drops if drop.rule in FRAME}
    return {path: content for path, content in tree.items() if path not in gone}


def difference(found: Tree, expected: Tree) -> list[str]:
    """Every path at which two checkpoints differ, and how."""
    out = []
    for path in dict.fromkeys((*expected, *found)):
        one, other = found.get(path), expected.get(path)
        if one == other:
            continue
        values = (None if one is None else str(one.value), None if other is None else str(other.value))
        how = "other bytes" if values[0] == values[1] else f"found {values[0]}, expected {values[1]}"
        out.append(f"{path}: {how}")
    return out
