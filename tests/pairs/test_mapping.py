"""Inference proves or refuses: structure first, names and order on request, and never a wrong answer."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from linen_nnx import (
    Accept,
    ConversionError,
    Inference,
    infer_rules,
    read_rules,
    spec_of,
)
from linen_nnx.convert.mapping.writing import written
from linen_nnx.convert.rules.reading import parse_rules
from linen_nnx.schema.array import ArraySpec, DType
from linen_nnx.schema.inference import TODO
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code
from linen_nnx.schema.spec import Kind, Spec, SpecLeaf
from tests.pairs import layered, library, plain
from tests.pairs.pair import By, Pair
from tests.support.calls import assert_linear
from tests.support.checkpoints import save_item
from tests.support.command import run

PAIRS = [*plain.PAIRS, *library.PAIRS, *layered.PAIRS]
ENOUGH = {
    By.PROOF: set(Accept),
    By.NAMES: {Accept.NAMES, Accept.ORDER},
    By.ORDER: {Accept.ORDER},
    # The candidate is complete, and wrong: why order is never taken unasked.
    By.RULES: {Accept.ORDER},
}


def inference(linen: Callable[[], Any], model: Callable[[Any], Any], x: Any, accept: Accept) -> Inference:
    """Of two models, without a value of either."""
    variables: Any = jax.eval_shape(lambda: linen().init(jax.random.key(0), x))
    state = {"step": jnp.zeros((), "int32"), "params": variables}
    return infer_rules(state, spec_of(lambda: model(nnx.Rngs(0))), accept)


def of_pair(pair: Pair, accept: Accept) -> Inference:
    return inference(pair.linen, pair.nnx, pair.inputs(), accept)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_each_pair_is_mapped_by_the_evidence_that_there_is_and_no_less(pair: Pair) -> None:
    for accept in Accept:
        found = of_pair(pair, accept)
        assert (found.problems == ()) == (accept in ENOUGH[pair.by]), accept
        assert found.rules.rules
        todo = [rule for rule in found.rules.rules if (rule.evidence or "").startswith(TODO)]
        assert (todo == []) == (found.problems == ())
        assert {problem.code for problem in found.problems} <= {Code.AMBIGUOUS_MAPPING}


def test_of_the_thirty_two_pairs_twenty_four_are_found_without_order() -> None:
    """19 by proof, 5 more by names; 6 need order or a person, 2 no rules of names can express."""
    counts = {by: sum(pair.by is by for pair in PAIRS) for by in By}
    assert (counts[By.PROOF], counts[By.NAMES]) == (19, 5)
    assert counts[By.ORDER] + counts[By.RULES] == 6
    assert len(PAIRS) + len(REFUSED) == 32


REFUSED = {
    "spectral_norm": (library.Spectral, library.NnxSpectral),
    "weight_norm": (library.Weighted, library.NnxWeighted),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_put_together_otherwise_is_refused_with_what_is_unlike(name: str) -> None:
    linen, model = REFUSED[name]
    found = inference(linen, model, jnp.ones((2, library.D)), Accept.ORDER)
    assert [problem.code for problem in found.problems] == [Code.NO_MAPPING]
    assert (found.ways, found.rules.rules) == (0, ())
    assert "Dense_0/kernel" in found.problems[0].found


def test_what_stands_in_a_doubtful_module_is_as_doubtful() -> None:
    """Names inside blocks that are alike differ from NNX's: no rule of theirs is proved."""
    pair = next(pair for pair in PAIRS if pair.name == "list_to_vmap")
    rules = of_pair(pair, Accept.PROVED).rules.rules
    inside = [rule for rule in rules if "blocks" in str(rule.source)]
    assert len(inside) == 2
    assert {rule.evidence for rule in inside} == {"TODO indexed"}


# Pairs made to mislead

D = 4


class Constructed(nn.Module):
    """The outer layer is `Dense_0`."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.Dense(D)(nn.relu(nn.Dense(D)(x)))


class ListOfTwo(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(D, D, rngs=rngs) for _ in range(2)])

    def __call__(self, x: Any) -> Any:
        return self.layers[1](nnx.relu(self.layers[0](x)))


class Step(nn.Module):
    norm: bool = True
    custom: bool = False
    named: bool = False

    @nn.compact
    def __call__(self, x: Any, _: Any) -> Any:
        if self.norm:
            x = nn.LayerNorm(name="norm" if self.named else None)(x)
        if self.custom:
            return x @ self.param("w", nn.initializers.normal(), (D, D)), None
        return nn.Dense(D, name="dense" if self.named else None)(x), None


class ScannedOnOne(nn.Module):
    """As many layers as features, on axis 1: no shape tells it from axis 0."""

    norm: bool = True
    custom: bool = False
    named: bool = False

    @nn.compact
    def __call__(self, x: Any) -> Any:
        scan = nn.scan(Step, variable_axes={"params": 1}, split_rngs={"params": True}, length=D)
        step = scan(self.norm, self.custom, self.named, name="blocks" if self.named else None)
        return step(x, None)[0]


class NnxStep(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, norm: bool, custom: bool) -> None:
        if norm:
            self.norm = nnx.LayerNorm(D, rngs=rngs)
        if custom:
            self.w = nnx.Param(jnp.zeros((D, D)))
        else:
            self.dense = nnx.Linear(D, D, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.norm(x) if hasattr(self, "norm") else x
        return x @ self.w[...] if hasattr(self, "w") else self.dense(x)


class NnxScanned(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, norm: bool = True, custom: bool = False) -> None:
        @nnx.split_rngs(splits=D)
        @nnx.vmap
        def stacked(rngs: nnx.Rngs) -> NnxStep:
            return NnxStep(rngs, norm, custom)

        self.blocks = stacked(rngs)

    def __call__(self, x: Any) -> Any:
        def step(x: Any, block: Any) -> Any:
            return block(x), None

        return nnx.scan(step, in_axes=(nnx.Carry, 0))(x, self.blocks)[0]


class Roles(nn.Module):
    """`a` acts first."""

    def setup(self) -> None:
        self.a, self.b = nn.Dense(D), nn.Dense(D)

    def __call__(self, x: Any) -> Any:
        return self.b(nn.relu(self.a(x)))


class SwappedRoles(nnx.Module):
    """`b` acts first."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.a, self.b = nnx.Linear(D, D, rngs=rngs), nnx.Linear(D, D, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.a(nnx.relu(self.b(x)))


MISLEADING: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "constructed-or-called": (Constructed, ListOfTwo),
    "axis": (ScannedOnOne, NnxScanned),
    "axis-named": (lambda: ScannedOnOne(named=True), NnxScanned),
    "axis-no-norm": (lambda: ScannedOnOne(norm=False), lambda rngs: NnxScanned(rngs, norm=False)),
    "axis-custom": (
        lambda: ScannedOnOne(norm=False, custom=True),
        lambda rngs: NnxScanned(rngs, norm=False, custom=True),
    ),
    "roles": (Roles, SwappedRoles),
}


@pytest.mark.parametrize("name", MISLEADING)
def test_a_pair_that_misleads_is_refused(name: str) -> None:
    linen, model = MISLEADING[name]
    found = inference(linen, model, jnp.ones((2, D)), Accept.PROVED)
    assert found.problems
    assert found.ways > 1 or name == "axis-custom"


@pytest.mark.parametrize("name", [name for name in MISLEADING if name.startswith("axis")])
@pytest.mark.parametrize("accept", Accept)
def test_no_name_and_no_order_says_which_axis_layers_are_on(name: str, accept: Accept) -> None:
    linen, model = MISLEADING[name]
    assert inference(linen, model, jnp.ones((2, D)), accept).problems


def test_names_are_evidence_and_no_proof() -> None:
    """Accepted on request they may be wrong, as here: only a forward pass tells."""
    linen, model = MISLEADING["roles"]
    found = inference(linen, model, jnp.ones((2, D)), Accept.NAMES)
    assert found.problems == ()
    assert {rule.evidence for rule in found.rules.rules} == {"named"}


# Larger models


class Stage(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.LayerNorm()(nn.Dense(self.width)(x))


class Stages(nn.Module):
    """Eight lists of their own width, each of three blocks; and in the last a cell whose gates NNX joins."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for width in range(4, 12):
            for n in range(3):
                x = Stage(width, name=f"stage{width}_{n}")(x)
        return nn.RNN(nn.LSTMCell(3), name="rnn")(x)


class NnxStage(nnx.Module):
    def __init__(self, before: int, width: int, rngs: nnx.Rngs) -> None:
        self.dense, self.norm = nnx.Linear(before, width, rngs=rngs), nnx.LayerNorm(width, rngs=rngs)


class NnxStages(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        before = D
        for width in range(4, 12):
            blocks = []
            for _ in range(3):
                blocks.append(NnxStage(before, width, rngs))
                before = width
            setattr(self, f"stage{width}", nnx.List(blocks))
        self.rnn = nnx.RNN(nnx.OptimizedLSTMCell(before, 3, rngs=rngs), rngs=rngs)


def test_many_lists_are_not_too_many() -> None:
    found = inference(Stages, NnxStages, jnp.ones((2, 2, D)), Accept.NAMES)
    assert found.problems == ()
    assert {rule.evidence for rule in found.rules.rules} == {"unique", "indexed"}


def backwards(pair: Pair, model: Spec | None, accept: Accept = Accept.PROVED) -> Inference:
    """Of an NNX state and the spec of Linen's."""
    variables: Any = jax.eval_shape(lambda: pair.linen().init(jax.random.key(0), pair.inputs()))
    state = nnx.state(nnx.eval_shape(lambda: pair.nnx(nnx.Rngs(0))))
    linen = {"step": np.int32(1), "params": variables}
    return infer_rules({"model": state}, spec_of(linen), accept, model=model)


def test_from_nnx_to_linen_what_is_proved_is_proved_without_classes() -> None:
    """They are not on disk."""
    pair = next(pair for pair in PAIRS if pair.name == "mlp")
    found = backwards(pair, None)
    assert found.problems == ()
    assert found.rules.rules == of_pair(pair, Accept.PROVED).rules.rules


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_from_nnx_to_linen_the_spec_of_the_model_gives_the_very_rules_of_the_way_there(pair: Pair) -> None:
    model = spec_of(lambda: pair.nnx(nnx.Rngs(0)))
    assert backwards(pair, model) == of_pair(pair, Accept.PROVED)


def test_the_command_takes_the_spec_of_the_source_s_own_model(tmp_path: Path) -> None:
    pair = next(pair for pair in PAIRS if pair.name == "scan1_to_vmap0")
    save_item({"model": nnx.state(pair.nnx(nnx.Rngs(0)), nnx.Param)}, tmp_path / "nnx")
    variables: Any = jax.eval_shape(lambda: pair.linen().init(jax.random.key(0), pair.inputs()))
    (tmp_path / "linen.json").write_text(spec_of({"step": np.int32(1), **variables}).model_dump_json())
    (tmp_path / "nnx.json").write_text(spec_of(lambda: pair.nnx(nnx.Rngs(0))).model_dump_json())
    asked = ("map", tmp_path / "nnx", "--spec", tmp_path / "linen.json", "--out", tmp_path / "rules.toml")
    assert run(*asked) == 1
    assert run(*asked, "--model", tmp_path / "nnx.json") == 0
    target = (tmp_path / "nnx", tmp_path / "linen")
    assert run("convert", *target, "--rules", tmp_path / "rules.toml", "--inverse") == 0


def test_without_classes_what_is_not_found_says_who_knows_them() -> None:
    pair = next(pair for pair in PAIRS if pair.name == "list_to_vmap")
    assert "--model" in (backwards(pair, None).problems[0].hint or "")
    with pytest.raises(ConversionError) as refused:
        backwards(pair, spec_of(lambda: PAIRS[0].nnx(nnx.Rngs(0))))
    assert {problem.code for problem in refused.value.problems} == {Code.NO_SPEC}


# The file


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_file_says_what_was_inferred(pair: Pair) -> None:
    found = of_pair(pair, Accept.PROVED)
    assert parse_rules(written(found)) == found.rules
    assert written(found) == written(of_pair(pair, Accept.PROVED))
    assert written(found).count("# TODO a candidate") == sum(
        (rule.evidence or "").startswith(TODO) for rule in found.rules.rules
    )


def test_evidence_stands_by_each_rule_and_ambiguity_at_the_head(tmp_path: Path) -> None:
    pair = next(pair for pair in PAIRS if pair.name == "transformer")
    text = written(of_pair(pair, Accept.PROVED))
    assert "# TODO expected modules that structure tells apart, found 2 that hold the same (2 ways)" in text
    assert 'evidence = "unique"' in text
    assert 'evidence = "TODO ordered"' in text
    (tmp_path / "rules.toml").write_text(text)
    assert read_rules(tmp_path / "rules.toml").rules


def many(modules: int) -> tuple[dict[str, Any], Spec]:
    """A state of so many dense modules, each of a width of its own, and the model that it is for."""
    shapes = {n: {"kernel": (2, n), "bias": (n,)} for n in range(3, 3 + modules)}

    def leaf(n: int, name: str, shape: tuple[int, ...]) -> SpecLeaf:
        spec = ArraySpec(shape=shape, dtype=DType.FLOAT32)
        return SpecLeaf(path=KeyPath.of(f"m{n}", name), collection="params", kind=Kind.PARAM, spec=spec)

    leaves = [leaf(n, name, shape) for n, one in shapes.items() for name, shape in one.items()]
    params = {f"Dense_{n}": {k: np.zeros(s, "float32") for k, s in one.items()} for n, one in shapes.items()}
    return {"step": np.int32(1), "params": params}, Spec.of(Layout.NNX, leaves)


def test_the_work_grows_with_the_variables_and_not_with_their_square() -> None:
    state, spec = many(100)
    found = infer_rules(state, spec)
    assert found.problems == ()
    assert {(rule.source, rule.to) for rule in found.rules.rules} == {
        (f"params/Dense_{n}/*", f"m{n}/*") for n in range(3, 103)
    }
    assert_linear(partial(infer_rules, *many(modules)) for modules in (100, 200, 400))


def test_a_source_and_a_spec_of_one_framework_are_refused() -> None:
    pair = PAIRS[0]
    spec = spec_of(lambda: pair.nnx(nnx.Rngs(0)))
    tree = {"model": nnx.state(nnx.eval_shape(lambda: pair.nnx(nnx.Rngs(0))))}
    with pytest.raises(ConversionError) as refused:
        infer_rules(tree, spec)
    assert [problem.code for problem in refused.value.problems] == [Code.DIRECTION_CONTRADICTION]
