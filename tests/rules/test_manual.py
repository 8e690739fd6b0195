"""The manual of rules: its files are rules, and do what it says."""

import re
from pathlib import Path

import jax.numpy as jnp

from linen_nnx import ConversionOptions, Layout, convert
from linen_nnx.convert.rules.inverse import inverse
from linen_nnx.convert.rules.reading import parse_rules
from linen_nnx.schema.plan import NoteCode
from tests.support.checkpoints import random_tree, save_item
from tests.support.entries import differences, read
from tests.support.small import Specs, below

MANUAL = (Path(__file__).parent.parent.parent / "docs" / "rules.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", MANUAL, re.DOTALL)

NAMES: Specs = {
    **below({("Dense_0", "kernel"): "float32[2,3]", ("Conv_0", "kernel"): "float32[2,2]"}, "params"),
    **below(
        {("Conv_1", "bias"): "float32[2]", ("enc_0", "w"): "float32[2]", ("dec_4", "w"): "float32[2]"},
        "params",
    ),
    ("batch_stats", "SpectralNorm_0", "Dense_0/kernel/u"): "float32[1,3]",
}
LAYERS: Specs = {
    **{("blocks_0", "w"): "float32[2]", ("blocks_1", "w"): "float32[2]"},
    ("ScanBlock_0", "w"): "float32[3,2]",
    ("Scanned_0", "w"): "float32[2,5,4]",
    **{("GRUCell_0", "i" + gate, "kernel"): "float32[4,3]" for gate in "rzn"},
    **{("GRUCell_0", "i" + gate, "bias"): "float32[3]" for gate in "rzn"},
    **{("GRUCell_0", "h" + gate, "kernel"): "float32[3,3]" for gate in "rzn"},
    ("GRUCell_0", "hn", "bias"): "float32[3]",
}


def test_every_file_of_the_manual_is_whole_and_leads_back() -> None:
    assert len(EXAMPLES) == 2
    for text in EXAMPLES:
        assert inverse(parse_rules(text))[1] == []


def test_the_names_of_the_manual_arrive_where_it_says(tmp_path: Path) -> None:
    save_item(random_tree({("step",): "int32[]", **NAMES}, "state"), tmp_path / "linen")
    options = ConversionOptions(rules=parse_rules(EXAMPLES[0]))
    convert(tmp_path / "linen", tmp_path / "nnx", Layout.NNX, options)
    found = {path[1:-1] for path in read(tmp_path / "nnx") if path[0] == "model"}
    assert found == {
        ("head", "kernel"),
        ("conv1", "kernel"),
        ("conv2", "bias"),
        ("enc", "1", "w"),
        ("dec", "5", "w"),
        ("sn", "batch_stats", "('kernel', 'u')"),
    }


def test_the_operations_of_the_manual_go_and_come_back(tmp_path: Path) -> None:
    tree = random_tree(
        {("step",): "int32[]", **below(LAYERS, "params"), **below(LAYERS, "opt_state", 0, "trace")}, "state"
    )
    for part in (tree["params"], tree["opt_state"][0]["trace"]):
        part["GRUCell_0"]["hn"]["bias"] = jnp.zeros(3)
    save_item(tree, tmp_path / "linen")
    options = ConversionOptions(rules=parse_rules(EXAMPLES[1]))
    convert(tmp_path / "linen", tmp_path / "nnx", Layout.NNX, options)
    made = {path[1:-1]: leaf for path, leaf in read(tmp_path / "nnx").items() if path[0] == "model"}
    shapes = {"/".join(map(str, path)): leaf.spec for path, leaf in made.items()}
    assert shapes["blocks/w"] == "float32[2,2]"
    assert [shapes[f"layers/{n}/w"] for n in range(3)] == ["float32[2]"] * 3
    assert shapes["stack/w"] == "float32[5,2,4]"
    assert (shapes["cell/dense_i/kernel"], shapes["cell/dense_h/kernel"]) == ("float32[4,9]", "float32[3,9]")
    convert(tmp_path / "nnx", tmp_path / "back", Layout.LINEN, options.model_copy(update={"inverse": True}))
    assert differences(read(tmp_path / "back"), read(tmp_path / "linen")) == []


def test_every_note_of_the_manual_is_one_of_ours() -> None:
    named = re.findall(r"^\| `([a-z-]+)` \|", MANUAL.partition("yet training differs")[2], re.MULTILINE)
    assert named
    assert set(named) <= set(NoteCode)
