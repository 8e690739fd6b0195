"""Every decoder family, from every form of its layers into every other: each entry, bit for bit.

The families and their forms are tables (`tests/support/families.py`); what a conversion gives must be what
the table of the target says, in weights, in both moments, and in what is not trained.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linen_nnx import (
    Code,
    ConversionError,
    ConversionOptions,
    LayerStacking,
    Layout,
    Leaves,
    ProblemsError,
    convert,
    validate,
    verify,
)
from linen_nnx.convert.memory import convert_tree
from linen_nnx.schema.choices import Decoder
from linen_nnx.schema.plan import DropRule, NoteCode, Plan
from tests.support.checkpoints import save_item, tree_of
from tests.support.entries import Keys, flat, path_of, read, text_of
from tests.support.families import FAMILIES, MTP, QWEN3_NEXT_REMAINDER, Family, Shapes, entries

Form = tuple[str, str]
PAIRS: list[tuple[Form, Form]] = [
    (("linen", "stacked"), ("linen", "underscore")),
    (("linen", "stacked"), ("nnx", "nested")),
    (("linen", "stacked"), ("tunix", "stacked")),
    (("linen", "underscore"), ("linen", "stacked")),
    (("linen", "underscore"), ("maxtext", "underscore")),
    (("nnx", "stacked"), ("linen", "stacked")),
    (("nnx", "stacked"), ("maxtext", "underscore")),
    (("nnx", "nested"), ("linen", "underscore")),
    (("nnx", "nested"), ("maxtext", "stacked")),
    (("maxtext", "nested"), ("linen", "stacked")),
    (("maxtext", "nested"), ("maxtext", "underscore")),
    (("maxtext", "underscore"), ("nnx", "nested")),
]
ON_THE_FIRST_AXIS: list[tuple[Form, Form]] = [
    (("linen", "stacked"), ("nnx", "nested")),
    (("nnx", "nested"), ("maxtext", "stacked")),
    (("maxtext", "stacked"), ("linen", "stacked")),
]


def asked(family: Family, source: Form, target: Form, axis: int) -> ConversionOptions:
    """What a user would ask for: the stacking, a new axis, the cycle where only he knows it."""
    layout, form = target
    stacks_anew = form == "stacked" and source[1] in ("underscore", "nested")
    return ConversionOptions(
        to=Layout(layout),
        stacking=LayerStacking.STACKED if form == "stacked" else LayerStacking.UNSTACKED,
        layer_axis=axis if stacks_anew else None,
        layer_cycle=family.cycle if stacks_anew else None,
        decoder=family.decoder,
        leaves=Leaves.BARE if layout == "nnx" else None,
    )


def differences(tree: Any, expected: dict[Keys, Any]) -> list[str]:
    """Every entry that is missing, unexpected, or of other bytes."""
    found = dict(flat(tree))
    lines = [f"missing {text_of(path)}" for path in expected if path not in found]
    lines += [f"unexpected {text_of(path)}" for path in found if path not in expected]
    return lines + [
        f"other bytes at {text_of(path)}"
        for path, leaf in expected.items()
        if path in found and _content(leaf) != _content(found[path])
    ]


def _content(leaf: Any) -> tuple[Any, ...]:
    if leaf is None:
        return (None,)
    array = np.asarray(leaf)
    return (array.dtype, array.shape, array.tobytes())


def converted(
    family: Family, source: Form, target: Form, axis: int, options: ConversionOptions | None = None
) -> tuple[list[str], Plan]:
    """Convert one form into another, and hold the result against its table."""
    done = convert_tree(
        tree_of(entries(family, *source, axis)),
        options=asked(family, source, target, axis) if options is None else options,
    )
    return differences(done.tree, entries(family, *target, axis)), done.plan


@pytest.mark.parametrize("name", FAMILIES)
def test_every_form_of_a_family_becomes_every_other_bit_for_bit(name: str) -> None:
    family = FAMILIES[name]
    for source, target in PAIRS:
        lines, _ = converted(family, source, target, 1)
        assert lines == [], (source, target)


@pytest.mark.parametrize("name", FAMILIES)
def test_layers_on_the_first_axis_are_restacked_and_found_bit_for_bit(name: str) -> None:
    for source, target in ON_THE_FIRST_AXIS:
        lines, _ = converted(FAMILIES[name], source, target, 0)
        assert lines == [], (source, target)


@pytest.mark.parametrize(
    ("source", "form"),
    [
        (("linen", "stacked"), "stacked"),
        (("linen", "stacked"), "underscore"),
        (("nnx", "nested"), "underscore"),
        (("maxtext", "nested"), "underscore"),
    ],
)
def test_weights_alone_are_the_whole_model_and_all_else_is_dropped_by_name(source: Form, form: str) -> None:
    family = replace(FAMILIES["deepseek4"], aux={})
    stacking = LayerStacking.UNSTACKED if form == "underscore" else None
    options = ConversionOptions(to=Layout.PARAMS, leaves=Leaves.BARE, stacking=stacking)
    lines, plan = converted(family, source, ("params", form), 1, options)
    assert lines == []
    assert {drop.rule for drop in plan.drops} == {DropRule.PARAMS_ONLY}


@pytest.mark.parametrize("layout", ["linen", "nnx", "maxtext"])
@pytest.mark.parametrize("name", ["deepseek-engram", "deepseek4", "gemma4-remainder", "llama4"])
def test_layers_of_several_kinds_keep_their_form_unless_asked(name: str, layout: str) -> None:
    """Nobody asks for other stacking: layers that lack what others have are no fault of theirs."""
    for source in (("linen", "underscore"), ("nnx", "nested")):
        form = "nested" if layout == "nnx" else "underscore"
        options = ConversionOptions(to=Layout(layout), leaves=Leaves.BARE if layout == "nnx" else None)
        lines, _ = converted(FAMILIES[name], source, (layout, form), 1, options)
        assert lines == [], source


@pytest.mark.parametrize("form", ["linen-until-july", "nnx-until-july"])
@pytest.mark.parametrize("name", ["gemma4", "gemma4-remainder"])
def test_gemma_4_of_every_era_becomes_what_todays_maxtext_reads(name: str, form: str) -> None:
    source = ("linen" if form.startswith("linen") else "nnx", form)
    options = ConversionOptions(to=Layout.MAXTEXT)
    assert converted(FAMILIES[name], source, ("maxtext", "stacked"), 1, options)[0] == []
    apart = ConversionOptions(to=Layout.MAXTEXT, stacking=LayerStacking.UNSTACKED)
    assert converted(FAMILIES[name], source, ("maxtext", "underscore"), 1, apart)[0] == []


@pytest.mark.parametrize("name", ["gemma4", "gemma4-remainder"])
def test_the_stack_of_gemma_4_has_in_linen_the_name_that_it_always_had_there(name: str) -> None:
    options = ConversionOptions(to=Layout.LINEN)
    source, target = ("nnx", "nnx-until-july"), ("linen", "linen-until-july")
    lines, plan = converted(FAMILIES[name], source, target, 1, options)
    assert lines == []
    assert all(write.op.kind in ("copy", "cast", "fill") for write in plan.item_writes), "arrays are renamed"


def on_disk(item: Path) -> dict[Keys, Any]:
    """What orbax restores."""
    return {path: leaf.data for path, leaf in read(item).items()}


def test_blocks_that_only_the_run_knew_are_found_again_in_another_layout(tmp_path: Path) -> None:
    family = FAMILIES["llama4"]
    save_item(tree_of(entries(family, "linen", "stacked")), tmp_path / "source")
    convert(
        tmp_path / "source", tmp_path / "apart", "nnx", ConversionOptions(stacking=LayerStacking.UNSTACKED)
    )
    options = ConversionOptions(stacking=LayerStacking.STACKED)
    convert(tmp_path / "apart", tmp_path / "stacked", "maxtext", options)
    found = tree_of(on_disk(tmp_path / "stacked"))
    assert differences(found, entries(family, "maxtext", "stacked")) == []


@pytest.mark.parametrize("form", ["linen-until-july", "nnx-until-july"])
def test_gemma_4_returns_from_todays_names_to_those_of_its_era(form: str, tmp_path: Path) -> None:
    family, layout = FAMILIES["gemma4-remainder"], form.split("-")[0]
    save_item(tree_of(entries(family, layout, form)), tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "today", "maxtext")
    convert(tmp_path / "today", tmp_path / "back", layout)
    assert differences(tree_of(on_disk(tmp_path / "back")), entries(family, layout, form)) == []


STAGES: Shapes = {
    "decoder/pipeline_module/layers/scanned_layers/mlp/wo/kernel": (2, 4, 26, 3, 28),
    "decoder/pipeline_module/layers/scanned_layers/norm/scale": (2, 4, 26, 3),
    "decoder/moe_layers_outside_pipeline/mlp/wo/kernel": (26, 5, 28),
    "decoder/moe_layers_outside_pipeline/norm/scale": (26, 5),
    "decoder/dense_layers/norm/scale": (26, 3),
}
"""A pipeline of two repeats of four stages of three layers, and DeepSeek's layers outside of it."""
OLD_NAMES = {
    "decoder/pipeline_module/layers/scanned_layers": "decoder/layers_per_stage",
    "decoder/moe_layers_outside_pipeline": "decoder/moe_layers",
    "mtp_block/mtp_layer_1/mtp_1_transformer_layer": "mtp_block/mtp_1_transformer_layer",
}
PIPELINE = Family("pipeline", {}, (), (), (), (), beside={**STAGES, **MTP})


def aged(family: Family) -> Family:
    """With the names that Linen runs had before the summer of 2026."""

    def old(path: str) -> str:
        for new, name in OLD_NAMES.items():
            path = path.replace(new, name)
        return path

    return replace(family, beside={old(path): shape for path, shape in family.beside.items()})


def renamed(family: Family, source: Form) -> dict[Keys, Any]:
    """The entries of a family under older names, with the contents of today's."""
    by_old = dict(zip(aged(family).beside, family.beside, strict=True))
    out: dict[Keys, Any] = {}
    for path, leaf in entries(family, *source).items():
        text = text_of(path)
        for old, new in by_old.items():
            if text.endswith(new):
                text = text.removesuffix(new) + old
        out[path_of(text)] = leaf
    return out


@pytest.mark.parametrize("to", [Layout.NNX, Layout.MAXTEXT, Layout.TUNIX])
@pytest.mark.parametrize("name", ["pipeline", "llama2"])
def test_older_names_of_linen_are_renewed_for_nnx_with_their_moments(name: str, to: Layout) -> None:
    family = PIPELINE if name == "pipeline" else FAMILIES[name]
    options = ConversionOptions(to=to, leaves=Leaves.BARE if to is Layout.NNX else None)
    done = convert_tree(tree_of(renamed(family, ("linen", "stacked"))), options=options)
    assert differences(done.tree, entries(family, to.value, "stacked")) == []


@pytest.mark.parametrize("to", ["nnx", "maxtext", "linen"])
def test_older_names_come_back_on_the_way_back(to: str, tmp_path: Path) -> None:
    flat = renamed(PIPELINE, ("linen", "stacked"))
    save_item(tree_of(flat), tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "there", to)
    convert(tmp_path / "there", tmp_path / "back", "linen")
    assert differences(tree_of(on_disk(tmp_path / "back")), flat) == []
    assert verify(tmp_path / "there", against=tmp_path / "source") == []


def test_a_fault_is_told_under_the_name_that_stands_on_disk() -> None:
    flat = renamed(FAMILIES["llama2"], ("linen", "stacked"))
    path = ("opt_state", 0, "nu", "params", "mtp_block", "mtp_1_transformer_layer", "mlp", "wo", "kernel")
    flat[path] = flat[path][1:]
    assert [str(problem.path) for problem in validate(tree_of(flat))] == [text_of(path)]


@pytest.mark.parametrize("stacking", list(LayerStacking))
def test_stages_of_a_pipeline_are_kept_as_they_are_and_never_restacked(stacking: LayerStacking) -> None:
    options = ConversionOptions(to=Layout.LINEN, stacking=stacking)
    inside = {path: shape for path, shape in STAGES.items() if "pipeline_module" in path}
    with pytest.raises(ConversionError) as caught:
        convert_tree(tree_of(entries(replace(PIPELINE, beside=inside), "nnx", "stacked")), options=options)
    assert {problem.code for problem in caught.value.problems} == {Code.UNSUPPORTED}
    assert all("leave out" in (problem.hint or "") for problem in caught.value.problems)


def refusal(family: Family, source: Form, options: ConversionOptions) -> tuple[Code, str]:
    """The code and the hint with which stacking is refused."""
    with pytest.raises(ConversionError) as caught:
        convert_tree(tree_of(entries(family, *source)), options=options)
    (problem,) = caught.value.problems
    return problem.code, problem.hint or ""


STACK = ConversionOptions(to=Layout.LINEN, stacking=LayerStacking.STACKED)


@pytest.mark.parametrize("name", ["llama4", "gpt_oss", "olmo3"])
def test_a_cycle_that_a_run_may_choose_is_asked_for_and_never_guessed(name: str) -> None:
    """Llama 4's layers show that they take turns by two; a run may put any multiple of two in a block."""
    code, hint = refusal(FAMILIES[name], ("nnx", "nested"), STACK)
    assert code is Code.LAYERS_NOT_STACKABLE
    assert "--layer-cycle" in hint


@pytest.mark.parametrize(
    ("name", "cycle"), [("llama4", 3), ("gpt_oss", 4), ("qwen3_next", 3), ("deepseek", 2)]
)
def test_a_block_that_the_layers_do_not_fill_is_refused(name: str, cycle: int) -> None:
    options = STACK.model_copy(update={"layer_cycle": cycle})
    assert refusal(FAMILIES[name], ("nnx", "nested"), options)[0] is Code.LAYERS_NOT_STACKABLE


def test_deepseek_4_without_its_hash_tables_does_not_tell_how_many_layers_stand_before_the_blocks() -> None:
    family = replace(FAMILIES["deepseek4"], aux={})
    code, hint = refusal(family, ("linen", "underscore"), STACK)
    assert (code, "--template" in hint) == (Code.LAYERS_NOT_STACKABLE, True)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (("nnx", "stacked"), ("nnx", "nested")),
        (("nnx", "nested"), ("maxtext", "stacked")),
        (("maxtext", "stacked"), ("linen", "underscore")),
        (("linen", "underscore"), ("tunix", "stacked")),
    ],
)
def test_layers_behind_qwen3_nexts_last_block_are_stacked_with_the_others(source: Form, target: Form) -> None:
    assert converted(QWEN3_NEXT_REMAINDER, source, target, 1)[0] == []


@pytest.mark.parametrize("source", [("nnx", "stacked"), ("linen", "underscore")])
def test_linen_never_stacked_layers_behind_qwen3_nexts_last_block(source: Form) -> None:
    options = STACK.model_copy(update={"decoder": Decoder.QWEN3_NEXT})
    code, hint = refusal(QWEN3_NEXT_REMAINDER, source, options)
    assert (code, "--no-scan-layers" in hint) == (Code.LAYERS_NOT_STACKABLE, True)


@pytest.mark.parametrize("to", [Layout.NNX, Layout.MAXTEXT, Layout.TUNIX])
@pytest.mark.parametrize("name", ["qwen3_next", "qwen3_5"])
def test_which_of_two_families_with_the_same_layers_it_is_is_asked_and_never_guessed(
    name: str, to: Layout
) -> None:
    options = ConversionOptions(to=to, stacking=LayerStacking.STACKED)
    code, hint = refusal(FAMILIES[name], ("linen", "underscore"), options)
    assert (code, "--decoder qwen3_5" in hint) == (Code.LAYERS_NOT_STACKABLE, True)


@pytest.mark.parametrize("name", ["qwen3_next", "qwen3_5"])
def test_linen_stacks_two_families_with_the_same_layers_alike_so_nobody_is_asked(name: str) -> None:
    assert converted(FAMILIES[name], ("maxtext", "underscore"), ("linen", "stacked"), 1, STACK)[0] == []


def test_blocks_of_an_older_run_are_kept_unless_the_decoder_is_named_and_the_plan_says_so() -> None:
    qwen = FAMILIES["qwen3_next"]
    older = replace(qwen, stacked=qwen.stacked_linen)
    options = ConversionOptions(to=Layout.MAXTEXT)
    lines, plan = converted(older, ("linen", "stacked"), ("maxtext", "stacked"), 1, options)
    assert lines == []
    assert NoteCode.OLDER_BLOCKS in {note.code for note in plan.notes}
    options = options.model_copy(update={"decoder": Decoder.QWEN3_NEXT})
    lines, plan = converted(qwen, ("linen", "stacked"), ("maxtext", "stacked"), 1, options)
    assert lines == []
    assert NoteCode.OLDER_BLOCKS not in {note.code for note in plan.notes}


@pytest.mark.parametrize("name", ["llama2", "gemma3", "qwen3_next"])
@pytest.mark.parametrize("decoder", [Decoder.OLMO3, Decoder.QWEN3_5])
def test_a_decoder_whose_layers_these_are_not_is_refused(name: str, decoder: Decoder) -> None:
    options = ConversionOptions(to=Layout.LINEN, decoder=decoder)
    assert refusal(FAMILIES[name], ("nnx", "stacked"), options)[0] is Code.LAYERS_NOT_STACKABLE


def test_gemma_4_small_is_converted_layer_by_layer_and_never_stacked() -> None:
    gemma = FAMILIES["gemma4"]
    kinds = {
        "local": {**gemma.kinds["local"], "per_layer_input_gate/kernel": (26, 3)},
        "global": gemma.kinds["global"],
    }
    family = replace(gemma, kinds=kinds, beside={"decoder/per_layer_embedder/embedding": (33, 9)})
    options = ConversionOptions(to=Layout.NNX, leaves=Leaves.BARE)
    assert converted(family, ("linen", "underscore"), ("nnx", "nested"), 1, options)[0] == []
    assert refusal(family, ("nnx", "nested"), STACK)[0] is Code.LAYERS_NOT_STACKABLE


def test_a_family_in_no_table_without_any_pattern_is_refused_with_what_is_irregular() -> None:
    family = FAMILIES["in-no-table"]
    other = dict(family.kinds["b"], **{"self_attention/query/kernel": (26, 4, 9)})
    odd = replace(family, kinds={**family.kinds, "c": other}, layers=("a", "a", "a", "c", "a", "a"))
    with pytest.raises(ProblemsError) as caught:
        convert_tree(tree_of(entries(odd, "nnx", "nested")), options=STACK)
    paths = {str(problem.path) for problem in caught.value.problems}
    assert {problem.code for problem in caught.value.problems} >= {Code.LAYER_LEAF_MISSING}
    assert all("/layers/3/" in path for path in paths), paths
