"""Optimizers of every shape: converted by rules, the next step is the one that Linen would have made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import optax
import pytest
from flax import nnx

from linen_nnx import (
    Accept,
    Code,
    ConversionError,
    ConversionOptions,
    Layout,
    convert,
    convert_tree,
    infer_rules,
    plan,
    spec_of,
)
from linen_nnx.schema.plan import NoteCode
from tests.pairs import layered, plain
from tests.pairs.pair import Pair
from tests.pairs.training import (
    distance,
    linen_trained,
    nnx_restored,
    nnx_step,
    nnx_tree,
    save_linen,
    train_state,
)
from tests.pairs.trees import arrays, unwrapped

MLP = next(pair for pair in plain.PAIRS if pair.name == "mlp")
LSTM = next(pair for pair in layered.PAIRS if pair.name == "lstm_plain_to_opt")
LIST = next(pair for pair in layered.PAIRS if pair.name == "list_to_vmap")

Make = Callable[[], Any]


def matrices(params: Any) -> Any:
    """A mask by shape: it means the same in both frameworks."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def kinds(params: Any) -> Any:
    return jax.tree.map(lambda leaf: "matrix" if leaf.ndim > 1 else "vector", params)


def _parted() -> Any:
    return optax.multi_transform({"matrix": optax.adam(1e-2), "vector": optax.sgd(1e-2)}, kinds)


OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda: optax.sgd(1e-2),
    "momentum": lambda: optax.sgd(1e-2, momentum=0.9),
    "adam": lambda: optax.adam(1e-2),
    "adamw": lambda: optax.adamw(1e-2),
    "adamw-mask": lambda: optax.adamw(1e-2, mask=matrices),
    "schedule": lambda: optax.adamw(optax.linear_schedule(1e-2, 1e-3, 10)),
    "clip": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-2)),
    "named-chain": lambda: optax.named_chain(("clip", optax.clip(0.5)), ("adam", optax.adam(1e-2))),
    "ema": lambda: optax.chain(optax.adam(1e-2), optax.ema(0.9)),
    "lamb": lambda: optax.lamb(1e-2),
    "lion": lambda: optax.lion(1e-3),
    "lars": lambda: optax.lars(1e-2),
    "rmsprop": lambda: optax.rmsprop(1e-2, momentum=0.9),
    "adagrad": lambda: optax.adagrad(1e-2),
    "adadelta": lambda: optax.adadelta(1e-2),
    "adamax": lambda: optax.adamax(1e-2),
    "amsgrad": lambda: optax.amsgrad(1e-2),
    "nadam": lambda: optax.nadam(1e-2),
    "yogi": lambda: optax.yogi(1e-2),
    "adafactor": lambda: optax.adafactor(1e-2, min_dim_size_to_factor=2),
    "muon": lambda: optax.contrib.muon(1e-2),
    "novograd": lambda: optax.novograd(1e-2),
    "accumulated": lambda: optax.MultiSteps(optax.adam(1e-2), 4).gradient_transformation(),
    "injected": lambda: optax.inject_hyperparams(optax.adamw)(learning_rate=1e-2),
    "finite": lambda: optax.apply_if_finite(optax.adam(1e-2), 3),
    "masked": lambda: optax.masked(optax.adam(1e-2), matrices),
    "parted": _parted,
}


def converted(pair: Pair, make: Make, folder: Path) -> tuple[Any, Any, ConversionOptions]:
    """Trained in Linen, saved, converted by what a spec proves; and Linen's state after one more step."""
    state, further = linen_trained(pair, make())
    save_linen(pair, state, folder / "linen")

    def both() -> Any:
        model = pair.nnx(nnx.Rngs(0))
        return model, nnx.Optimizer(model, make(), wrt=nnx.Param)

    options = ConversionOptions(spec=spec_of(both), accept=Accept(pair.by.value))
    convert(folder / "linen", folder / "nnx", Layout.NNX, options)
    return state, further, options


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_next_step_is_linens_next_step(name: str, tmp_path: Path) -> None:
    make = OPTIMIZERS[name]
    _, further, options = converted(MLP, make, tmp_path)
    model, optimizer = nnx_restored(MLP, tmp_path / "nnx", make)
    after = nnx_tree(*nnx_step(MLP, model, optimizer))
    wanted = convert_tree(train_state(MLP, further), Layout.NNX, options).tree
    for part in ("model", "optimizer"):
        ours, theirs = arrays(nnx.to_pure_dict(after[part])), unwrapped(wanted[part])
        assert distance([ours[path] for path in theirs], list(theirs.values())) <= 1e-7, part


def notes(pair: Pair, make: Make, folder: Path) -> set[NoteCode]:
    state, _ = linen_trained(pair, make(), steps=1)
    save_linen(pair, state, folder / "linen")
    rules = infer_rules(folder / "linen", spec_of(lambda: pair.nnx(nnx.Rngs(0))), pair.by.value).rules
    made = plan(folder / "linen", Layout.NNX, ConversionOptions(rules=rules))
    return {note.code for note in made.notes}


@pytest.mark.parametrize("name", ["lamb", "muon", "lars"])
def test_gates_that_are_joined_under_an_optimizer_of_whole_arrays_are_spoken_of(
    name: str, tmp_path: Path
) -> None:
    assert NoteCode.RESTACK_CHANGES_TRAINING in notes(LSTM, OPTIMIZERS[name], tmp_path)


@pytest.mark.parametrize("name", ["lamb", "muon", "adam"])
def test_a_rename_alone_changes_no_training(name: str, tmp_path: Path) -> None:
    assert NoteCode.RESTACK_CHANGES_TRAINING not in notes(MLP, OPTIMIZERS[name], tmp_path)


@pytest.mark.parametrize("name", ["adamw-mask", "masked", "parted", "muon"])
def test_that_masks_and_labels_may_go_by_names_is_always_said(name: str, tmp_path: Path) -> None:
    assert NoteCode.MASKS_BY_NAME in notes(MLP, OPTIMIZERS[name], tmp_path)


@pytest.mark.parametrize("name", ["adam", "injected", "finite", "accumulated", "clip"])
def test_an_optimizer_without_masks_is_not_suspected(name: str, tmp_path: Path) -> None:
    assert NoteCode.MASKS_BY_NAME not in notes(MLP, OPTIMIZERS[name], tmp_path)


@pytest.mark.parametrize(
    ("pair", "name"), [(LIST, "adafactor"), (LSTM, "adafactor"), (LIST, "muon")], ids=str
)
def test_moments_that_cannot_follow_are_refused(pair: Pair, name: str, tmp_path: Path) -> None:
    """Adafactor's factors have no axis to stack; a matrix in a stack is no matrix to muon."""
    state, _ = linen_trained(pair, OPTIMIZERS[name](), steps=1)
    save_linen(pair, state, tmp_path / "linen")
    rules = infer_rules(tmp_path / "linen", spec_of(lambda: pair.nnx(nnx.Rngs(0))), pair.by.value).rules
    with pytest.raises(ConversionError) as refused:
        convert(tmp_path / "linen", tmp_path / "nnx", Layout.NNX, ConversionOptions(rules=rules))
    assert {problem.code for problem in refused.value.problems} <= {
        Code.LAYERS_NOT_STACKABLE,
        Code.UNSUPPORTED,
    }
    assert not (tmp_path / "nnx").exists()


def test_labels_by_linens_names_that_mean_other_leaves_are_refused_by_the_spec(tmp_path: Path) -> None:
    def labelled(name: str) -> Any:
        def label(path: Any, _: Any) -> str:
            return "a" if path[0].key == name else "b"

        def labels(params: Any) -> Any:
            return jax.tree_util.tree_map_with_path(label, params)

        return optax.multi_transform({"a": optax.adam(1e-2), "b": optax.sgd(1e-2)}, labels)

    state, _ = linen_trained(MLP, labelled("Dense_0"), steps=1)
    save_linen(MLP, state, tmp_path / "linen")

    def both() -> Any:
        model = MLP.nnx(nnx.Rngs(0))
        # `Dense_0` is the head, for construction counts; a user who did not know wrote body.
        return model, nnx.Optimizer(model, labelled("body"), wrt=nnx.Param)

    with pytest.raises(ConversionError) as refused:
        convert(tmp_path / "linen", tmp_path / "nnx", Layout.NNX, ConversionOptions(spec=spec_of(both)))
    assert {problem.code for problem in refused.value.problems} == {Code.NO_WRITER, Code.UNEXPECTED_ENTRY}
