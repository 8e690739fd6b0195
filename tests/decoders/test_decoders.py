"""MaxText's real decoders, from every form of their layers into every other.

What a conversion gives must be what MaxText itself holds in that form: each name, shape and type, in the
weights, in their moments and in what is not trained; and the way round must come back bit by bit.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from linen_nnx import Code, ConversionError, ConversionOptions, LayerStacking, Layout, convert, verify
from linen_nnx.convert.memory import convert_tree
from linen_nnx.schema.choices import Decoder
from linen_nnx.schema.plan import NoteCode
from tests.decoders import data
from tests.decoders.cases import CASES
from tests.support.checkpoints import save_item, tree_of
from tests.support.entries import Keys, flat, read
from tests.support.entries import differences as entry_differences
from tests.support.families import contents

LINEN, NNX, TODAY = "linen 0.2.4", "nnx 0.2.4", "nnx 0.2.5"
ADDED = re.compile(r"mtp_\d+_final_norm$")
"""Modules that MaxText 0.2.5 has and 0.2.4 has not: no conversion makes their weights, or drops them."""
ROUND = ((LINEN, "scan"), (TODAY, "unscan"), (TODAY, "scan"), (LINEN, "unscan"))
"""Each step from one form to the next, and the last to the first again."""
PIPELINES = [name for name in data.names() if "pipeline" in name]
OTHERWISE = {*PIPELINES, "deepseek3"}
"""With tests of their own."""
OTHER_MODELS = {
    ("gemma4_small", f"{LINEN} scan"),
    ("qwen3_next-remainder", f"{LINEN} scan"),
}
"""Built by MaxText 0.2.4 with layers left out, or all alike: not the model that its layers one by one are."""
CYCLE = re.compile(r"inhomogeneous_layer_cycle_interval=(\d+)")


@dataclass(frozen=True)
class Held:
    """A form and who holds it."""

    trainer: str
    stack: str
    form: data.Form

    @property
    def layout(self) -> Layout:
        return Layout.LINEN if self.trainer == LINEN else Layout.MAXTEXT


def specs(held: Held) -> dict[Keys, str]:
    """The whole train state with a moment, as its trainer saves it."""
    params = {tuple(path.split("/")): spec for path, spec in held.form.params.items()}
    others = {tuple(path.split("/")): spec for path, spec in held.form.others.items()}
    aux: Keys = ("params",) if held.layout is Layout.LINEN else ("nnx_aux", "model")
    return {
        ("step",): "int32[]",
        **{("params", "params", *path): spec for path, spec in params.items()},
        **{(*aux, *path): spec for path, spec in others.items()},
        **{("opt_state", 0, "mu", "params", *path): spec for path, spec in params.items()},
    }


def state(held: Held) -> Any:
    """With random bits."""
    leaves: dict[Keys, Any] = {}
    for path, spec in specs(held).items():
        dtype, sizes = spec.removesuffix("]").split("[")
        shape = tuple(int(size) for size in sizes.split(",") if size)
        leaves[path] = contents("", str(path), 0, shape, dtype)
    return tree_of(leaves)


def options(found: data.Decoder, target: Held, source: Held) -> ConversionOptions:
    """What a user has to say: the stacking, the cycle that a run may choose, which of two families it is."""
    block = found.flags.split("decoder_block=")[1].split()[0]
    anew = target.stack == "scan" and source.stack == "unscan"
    cycle = CYCLE.search(found.flags)
    return ConversionOptions(
        to=target.layout,
        stacking=None
        if target.stack == source.stack
        else LayerStacking.STACKED
        if anew
        else LayerStacking.UNSTACKED,
        layer_axis=_axis(found, anew),
        layer_cycle=int(cycle[1]) if cycle and anew and not block.startswith("qwen") else None,
        decoder=Decoder(block) if block.startswith("qwen3_") and block in set(Decoder) else None,
    )


def _axis(found: data.Decoder, anew: bool) -> int | None:
    if found.flags == "decoder_block=simple":
        return 1  # one array in all: its shape tells nothing
    return 0 if "param_scan_axis=0" in found.flags and anew else None


def inventory(tree: Any) -> dict[Keys, str]:
    return {
        path: f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
        for path, leaf in flat(tree)
        if leaf is not None
    }


def told(found: dict[Keys, str]) -> set[str]:
    """Every entry in words, without what only the newer release has."""
    lines = {"/".join(map(str, path)): spec for path, spec in found.items()}
    return {f"{path} {spec}" for path, spec in lines.items() if not any(map(ADDED.search, path.split("/")))}


def test_every_decoder_that_maxtext_builds_is_kept() -> None:
    assert data.names() == sorted(case.name for case in CASES)
    assert {case.name: case.flags for case in CASES} == {name: data.load(name).flags for name in data.names()}


@pytest.mark.parametrize("name", data.names())
def test_nnx_in_the_last_release_with_linen_holds_what_linen_or_the_next_release_does(name: str) -> None:
    forms = data.load(name).forms
    for stack in ("scan", "unscan"):
        if f"{NNX} {stack}" in forms:
            others = [forms.get(f"{trainer} {stack}") for trainer in (LINEN, TODAY)]
            assert forms[f"{NNX} {stack}"] in others


@pytest.mark.parametrize("name", [name for name in data.names() if name not in OTHERWISE])
def test_each_conversion_gives_what_maxtext_itself_holds_in_that_form(name: str) -> None:
    found = data.load(name)
    holders = [" ".join(station) for station in ROUND]
    stations = [
        Held(*station, found.forms[holder])
        for station, holder in zip(ROUND, holders, strict=True)
        if holder in found.forms and (name, holder) not in OTHER_MODELS
    ]
    tree = start = state(stations[0])
    at = stations[0]
    for target in (*stations[1:], stations[0]):
        tree = convert_tree(tree, options=options(found, target, at)).tree
        assert told(inventory(tree)) == told(specs(target)), target
        at = target
    before, after = dict(flat(start)), dict(flat(tree))
    assert before.keys() == after.keys()
    assert all(leaf is None or leaf.tobytes() == after[path].tobytes() for path, leaf in before.items())


IN_STAGES = (
    ((LINEN, "scan"), (TODAY, "scan"), (TODAY, "unscan"), (LINEN, "scan")),
    ((TODAY, "unscan"), (TODAY, "scan"), (LINEN, "unscan"), (TODAY, "unscan")),
)


@pytest.mark.parametrize("round_", IN_STAGES, ids=["from-linen", "from-nnx"])
@pytest.mark.parametrize("name", PIPELINES)
def test_stages_of_a_pipeline_stand_as_maxtext_itself_has_them_and_other_layers_are_restacked(
    name: str, round_: tuple[tuple[str, str], ...]
) -> None:
    """Linen has the layers that are in no stage stacked, however it is asked; NNX as all others."""
    found = data.load(name)
    tree = start = state(Held(*round_[0], found.forms[" ".join(round_[0])]))
    for at in round_[1:]:
        target = Held(*at, found.forms[" ".join(at)])
        others = bool({*found.forms[f"{TODAY} scan"].params} ^ {*found.forms[f"{TODAY} unscan"].params})
        asked = ConversionOptions(to=target.layout, stacking=_stacking(target) if others else None)
        tree = convert_tree(tree, options=asked).tree
        assert told(inventory(tree)) == told(specs(target)), target
    before, after = dict(flat(start)), dict(flat(tree))
    assert before.keys() == after.keys()
    assert all(leaf.tobytes() == after[path].tobytes() for path, leaf in before.items())


def _stacking(target: Held) -> LayerStacking:
    scanned = target.stack == "scan" or target.trainer == LINEN
    return LayerStacking.STACKED if scanned else LayerStacking.UNSTACKED


@pytest.mark.parametrize("name", ["pipeline-of-lists", "pipeline-of-single-layers", "pipeline-of-stacks"])
@pytest.mark.parametrize("stacking", list(LayerStacking))
def test_where_all_layers_are_in_stages_there_is_nothing_to_restack(
    name: str, stacking: LayerStacking
) -> None:
    tree = state(Held(TODAY, "scan", data.load(name).forms[f"{TODAY} scan"]))
    with pytest.raises(ConversionError) as caught:
        convert_tree(tree, options=ConversionOptions(to=Layout.LINEN, stacking=stacking))
    assert {problem.code for problem in caught.value.problems} == {Code.UNSUPPORTED}


def test_weights_alone_tell_deepseek_4s_first_layers_by_the_bias_that_they_lack() -> None:
    """Their routing is a table of hashes, which is no parameter, and their gate has no bias."""
    forms = data.load("deepseek4").forms
    apart, stacked = (
        Held(TODAY, stack, replace(forms[f"{TODAY} {stack}"], others={})) for stack in ("unscan", "scan")
    )
    asked = ConversionOptions(to=Layout.LINEN, stacking=LayerStacking.STACKED)
    assert told(inventory(convert_tree(state(apart), options=asked).tree)) == told(specs(stacked))


BIAS = "DeepSeekMoeBlock_0/MoeBlock_0/gate/bias"


def deepseek3(trainer: str, stack: str) -> Held:
    """Its gate bias is a parameter until 0.2.4, and a variable that is not trained since 0.2.5."""
    return Held(trainer, stack, data.load("deepseek3").forms[f"{trainer} {stack}"])


def biases(tree: Any) -> list[bytes]:
    """Of each layer, its experts' biases."""
    found = {"/".join(map(str, path)): leaf for path, leaf in flat(tree)}
    model = [(path, leaf) for path, leaf in sorted(found.items()) if path.endswith(BIAS)]
    arrays = [(path, leaf) for path, leaf in model if not path.startswith("opt_state")]
    if len(arrays) > 1:
        return [leaf.tobytes() for _, leaf in arrays]
    ((path, array),) = arrays
    layers = array if path.startswith("nnx_aux") else array.T
    return [layer.tobytes() for layer in layers]


@pytest.mark.parametrize("target", ["scan", "unscan"])
@pytest.mark.parametrize("source", ["scan", "unscan"])
def test_a_template_tells_that_a_parameter_is_trained_no_more_and_it_is_carried_over(
    source: str, target: str
) -> None:
    before, after = deepseek3(LINEN, source), deepseek3(TODAY, target)
    asked = options(data.load("deepseek3"), after, before)
    done = convert_tree(state(before), options=asked, template=state(after))
    assert told(inventory(done.tree)) == told(specs(after))
    assert biases(done.tree) == biases(state(before))
    assert NoteCode.OTHER_COLLECTION in {note.code for note in done.plan.notes}


def test_without_a_template_the_bias_stays_what_it_is() -> None:
    tree = convert_tree(state(deepseek3(LINEN, "scan")), options=ConversionOptions(to=Layout.MAXTEXT)).tree
    assert told(inventory(tree)) == told(specs(deepseek3(LINEN, "scan")))


def test_moments_that_a_source_has_not_are_asked_for_and_never_made() -> None:
    with pytest.raises(ConversionError) as caught:
        convert_tree(
            state(deepseek3(TODAY, "scan")),
            options=ConversionOptions(to=Layout.LINEN),
            template=state(deepseek3(LINEN, "scan")),
        )
    assert {problem.code for problem in caught.value.problems} == {Code.MISSING_ENTRY}


def test_weights_alone_go_to_the_release_that_trains_their_bias() -> None:
    def alone(held: Held) -> Any:
        return {part: node for part, node in state(held).items() if part in ("params", "nnx_aux")}

    source, target = alone(deepseek3(TODAY, "scan")), alone(deepseek3(LINEN, "scan"))
    tree = convert_tree(source, options=ConversionOptions(to=Layout.LINEN), template=target).tree
    assert told(inventory(tree)) == told(inventory(target))
    assert biases(tree) == biases(source)


def test_moments_of_what_is_trained_no_more_are_kept_aside_and_come_back(tmp_path: Path) -> None:
    save_item(state(deepseek3(LINEN, "scan")), tmp_path / "linen")
    save_item(state(deepseek3(TODAY, "unscan")), tmp_path / "template")
    apart = ConversionOptions(stacking=LayerStacking.UNSTACKED)
    convert(tmp_path / "linen", tmp_path / "there", "maxtext", apart, template=tmp_path / "template")
    assert verify(tmp_path / "there", against=tmp_path / "linen") == []
    together = ConversionOptions(stacking=LayerStacking.STACKED)
    convert(tmp_path / "there", tmp_path / "back", "linen", together, template=tmp_path / "linen")
    assert entry_differences(read(tmp_path / "back"), read(tmp_path / "linen")) == []
