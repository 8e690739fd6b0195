"""DiLoCo: a state of replicas, the axis of which stands before all others in the inner state alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linen_nnx import (
    Code,
    ConversionError,
    ConversionOptions,
    Direction,
    LayerStacking,
    Layout,
    ProblemsError,
    convert,
    convert_tree,
    inspect,
    validate,
    verify,
)
from linen_nnx.schema.plan import DropRule
from tests.support.checkpoints import save_item, tree_of
from tests.support.entries import Keys, differences, read
from tests.support.families import FAMILIES, entries, model
from tests.test_families import differences as unlike

REPLICAS = 3
FAMILY = replace(FAMILIES["deepseek"], aux={"moe": {"DeepSeekMoeBlock_0/MoeBlock_0/tid2eid": (33, 2)}})
"""Two groups of layers, and variables that are not trained."""
RNGS: Keys = ("nnx_aux", "model", "decoder", "dropout", "rngs")


def replicated(leaf: Any, path: Keys) -> Any:
    """The leaf once a replica, in each with bits of its own; counters are alike."""
    if leaf is None:
        return None
    if leaf.dtype == np.float32:
        bits = leaf.view(np.uint32)
        return np.stack([bits ^ np.uint32(n) for n in range(REPLICAS)]).view(np.float32)
    return np.stack([leaf + n if "tid2eid" in path else leaf for n in range(REPLICAS)])


def diloco(layout: str, form: str, axis: int = 1) -> dict[Keys, Any]:
    """A whole state, flat: what a run of `layout` (`linen` or `maxtext`) writes."""
    inner = dict(entries(FAMILY, layout, form, axis))
    if layout == "maxtext":
        inner[*RNGS, "count"] = np.asarray(5, np.uint32)
        inner[*RNGS, "key"] = np.arange(4, dtype=np.uint32)
    level: Keys = ("params",) if layout == "linen" else ()
    weights = model(FAMILY, layout, form, "params", axis)
    trace = model(FAMILY, layout, form, "trace", axis)
    out: dict[Keys, Any] = {("step",): np.asarray(9, np.int32), ("outer_opt_state", 1): None}
    out |= {("params", "params", *path): leaf for path, leaf in weights.items()}
    out |= {("outer_opt_state", 0, "trace", *level, *path): leaf for path, leaf in trace.items()}
    return out | {("inner_state", *path): replicated(leaf, path) for path, leaf in inner.items()}


def without_rngs(flat: dict[Keys, Any]) -> dict[Keys, Any]:
    return {path: leaf for path, leaf in flat.items() if "rngs" not in path}


def asked(to: Layout, stacking: LayerStacking | None = None, **more: Any) -> ConversionOptions:
    return ConversionOptions(to=to, stacking=stacking, **more)


@pytest.mark.parametrize("layout", ["linen", "maxtext"])
def test_a_state_of_replicas_is_told_and_valid(layout: str, tmp_path: Path) -> None:
    item = save_item(tree_of(diloco(layout, "stacked")), tmp_path / "item")
    found = inspect(item)
    assert found.detection is not None
    assert (found.detection.layout, found.problems) == (Layout.DILOCO, ())
    assert f"{REPLICAS} replicas, each a state of the layout {layout}" in found.detection.evidence
    fields = {str(field.at) for field in found.mirrors}
    assert fields == {"[0]/trace", "inner_state/[0]/mu", "inner_state/[0]/nu"}
    assert [group.count for group in found.groups] == [2, 3]
    assert validate(item) == []


@pytest.mark.parametrize("axis", [1, 0])
@pytest.mark.parametrize(("before", "after"), [("linen", "maxtext"), ("maxtext", "linen")])
def test_the_inner_state_goes_from_one_framework_to_the_other_bit_for_bit(
    before: str, after: str, axis: int
) -> None:
    found = convert_tree(tree_of(diloco(before, "stacked", axis)), options=asked(Layout(after)))
    assert unlike(found.tree, without_rngs(diloco(after, "stacked", axis))) == []
    rngs = {path.names[-1]: leaf.shape for path, leaf in found.aside.items() if leaf is not None}
    assert rngs == ({} if before == "linen" else {"count": (REPLICAS,), "key": (REPLICAS, 4)})


@pytest.mark.parametrize("axis", [1, 0])
@pytest.mark.parametrize("layout", ["linen", "maxtext"])
def test_layers_are_restacked_behind_the_replicas(layout: str, axis: int) -> None:
    stacked, apart = diloco(layout, "stacked", axis), diloco(layout, "underscore", axis)
    unstack = asked(Layout.DILOCO, LayerStacking.UNSTACKED)
    assert unlike(convert_tree(tree_of(stacked), options=unstack).tree, apart) == []
    stack = asked(Layout.DILOCO, LayerStacking.STACKED, layer_axis=axis)
    assert unlike(convert_tree(tree_of(apart), options=stack).tree, stacked) == []


@pytest.mark.parametrize(("before", "after"), [("linen", "maxtext"), ("maxtext", "linen")])
def test_there_and_back_again_restores_every_replica_and_stream(
    before: str, after: str, tmp_path: Path
) -> None:
    source = save_item(tree_of(diloco(before, "stacked")), tmp_path / "source")
    convert(source, tmp_path / "there", after, ConversionOptions(stacking=LayerStacking.UNSTACKED))
    convert(tmp_path / "there", tmp_path / "back", before, ConversionOptions(stacking=LayerStacking.STACKED))
    assert differences(read(tmp_path / "back"), read(source)) == []
    assert verify(tmp_path / "there", against=source) == []


def test_one_flipped_bit_of_one_replica_is_seen(tmp_path: Path) -> None:
    flat = diloco("linen", "stacked")
    source = save_item(tree_of(flat), tmp_path / "source")
    path: Keys = ("inner_state", "opt_state", 0, "nu", "params", "decoder", "decoder_norm", "scale")
    flat[path] = flat[path].copy()
    flat[path].view(np.uint32)[2, 0] ^= 1
    other = save_item(tree_of(flat), tmp_path / "other")
    assert {problem.code for problem in verify(other, against=source)} == {Code.VALUE_DIFFERS}


@pytest.mark.parametrize("layout", ["linen", "maxtext"])
def test_the_synchronised_weights_stand_by_themselves_and_all_else_is_dropped_by_name(layout: str) -> None:
    source = tree_of(diloco(layout, "stacked"))
    done = convert_tree(source, Layout.PARAMS)
    weights = model(FAMILY, layout, "stacked", "params", 1)
    assert unlike(done.tree, {(*path, "value"): leaf for path, leaf in weights.items()}) == []
    assert {drop.rule for drop in done.plan.drops} == {DropRule.PARAMS_ONLY}
    tops = {drop.source.path.names[0] for drop in done.plan.drops}
    assert tops >= {"inner_state", "outer_opt_state", "step"}


@pytest.mark.parametrize("to", [Layout.NNX, Layout.TUNIX])
def test_a_layout_without_a_place_for_replicas_is_refused_by_name(to: Layout) -> None:
    with pytest.raises(ConversionError) as caught:
        convert_tree(tree_of(diloco("linen", "stacked")), to)
    assert [problem.code for problem in caught.value.problems] == [Code.UNSUPPORTED]
    assert "--to params" in (caught.value.problems[0].hint or "")


def test_one_train_state_does_not_become_several() -> None:
    with pytest.raises(ConversionError) as caught:
        convert_tree(tree_of(entries(FAMILY, "linen", "stacked")), Layout.DILOCO)
    assert [problem.code for problem in caught.value.problems] == [Code.UNSUPPORTED]


def test_the_direction_is_held_against_the_inner_state() -> None:
    source = tree_of(diloco("linen", "stacked"))
    done = convert_tree(source, options=ConversionOptions(direction=Direction.LINEN_TO_NNX))
    assert unlike(done.tree, without_rngs(diloco("maxtext", "stacked"))) == []
    with pytest.raises(ConversionError) as caught:
        convert_tree(source, options=ConversionOptions(direction=Direction.NNX_TO_LINEN))
    assert [problem.code for problem in caught.value.problems] == [Code.DIRECTION_CONTRADICTION]


def test_every_fault_of_the_replicas_is_told_at_its_path() -> None:
    flat = diloco("linen", "stacked")
    scale: Keys = ("inner_state", "params", "params", "decoder", "decoder_norm", "scale")
    count: Keys = ("inner_state", "opt_state", 0, "count")
    flat[scale], flat[count] = flat[scale][:, :-1], flat[count][:2]
    found = {str(problem.path): problem.code for problem in validate(tree_of(flat))}
    assert found["inner_state/params/params/decoder/decoder_norm/scale"] is Code.SHAPE_MISMATCH
    assert found["inner_state/opt_state/[0]/count"] is Code.SHAPE_MISMATCH
    assert found["inner_state/opt_state/[0]/mu/params/decoder/decoder_norm/scale"] is Code.MOMENT_MISMATCH
    with pytest.raises(ProblemsError):
        convert_tree(tree_of(flat), Layout.MAXTEXT)
