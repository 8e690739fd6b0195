"""Every layout that a train state may have on disk, each into every other that can hold it, and back.

One small inventory a row, with random bits; what another layout cannot hold is set aside and must return.
Quantised states and DiLoCo have tests of their own.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from linen_nnx import ConversionOptions, Layout, Leaves, convert, inspect, validate, verify
from tests.support import golden
from tests.support.checkpoints import random_tree, save_run
from tests.support.entries import differences, read, specs, text_of
from tests.support.small import STACKED, Specs, below, linen, model, native, with_entries, without

EVERY = (Layout.LINEN, Layout.MAXTEXT, Layout.NNX, Layout.TUNIX)
NESTED = model(name=lambda n: ("layers", str(n)))
SCALAR = "int64[] (scalar)"
"""A Python number."""
KEYS: Specs = {
    ("decoder", "dropout", "rngs", "count"): "uint32[]",
    ("decoder", "dropout", "rngs", "key"): "key<unsafe_rbg>[]",
}
BRIDGE: Specs = {
    ("decoder", "to_nnx__rngs", "default", "count"): "uint32[]",
    ("decoder", "to_nnx__rngs", "default", "key"): "uint32[2]",
}
"""Streams of a Linen module that stands in an NNX one."""
ADAPTERS: Specs = {
    ("decoder", "layers", "mlp", "wo", "kernel_lora_a"): "float32[8,3,2]",
    ("decoder", "layers", "mlp", "wo", "kernel_lora_b"): "float32[2,3,6]",
}
DECODE_ADAPTERS: Specs = {
    ("decoder", "layers", "self_attention", "query", "lora_a.kernel"): "bfloat16[8,3,2]",
    ("decoder", "layers", "self_attention", "query", "lora_b.kernel"): "bfloat16[2,3,6]",
    ("decoder", "layers", "mlp", "wo", "kernel"): "None",
}


@dataclass(frozen=True)
class Row:
    """A layout as one writer leaves it."""

    name: str
    items: dict[str, Specs]
    layout: Layout
    into: tuple[Layout, ...] = EVERY
    renewed: bool = False
    """Whether the way back ends in names that today's MaxText reads, and not in its own."""

    def __str__(self) -> str:
        return self.name


def one(
    name: str, specs: Specs, layout: Layout, *into: Layout, item: str = "items", renewed: bool = False
) -> Row:
    """A row of one item."""
    return Row(name, {item: specs}, layout, into or EVERY, renewed)


def adam(specs: Specs, *base: str | int, level: tuple[str, ...] = (), digits: bool = False) -> Specs:
    """The state of adamw with a schedule, below `base`."""
    first, last = ("0", "2") if digits else (0, 2)
    gap: Specs = {} if digits else {(*base, 1): "None"}
    return gap | {
        (*base, first, "count"): "int32[]",
        **below(specs, *base, first, "mu", *level),
        **below(specs, *base, first, "nu", *level),
        (*base, last, "count"): "int32[]",
    }


def wrapped(specs: Specs) -> Specs:
    """Every leaf under `value`."""
    return {(*path, "value"): spec for path, spec in specs.items()}


def tunix(specs: Specs, *base: str) -> dict[str, Specs]:
    """Two items, all leaves wrapped."""
    inside = below(specs, *base)
    optimizer = {("step",): "uint32[]", **adam(inside, "opt_state", digits=True)}
    return {"model_params": wrapped(inside), "optimizer_state": wrapped(optimizer)}


COLLECTIONS: Specs = {
    **below(STACKED, "params"),
    ("batch_stats", "norm", "mean"): "float32[5]",
    ("batch_stats", "norm", "var"): "float32[5]",
    (
        "_overwrite_with_gradient",
        "decoder",
        "layers",
        "Fp8DotGeneralOp_0",
        "input_scale",
    ): "float32[3,1]",
    ("Tid2EidVar", "decoder", "gate", "tid2eid"): "int32[7]",
    ("MoEBiasVar", "decoder", "gate", "bias"): "float32[4]",
    ("aqt", "calibration", "max"): "float32[2]",
}
BARE = native(NESTED)
COUNT = ("opt_state", 2, "count")
"""A schedule's."""
WITHOUT_STREAMS = without(native(STACKED), "rngs")
MUON: Specs = {
    **below(STACKED, "opt_state", "inner_states", "muon", "inner_state", "0", "mu"),
    ("opt_state", "inner_states", "muon", "inner_state", "0", "ns_coeffs"): "float32[3]",
    ("opt_state", "inner_states", "muon", "inner_state", "3", "count"): "int32[]",
}


def skipping(inner: Specs, *base: str) -> Specs:
    """MaxText's wrapper that leaves out a step whose loss spikes, around the chain `inner`."""
    return {
        (*base, "count"): "int32[]",
        (*base, "losses"): "float32[128]",
        (*base, "grad_norms"): "float32[128]",
        (*base, "is_skipped"): "bool[]",
        **below(inner, *base, "inner_state"),
    }


ROWS = [
    # Linen
    one("linen", linen(STACKED), Layout.LINEN),
    one("linen-unscanned", linen(), Layout.LINEN),
    one(
        "linen-single-nested",
        {("step",): SCALAR, **below(STACKED, "params"), **adam(STACKED, "opt_state")},
        Layout.LINEN,
    ),
    one(
        "linen-of-every-collection",
        {("step",): "int32[]", **below(COLLECTIONS, "params"), **adam(COLLECTIONS, "opt_state")},
        Layout.LINEN,
    ),
    one(
        "linen-boxed",
        {
            path if "norm" in path else (*path, "value") if "kernel" in path else path: spec
            for path, spec in linen(STACKED).items()
        },
        Layout.LINEN,
    ),
    one(
        "linen-single-nested-with-every-leaf-wrapped",
        {
            ("step",): "int32[]",
            **wrapped(below(STACKED, "params")),
            **{
                path if spec == "None" else (*path, "value"): spec
                for path, spec in adam(STACKED, "opt_state").items()
            },
        },
        Layout.LINEN,
    ),
    one(
        "linen-that-skips-steps",
        {
            ("step",): "int32[]",
            **below(STACKED, "params", "params"),
            **skipping(adam(STACKED, level=("params",)), "opt_state"),
        },
        Layout.LINEN,
    ),
    one("linen-of-an-emergency-manager", linen(STACKED), Layout.LINEN, item="state"),
    one(
        "maxtext-of-an-emergency-manager",
        {**linen(), **below(KEYS, "nnx_aux", "model")},
        Layout.MAXTEXT,
        item="state",
    ),
    one(
        "linen-dpo",
        {**linen(STACKED), **below(STACKED, "params", "reference_params")},
        Layout.LINEN,
    ),
    # native NNX
    one("nnx-bare", BARE, Layout.NNX),
    one("nnx-wrapped", wrapped(BARE), Layout.NNX),
    one(
        "nnx-model-wrapped",
        {(*path, "value") if path[0] == "model" else path: spec for path, spec in BARE.items()},
        Layout.NNX,
    ),
    one(
        "nnx-mixed",
        {
            (*path, "value") if "rngs" in path or path == ("optimizer", "step") else path: spec
            for path, spec in BARE.items()
        },
        Layout.NNX,
    ),
    one("nnx-without-streams", WITHOUT_STREAMS, Layout.NNX),
    one("nnx-sgd-of-a-constant-rate", without(BARE, "opt_state"), Layout.NNX),
    one(
        "nnx-that-skips-steps",
        {**without(BARE, "opt_state"), **skipping(adam(NESTED, digits=True), "optimizer", "opt_state")},
        Layout.NNX,
    ),
    one("nnx-dpo", {**BARE, **below(NESTED, "reference_model")}, Layout.NNX),
    one(
        "nnx-of-other-variables",
        with_entries(
            {**BARE, **below(BRIDGE, "model")},
            model__norm__mean="float32[5]",
            model__norm__var="float32[5]",
            model__decoder__counter="int32[]",
        ),
        Layout.NNX,
    ),
    # Linen-shaped
    one("maxtext-of-june", linen(NESTED), Layout.MAXTEXT, renewed=True),
    one(
        "maxtext-of-july",
        {**linen(NESTED), **below(KEYS, "nnx_aux", "model")},
        Layout.MAXTEXT,
        renewed=True,
    ),
    one(
        "maxtext-of-june-with-leftovers",
        {
            **with_entries(
                linen(STACKED),
                params__params__norm__mean="float32[5]",
                params__params__norm__var="float32[5]",
            ),
            **below(BRIDGE, "params", "params"),
        },
        Layout.MAXTEXT,
        renewed=True,
    ),
    one("diloco-until-august", without(linen(STACKED), "opt_state"), Layout.LINEN),
    one("maxtext", {**linen(), **below(KEYS, "nnx_aux", "model")}, Layout.MAXTEXT),
    one(
        "maxtext-muon",
        {
            ("step",): "int32[]",
            **below(STACKED, "params", "params"),
            **MUON,
            **below(KEYS, "nnx_aux", "model"),
        },
        Layout.MAXTEXT,
    ),
    one(
        "maxtext-that-skips-steps",
        {
            ("step",): "int32[]",
            **below(STACKED, "params", "params"),
            **skipping(adam(STACKED, digits=True), "opt_state"),
            **below(KEYS, "nnx_aux", "model"),
        },
        Layout.MAXTEXT,
    ),
    one(
        "maxtext-of-a-constant-rate",
        {
            **{path: spec for path, spec in linen().items() if path not in {("opt_state", 1), COUNT}},
            **below(KEYS, "nnx_aux", "model"),
        },
        Layout.MAXTEXT,
    ),
    # weights alone
    one(
        "params-of-linen",
        {
            ("step",): SCALAR,
            **below(STACKED, "params", "params"),
            ("opt_state",): "{}",
        },
        Layout.LINEN,
        Layout.NNX,
        Layout.MAXTEXT,
    ),
    one("params-wrapped", wrapped(STACKED), Layout.PARAMS),
    one("params-bare", STACKED, Layout.PARAMS),
    one("params-below-base", wrapped(below(STACKED, "base")), Layout.PARAMS),
    # Tunix
    Row("tunix", tunix(NESTED), Layout.TUNIX),
    *(Row(name, golden.load(name).items, Layout.TUNIX) for name in golden.names() if "tunix" in name),
    Row("tunix-below-base", tunix(NESTED, "base"), Layout.TUNIX),
    # adapters
    one(
        "lora-of-a-training-run",
        {("step",): "int32[]", **below(ADAPTERS, "params", "params")},
        Layout.LINEN,
    ),
    one(
        "lora-for-decoding",
        {
            ("step",): SCALAR,
            **below(DECODE_ADAPTERS, "params", "params"),
            ("opt_state",): "{}",
        },
        Layout.LINEN,
        Layout.NNX,
        Layout.MAXTEXT,
    ),
    one(
        "lora-for-decoding-single-nested",
        {("step",): SCALAR, **below(DECODE_ADAPTERS, "params"), ("opt_state",): "{}"},
        Layout.LINEN,
        Layout.NNX,
    ),
    Row("lora-of-tunix", tunix(ADAPTERS), Layout.TUNIX),
]


def saved(row: Row, folder: Path) -> Path:
    """A run with the state at step 2."""
    trees = {name: random_tree(item, name) for name, item in row.items.items()}
    for name, item in row.items.items():
        if item.get(("step",)) == SCALAR:
            trees[name]["step"] = 3
    return save_run(trees, folder / "run")


def items_of(run: Path, row: Row) -> list[Path]:
    """The items of the row."""
    return [run / "2" / name for name in row.items]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_row_is_told_is_valid_and_comes_back_from_every_other_layout(row: Row, tmp_path: Path) -> None:
    run = saved(row, tmp_path)
    found = inspect(run)
    assert found.detection is not None, found.problems
    assert found.detection.layout is row.layout
    assert validate(run) == []
    home = run
    if row.renewed:
        home = tmp_path / "today"
        convert(run, home, row.layout)
        assert read(items_of(home, row)[0]).keys() != read(items_of(run, row)[0]).keys()
    for layout in row.into:
        if layout is row.layout:
            continue
        there, back = tmp_path / layout / "there", tmp_path / layout / "back"
        convert(run, there, layout)
        assert validate(there) == [], layout
        assert verify(there, against=run) == [], layout
        convert(there, back, row.layout)
        for came, was in zip(items_of(back, row), items_of(home, row), strict=True):
            assert differences(read(came), read(was)) == [], layout


def test_what_the_script_that_is_replaced_wrote_is_read_and_becomes_what_nnx_writes(tmp_path: Path) -> None:
    """It wrapped the model's leaves alone, and left the optimizer's chain as Linen's list."""
    left: Specs = {
        **wrapped(below(STACKED, "model")),
        ("optimizer", "step"): "int32[]",
        **adam(STACKED, "optimizer", "opt_state"),
    }
    run = saved(one("script", left, Layout.NNX), tmp_path)
    assert validate(run) == []
    convert(run, tmp_path / "linen", Layout.LINEN)
    item = tmp_path / "linen" / "2" / "items"
    assert specs(read(item)) == {text_of(path): spec for path, spec in linen(STACKED).items()}
    convert(run, tmp_path / "nnx", Layout.NNX, ConversionOptions(leaves=Leaves.BARE))
    found = specs(read(tmp_path / "nnx" / "2" / "items"))
    whole = {**WITHOUT_STREAMS, ("optimizer", "step"): "int32[]"}
    assert found == {text_of(path): spec for path, spec in whole.items()}
    for target in ("linen", "nnx"):
        assert verify(tmp_path / target, against=run) == []
