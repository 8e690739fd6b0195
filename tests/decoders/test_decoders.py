"""MaxText's real decoders, from every form of their layers into every other.

What a conversion gives must be what MaxText itself holds in that form: each name, shape and type, in the
weights, in their moments and in what is not trained; and the way round must come back bit by bit.
"""

import re
from dataclasses import dataclass
from typing import Any

import pytest

from linen_nnx import Code, ConversionError, ConversionOptions, LayerStacking, Layout
from linen_nnx.convert.memory import convert_tree
from linen_nnx.schema.choices import Decoder
from tests.decoders import data
from tests.decoders.cases import CASES
from tests.support.checkpoints import tree_of
from tests.support.entries import Keys, flat
from tests.support.families import contents

LINEN, NNX, TODAY = "linen 0.2.4", "nnx 0.2.4", "nnx 0.2.5"
ADDED = re.compile(r"mtp_\d+_final_norm$")
"""Modules that MaxText 0.2.5 has and 0.2.4 has not: no conversion makes their weights, or drops them."""
ROUND = ((LINEN, "scan"), (TODAY, "unscan"), (TODAY, "scan"), (LINEN, "unscan"))
"""Each step from one form to the next, and the last to the first again."""
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


@pytest.mark.parametrize("name", [name for name in data.names() if "pipeline" not in name])
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


PIPELINES = [name for name in data.names() if "pipeline" in name]
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
