"""Both models are run: what structure leaves open is settled rightly, or refused; names are not looked at."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from linen_nnx import (
    Accept,
    ConversionError,
    ConversionOptions,
    Inference,
    Layout,
    Probe,
    SpecError,
    check_forward,
    convert_tree,
    infer_rules,
    spec_of,
    to_nnx,
)
from linen_nnx.convert.mapping.running import matches
from linen_nnx.schema.inference import TODO
from linen_nnx.schema.problem import Code
from tests.pairs import layered, library, plain
from tests.pairs.pair import By, Pair
from tests.pairs.test_mapping import MISLEADING, PAIRS, REFUSED
from tests.pairs.training import distance, linen_variables, nnx_forward
from tests.support.checkpoints import save_item
from tests.support.command import run
from tests.support.entries import differences, read

D = plain.D
X = jnp.sin(jnp.arange(3.0 * D)).reshape(3, D)


def probed(
    linen: Callable[[], Any],
    model: Callable[[Any], Any],
    x: Any,
    accept: Accept = Accept.PROVED,
    **options: Any,
) -> Inference:
    """Of two models, by structure and by running them."""
    variables: Any = jax.eval_shape(lambda: linen().init(jax.random.key(0), x))
    state = {"step": jnp.zeros((), "int32"), "params": variables}

    def make() -> Any:
        return model(nnx.Rngs(0))

    return infer_rules(state, spec_of(make), accept, probe=Probe(linen(), make, x, **options))


BY_A_RUN = {By.NAMES, By.ORDER, By.RULES}


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_each_pair_is_proved_by_structure_or_by_a_run(pair: Pair) -> None:
    found = probed(pair.linen, pair.nnx, pair.inputs())
    assert (found.problems, found.ways) == ((), 1)
    evidence = {rule.evidence for rule in found.rules.rules}
    assert ("probed" in evidence) == (pair.by in BY_A_RUN)
    assert evidence <= {"probed", "unique", "classed", "flat"}
    if pair.by in BY_A_RUN:
        compute_the_same(pair, found)


def compute_the_same(pair: Pair, found: Inference) -> None:
    """By values of their own, through the conversion that a user runs."""
    variables = linen_variables(pair)
    options = ConversionOptions(rules=found.rules)
    tree = convert_tree({"step": jnp.int32(1), "params": variables}, Layout.NNX, options).tree
    model = pair.nnx(nnx.Rngs(0))
    made = dict(nnx.to_flat_state(nnx.state(model)))
    for path, variable in made.items():
        node: Any = tree["model"]
        for key in path:
            node = node[str(key)] if isinstance(node, dict) and str(key) in node else None
        if node is not None:
            made[path] = variable.replace(node["value"])
    nnx.update(model, nnx.from_flat_state(list(made.items())))
    wanted = pair.linen().apply(variables, pair.inputs())
    assert distance(nnx_forward(pair, model), wanted) <= pair.forward


def test_of_the_thirty_two_pairs_thirty_are_proved_and_two_refused() -> None:
    by_structure = sum(pair.by is By.PROOF for pair in PAIRS)
    by_a_run = sum(pair.by in BY_A_RUN for pair in PAIRS)
    assert (by_structure, by_a_run, len(REFUSED)) == (19, 11, 2)


@pytest.mark.parametrize("name", REFUSED)
def test_what_structure_finds_no_mapping_for_is_refused_by_a_run_too(name: str) -> None:
    linen, model = REFUSED[name]
    found = probed(linen, model, jnp.ones((2, library.D)))
    assert [problem.code for problem in found.problems] == [Code.NO_MAPPING]
    assert found.rules.rules == ()


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ([[0.1, 50.0], [50.0, 0.0]], [(0, 0), (1, 1)]),
        ([[50.0, 0.1], [0.0, 50.0]], [(0, 1), (1, 0)]),
        ([[0.1, 2.9], [50.0, 0.0]], [(1, 1)]),
        ([[0.0, 1.1], [1.1, 0.0]], [(0, 0), (1, 1)]),
        ([[0.0, 0.9], [0.9, 0.0]], []),
        ([[0.0, 0.0, 50.0], [0.0, 0.0, 50.0], [50.0, 50.0, 0.0]], [(2, 2)]),
        ([[2.0, 90.0], [90.0, 2.0]], []),
        ([[float("inf"), float("inf")], [float("inf"), float("inf")]], []),
    ],
)
def test_members_are_one_if_rounding_is_all_and_every_other_is_far(
    table: list[list[float]], found: list[tuple[int, int]]
) -> None:
    """In units of rounding: near is 1 at most, far is more than that and 30 times the nearest."""
    assert list(matches(table)) == found


# Pairs made to mislead

RIGHT = {
    "constructed-or-called": {"params/Dense_0/*": "layers/1/*", "params/Dense_1/*": "layers/0/*"},
    "roles": {"params/a/*": "b/*", "params/b/*": "a/*"},
}


@pytest.mark.parametrize("name", RIGHT)
def test_roles_are_told_whatever_names_and_order_say(name: str) -> None:
    found = probed(*MISLEADING[name], jnp.ones((2, D)) / 3)
    assert found.problems == ()
    assert {str(rule.source): rule.to for rule in found.rules.rules} == RIGHT[name]
    assert {rule.evidence for rule in found.rules.rules} == {"probed"}


@pytest.mark.parametrize("name", ["axis", "axis-named", "axis-no-norm"])
def test_the_axis_of_layers_is_told_where_no_shape_tells(name: str) -> None:
    found = probed(*MISLEADING[name], X)
    assert (found.problems, found.ways) == ((), 1)
    assert [rule.op for rule in found.rules.rules if rule.op is None] == []
    assert {rule.evidence for rule in found.rules.rules} == {"probed"}


def test_an_array_of_ones_own_that_would_have_to_be_turned_is_refused() -> None:
    found = probed(*MISLEADING["axis-custom"], X)
    assert Code.MODELS_DIFFER in {problem.code for problem in found.problems}
    assert {rule.evidence for rule in found.rules.rules} == {f"{TODO} axis"}


class Towers(nn.Module):
    """Two alike, of which the outputs are added up: nothing that is computed tells one from the other."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        left = nn.Dense(D, name="left")(x)
        right = nn.Dense(D, name="right")(x)
        return nn.Dense(2, name="head")(left + right)


class NnxTowers(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.left, self.right = nnx.Linear(D, D, rngs=rngs), nnx.Linear(D, D, rngs=rngs)
        self.last = nnx.Linear(D, 2, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.last(self.left(x) + self.right(x))


class Unused(nn.Module):
    """Of two modules alike that come to nothing, and of one that acts."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for name in ("idle", "lazy"):
            nn.Dense(D, name=name)(x)
        return nn.Dense(D, name="acts")(x)


class NnxUnused(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.a, self.b, self.c = (nnx.Linear(D, D, rngs=rngs) for _ in range(3))

    def __call__(self, x: Any) -> Any:
        return self.b(x)


def test_what_a_run_does_not_tell_apart_is_refused_by_name() -> None:
    found = probed(Towers, NnxTowers, X)
    assert [problem.code for problem in found.problems] == [Code.AMBIGUOUS_MAPPING]
    assert "left, right and left, right" in found.problems[0].found
    assert {rule.evidence for rule in found.rules.rules} == {"unique", f"{TODO} named"}
    assert probed(Towers, NnxTowers, X, Accept.NAMES).problems == ()


def test_what_acts_is_found_among_modules_that_come_to_nothing_and_those_are_refused() -> None:
    found = probed(Unused, NnxUnused, X)
    evidence = {str(rule.source): (rule.to, rule.evidence) for rule in found.rules.rules}
    assert evidence["params/acts/*"] == ("b/*", "probed")
    assert "idle, lazy and a, c" in found.problems[0].found
    assert len(found.problems) == 1


class Crossed(nn.Module):
    """Two branches, alike but for names."""

    def setup(self) -> None:
        self.a1, self.a2 = nn.Dense(5), nn.Dense(5)
        self.b1, self.b2 = nn.Dense(D), nn.Dense(D)

    def __call__(self, x: Any) -> Any:
        return self.b1(nn.relu(self.a1(x))) + self.b2(nn.relu(self.a2(x)))


class NnxCrossed(nnx.Module):
    """The same names, another crossing."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.a1, self.a2 = nnx.Linear(D, 5, rngs=rngs), nnx.Linear(D, 5, rngs=rngs)
        self.b1, self.b2 = nnx.Linear(5, D, rngs=rngs), nnx.Linear(5, D, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.b1(nnx.relu(self.a2(x))) + self.b2(nnx.relu(self.a1(x)))


@pytest.mark.parametrize("accept", Accept)
def test_names_that_a_run_refutes_are_never_accepted(accept: Accept) -> None:
    found = probed(Crossed, NnxCrossed, X, accept)
    assert found.problems
    assert {rule.evidence for rule in found.rules.rules} == {f"{TODO} refuted"}


class Weight(nn.Module):
    flipped: bool = False

    @nn.compact
    def __call__(self, x: Any) -> Any:
        w = self.param("w", nn.initializers.normal(), (D, D))
        return x @ (w.T if self.flipped else w)


class NnxWeight(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.w = nnx.Param(jnp.zeros((D, D)))

    def __call__(self, x: Any) -> Any:
        return x @ self.w[...]


def test_a_square_array_is_proved_to_be_as_it_was_or_refused() -> None:
    found = probed(Weight, NnxWeight, X)
    assert (found.problems, found.rules.rules[0].evidence) == ((), "probed")
    turned = probed(lambda: Weight(flipped=True), NnxWeight, X, Accept.ORDER)
    assert Code.MODELS_DIFFER in {problem.code for problem in turned.problems}


class Other(nnx.Module):
    """As the MLP of the pairs, with another activation."""

    def __init__(self, rngs: nnx.Rngs, activation: Any = nnx.gelu) -> None:
        self.body, self.head = nnx.Linear(D, 5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)
        self.activation = activation

    def __call__(self, x: Any) -> Any:
        return self.head(self.activation(self.body(x)))


def test_models_that_compute_otherwise_are_refused_though_structure_proves_the_mapping() -> None:
    found = probed(plain.Mlp, Other, X)
    assert [problem.code for problem in found.problems] == [Code.MODELS_DIFFER]
    assert "activation" in (found.problems[0].hint or "")


def test_a_little_more_than_rounding_is_told_as_that() -> None:
    def nearly(rngs: Any) -> Any:
        return Other(rngs, lambda x: nnx.relu(x) * (1 + 2e-4))

    found = probed(plain.Mlp, nearly, X)
    assert [problem.code for problem in found.problems] == [Code.MODELS_DIFFER]
    assert "less than a wrong mapping" in (found.problems[0].hint or "")


def test_options_go_to_those_that_know_them_and_statistics_are_the_running_ones() -> None:
    pair = next(pair for pair in library.PAIRS if pair.name == "cnn_same_width")
    assert probed(pair.linen, pair.nnx, pair.inputs(), train=False).problems == ()
    with pytest.raises(SpecError) as refused:
        probed(pair.linen, pair.nnx, pair.inputs(), train=True)
    assert "train=False" in (refused.value.problems[0].hint or "")


def test_models_of_another_checkpoint_are_refused_with_each_variable() -> None:
    pair = plain.PAIRS[0]
    variables: Any = jax.eval_shape(lambda: plain.Mlp().init(jax.random.key(0), X))
    other = Probe(plain.Square(), lambda: pair.nnx(nnx.Rngs(0)), X)
    with pytest.raises(ConversionError) as refused:
        infer_rules({"step": jnp.int32(0), **variables}, spec_of(lambda: pair.nnx(nnx.Rngs(0))), probe=other)
    assert {problem.code for problem in refused.value.problems} == {Code.NO_SPEC}
    assert "the Linen module of the probe" in refused.value.problems[0].found


def test_no_model_given_is_changed() -> None:
    pair = next(pair for pair in layered.PAIRS if pair.name == "list_to_vmap")
    model = pair.nnx(nnx.Rngs(0))
    before = jax.tree.map(jnp.copy, nnx.state(model, nnx.Param))
    variables: Any = pair.linen().init(jax.random.key(0), pair.inputs())
    state = {"step": jnp.int32(0), **variables}
    infer_rules(state, spec_of(model), probe=Probe(pair.linen(), model, pair.inputs()))
    assert distance(before, nnx.state(model, nnx.Param)) == 0.0


MODULE = """
import sys
from flax import nnx
import linen_nnx
from tests.pairs import plain

pair = next(pair for pair in plain.PAIRS if pair.name == "qkv_renamed")

def make():
    return pair.nnx(nnx.Rngs(0))

def probe():
    return linen_nnx.Probe(pair.linen(), make, pair.inputs())
"""


def test_commands_take_a_function_that_makes_the_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = next(pair for pair in plain.PAIRS if pair.name == "qkv_renamed")
    save_item({"step": jnp.int32(0), **linen_variables(pair)}, tmp_path / "linen")
    (tmp_path / "both.py").write_text(MODULE)
    both, spec = f"{tmp_path}/both.py", tmp_path / "spec.json"
    assert run("spec", f"{both}:make", "--out", spec) == 0
    asked = (tmp_path / "linen", "--spec", spec)
    assert run("map", *asked) == 1
    assert run("map", *asked, "--probe", f"{both}:probe", "--out", tmp_path / "rules.toml") == 0
    assert run("plan", *asked, "--probe", f"{both}:probe") == 0
    capsys.readouterr()
    convert = ("convert", tmp_path / "linen", tmp_path / "nnx", "--spec", spec)
    assert run(*convert) == 1
    assert run(*convert, "--probe", f"{both}:probe", "--rules", tmp_path / "rules.toml") == 2
    assert run(*convert, "--probe", f"{both}:make") == 1
    assert run(*convert, "--probe", f"{both}:probe") == 0
    assert "3 rules: 3 probed" in capsys.readouterr().err
    assert run("verify", tmp_path / "nnx", "--against", tmp_path / "linen") == 0
    back = ("convert", tmp_path / "nnx", tmp_path / "back", "--spec", tmp_path / "linen.json")
    assert run("spec", tmp_path / "linen", "--out", tmp_path / "linen.json") == 0
    assert run(*back, "--probe", f"{both}:probe") == 0
    assert differences(read(tmp_path / "back"), read(tmp_path / "linen")) == []


@pytest.mark.parametrize("name", ["cnn_bn_dropout", "lstm_plain_to_opt", "custom_variable"])
def test_from_nnx_to_linen_a_probe_gives_the_rules_of_the_way_there(name: str) -> None:
    pair = next(pair for pair in PAIRS if pair.name == name)
    variables: Any = jax.eval_shape(lambda: pair.linen().init(jax.random.key(0), pair.inputs()))
    state = nnx.state(nnx.eval_shape(lambda: pair.nnx(nnx.Rngs(0))))
    probe = Probe(pair.linen(), lambda: pair.nnx(nnx.Rngs(0)), pair.inputs())
    found = infer_rules({"model": state}, spec_of({"step": jnp.int32(0), "params": variables}), probe=probe)
    assert found == probed(pair.linen, pair.nnx, pair.inputs())


class Stem(nn.Module):
    """A module with a variable of its own, and modules below."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Dense(D, name="project")(x) * self.param("gain", nn.initializers.ones, (D,))
        return nn.LayerNorm(name="norm")(x)


class Stage(nn.Module):
    """The outer layer is constructed first, and so `Dense_0`."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return x + nn.Dense(D)(nn.tanh(nn.Dense(D)(x)))


class Deep(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        for stage in (Stem(), Stage(), Stage()):
            x = stage(x)
        return nn.Dense(2, name="head")(x)


class NnxGain(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.gain, self.norm = nnx.Param(jnp.ones(D)), nnx.LayerNorm(D, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.norm(x * self.gain[...])


class NnxFlat(nnx.Module):
    """The same without stages, under names that mislead."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.a, self.b, self.c, self.d, self.e = (nnx.Linear(D, D, rngs=rngs) for _ in range(5))
        self.scaled, self.head = NnxGain(rngs), nnx.Linear(D, 2, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.scaled(self.e(x))
        x = x + self.d(jnp.tanh(self.a(x)))
        return self.head(x + self.b(jnp.tanh(self.c(x))))


def test_modules_that_are_nested_otherwise_are_found_by_a_run() -> None:
    found = probed(Deep, NnxFlat, X)
    assert (found.problems, found.ways) == ((), 1)
    rules = {str(rule.source): rule.to for rule in found.rules.rules}
    assert rules == {
        "params/Stem_0/project/*": "e/*",
        "params/Stem_0/norm/*": "scaled/norm/*",
        "params/Stem_0/*": "scaled/*",
        "params/Stage_0/Dense_0/*": "d/*",
        "params/Stage_0/Dense_1/*": "a/*",
        "params/Stage_1/Dense_0/*": "b/*",
        "params/Stage_1/Dense_1/*": "c/*",
        "params/head/*": "head/*",
    }
    order = list(rules)
    assert order.index("params/Stem_0/*") > order.index("params/Stem_0/norm/*")
    assert {rule.evidence for rule in found.rules.rules} == {"probed"}


def test_without_a_run_the_hint_is_to_run_them() -> None:
    variables: Any = jax.eval_shape(lambda: Deep().init(jax.random.key(0), X))
    found = infer_rules({"step": jnp.int32(0), **variables}, spec_of(lambda: NnxFlat(nnx.Rngs(0))))
    assert [problem.code for problem in found.problems] == [Code.NO_MAPPING]
    assert "--probe" in (found.problems[0].hint or "")


class Boxed(nn.Module):
    """Parameters in boxes, dropout, and outputs in a tree."""

    @nn.compact
    def __call__(self, x: Any, deterministic: bool = False) -> Any:
        kernel: Any = nn.with_partitioning(nn.initializers.lecun_normal(), ("rows", "columns"))
        for _ in range(3):
            x = nn.tanh(nn.Dense(D, kernel_init=kernel)(x))
            x = nn.Dropout(0.5)(x, deterministic=deterministic)
        return {"out": x, "more": (x.sum(), None)}


class NnxRotated(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(D, D, rngs=rngs) for _ in range(3)])
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        for number in (1, 2, 0):
            x = self.dropout(jnp.tanh(self.layers[number](x)))
        return {"out": x, "more": (x.sum(), None)}


def test_boxes_are_opened_dropout_is_off_and_every_output_is_compared() -> None:
    variables: Any = Boxed().init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, X)
    state = {"step": jnp.int32(0), **variables}
    model = NnxRotated(nnx.Rngs(0))
    probe = Probe(Boxed(), model, X, deterministic=True)
    found = infer_rules(state, spec_of(model), probe=probe)
    assert (found.problems, found.ways) == ((), 1)
    assert {str(rule.source): rule.to for rule in found.rules.rules} == {
        "params/Dense_0/*": "layers/1/*",
        "params/Dense_1/*": "layers/2/*",
        "params/Dense_2/*": "layers/0/*",
    }
    to_nnx(state, model, rules=found.rules)
    unboxed = nn.meta.unbox(variables)
    assert check_forward(Boxed(), unboxed, model, X, deterministic=True) <= 4e-7
    with pytest.raises(SpecError) as refused:
        infer_rules(state, spec_of(model), probe=Probe(Boxed(), model, X))
    assert "dropout" in refused.value.problems[0].found
