"""Every layout and variant of one, as random trees: what the laws of conservation are held against."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from linen_nnx.schema.array import Empty
from linen_nnx.schema.layout import Leaves
from linen_nnx.schema.path import KeyPath
from tests.properties.states import (
    REFERENCE,
    Chain,
    Content,
    Fields,
    Form,
    Mirror,
    Names,
    Node,
    Nothing,
    State,
    Tree,
    Var,
    array,
    empty,
    linen,
    nnx,
    nnx_node,
    noise,
    placed,
    stack_bits,
)
from tests.properties.strategies import FORMS, LEAVES, states

RENAMED = {
    ("model",): ("model_params",),
    ("optimizer", "step"): ("optimizer_state", "step"),
    ("optimizer", "opt_state"): ("optimizer_state", "opt_state"),
}


@dataclass(frozen=True)
class Rendered:
    """A state in one layout."""

    name: str
    state: State
    form: Form
    tree: Tree

    def __repr__(self) -> str:
        """For failing examples."""
        return f"<{self.name} {self.form} {self.tree}>"


def maxtext(state: State, form: Form, *, aux: bool) -> Tree:
    """As MaxText's NNX runs write it; without `aux`, as those of May to July 2026."""
    out = linen(State((), None, state.step), form)
    for (collection, path), content in placed(state.variables, form).items():
        if collection == "params" or (not aux and collection != "rngs"):
            out[KeyPath.of("params", "params", *path)] = content
        elif aux:
            out[KeyPath.of("nnx_aux", "model", *path)] = content
    at = KeyPath.of("opt_state")
    match state.optimizer:
        case Chain(parts):
            entries = [dict(_top_entry(part, at / index, form)) for index, part in enumerate(parts)]
            used = max((index for index, entry in enumerate(entries) if entry), default=-1)
            for index in range(used + 1):
                out.update(entries[index] or {at / index: empty()})
        case Fields() as flat:
            out.update(_top_entry(flat, at, form))
        case _:
            pass
    return out


def _top_entry(node: Node, at: KeyPath, form: Form) -> Iterator[tuple[KeyPath, Content]]:
    def mirrored(place: KeyPath, mirror: Mirror) -> Iterator[tuple[KeyPath, Content]]:
        level = ("params",) if place[:-1] == at and place.names[-1] in ("mu", "nu") else ()
        for (collection, path), content in placed(mirror.moments, form).items():
            if collection == "params":
                yield place + KeyPath.of(*level, *path), content

    return nnx_node(node, at, mirrored)


def diloco(state: State, form: Form, *, in_nnx: bool) -> Tree:
    """Two replicas, each a whole state of its own, around the weights that they agreed on."""
    inner = maxtext(state, form, aux=True) if in_nnx else linen(state, form)
    out = {KeyPath.of("inner_state") + path: _twice(c, n) for n, (path, c) in enumerate(inner.items())}
    agreed = [v for v in state.variables if v.collection == "params" or not in_nnx]
    out.update(linen(State(tuple(agreed), None, state.step), form))
    trace = tuple(replace(v, data=_other_bits(v.data, n)) for n, v in enumerate(state.variables))
    for (collection, path), content in placed(trace, form).items():
        if collection == "params":
            level = () if in_nnx else ("params",)
            out[KeyPath.of("outer_opt_state", 0, "trace", *level, *path)] = content
    out[KeyPath.of("outer_opt_state", 1)] = empty()
    return out


def _twice(content: Content, seed: int) -> Content:
    """A leaf of two replicas, in each of its own bits."""
    if content.data is None or content.value.kind != "array":
        return content
    spec = content.value.spec
    other = noise(2 * 10**9 + seed, content.data.shape, spec.dtype)
    return array(stack_bits([content.data, other], 0), holder=content.value.holder, key_impl=spec.key_impl)


def tunix(state: State, form: Form, leaves: Leaves) -> Tree:
    """Tunix's two items."""
    out: Tree = {}
    for path, content in nnx(state, form, leaves).items():
        before, after = next(pair for pair in RENAMED.items() if path.names[: len(pair[0])] == pair[0])
        out[KeyPath.of(*after) + path[len(before) :]] = content
    return out


def weights(state: State, form: Form, *, wrapped: bool, below: Names = ()) -> Tree:
    """The model's parameters at the root, or below one key."""
    leaves = Leaves.WRAPPED if wrapped else Leaves.BARE
    kept = State(tuple(v for v in state.variables if v.collection == "params"), None, 0)
    model = {path: c for path, c in nnx(kept, form, leaves).items() if path.names[0] == "model"}
    return {KeyPath.of(*below) + path[1:]: content for path, content in model.items()}


def with_reference(state: State) -> State:
    """DPO: the weights once more, frozen."""
    params = [v for v in state.variables if v.collection == "params"]
    frozen = (replace(v, collection=REFERENCE, data=_other_bits(v.data, n)) for n, v in enumerate(params))
    return replace(state, variables=(*state.variables, *frozen))


def _other_bits(content: Content, seed: int) -> Content:
    if content.data is None or content.value.kind != "array":
        return content
    return array(noise(10**9 + seed, content.data.shape, content.value.spec.dtype))


def adapters(state: State) -> State:
    """LoRA: two leaves in the place of each weight, and nothing that they do not belong to."""

    def lora(variables: tuple[Var, ...]) -> tuple[Var, ...]:
        return tuple(
            replace(v, path=(*v.path[:-1], f"{v.path[-1]}_{part}"), data=_other_bits(v.data, 2 * n + at))
            for n, v in enumerate(variables)
            if v.collection == "params"
            for at, part in enumerate(("lora_a", "lora_b"))
        )

    return State(lora(state.variables), None, state.step)


def with_fields(state: State, form: Form) -> Tree:
    """A subclass of `TrainState`: one collection in `params`, others in fields, an average of the weights."""
    one = State(tuple(v for v in state.variables if v.collection == "params"), None, state.step)
    out = linen(replace(one, optimizer=_without_collections(state.optimizer)), form, double=False)
    for (collection, path), content in placed(state.variables, form).items():
        if collection == "batch_stats":
            out[KeyPath.of("batch_stats", *path)] = content
    averages = tuple(replace(v, data=_other_bits(v.data, n)) for n, v in enumerate(one.variables))
    for (_, path), content in placed(averages, form).items():
        out[KeyPath.of("ema_params", *path)] = content
    return out


def _without_collections(node: Node | None) -> Node | None:
    """An optimizer that knows of parameters alone."""
    match node:
        case Chain(parts):
            return Chain(tuple(p for part in parts if (p := _without_collections(part))))
        case Fields(parts):
            return Fields(tuple((name, p) for name, part in parts if (p := _without_collections(part))))
        case Mirror(moments):
            return Mirror(tuple(v for v in moments if v.collection == "params"))
        case _:
            return node


def mixed(tree: Tree, picked: Callable[[KeyPath], bool]) -> Tree:
    """Some bare leaves in wrappers."""
    return {path / "value" if picked(path) else path: content for path, content in tree.items()}


def _by_last(names: frozenset[str]) -> Callable[[KeyPath], bool]:
    return lambda path: path.names[-1] in names


LAST = st.frozensets(
    st.sampled_from(["kernel", "scale", "bias", "embedding", "count", "key", "step", "mean"])
)


@st.composite
def _rendered(draw: st.DrawFn, name: str) -> Rendered:
    state, form = draw(states()), draw(FORMS)
    plain = replace(form, nested=False)
    if name.startswith("linen"):
        state, form = state.without("rngs"), plain
    match name:
        case "linen":
            tree = linen(state, form)
        case "linen single":
            state = State(tuple(v for v in state.variables if v.collection == "params"), None, state.step)
            tree = linen(state, form, double=False)
        case "linen fields":
            tree = with_fields(state, form)
        case "linen boxed":
            names = draw(LAST)
            tree = linen(state, form, boxed=lambda path: path[-1] in names)
        case "linen weights":
            state = State(state.variables, Nothing(Empty.DICT), 0)
            tree = linen(state, form)
        case "linen reference":
            state = with_reference(state)
            tree = linen(state, form)
        case "linen adapters":
            state = adapters(state)
            tree = linen(state, form)
        case "nnx":
            tree = nnx(state, form, draw(LEAVES))
        case "nnx mixed":
            tree = mixed(nnx(state, form, Leaves.BARE), _by_last(draw(LAST)))
        case "nnx reference":
            state = with_reference(state)
            tree = nnx(state, form, draw(LEAVES))
        case "maxtext":
            tree = maxtext(state, form, aux=True)
        case "maxtext without aux":
            # Statistics stand among the weights here: stacked on another axis, they are refused.
            outside = [v for v in state.variables if v.collection == "params" or v.group is None]
            state = replace(state, variables=tuple(outside))
            tree = maxtext(state, form, aux=False)
        case "diloco in linen":
            state = state.without("rngs")
            form, tree = plain, diloco(state, plain, in_nnx=False)
        case "diloco in nnx":
            form, tree = plain, diloco(state, plain, in_nnx=True)
        case "tunix":
            tree = tunix(state, form, draw(LEAVES))
        case "weights":
            tree = weights(state, form, wrapped=draw(st.booleans()))
        case "weights below base":
            tree = weights(state, form, wrapped=draw(st.booleans()), below=("base",))
        case "adapters":
            state = adapters(state)
            tree = weights(state, form, wrapped=True)
        case _:
            raise AssertionError(name)
    return Rendered(name, state, form, tree)


NAMES = [
    "linen",
    "linen single",
    "linen fields",
    "linen boxed",
    "linen weights",
    "linen reference",
    "linen adapters",
    "nnx",
    "nnx mixed",
    "nnx reference",
    "maxtext",
    "maxtext without aux",
    "diloco in linen",
    "diloco in nnx",
    "tunix",
    "weights",
    "weights below base",
    "adapters",
]
"""Every layout, and the variants of it."""


def rendered(*names: str) -> st.SearchStrategy[Rendered]:
    """Any state in any of these layouts; without names, in any at all."""
    return st.sampled_from(names or NAMES).flatmap(_rendered)
