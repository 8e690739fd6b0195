"""Real optax states, trained and saved on both sides: the conversion of one is the other's own save."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from flax import nnx
from flax.training.train_state import TrainState

from linen_nnx import (
    Code,
    ConversionError,
    ConversionOptions,
    LayerStacking,
    Layout,
    LayoutError,
    Leaves,
    ProblemsError,
    convert,
    convert_tree,
    validate,
)
from linen_nnx import plan as make_plan
from linen_nnx.schema.plan import NoteCode
from tests.support.checkpoints import save_item
from tests.support.entries import Entries, Keys, differences, read, specs, text_of

STEPS = 3
LAYERS = 3
Params = dict[str, Any]


def params() -> Params:
    """Three layers stacked on axis 1, and modules around them; every dimension tells which it is."""

    def values(*shape: int) -> jax.Array:
        size = int(np.prod(shape))
        return jnp.asarray(np.sin(np.arange(size) + size).reshape(shape), "float32")

    return {
        "decoder": {
            "layers": {
                "mlp": {"kernel": values(8, LAYERS, 6), "bias": values(6, LAYERS)},
                "norm": {"scale": values(4, LAYERS)},
            },
            "logits": {"kernel": values(4, 7)},
        },
        "token_embedder": {"embedding": values(7, 4)},
    }


class Node(nnx.Module):
    """A module of the parameters of a nested dict."""

    def __init__(self, tree: Params) -> None:
        for name, child in tree.items():
            setattr(self, name, Node(child) if isinstance(child, dict) else nnx.Param(child))


def gradients(tree: Any, step: int) -> Any:
    """Made up, other ones at each step, and alike on both sides."""
    return jax.tree.map(lambda leaf: jnp.cos(leaf * (step + 2)), tree)


def linen_tree(transform: Any, tree: Params, steps: int = STEPS) -> Any:
    """A Linen `TrainState` after some steps."""
    create: Any = TrainState.create
    state = create(apply_fn=None, params={"params": tree}, tx=transform)
    state = state.replace(step=jnp.asarray(0, "int32"))
    for step in range(steps):
        state = state.apply_gradients(grads=gradients(state.params, step))
    return state


def nnx_tree(transform: Any, tree: Params, steps: int = STEPS) -> Any:
    """The state of an NNX model with the same parameters and of its optimizer after the same steps."""
    model = Node(tree)
    trainer = nnx.Optimizer(model, transform, wrt=nnx.Param)
    for step in range(steps):
        trainer.update(model, gradients(nnx.state(model, nnx.Param), step))
    return {"model": nnx.state(model), "optimizer": nnx.state(trainer, nnx.OptState)}


# What an optimizer may be told of the parameters; each takes the tree of either side.


def schedule() -> Any:
    return optax.cosine_decay_schedule(1e-2, 10)


def no_vectors(tree: Any) -> Any:
    """Vectors of one layer are matrices where layers are stacked."""
    return jax.tree.map(lambda leaf: leaf.ndim > 2, tree)


def labels(tree: Any) -> Any:
    def label(path: Any, leaf: Any) -> str:
        del leaf
        return "frozen" if "token_embedder" in jax.tree_util.keystr(path) else "train"

    return jax.tree_util.tree_map_with_path(label, tree)


@dataclass(frozen=True)
class Case:
    """An optimizer. `lost` are Linen's entries that an NNX state does not show, below `opt_state`."""

    name: str
    make: Callable[[], Any]
    lost: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    """Entries that stand in place of lost ones: an empty state where Linen has a dict of empty states."""
    restacks: bool = True

    def __str__(self) -> str:
        return self.name


def adafactor(learning_rate: Any) -> Any:
    return optax.adafactor(learning_rate, min_dim_size_to_factor=4, momentum=0.9)


def partition(frozen: Any) -> Any:
    return optax.multi_transform({"train": optax.adamw(schedule()), "frozen": frozen}, labels)


def accumulating(**options: Any) -> Any:
    return optax.MultiSteps(optax.adamw(schedule()), 2, **options).gradient_transformation()


CASES = [
    Case("adam", lambda: optax.adam(1e-2), ("[1]",)),
    Case("adam-without-a-chain", lambda: optax.scale_by_adam()),
    Case("adamw-constant", lambda: optax.adamw(1e-2), ("[1]", "[2]")),
    Case("adamw-schedule", lambda: optax.adamw(schedule())),
    Case("adamw-bfloat16-moments", lambda: optax.adamw(schedule(), mu_dtype="bfloat16")),
    Case("adamw-mask", lambda: optax.adamw(schedule(), mask=no_vectors), ("[1]/inner_state",), ("[1]",)),
    Case("sgd-constant", lambda: optax.sgd(1e-2), ("[0]", "[1]")),
    Case("sgd-schedule", lambda: optax.sgd(schedule())),
    Case("momentum-constant", lambda: optax.sgd(1e-2, momentum=0.9), ("[1]",)),
    Case("momentum-schedule", lambda: optax.sgd(schedule(), momentum=0.9, nesterov=True)),
    Case("lion", lambda: optax.lion(schedule())),
    Case("lamb", lambda: optax.lamb(schedule())),
    Case("lars", lambda: optax.lars(1e-2), ("[0]/inner_state", "[1]/inner_state"), ("[0]", "[1]")),
    Case("adafactor-constant", lambda: adafactor(1e-2), ("[5]",), restacks=False),
    Case("adafactor-schedule", lambda: adafactor(schedule()), ("[5]",), restacks=False),
    Case("rmsprop-constant", lambda: optax.rmsprop(1e-2), ("[1]", "[2]")),
    Case("rmsprop-momentum", lambda: optax.rmsprop(schedule(), momentum=0.9, centered=True)),
    Case("adagrad", lambda: optax.adagrad(1e-2), ("[1]",)),
    Case("clip-adamw", lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule()))),
    Case(
        "inject-hyperparams-schedule",
        lambda: optax.inject_hyperparams(optax.adamw)(learning_rate=schedule()),
        ("inner_state/[1]", "inner_state/[2]"),
    ),
    Case(
        "inject-hyperparams-constant",
        lambda: optax.inject_hyperparams(optax.adamw)(learning_rate=1e-2),
        ("hyperparams_states", "inner_state/[1]", "inner_state/[2]"),
    ),
    Case("multi-steps", accumulating, ("skip_state",)),
    Case("multi-steps-that-skip", lambda: accumulating(should_skip_update_fn=optax.skip_not_finite)),
    Case(
        "multi-transform-frozen",
        lambda: partition(optax.set_to_zero()),
        ("inner_states/frozen/inner_state",),
    ),
    Case("multi-transform", lambda: partition(optax.sgd(schedule(), momentum=0.9))),
    Case("masked", lambda: optax.masked(optax.adamw(schedule()), no_vectors)),
    Case("apply-if-finite", lambda: optax.apply_if_finite(optax.adamw(schedule()), 3)),
    Case("muon", lambda: optax.contrib.muon(schedule(), ns_steps=1)),
    Case(
        "schedule-free",
        lambda: optax.contrib.schedule_free_adamw(1e-2),
        ("base_optimizer_state/[1]", "base_optimizer_state/[2]"),
    ),
    Case("ema-in-a-chain", lambda: optax.chain(optax.adam(schedule()), optax.ema(0.99))),
    Case("flattened", lambda: optax.flatten(optax.adamw(schedule()))),
]


@dataclass
class Saved:
    """One optimizer's states, saved by orbax on both sides."""

    case: Case
    linen: Path
    nnx: Path
    read: dict[Path, Entries] = field(default_factory=dict)

    def entries(self, path: Path) -> Entries:
        """What stands in one of the two."""
        if path not in self.read:
            self.read[path] = read(path)
        return self.read[path]


@pytest.fixture(scope="module", params=CASES, ids=str)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    case: Case = request.param
    folder = tmp_path_factory.mktemp(case.name)
    linen = save_item(linen_tree(case.make(), params()), folder / "linen")
    return Saved(case, linen, save_item(nnx_tree(case.make(), params()), folder / "nnx"))


STACK = ConversionOptions(stacking=LayerStacking.STACKED)
UNSTACK = ConversionOptions(stacking=LayerStacking.UNSTACKED)


def of_optimizer(names: tuple[str, ...]) -> list[str]:
    return [f"opt_state/{name}" for name in names]


def test_both_sides_are_valid_and_no_moment_is_zero(saved: Saved) -> None:
    for path in (saved.linen, saved.nnx):
        assert validate(path) == []
        for at, leaf in saved.entries(path).items():
            if {"mu", "nu", "trace", "acc_grads"} & set(at) and leaf.data is not None:
                assert np.any(leaf.data != 0) or "multi-steps" in saved.case.name, at


def test_a_linen_state_becomes_the_state_that_nnx_saves_and_comes_back(saved: Saved, tmp_path: Path) -> None:
    convert(saved.linen, tmp_path / "there", Layout.NNX)
    assert differences(read(tmp_path / "there"), saved.entries(saved.nnx)) == []
    convert(tmp_path / "there", tmp_path / "back", Layout.LINEN)
    assert differences(read(tmp_path / "back"), saved.entries(saved.linen)) == []


def test_an_nnx_state_becomes_the_state_that_linen_saves_but_for_named_empty_states(
    saved: Saved, tmp_path: Path
) -> None:
    convert(saved.nnx, tmp_path / "there", Layout.LINEN)
    found, wanted = read(tmp_path / "there"), saved.entries(saved.linen)
    assert differences(found, wanted) == [
        *(f"missing {path}" for path in of_optimizer(saved.case.lost)),
        *(f"unexpected {path}" for path in of_optimizer(saved.case.instead)),
    ]
    by_text = {text_of(path): leaf for path, leaf in wanted.items()}
    assert all(by_text[path].data is None for path in of_optimizer(saved.case.lost))
    convert(tmp_path / "there", tmp_path / "back", Layout.NNX)
    assert differences(read(tmp_path / "back"), saved.entries(saved.nnx)) == []


def test_a_template_gives_the_empty_states_that_nnx_does_not_show(saved: Saved, tmp_path: Path) -> None:
    convert(saved.nnx, tmp_path / "there", Layout.LINEN, template=saved.linen)
    assert differences(read(tmp_path / "there"), saved.entries(saved.linen)) == []


def layer_of(path: Keys) -> int | None:
    """Where a path goes through the layers."""
    found = [i for i in range(1, len(path)) if path[i - 1 : i + 1] == ("decoder", "layers")]
    return found[0] if found else None


def one_by_one(entries: Entries) -> Entries:
    """The entries of a Linen state, its layers taken from axis 1."""
    out: Entries = {}
    for path, leaf in entries.items():
        at = layer_of(path)
        if at is None:
            out[path] = leaf
            continue
        for n in range(LAYERS):
            data = None if leaf.data is None else np.take(leaf.data, n, 1)
            out[*path[:at], f"layers_{n}", *path[at + 1 :]] = replace(leaf, data=data)
    return out


def test_moments_are_restacked_with_their_parameters_or_it_is_refused(saved: Saved, tmp_path: Path) -> None:
    wanted = saved.entries(saved.linen)
    if not saved.case.restacks:
        with pytest.raises(ConversionError) as refused:
            convert(saved.linen, tmp_path / "apart", Layout.LINEN, UNSTACK)
        assert {problem.code for problem in refused.value.problems} == {Code.LAYERS_NOT_STACKABLE}
        assert all("layers" in problem.path.names for problem in refused.value.problems)
        assert list(tmp_path.iterdir()) == []
        return
    convert(saved.linen, tmp_path / "apart", Layout.LINEN, UNSTACK)
    assert differences(read(tmp_path / "apart"), one_by_one(wanted)) == []
    convert(tmp_path / "apart", tmp_path / "nnx", Layout.NNX, STACK)
    assert differences(read(tmp_path / "nnx"), saved.entries(saved.nnx)) == []
    convert(tmp_path / "nnx", tmp_path / "back", Layout.LINEN)
    assert differences(read(tmp_path / "back"), wanted) == []


def apart(tree: Params) -> Params:
    """The model with its layers one by one, as NNX numbers them."""
    layers = {
        str(n): jax.tree.map(lambda leaf, n=n: jnp.take(leaf, n, 1), tree["decoder"]["layers"])
        for n in range(LAYERS)
    }
    return {**tree, "decoder": {**tree["decoder"], "layers": layers}}


BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize(
    "name", ["adamw-schedule", "momentum-constant", "multi-transform-frozen", "rmsprop-momentum"]
)
@pytest.mark.parametrize("leaves", [Leaves.WRAPPED, Leaves.BARE])
def test_unstacked_it_has_the_entries_of_a_model_that_was_trained_unstacked(
    name: str, leaves: Leaves, tmp_path: Path
) -> None:
    make = BY_NAME[name].make
    save_item(linen_tree(make(), params()), tmp_path / "linen")
    twin = nnx_tree(make(), apart(params()))
    if leaves is Leaves.BARE:
        twin = {part: nnx.to_pure_dict(state) for part, state in twin.items()}
    save_item(twin, tmp_path / "twin")
    options = UNSTACK.model_copy(update={"leaves": leaves})
    convert(tmp_path / "linen", tmp_path / "there", Layout.NNX, options)
    assert specs(read(tmp_path / "there")) == specs(read(tmp_path / "twin"))


WHOLE_LEAF: dict[str, Callable[[], Any]] = {
    "lamb": lambda: optax.lamb(1e-2),
    "lamb-schedule": lambda: optax.lamb(schedule(), mask=no_vectors),
    "lars": lambda: optax.lars(1e-2),
    "lars-schedule": lambda: optax.lars(schedule()),
    "muon": lambda: optax.contrib.muon(schedule(), ns_steps=1),
    "clip-lamb": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.lamb(schedule())),
    "multi-steps-lars": lambda: optax.MultiSteps(optax.lars(1e-2), 2).gradient_transformation(),
}


TOLD = [(name, side) for name in WHOLE_LEAF for side in ("linen", "nnx") if (name, side) != ("lamb", "nnx")]
"""An NNX state does not show the empty states that tell lamb at a constant rate from adam."""


@pytest.mark.parametrize(("name", "side"), TOLD)
def test_restacking_is_noted_where_the_optimizer_looks_at_whole_arrays(name: str, side: str) -> None:
    build = linen_tree if side == "linen" else nnx_tree
    plan = convert_tree(build(WHOLE_LEAF[name](), params()), options=UNSTACK).plan
    assert NoteCode.RESTACK_CHANGES_TRAINING in {note.code for note in plan.notes}
    kept = convert_tree(build(WHOLE_LEAF[name](), params())).plan
    assert NoteCode.RESTACK_CHANGES_TRAINING not in {note.code for note in kept.notes}


def test_restacking_is_noted_of_no_other_optimizer(saved: Saved) -> None:
    if not saved.case.restacks or saved.case.name in WHOLE_LEAF:
        return
    for path in (saved.linen, saved.nnx):
        notes = make_plan(path, options=UNSTACK).notes
        assert NoteCode.RESTACK_CHANGES_TRAINING not in {note.code for note in notes}


UNLIKE_PARAMETERS: dict[str, Callable[[], Any]] = {
    "lbfgs-memory": lambda: optax.scale_by_lbfgs(),
}


@pytest.mark.parametrize("side", ["linen", "nnx"])
@pytest.mark.parametrize("name", UNLIKE_PARAMETERS)
def test_mirrors_of_other_shapes_are_refused_and_never_guessed(name: str, side: str, tmp_path: Path) -> None:
    build = linen_tree if side == "linen" else nnx_tree
    save_item(build(UNLIKE_PARAMETERS[name](), params(), steps=0), tmp_path / "source")
    with pytest.raises(LayoutError) as refused:
        convert(tmp_path / "source", tmp_path / "target")
    assert {problem.code for problem in refused.value.problems} == {Code.MOMENT_MISMATCH}
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


ONE_NUMBER: dict[str, Callable[[], Any]] = {
    "novograd": lambda: optax.novograd(schedule()),
    "zero-nans": lambda: optax.chain(optax.zero_nans(), optax.adam(1e-2)),
}


@pytest.mark.parametrize("name", ONE_NUMBER)
def test_one_number_a_parameter_goes_with_it_and_is_never_restacked(name: str, tmp_path: Path) -> None:
    save_item(linen_tree(ONE_NUMBER[name](), params(), steps=1), tmp_path / "linen")
    save_item(nnx_tree(ONE_NUMBER[name](), params(), steps=1), tmp_path / "nnx")
    convert(tmp_path / "linen", tmp_path / "there", Layout.NNX)
    assert differences(read(tmp_path / "there"), read(tmp_path / "nnx")) == []
    convert(tmp_path / "there", tmp_path / "back", Layout.LINEN)
    assert differences(read(tmp_path / "back"), read(tmp_path / "linen")) == []
    with pytest.raises(ConversionError) as refused:
        convert(tmp_path / "linen", tmp_path / "target", Layout.NNX, UNSTACK)
    assert {problem.code for problem in refused.value.problems} == {Code.LAYERS_NOT_STACKABLE}


def test_sm3_whose_moments_are_lists_is_exact_or_refused(tmp_path: Path) -> None:
    save_item(linen_tree(optax.sm3(1e-2), params(), steps=1), tmp_path / "linen")
    save_item(nnx_tree(optax.sm3(1e-2), params(), steps=1), tmp_path / "nnx")
    try:
        convert(tmp_path / "linen", tmp_path / "target", Layout.NNX)
    except ProblemsError:
        return
    assert differences(read(tmp_path / "target"), read(tmp_path / "nnx")) == []


def test_sm3_whose_moments_are_lists_is_restacked_whole_or_refused(tmp_path: Path) -> None:
    save_item(linen_tree(optax.sm3(1e-2), params(), steps=1), tmp_path / "linen")
    try:
        convert(tmp_path / "linen", tmp_path / "target", Layout.LINEN, UNSTACK)
    except ProblemsError:
        return
    assert not [text_of(path) for path in read(tmp_path / "target") if "layers" in path]


def lookahead_tree() -> Any:
    """A Linen state whose parameters are the two copies that `optax.lookahead` wants."""
    transform = optax.lookahead(optax.adam(1e-2), sync_period=2, slow_step_size=0.5)
    both = optax.LookaheadParams.init_synced({"params": params()})
    create: Any = TrainState.create
    return create(apply_fn=None, params=both, tx=transform)


def test_lookahead_with_its_two_copies_of_the_parameters_returns_bit_for_bit(tmp_path: Path) -> None:
    save_item(lookahead_tree(), tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "there", Layout.NNX)
    convert(tmp_path / "there", tmp_path / "back", Layout.LINEN)
    assert differences(read(tmp_path / "back"), read(tmp_path / "source")) == []


def test_lookahead_with_its_two_copies_of_the_parameters_is_restacked_whole_or_refused(
    tmp_path: Path,
) -> None:
    save_item(lookahead_tree(), tmp_path / "source")
    try:
        convert(tmp_path / "source", tmp_path / "target", Layout.LINEN, UNSTACK)
    except ProblemsError:
        return
    assert not [text_of(path) for path in read(tmp_path / "target") if "layers" in path]


def test_the_state_of_lookahead_around_the_fast_parameters_is_converted(tmp_path: Path) -> None:
    inner = optax.lookahead(optax.adam(1e-2), sync_period=2, slow_step_size=0.5)

    def start(tree: Any) -> Any:
        return inner.init(optax.LookaheadParams.init_synced(tree))

    def step(updates: Any, state: Any, tree: Any) -> Any:
        moved, state = inner.update(updates, state, optax.LookaheadParams(tree, tree))
        return moved.fast, state

    transform = optax.GradientTransformation(start, step)
    save_item(linen_tree(transform, params()), tmp_path / "linen")
    save_item(nnx_tree(transform, params()), tmp_path / "nnx")
    convert(tmp_path / "linen", tmp_path / "there", Layout.NNX)
    assert differences(read(tmp_path / "there"), read(tmp_path / "nnx")) == []
    convert(tmp_path / "there", tmp_path / "back", Layout.LINEN)
    assert differences(read(tmp_path / "back"), read(tmp_path / "linen")) == []
