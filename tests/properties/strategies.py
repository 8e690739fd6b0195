"""Random train states: decoders, optimizers, other collections, in any layer form."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from linen_nnx.schema.array import KEY_WORDS, DType, Empty
from linen_nnx.schema.layout import Leaves
from tests.properties.states import (
    Chain,
    Content,
    Fields,
    Form,
    Group,
    Mirror,
    Names,
    Node,
    Nothing,
    Single,
    State,
    Var,
    array,
    empty,
    noise,
)

DTYPES = [
    DType.FLOAT32,
    DType.BFLOAT16,
    DType.FLOAT16,
    DType.INT8,
    DType.FLOAT8_E4M3FN,
    DType.FLOAT8_E5M2,
    DType.BOOL,
]
OUTSIDE: list[Names] = [
    ("token_embedder", "embedding"),
    ("decoder", "decoder_norm", "scale"),
    ("decoder", "logits_dense", "kernel"),
    ("decoder", "position_embedder", "embedding"),
    ("head", "lora_a.kernel"),
    ("blocks", "0", "kernel"),
    ("blocks", "10", "kernel"),
    ("blocks", "2", "kernel"),
    ("temperature",),
    ("vision_encoder", "layers_0", "kernel"),
    ("vision_encoder", "layers_1", "kernel"),
    ("odd", "a/b"),
    ("odd", "[0]"),
    ("odd", "a\\b"),
    ("mu",),
    ("trace", "count"),
    ("attention", "value", "kernel"),
]
INSIDE: list[Names] = [
    ("mlp", "wi_0", "kernel"),
    ("mlp", "wo", "kernel"),
    ("self_attention", "query", "kernel"),
    ("self_attention", "value", "kernel"),
    ("pre_norm", "scale"),
    ("gate", "bias"),
]
FORMS = st.one_of(
    st.builds(Form, stacked=st.just(True), axis=st.sampled_from([0, 1])),
    st.builds(Form, stacked=st.just(False), axis=st.sampled_from([0, 1]), nested=st.booleans()),
)
LEAVES = st.sampled_from([Leaves.BARE, Leaves.WRAPPED, Leaves.MODEL_WRAPPED])


@dataclass
class Maker:
    """Draws, and gives every array bytes of its own."""

    draw: st.DrawFn
    seed: int = 0

    def data(self, shape: tuple[int, ...], dtype: DType) -> Content:
        """The next array."""
        self.seed += 1
        return array(noise(self.seed, shape, dtype))

    def shape(self, least: int, most: int) -> tuple[int, ...]:
        """A small shape."""
        return tuple(self.draw(st.lists(st.integers(1, 4), min_size=least, max_size=most)))

    def dtype(self) -> DType:
        """Mostly float32."""
        return self.draw(st.sampled_from([DType.FLOAT32, *DTYPES]))

    def some(self, paths: list[Names], least: int, most: int) -> list[Names]:
        """Some of `paths`."""
        return self.draw(st.lists(st.sampled_from(paths), min_size=least, max_size=most, unique=True))


def groups(make: Maker) -> tuple[Group, ...]:
    """The layer groups of a decoder, and perhaps of an encoder beside it."""
    kind = make.draw(st.sampled_from(["plain", "plain", "deepseek", "cycle", "none", "two"]))
    decoder = ("decoder",)
    match kind:
        case "plain":
            return (Group(decoder, "layers", make.draw(st.integers(1, 12))),)
        case "deepseek":
            dense = make.draw(st.integers(1, 3))
            moe = make.draw(st.integers(1, 11))
            return (Group(decoder, "dense_layers", dense), Group(decoder, "moe_layers", moe, first=dense))
        case "cycle":
            width = make.draw(st.integers(2, 3))
            # Blocks seen twice, so that the layers themselves show the cycle when they are stacked anew.
            count = make.draw(st.integers(2 * width, 12))
            return (Group(decoder, "layers", count, cycle=tuple(f"layers_{n}" for n in range(width))),)
        case "two":
            return (
                Group(decoder, "layers", make.draw(st.integers(1, 12))),
                Group(("encoder",), "layers", make.draw(st.integers(1, 4))),
            )
        case _:
            return ()


def in_layers(make: Maker, group: Group, collection: str) -> Iterator[Var]:
    """Like leaves in every layer; each slot of a cycle has one leaf of a shape of its own."""
    for path in make.some(INSIDE, 1, 3):
        shape, dtype = make.shape(1, 3), make.dtype()
        for layer in range(group.count):
            yield Var(collection, path, make.data(shape, dtype), group, layer)
    if group.cycle:
        for layer in range(group.count):
            shape = (2, 2 + layer % group.width)
            yield Var(
                collection, ("slot_of_its_own", "kernel"), make.data(shape, DType.FLOAT32), group, layer
            )


def statistics(make: Maker, within: tuple[Group, ...]) -> Iterator[Var]:
    """BatchNorm's running statistics, outside of layers and in each of them."""
    for name in ("mean", "var"):
        yield Var("batch_stats", ("norm_out", name), make.data((3,), DType.FLOAT32))
        for group in within[:1]:
            for layer in range(group.count):
                yield Var("batch_stats", ("norm_in", name), make.data((2,), DType.FLOAT32), group, layer)


def streams(make: Maker, within: tuple[Group, ...]) -> Iterator[Var]:
    """PRNG streams: a shared one outside, one in each layer."""
    impl = make.draw(st.sampled_from([None, *sorted(KEY_WORDS)]))
    words = KEY_WORDS.get(impl or "", 2)
    places: list[tuple[Names, Group | None, int]] = [(("dropout", "rngs"), None, 0)]
    places += [(("dropout", "rngs", "params"), g, n) for g in within[:1] for n in range(g.count)]
    for path, group, layer in places:
        yield Var("rngs", (*path, "count"), make.data((), DType.UINT32), group, layer)
        data = make.data((words,), DType.UINT32).data
        assert data is not None
        yield Var("rngs", (*path, "key"), array(data, key_impl=impl), group, layer)


def moments(
    make: Maker, variables: tuple[Var, ...], *, holes: bool, whole: bool, own: DType | None
) -> Mirror:
    """A mirror of the parameters; `whole` mirrors the other collections too; alike leaves are holes alike."""
    masked: dict[tuple[str, Names, Group | None, int], bool] = {}
    out = []
    for var in variables:
        if var.collection != "params" and not whole:
            continue
        value = var.data.value
        assert value.kind == "array"
        slot = var.layer % var.group.width if var.group else 0
        left = var.group is not None and var.layer >= var.group.filled
        key = (var.collection, var.path, var.group, -1 - slot if left else slot)
        if key not in masked:
            masked[key] = holes and make.draw(st.booleans())
        content = empty() if masked[key] else make.data(value.spec.shape, own or value.spec.dtype)
        out.append(replace(var, data=content))
    return Mirror(tuple(out))


def count(make: Maker) -> Single:
    """A step counter of one transform."""
    return Single(array(np.asarray(make.draw(st.integers(0, 99)), np.int32)))


def optimizers(make: Maker, variables: tuple[Var, ...]) -> Node | None:
    """An optimizer of one of the documented forms."""
    whole = make.draw(st.booleans())
    own = make.draw(st.sampled_from([None, None, DType.BFLOAT16]))

    def mirror(*, holes: bool = False, dtype: DType | None = None) -> Mirror:
        return moments(make, variables, holes=holes, whole=whole, own=dtype)

    def adam(*, holes: bool = False) -> Fields:
        return adam_like(mirror(holes=holes, dtype=own))

    def adam_like(mu: Mirror) -> Fields:
        nu = Mirror(tuple(replace(m, data=_fresh(make, m)) for m in mu.moments))
        return Fields((("count", count(make)), ("mu", mu), ("nu", nu)))

    scheduled = Fields((("count", count(make)),))
    tail: tuple[Node, ...] = make.draw(
        st.sampled_from([(), (Nothing(),), (Nothing(), Nothing()), (Nothing(), scheduled)])
    )
    kind = make.draw(
        st.sampled_from(
            [
                "adamw",
                "adamw",
                "sgd",
                "flat",
                "momentum",
                "nested",
                "multi",
                "plain",
                "inject",
                "steps",
                "spikes",
                "none",
            ]
        )
    )
    match kind:
        case "adamw":
            return Chain((adam(), *tail))
        case "sgd":
            return Chain(tail or (Nothing(),))
        case "flat":
            return adam()
        case "momentum":
            return Chain((Fields((("trace", mirror(dtype=own)),)), *tail))
        case "nested":
            return Chain((Nothing(), Chain((adam(), *tail))))
        case "multi":
            frozen = Fields((("inner_state", Nothing()),))
            trained = Fields((("inner_state", Chain((adam(holes=True), *tail))),))
            labels = make.draw(st.sampled_from([("frozen", "trainable"), ("0", "1")]))
            return Fields((("inner_states", Fields(tuple(zip(labels, (frozen, trained), strict=True)))),))
        case "plain":
            return mirror()
        case "inject":
            rate = Single(make.data((), DType.FLOAT32))
            return Fields(
                (
                    ("count", count(make)),
                    ("hyperparams", Fields((("learning_rate", rate),))),
                    ("hyperparams_states", Fields((("learning_rate", scheduled),))),
                    ("inner_state", Chain((adam(), *tail))),
                )
            )
        case "steps":
            return Fields(
                (
                    ("mini_step", count(make)),
                    ("gradient_step", count(make)),
                    ("inner_opt_state", Chain((adam(), *tail))),
                    ("acc_grads", mirror()),
                    ("skip_state", Nothing(Empty.TUPLE)),
                )
            )
        case "spikes":
            return Fields(
                (
                    ("count", count(make)),
                    ("losses", Single(make.data((8,), DType.FLOAT32))),
                    ("is_skipped", Single(make.data((), DType.BOOL))),
                    ("inner_state", Chain((adam(), *tail))),
                )
            )
        case _:
            return None


def _fresh(make: Maker, moment: Var) -> Content:
    """A hole stays a hole; else other bytes of the parameter's own kind."""
    if moment.data.data is None or moment.data.value.kind != "array":
        return moment.data
    return make.data(moment.data.value.spec.shape, moment.data.value.spec.dtype)


@st.composite
def states(draw: st.DrawFn, *, stats: bool | None = None, rngs: bool | None = None) -> State:
    """Any train state; `stats` and `rngs` force or forbid those collections."""
    make = Maker(draw, seed=draw(st.integers(0, 2**16)) * 10**6)
    within = groups(make)
    variables = [
        Var("params", path, make.data(make.shape(0, 3), make.dtype())) for path in make.some(OUTSIDE, 1, 5)
    ]
    for group in within:
        variables.extend(in_layers(make, group, "params"))
    if draw(st.booleans()) if stats is None else stats:
        variables.extend(statistics(make, within))
    optimizer = optimizers(make, tuple(variables))
    if draw(st.booleans()) if rngs is None else rngs:
        variables.extend(streams(make, within))
    return State(tuple(variables), optimizer, draw(st.integers(0, 2**31 - 1)))
