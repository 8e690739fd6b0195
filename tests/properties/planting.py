"""Entries that no rendering of a state makes, put at any place of it."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import assume
from hypothesis import strategies as st

from linen_nnx.schema.array import DType, Empty, StringValue
from linen_nnx.schema.errors import ProblemsError
from linen_nnx.schema.ops import Origin, refs
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem
from tests.properties.held import Held, converted_or_refused
from tests.properties.states import Array, Content, Tree, array, empty, noise

PLANTED = st.one_of(
    st.builds(
        lambda shape, dtype: array(noise(7, shape, dtype)),
        st.lists(st.integers(1, 3), max_size=2),
        st.sampled_from([DType.FLOAT32, DType.INT32, DType.UINT32, DType.BOOL]),
    ),
    st.sampled_from([empty(kind) for kind in (Empty.NONE, Empty.DICT, Empty.LIST, Empty.TUPLE)]),
    st.just(Content(StringValue(text="words"))),
)
LOOSE = ["extra", "7", "value", "count", "a.b", "", 0, 5]
KNOWN = ["layers_3", "layers", "params", "mu", "rngs", "batch_stats", "nnx_aux", "reference_model"]
ROOTS = ["model", "optimizer", "step", "opt_state", "inner_state"]
FRAMES = ["inner_states", "raw_value", "_pytree__state"]
NAMES: st.SearchStrategy[str | int] = st.sampled_from([*LOOSE, *KNOWN, *ROOTS, *FRAMES])
"""Names of no meaning, and names that mean something elsewhere."""
REFUSALS = {
    Code.AMBIGUOUS_CHAIN,
    Code.AMBIGUOUS_LAYOUT,
    Code.AXIS_AMBIGUOUS,
    Code.AXIS_NOT_FOUND,
    Code.DTYPE_MISMATCH,
    Code.LAYERS_NOT_STACKABLE,
    Code.LAYER_GAP,
    Code.LAYER_LEAF_MISSING,
    Code.MISSING_ENTRY,
    Code.MOMENT_MISMATCH,
    Code.SHAPE_MISMATCH,
    Code.TWO_WRITERS,
    Code.UNEXPECTED_ENTRY,
    Code.UNKNOWN_ENTRY,
    Code.UNKNOWN_LAYOUT,
    Code.WRONG_KIND,
}


@dataclass(frozen=True)
class Plant:
    """An entry that no rendering makes: `where` and `depth` choose a place beside the others."""

    where: int
    depth: int
    names: tuple[str | int, ...]
    content: Content

    def into(self, tree: Tree) -> KeyPath:
        """The path; a place that no tree can have is not tried."""
        at = sorted(tree, key=KeyPath.natural)[self.where % len(tree)]
        depth = self.depth % len(at)
        path = at[:depth]
        for name in self.names:
            path = path / name
        inside = any(path.startswith(other) or other.startswith(path) for other in tree)
        beside = {type(o.keys[depth]) for o in tree if len(o) > depth and o[:depth] == at[:depth]}
        assume(not inside and beside == {type(path.keys[depth])})
        return path


PLANTS = st.builds(
    Plant,
    where=st.integers(0, 999),
    depth=st.integers(0, 5),
    names=st.lists(NAMES, min_size=1, max_size=2).map(tuple),
    content=PLANTED,
)


def words(data: Array) -> Counter[bytes]:
    """How often each element's bits stand in an array."""
    raw, size = data.tobytes(), data.dtype.itemsize
    return Counter(raw[start : start + size] for start in range(0, len(raw), size))


def _arrives(content: Content, among: list[Content]) -> bool:
    """Whether the bits of an array stand in what was written, as a whole or spread over it."""
    total: Counter[bytes] = Counter()
    for other in among:
        if other.data is not None:
            total += words(other.data)
    assert content.data is not None
    return words(content.data) - total == Counter() or len(content.data.shape) == 0


def assert_accounted_for(plant: Plant, tree: Tree, options: ConversionOptions) -> None:
    """What is planted in a tree arrives, or is dropped by name, or the tree is refused for it."""
    path, content = plant.into(tree), plant.content
    made = converted_or_refused(Held({**tree, path: content}), options)
    if isinstance(made, ProblemsError):
        assert [problem for problem in made.problems if not _is_refused_for(path, problem)] == []
        return
    assert made.plan is not None
    dropped = {drop.source.path for drop in made.plan.drops}
    read = {ref.path for w in made.plan.writes for ref in refs(w.op) if ref.origin is Origin.SOURCE}
    assert (path in dropped) != (path in read)
    if content.data is not None and path in read:
        assert _arrives(content, [*made.tree.values(), *(made.side.tree.values() if made.side else ())])


def _is_refused_for(path: KeyPath, problem: Problem) -> bool:
    """Whether a planted entry may be refused so; what is not supported is that entry, and no other."""
    if problem.code is Code.UNSUPPORTED:
        return problem.path in (path, path.parent)
    return problem.code in REFUSALS
