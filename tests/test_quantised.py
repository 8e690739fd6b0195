"""Quantised serving states: told by name, restacked in their own framework, refused between the two."""

from pathlib import Path

import pytest

from linen_nnx import (
    Code,
    ConversionError,
    ConversionOptions,
    LayerStacking,
    Layout,
    Leaves,
    convert,
    inspect,
    validate,
    verify,
)
from tests.support.checkpoints import random_tree, save_item
from tests.support.entries import Entries, Keys, differences, read
from tests.support.small import Specs, below

LAYERS = 5
ENDS: Keys = ("AqtDotGeneral_0", "qrhs", "frozen")
DENSE: Specs = {
    (*ENDS, "qvalue"): "int8[26,28]",
    (*ENDS, "scale", 0): "bfloat16[1,28]",
}
"""What AQT keeps of one kernel: a scale for each axis that it contracts."""


def stacked(specs: Specs, axis: int) -> Specs:
    """On an axis of five layers."""
    out: Specs = {}
    for path, spec in specs.items():
        dtype, _, shape = spec.rstrip("]").partition("[")
        sizes = shape.split(",")
        out[path] = f"{dtype}[{','.join([*sizes[:axis], str(LAYERS), *sizes[axis:]])}]"
    return out


def linen_aqt() -> Specs:
    """Linen: kernels are empty, what became of them stands in a collection of its own."""
    return {
        ("params", "params", "token_embedder", "embedding"): "bfloat16[33,26]",
        ("params", "params", "decoder", "layers", "norm", "scale"): f"bfloat16[26,{LAYERS}]",
        ("params", "params", "decoder", "layers", "mlp", "wi_0", "kernel"): "{}",
        **below(stacked(DENSE, 0), "params", "aqt", "decoder", "layers", "mlp", "wi_0"),
        ("params", "params", "decoder", "logits_dense", "kernel"): "{}",
        **below(DENSE, "params", "aqt", "decoder", "logits_dense"),
    }


def nnx_aqt() -> Specs:
    """NNX: the model at the root; `value` wraps all that AQT keeps of a kernel at once."""

    def composite(specs: Specs) -> Specs:
        return {(*path[:3], "value", *path[3:]): spec for path, spec in specs.items()}

    return {
        ("token_embedder", "embedding", "value"): "bfloat16[33,26]",
        ("decoder", "layers", "norm", "scale", "value"): f"bfloat16[26,{LAYERS}]",
        **below(composite(stacked(DENSE, 0)), "decoder", "layers", "mlp", "wi_0"),
        **below(composite(DENSE), "decoder", "logits_dense"),
    }


QWIX: Specs = {
    ("decoder", "layers", "norm", "scale", "value"): f"bfloat16[26,{LAYERS}]",
    ("decoder", "layers", "mlp", "wi_0", "kernel", "value", "array", "qvalue"): f"int8[26,{LAYERS},28]",
    ("decoder", "layers", "mlp", "wi_0", "kernel", "value", "array", "scale"): f"bfloat16[1,{LAYERS},28]",
}
"""A weight whose variable wraps a composite."""
STATES = {
    "linen-aqt": (linen_aqt(), Layout.LINEN, "AQT"),
    "nnx-aqt": (nnx_aqt(), Layout.PARAMS, "AQT"),
    "nnx-qwix": (QWIX, Layout.PARAMS, "qwix"),
}


def saved(name: str, folder: Path) -> Path:
    """A bare item folder, as these states are saved."""
    return save_item(random_tree(STATES[name][0], name), folder / name)


@pytest.mark.parametrize("name", STATES)
def test_a_quantised_state_is_named_and_valid(name: str, tmp_path: Path) -> None:
    _, layout, maker = STATES[name]
    item = saved(name, tmp_path)
    found = inspect(item)
    assert found.detection is not None
    assert (found.detection.layout, found.problems) == (layout, ())
    assert any(maker in line for line in found.detection.evidence)
    assert validate(item) == []


@pytest.mark.parametrize("name", STATES)
def test_in_its_own_layout_it_is_kept_bit_for_bit(name: str, tmp_path: Path) -> None:
    item = saved(name, tmp_path)
    convert(item, tmp_path / "same", STATES[name][1])
    assert differences(read(tmp_path / "same"), read(item)) == []


def one_by_one(entries: Entries) -> Entries:
    """Layers apart: weights from axis 1, what AQT keeps from axis 0."""
    out: Entries = {}
    for path, leaf in entries.items():
        if "layers" not in path:
            out[path] = leaf
            continue
        at = path.index("layers")
        for n in range(LAYERS):
            data = None if leaf.data is None else leaf.data.take(n, 0 if "qrhs" in path else 1)
            out[*path[:at], f"layers_{n}", *path[at + 1 :]] = type(leaf)(leaf.kind, data)
    return out


@pytest.mark.parametrize("name", ["linen-aqt", "nnx-aqt"])
def test_its_layers_are_restacked_each_part_on_its_own_axis_and_back(name: str, tmp_path: Path) -> None:
    item, layout = saved(name, tmp_path), STATES[name][1]
    convert(item, tmp_path / "apart", layout, ConversionOptions(stacking=LayerStacking.UNSTACKED))
    assert differences(read(tmp_path / "apart"), one_by_one(read(item))) == []
    assert verify(tmp_path / "apart", against=item) == []
    convert(tmp_path / "apart", tmp_path / "back", layout, ConversionOptions(stacking=LayerStacking.STACKED))
    assert differences(read(tmp_path / "back"), read(item)) == []


REFUSED = [
    *(("linen-aqt", ConversionOptions(to=to)) for to in (Layout.NNX, Layout.PARAMS, Layout.MAXTEXT)),
    *(("nnx-aqt", ConversionOptions(to=to)) for to in (Layout.NNX, Layout.LINEN, Layout.TUNIX)),
    *(
        ("nnx-aqt", ConversionOptions(to=Layout.PARAMS, leaves=leaves))
        for leaves in (Leaves.BARE, Leaves.WRAPPED)
    ),
    ("nnx-qwix", ConversionOptions(to=Layout.LINEN)),
    ("nnx-qwix", ConversionOptions(to=Layout.PARAMS, leaves=Leaves.WRAPPED)),
    ("nnx-qwix", ConversionOptions(to=Layout.PARAMS, stacking=LayerStacking.UNSTACKED)),
]


@pytest.mark.parametrize(("name", "options"), REFUSED)
def test_what_no_rule_makes_exact_is_refused_with_the_reason(
    name: str, options: ConversionOptions, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError) as caught:
        convert(saved(name, tmp_path), tmp_path / "target", options=options)
    (problem,) = caught.value.problems
    assert problem.code is Code.UNSUPPORTED
    assert STATES[name][2] in problem.found
    assert problem.hint
    assert not (tmp_path / "target").exists()
