"""A rules file: each kind of rule, every fault at once, and the way back by the same file."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linen_nnx import Code, ConversionError, ConversionOptions, LayerStacking, Layout, convert, plan, spec_of
from linen_nnx.convert.rules.assign import assign, pairs
from linen_nnx.convert.rules.inverse import inverse, inverted
from linen_nnx.convert.rules.reading import parse_rules, read_rules
from linen_nnx.schema.array import ArraySpec, ArrayValue, DType
from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.ir import Leaf, Slot, Variable
from linen_nnx.schema.ops import Copy, Ref
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import NoteCode
from linen_nnx.schema.routing import Route
from linen_nnx.schema.rules import Rule, Rules
from tests.rules.kinds import DENSE, KINDS
from tests.schema.rule_strategies import invertible
from tests.support.calls import assert_linear
from tests.support.checkpoints import random_tree, save_item
from tests.support.command import run
from tests.support.entries import Entries, Keys, differences, read
from tests.support.small import Specs, below


def state(params: Specs, stats: Specs | None = None) -> Specs:
    """A `TrainState` in the style of flax's documentation."""
    return {
        ("step",): "int32[]",
        **below(params, "params"),
        **below(stats or {}, "batch_stats"),
        ("opt_state", 0, "count"): "int32[]",
        **below(params, "opt_state", 0, "mu"),
        **below(params, "opt_state", 0, "nu"),
        ("opt_state", 1): "None",
    }


def saved(params: Specs, folder: Path, stats: Specs | None = None) -> Path:
    return save_item(random_tree(state(params, stats), "state"), folder / "linen")


def followed(source: Path, text: str, **more: Any) -> Entries:
    """What the rules make of a state; the way back must restore it."""
    options = ConversionOptions(rules=parse_rules("version = 1\n" + text), **more)
    folder = source.parent
    convert(source, folder / "nnx", Layout.NNX, options)
    convert(folder / "nnx", folder / "back", Layout.LINEN, options.model_copy(update={"inverse": True}))
    assert differences(read(folder / "back"), read(source)) == []
    return read(folder / "nnx")


def refused(source: Path, text: str, **more: Any) -> list[tuple[Code, str]]:
    """The problems of rules, none of which writes anything."""
    options = ConversionOptions(rules=parse_rules(text), **more)
    with pytest.raises(ConversionError) as caught:
        convert(source, source.parent / "nnx", Layout.NNX, options)
    assert not (source.parent / "nnx").exists()
    return sorted((problem.code, str(problem.path)) for problem in caught.value.problems)


def rule(source: str, target: str) -> str:
    return f'[[rule]]\nfrom = "{source}"\nto = "{target}"\n'


# Each kind of rule, on a parameter and both of its moments


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_does_to_moments_what_it_does_to_their_parameter_and_leads_back(
    kind: str, tmp_path: Path
) -> None:
    case = KINDS[kind]
    source = saved(case.params, tmp_path)
    before, after = read(source), followed(source, case.rules)
    for linen, nnx in PLACES.items():
        arrays, made = under(before, linen), under(after, nnx)
        assert set(made) == {f"{name}/value" for name in case.wanted}
        for name, make in case.wanted.items():
            wanted, found = make(arrays), made[f"{name}/value"]
            assert (found.shape, found.tobytes()) == (wanted.shape, np.ascontiguousarray(wanted).tobytes())


PLACES: dict[Keys, Keys] = {
    ("params",): ("model",),
    ("opt_state", 0, "mu"): ("optimizer", "opt_state", "0", "mu"),
    ("opt_state", 0, "nu"): ("optimizer", "opt_state", "0", "nu"),
}


def under(entries: Entries, base: Keys) -> dict[str, Any]:
    """Arrays by their plain names."""
    return {
        "/".join(map(str, path[len(base) :])): leaf.data
        for path, leaf in entries.items()
        if path[: len(base)] == base
    }


def test_the_first_rule_that_fits_is_a_variables_rule(tmp_path: Path) -> None:
    rules = rule("params/Dense_0/kernel", "first") + rule("params/Dense_0/*", "second/*")
    found = followed(saved(DENSE, tmp_path), rules)
    model = {path[1:-1] for path in found if path[0] == "model"}
    assert model == {("first",), ("second", "bias")}


def test_collections_of_one_module_meet_and_part_again(tmp_path: Path) -> None:
    params: Specs = {("BatchNorm_0", name): "float32[3]" for name in ("scale", "bias")}
    stats: Specs = {("BatchNorm_0", name): "float32[3]" for name in ("mean", "var")}
    rules = rule("params/BatchNorm_0/*", "bn/*") + rule("batch_stats/BatchNorm_0/*", "bn/*")
    found = followed(saved(params, tmp_path, stats), rules)
    assert {path[2] for path in found if path[:2] == ("model", "bn")} == {"scale", "bias", "mean", "var"}


def test_a_rename_moves_and_decodes_no_byte(tmp_path: Path) -> None:
    options = ConversionOptions(rules=parse_rules(rule("params/Dense_0/*", "head/*")))
    made = plan(saved(DENSE, tmp_path), Layout.NNX, options)
    renamed = [
        r.route for w, r in zip(made.writes, made.execution.writes, strict=True) if "head" in str(w.target)
    ]
    assert renamed == [Route.REFERENCE] * 6
    assert made.execution.decoded <= 4


def many(count: int) -> tuple[Rules, list[Variable]]:
    """So many rules, and two variables for each."""
    rules = parse_rules("".join(rule(f"params/Dense_{n}/*", f"d{n}/*") for n in range(count)))
    return rules, [
        variable(f"params/Dense_{n}/{name}", (3,)) for n in range(count) for name in ("kernel", "bias")
    ]


def test_the_work_grows_with_the_rules_and_not_with_their_square() -> None:
    made = assign(*many(1000), inverse=False)
    assert made.problems == []
    assert len(made.assignments) == 2000
    assert_linear(partial(assign, *many(count), inverse=False) for count in (250, 500, 1000))


# Faults


def test_every_fault_of_rules_is_told_at_once(tmp_path: Path) -> None:
    params: Specs = {
        **DENSE,
        ("Dense_1", "kernel"): "float32[4,6]",
        ("forgotten", "w"): "float32[2]",
        ("layers_0", "w"): "float32[2]",
        ("layers_2", "w"): "float32[2]",
    }
    text = """
[[rule]]
from = "params/Dense_0/*"
to = "head/*"
[[rule]]
from = "params/Dense_1/*"
to = "head/*"
[[rule]]
from = "params/layers_{i}/*"
to = "layers/*"
op = { stack = { axis = 0 } }
[[rule]]
from = "params/Dnse_2/*"
to = "typo/*"
"""
    assert refused(saved(params, tmp_path), text) == [
        (Code.LAYER_GAP, "params/layers_0/w"),
        (Code.NO_RULE, "params/forgotten/w"),
        (Code.TWO_WRITERS, "params/Dense_1/kernel"),
        (Code.UNUSED_RULE, ""),
    ]


def test_a_spec_says_what_has_no_writer_and_what_fits_ill(tmp_path: Path) -> None:
    source = saved(DENSE, tmp_path)
    wanted = {
        "model": {
            "head": {"kernel": np.zeros((4, 7), "float32"), "bias": np.zeros(6, "float16")},
            "more": np.zeros(2, "float32"),
        },
        "optimizer": {"step": np.zeros((), "uint32"), "opt_state": {"0": {"count": np.zeros((), "int32")}}},
    }
    found = refused(source, '[[rule]]\nfrom = "params/Dense_0/*"\nto = "head/*"', spec=spec_of(wanted))
    assert {code for code, _ in found} == {
        Code.NO_WRITER,
        Code.SHAPE_MISMATCH,
        Code.DTYPE_MISMATCH,
        Code.UNEXPECTED_ENTRY,
    }


def test_layers_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    params: Specs = {("layers_0", "w"): "float32[2]", ("layers_1", "w"): "float32[3]"}
    text = '[[rule]]\nfrom = "params/layers_{i}/*"\nto = "layers/*"\nop = { stack = { axis = 0 } }'
    assert (Code.SHAPE_MISMATCH, "params/layers_0/w") in refused(saved(params, tmp_path), text)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ('from = "params/a"', "exactly one of to and to_path"),
        ('to = "a"', "exactly one of from, match and path"),
        ('from = "params/a/*"\nto = "a"', "what * takes must stand in the target too"),
        ('from = "params/a"\nto = "a/{i}"', "nothing in the source fills i"),
        ('from = ["params/a", "params/b"]\nto = "a"', "for concat"),
        ('from = "params/a"\nto = ["a", "b"]', "for split"),
        ('from = "params/a"\nto = "a"\nop = { stack = { axis = 0 } }', "stack needs {i}"),
        ('from = "params/a"\nto = "a"\nop = { unstack = { axis = 0 } }', "unstack needs {i}"),
        ('from = "params/a"\nop = { drop = { reason = "" } }', "at least 1 character"),
        ('from = "params/a"\nto = "a"\nop = { rotate = {} }', "rotate"),
        ('from = "params/a"\nto = "a"\ntypo = 1', "Extra inputs are not permitted"),
        ("match = 'params/(a'\nto = \"a\"", "no regular expression"),
        ("match = 'params/(a)'\nto = \"{2}\"", "nothing in the source fills 2"),
    ],
)
def test_a_rule_that_is_not_whole_is_refused_by_its_number(rule: str, says: str) -> None:
    text = 'version = 1\n[[rule]]\nfrom = "params/x"\nto = "x"\n[[rule]]\n' + rule
    with pytest.raises(ConversionError) as caught:
        parse_rules(text, "mine.toml")
    (problem,) = caught.value.problems
    assert (problem.code, problem.item) == (Code.RULES_INVALID, "mine.toml")
    assert str(problem.path).startswith("rule/[1]")
    assert says in problem.found


def test_what_is_no_toml_and_what_is_no_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConversionError):
        parse_rules("[[rule")
    with pytest.raises(StorageError):
        read_rules(tmp_path / "none.toml")


def test_rules_lead_one_way_unless_they_are_read_backwards(tmp_path: Path) -> None:
    text = '[[rule]]\nfrom = "params/*"\nto = "*"'
    assert refused(saved(DENSE, tmp_path), text, inverse=True) == [(Code.DIRECTION_CONTRADICTION, "")]


def test_layers_are_what_rules_say_and_no_option_beside_them(tmp_path: Path) -> None:
    text = '[[rule]]\nfrom = "params/*"\nto = "*"'
    asked = {"stacking": LayerStacking.STACKED, "layer_axis": 1}
    assert refused(saved(DENSE, tmp_path), text, **asked) == [(Code.UNSUPPORTED, ""), (Code.UNSUPPORTED, "")]


def test_a_candidate_of_map_is_no_rule(tmp_path: Path) -> None:
    text = '[[rule]]\nfrom = "params/*"\nto = "*"\nevidence = "TODO ordered"'
    assert refused(saved(DENSE, tmp_path), text) == [(Code.AMBIGUOUS_MAPPING, "")]


# Keep, drop, digest


NNX: Specs = {
    ("model", "head", "kernel"): "float32[4,6]",
    ("model", "head", "bias"): "float32[6]",
    ("model", "rngs", "default", "count"): "uint32[]",
    ("model", "rngs", "default", "key"): "key<threefry2x32>[]",
    ("optimizer", "step"): "uint32[]",
}


def test_what_the_target_keeps_is_taken_from_its_template(tmp_path: Path) -> None:
    template = save_item(random_tree(NNX, "template"), tmp_path / "template")
    source = save_item(random_tree(state(DENSE), "state"), tmp_path / "linen")
    spec = spec_of(template).model_copy(update={"optimizer": ()})
    text = rule("params/Dense_0/*", "head/*")
    assert (Code.NO_WRITER, "") in refused(source, text, spec=spec)
    keep = text + '[[keep]]\nto = "**/rngs/*"\nfrom = "target"'
    options = ConversionOptions(rules=parse_rules(keep), spec=spec)
    assert NoteCode.KEPT_FROM_TARGET in {note.code for note in plan(source, Layout.NNX, options).notes}
    convert(source, tmp_path / "nnx", Layout.NNX, options, template=template)
    found, wanted = read(tmp_path / "nnx"), read(template)
    for name in ("count", "key"):
        path = ("model", "rngs", "default", name)
        assert found[path].content == wanted[path].content


def test_what_is_dropped_is_named_with_the_users_reason(tmp_path: Path) -> None:
    text = """
[[rule]]
from = "params/Dense_0/bias"
op = { drop = { reason = "the head has none" } }
[[rule]]
from = "params/*"
to = "*"
"""
    made = plan(saved(DENSE, tmp_path), Layout.NNX, ConversionOptions(rules=parse_rules(text)))
    assert {(str(drop.source), drop.reason) for drop in made.drops} == {
        ("params/Dense_0/bias", "the head has none"),
        ("opt_state/[0]/mu/Dense_0/bias", "the head has none"),
        ("opt_state/[0]/nu/Dense_0/bias", "the head has none"),
    }
    assert NoteCode.DROPPED_WAS_TRAINED in {note.code for note in made.notes}


def test_what_the_rules_say_is_in_the_plan(tmp_path: Path) -> None:
    source = saved(DENSE, tmp_path)
    texts = ['[[rule]]\nfrom = "params/*"\nto = "*"', '[[rule]]\nfrom = "params/Dense_0/*"\nto = "Dense_0/*"']
    made = [plan(source, Layout.NNX, ConversionOptions(rules=parse_rules(text))) for text in texts]
    assert made[0].writes == made[1].writes
    assert made[0].rules != made[1].rules
    assert plan(source, Layout.NNX).rules is None


# The way back

ONE_WAY = [
    r"match = 'params/(?:a|b)/(.*)'" + '\nto = "x/{1}"',
    r"match = 'params/a./(.*)'" + '\nto = "x/{1}"',
    r"match = 'params/(\d+)/(.*)'" + '\nto = "x/{2}"',
    r"match = 'params/(\w+)/(.*)'" + '\nto = "{1}/{1}/{2}"',
    r"match = 'params/(\w+)/(.*)'" + '\nto = "x{1+1}/{2}"',
    'from = "params/a/*"\nop = { drop = { reason = "no home" } }',
    'from = "params/a/*"\nop = { drop = { reason = "no home", require = "zero" } }',
]


@pytest.mark.parametrize("rule", ONE_WAY)
def test_a_rule_that_forgets_something_does_not_lead_back(rule: str) -> None:
    rules = parse_rules("[[rule]]\n" + rule)
    _, problems = inverse(rules)
    assert [problem.code for problem in problems] == [Code.NOT_INVERTIBLE]


@pytest.mark.parametrize("kind", KINDS)
def test_every_other_kind_leads_back_and_back_again(kind: str) -> None:
    for one in parse_rules(KINDS[kind].rules).rules:
        there = inverted(inverted(one))
        assert type(there.op) is type(one.op)
        assert there == one or one.match is not None


def test_rules_that_meet_in_one_target_do_not_lead_back(tmp_path: Path) -> None:
    """Each has a variable of its own there, but by its path no one can tell whose it was."""
    params: Specs = {("a", "x"): "float32[2]", ("b", "y"): "float32[2]"}
    text = '[[rule]]\nfrom = "params/a/*"\nto = "m/*"\n[[rule]]\nfrom = "params/b/*"\nto = "m/*"'
    options = ConversionOptions(rules=parse_rules(text))
    convert(saved(params, tmp_path), tmp_path / "nnx", Layout.NNX, options)
    with pytest.raises(ConversionError) as caught:
        convert(
            tmp_path / "nnx", tmp_path / "back", Layout.LINEN, options.model_copy(update={"inverse": True})
        )
    assert {problem.code for problem in caught.value.problems} <= {Code.NOT_INVERTIBLE, Code.UNUSED_RULE}


def variable(path: str, shape: tuple[int, ...]) -> Variable:
    at = KeyPath.parse(path)
    value = ArrayValue(spec=ArraySpec(shape=shape, dtype=DType.FLOAT32))
    leaf = Leaf(value=value, op=Copy(source=Ref(path=at)))
    return Variable(slot=Slot(collection=at.names[0], path=at[1:]), leaf=leaf)


@st.composite
def _rules_and_variables(draw: st.DrawFn) -> tuple[Rules, list[Variable]]:
    """Rules that can be turned round, with variables for each of them."""
    rules: list[Rule] = [draw(invertible(number)) for number in range(draw(st.integers(1, 3)))]
    variables = []
    for rule in rules:
        for source in rule.sources:
            for n in range(3) if "{i}" in source else [0]:
                path = source.replace("{i}", str(n)).removesuffix("*") + (
                    "deep/leaf" if source.endswith("*") else ""
                )
                variables.append(variable(path, (3, 3, 3, 3)))
        if rule.match is not None:
            number = rule.match.partition("/s")[2].partition("/")[0]
            variables += [variable(f"params/s{number}/x_{n}/w", (4,)) for n in range(3)]
        if rule.path is not None:
            at = KeyPath.of(*rule.path)
            variables.append(variable(str(at), (4,)))
    return Rules(rules=tuple(rules)), variables


@given(_rules_and_variables())
def test_rules_that_lead_back_lead_every_variable_back(case: tuple[Rules, list[Variable]]) -> None:
    rules, variables = case
    there = assign(rules, variables, inverse=False)
    if there.problems:
        return
    backwards, problems = inverse(rules)
    assert problems == []
    moved = [moved_to(one.target, variables, one.sources[0]) for one in there.assignments]
    back = assign(backwards, moved, inverse=True)
    assert back.problems == []
    assert set(pairs(back.assignments, inverse=True)) == set(pairs(there.assignments, inverse=False))
    assert {slot for slot, _ in back.restored} == {slot for slot, _ in there.dropped}


def moved_to(target: Slot, variables: list[Variable], source: Slot) -> Variable:
    value = next(v.leaf.value for v in variables if v.slot == source)
    return Variable(slot=target, leaf=Leaf(value=value, op=Copy(source=Ref(path=target.path))))


# The command line


def test_the_command_line_follows_rules_both_ways(tmp_path: Path) -> None:
    source, rules = saved(DENSE, tmp_path), tmp_path / "rules.toml"
    rules.write_text("version = 1\n" + rule("params/Dense_0/*", "head/*"))
    nnx, back = tmp_path / "nnx", tmp_path / "back"
    assert run("plan", source, "--rules", rules) == 0
    assert run("convert", source, nnx, "--rules", rules) == 0
    assert run("convert", nnx, back, "--rules", rules, "--inverse") == 0
    assert run("verify", nnx, "--against", source) == 0
    assert differences(read(back), read(source)) == []
    damaged = save_item(random_tree(state(DENSE), "another"), tmp_path / "other")
    assert run("verify", nnx, "--against", damaged) == 1
