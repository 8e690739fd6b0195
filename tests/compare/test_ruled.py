"""A conversion that followed rules is held against its source, value by value."""

from pathlib import Path

import numpy as np
import pytest

from linen_nnx import Code, ConversionOptions, Layout, convert, read_rules, verify
from linen_nnx.convert.compare.against import value_problems
from linen_nnx.convert.store.location import locate
from linen_nnx.convert.store.orbax_source import open_item
from tests.compare.content import MU, PARAMS, Content, changed, content, saved
from tests.support.small import Specs, linen

RULES = """version = 1
[[rule]]
from = "params/Dense_{i}/*"
to = "body/layers/*"
op = { stack = { axis = 0 } }
[[rule]]
from = ["params/q/kernel", "params/k/kernel"]
to = "body/qk/kernel"
op = { concat = { axis = 1 } }
"""
SPECS: Specs = {
    ("Dense_0", "kernel"): "float32[4,4]",
    ("Dense_1", "kernel"): "float32[4,4]",
    ("q", "kernel"): "float32[4,2]",
    ("k", "kernel"): "float32[4,2]",
}


@pytest.fixture(scope="module")
def state() -> Content:
    return content(linen(SPECS))


@pytest.fixture(scope="module")
def converted(state: Content, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("ruled")
    (folder / "rules.toml").write_text(RULES)
    source = saved(state, folder / "source")
    options = ConversionOptions(rules=read_rules(folder / "rules.toml"))
    convert(source, folder / "nnx", to=Layout.NNX, options=options)
    return source, folder / "nnx"


def test_what_rules_renamed_stacked_and_joined_is_verified_against_its_source(
    converted: tuple[Path, Path],
) -> None:
    source, target = converted
    assert verify(target, against=source) == []


@pytest.mark.parametrize("base", [PARAMS, MU], ids=["params", "mu"])
def test_one_element_of_the_source_that_differs_is_named_where_it_went(
    base: tuple[str | int, ...], converted: tuple[Path, Path], state: Content, tmp_path: Path
) -> None:
    value = np.float32(0.125)
    other = saved(changed(state, (*base, "k", "kernel"), (2, 1), value), tmp_path / "other")
    items = [open_item(locate(path)) for path in (other, converted[1])]
    (problem,) = value_problems(items[0], items[1])
    assert problem.code is Code.VALUE_DIFFERS
    assert str(problem.path).endswith("body/qk/kernel/value")
    assert ("mu" in problem.path.names) is (base == MU)
    assert "at [2, 3] 0.125" in problem.expected
    assert "1 of 16 elements" in problem.found
