"""`spec_of` and `validate --against`: what a model expects, and how a checkpoint fails to be it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from linen_nnx import Code, Layout, Spec, SpecError, convert, spec_of, validate
from linen_nnx.convert.spec.factory import factory
from linen_nnx.schema.spec import Kind
from tests.spec import factories
from tests.support.checkpoints import save_item
from tests.support.live import linen_state, nnx_model, nnx_tree, save_linen, save_nnx

HOUSE = "tests.spec.factories:"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "linen_nnx.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def kinds(spec: Spec) -> dict[str, tuple[Kind, str | None]]:
    return {str(leaf.path): (leaf.kind, leaf.type) for leaf in spec.leaves}


def test_a_model_tells_the_type_of_every_variable_and_the_class_of_every_module() -> None:
    spec = spec_of(factories.adapter)
    found = kinds(spec)
    assert found["layers/1/kernel"] == (Kind.PARAM, "Param")
    assert found["lora/lora_a"] == (Kind.PARAM, "LoRAParam")
    assert found["norm/mean"] == (Kind.BATCH_STAT, "BatchStat")
    assert found["calls"] == (Kind.OTHER, "Variable")
    assert found["dropout/rngs/key"] == (Kind.RNG, "RngKey")
    assert {str(path) for path in spec.rngs} == {"dropout/rngs/count", "dropout/rngs/key"}
    modules = {str(module.path): module.name for module in spec.modules}
    assert (modules[""], modules["layers/0"], modules["norm"]) == ("Adapter", "Linear", "BatchNorm")


def test_axis_names_are_told_of_variables_and_of_their_moments() -> None:
    spec = spec_of(factories.adapter)
    named = {str(leaf.path) for leaf in spec.leaves if leaf.out_sharding == ("data", None)}
    moments = {str(leaf.mirrors) for leaf in spec.optimizer if leaf.out_sharding == ("data", None)}
    assert named == {"layers/0/kernel", "layers/1/kernel"}
    assert moments == {f"params:{path}" for path in named}


def test_the_optimizer_has_its_empties_in_their_positions() -> None:
    spec = spec_of(factories.adapter)
    places = {(str(leaf.at), str(leaf.mirrors)): str(leaf.value) for leaf in spec.optimizer}
    assert places["[0]", "None"] == "None"
    assert places["[1]/inner_state/[0]/mu", "params:norm/scale"] == "None"
    assert places["[1]/inner_state/[0]/mu", "params:layers/0/kernel"] == "float32[3,3]"
    assert places["[1]/inner_state/[1]", "None"] == "None"


@pytest.mark.parametrize("make", [factories.huge, factories.huge_linen])
def test_nothing_is_allocated(make: Any) -> None:
    assert f"float32[{factories.HUGE},{factories.HUGE}]" in {str(x.spec) for x in spec_of(make).leaves}


def test_live_objects_and_the_function_that_makes_them_have_one_spec() -> None:
    model, optimizer = factories.adapter()
    spec = spec_of(factories.adapter)
    assert spec_of(model, optimizer) == spec
    assert spec_of((model, optimizer)) == spec
    assert spec_of(model, factories.transform()) == spec
    assert spec_of(nnx.ModelAndOptimizer(model, factories.transform(), wrt=nnx.Param)) == spec


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_checkpoint_has_the_spec_of_its_model_but_for_what_no_disk_tells(
    wrapped: bool, tmp_path: Path
) -> None:
    live = spec_of(*nnx_model())
    found = spec_of(save_nnx(tmp_path / "item", wrapped=wrapped))
    assert {leaf.slot: leaf.spec for leaf in found.leaves} == {leaf.slot: leaf.spec for leaf in live.leaves}
    assert {leaf.type for leaf in found.leaves} == {None}
    arrays = {leaf.model_copy(update={"out_sharding": None}) for leaf in live.optimizer}
    assert set(found.optimizer) == {leaf for leaf in arrays if str(leaf.value) != "None"}


def test_a_linen_factory_a_live_state_and_its_checkpoint_have_one_spec(tmp_path: Path) -> None:
    specs = [spec_of(factories.small_linen), spec_of(linen_state()), spec_of(save_linen(tmp_path / "item"))]
    assert {spec.layout for spec in specs} == {Layout.LINEN}
    assert len({(spec.leaves, spec.optimizer) for spec in specs}) == 1


def test_a_spec_survives_its_json_and_refuses_to_be_edited() -> None:
    spec = spec_of(factories.adapter)
    text = spec.model_dump_json()
    assert Spec.model_validate_json(text) == spec
    with pytest.raises(ValueError, match="fingerprint"):
        Spec.model_validate_json(text.replace("norm/mean", "norm/moan"))


@pytest.mark.parametrize(
    ("name", "found"),
    [("failing", "KeyError: 'no such layer'"), ("absent", "no such name"), ("HUGE", "an? .*int")],
)
def test_a_function_that_makes_nothing_is_refused_with_what_it_said(name: str, found: str) -> None:
    with pytest.raises(SpecError, match=found):
        spec_of(factory(HOUSE + name))


def test_no_traceback_of_a_users_function_reaches_the_terminal() -> None:
    done = run("spec", HOUSE + "failing")
    assert done.returncode == 1
    assert "[no-spec]" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_optimizer_alone_is_refused_with_what_to_give() -> None:
    _, optimizer = nnx_model()
    with pytest.raises(SpecError, match=r"an nnx\.Optimizer alone"):
        spec_of(optimizer)


def test_the_command_writes_what_the_function_returns_and_validate_takes_it(tmp_path: Path) -> None:
    item = save_nnx(tmp_path / "item", wrapped=True)
    out = tmp_path / "spec.json"
    assert run("spec", HOUSE + "small", "--out", out).returncode == 0
    assert Spec.model_validate_json(out.read_bytes()) == spec_of(factories.small)
    assert run("validate", item, "--against", out).returncode == 0
    assert json.loads(run("spec", item).stdout) == json.loads(spec_of(item).model_dump_json())


def test_every_difference_from_a_spec_is_told_at_once(tmp_path: Path) -> None:
    tree = nnx_tree(wrapped=False)
    model = tree["model"]
    model["first"]["kernel"] = np.zeros((6, 4), "float32")
    model["norm"]["scale"] = jnp.ones(5, "bfloat16")
    model["extra"] = {"kernel": np.zeros(2, "float32")}
    del model["second"]["bias"]
    problems = validate(save_item(tree, tmp_path / "item"), against=spec_of(factories.small))
    found = {(problem.code, str(problem.path)) for problem in problems}
    assert {
        (Code.SHAPE_MISMATCH, "model/first/kernel"),
        (Code.DTYPE_MISMATCH, "model/norm/scale"),
        (Code.UNEXPECTED_ENTRY, "model/extra/kernel"),
        (Code.MISSING_ENTRY, "model/second/bias"),
    } <= found


def test_other_empties_of_a_linen_chain_are_a_difference(tmp_path: Path) -> None:
    state = linen_state()
    spec = spec_of(state)
    assert validate(state, against=spec) == []
    shorter = state.replace(opt_state=(*state.opt_state[:1], *state.opt_state[2:]))
    assert {problem.code for problem in validate(shorter, against=spec)} >= {Code.MISSING_ENTRY}
    other: Any = optax.sgd(0.1, momentum=0.9).init(state.params)
    assert validate(state.replace(opt_state=other), against=spec)


def test_a_state_of_the_other_framework_is_told_to_be_converted_first(tmp_path: Path) -> None:
    (problem,) = validate(save_linen(tmp_path / "item"), against=spec_of(factories.small))
    assert problem.code is Code.WRONG_KIND
    assert problem.hint is not None
    assert "--to nnx" in problem.hint


def test_a_spec_of_a_model_alone_says_nothing_of_the_optimizer(tmp_path: Path) -> None:
    model, _ = nnx_model()
    assert validate(save_nnx(tmp_path / "item", wrapped=True), against=spec_of(model)) == []


def test_streams_that_linen_cannot_give_are_missing_with_what_to_do(tmp_path: Path) -> None:
    convert(save_linen(tmp_path / "item"), tmp_path / "target", Layout.NNX)
    problems = validate(tmp_path / "target", against=spec_of(factories.small))
    assert {str(problem.path) for problem in problems} == {
        f"model/dropout/rngs/{name}" for name in ("count", "key")
    }
    assert all(problem.hint is not None and "--template" in problem.hint for problem in problems)
