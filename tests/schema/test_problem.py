"""How a problem reads, to the letter."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import linen_nnx
from linen_nnx.schema.errors import (
    CheckpointError,
    ConversionError,
    InvariantError,
    LayoutError,
    LinenNnxError,
    ProblemsError,
    StorageError,
    raise_if,
)
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem, near
from tests.schema.strategies import PROBLEMS

WO = KeyPath.of("params", "params", "decoder", "layers_3", "mlp", "wo", "kernel")
SHAPES = Problem(code=Code.SHAPE_MISMATCH, path=WO, expected="float32[24,16]", found="float32[24,17]")


def test_a_problem_reads_as_the_manual_shows_it() -> None:
    hint = "layers_0 … layers_4 must agree to be stacked; convert with --no-scan-layers to keep them apart"
    assert str(SHAPES.model_copy(update={"hint": hint})) == (
        "params/params/decoder/layers_3/mlp/wo/kernel: expected float32[24,16], found float32[24,17]"
        "  [shape-mismatch]\n  hint: " + hint
    )


def test_without_a_hint_there_is_one_line() -> None:
    assert str(SHAPES) == (
        "params/params/decoder/layers_3/mlp/wo/kernel: expected float32[24,16], found float32[24,17]"
        "  [shape-mismatch]"
    )


def test_a_problem_of_the_whole_names_no_path() -> None:
    problem = Problem(code=Code.UNKNOWN_LAYOUT, expected="params", found="no entries")
    assert str(problem) == "expected params, found no entries  [unknown-layout]"


def test_an_item_stands_before_the_path_and_instead_of_the_root() -> None:
    beside = Problem(code=Code.MISSING_ENTRY, path=KeyPath.of("a"), expected="1", found="2", item="state")
    assert str(beside) == "state: a: expected 1, found 2  [missing-entry]"
    whole = Problem(code=Code.MISSING_ENTRY, expected="1", found="2", item="state")
    assert str(whole) == "state: expected 1, found 2  [missing-entry]"


@given(PROBLEMS)
def test_a_problem_says_path_both_sides_and_code(problem: Problem) -> None:
    text = str(problem)
    assert str(problem.path) in text
    assert f"expected {problem.expected}, found {problem.found}  [{problem.code.value}]" in text
    assert (problem.hint is None) or text.endswith(f"\n  hint: {problem.hint}")


def test_codes_are_words_with_hyphens_each_once() -> None:
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code.value) for code in Code)
    assert len({code.value for code in Code}) == len(Code.__members__)


def test_near_names_what_is_almost_the_same() -> None:
    among = [KeyPath.of("params", "decoder", "scale"), KeyPath.of("step")]
    assert near(KeyPath.of("params", "decoder", "scales"), among) == "did you mean params/decoder/scale?"
    assert near(KeyPath.of("nothing", "alike"), among) is None


@given(st.lists(PROBLEMS, min_size=1, max_size=4))
def test_an_error_prints_every_problem_it_carries(problems: list[Problem]) -> None:
    error = LayoutError(problems)
    assert error.problems == tuple(problems)
    assert str(error) == "\n".join(str(problem) for problem in problems)


def test_an_invariant_error_names_its_stage() -> None:
    error = InvariantError("the pass layers", [SHAPES])
    assert str(error) == f"invariant broken after the pass layers:\n{SHAPES}"
    assert error.stage == "the pass layers"


@pytest.mark.parametrize("error", [CheckpointError, ConversionError, LayoutError])
def test_raise_if_raises_only_for_problems(error: type[ProblemsError]) -> None:
    raise_if([], error)
    with pytest.raises(error) as caught:
        raise_if([SHAPES], error)
    assert caught.value.problems == (SHAPES,)


def test_every_error_is_a_linen_nnx_error() -> None:
    for error in (CheckpointError, ConversionError, InvariantError, LayoutError, ProblemsError, StorageError):
        assert issubclass(error, LinenNnxError)


def test_there_is_no_code_that_nothing_is_refused_with() -> None:
    package = Path(linen_nnx.__file__).parent
    used = set(re.findall(r"\bCode\.(\w+)", "".join(file.read_text() for file in package.rglob("*.py"))))
    assert {code.name for code in Code} == used
