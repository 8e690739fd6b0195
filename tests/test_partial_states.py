"""Parts of a state stay parts: nothing is made up for what is not there. Items go by what they hold."""

from pathlib import Path

import numpy as np
import pytest

from linen_nnx import (
    Code,
    ConversionOptions,
    Layout,
    Leaves,
    ProblemsError,
    convert,
    inspect,
    plan,
    validate,
    verify,
)
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.plan import NoteCode
from tests.support.checkpoints import STEP_FOLDER, Storage, random_tree, save_run
from tests.support.entries import Entries, differences, read
from tests.support.small import Specs, below, linen, model, native, without

STATE = Path(str(STEP_FOLDER)) / "state"
ADAPTERS: Specs = {
    ("decoder", f"layers_{n}", "query", f"kernel_lora_{part}"): f"float32[{shape}]"
    for n in range(3)
    for part, shape in (("a", "8,2"), ("b", "2,6"))
}


def saved(specs: Specs, folder: Path, item: str = "items") -> Path:
    """A run whose state is the item of this name."""
    return save_run({item: random_tree(specs, folder.name)}, folder / "run", Storage())


def there_and_back(specs: Specs, folder: Path, to: Layout, item: str = "items") -> tuple[Entries, Entries]:
    """The source, and what comes back of it through the layout `to`."""
    source = saved(specs, folder, item)
    detection = inspect(source).detection
    assert detection is not None
    convert(source, folder / "there", to, ConversionOptions(leaves=Leaves.BARE if to.is_nnx else None))
    convert(folder / "there", folder / "back", detection.layout)
    name = Path(str(STEP_FOLDER)) / item
    return read(source / name), read(folder / "back" / name)


FRAMEWORKS = pytest.mark.parametrize(
    ("specs", "to"), [(linen(), Layout.NNX), (native(), Layout.LINEN)], ids=["linen", "nnx"]
)


@FRAMEWORKS
def test_the_item_of_an_emergency_or_replicator_manager_is_converted_under_its_name(
    tmp_path: Path, specs: Specs, to: Layout
) -> None:
    """They save under `state`, with no word of the layers in the step's metadata."""
    before, after = there_and_back(specs, tmp_path, to, item="state")
    assert differences(after, before) == []
    assert validate(tmp_path / "there") == []
    assert verify(tmp_path / "there", against=tmp_path / "run") == []
    assert (tmp_path / "there" / STATE / "_METADATA").is_file()


def test_an_emergency_item_beside_the_usual_one_is_chosen_by_its_name(tmp_path: Path) -> None:
    trees = {"items": random_tree(linen(), "items"), "state": random_tree(linen(), "state")}
    run = save_run(trees, tmp_path / "run", Storage())
    with pytest.raises(ProblemsError) as refused:
        convert(run, tmp_path / "target")
    assert {problem.code for problem in refused.value.problems} == {Code.SEVERAL_ITEMS}
    convert(run, tmp_path / "target", item="state", options=ConversionOptions(leaves=Leaves.BARE))
    step = tmp_path / "target" / str(STEP_FOLDER)
    found = read(step / "state")["model", "token_embedder", "embedding"].data
    embedding = read(run / STATE)["params", "params", "token_embedder", "embedding"].data
    assert found is not None
    assert embedding is not None
    assert np.array_equal(found.view(np.uint8), embedding.view(np.uint8))


PARTS = {
    "weights and step": without(linen(), "opt_state"),
    "weights alone": below(model(), "params", "params"),
    "adapters and step": {("step",): "int32[]", **below(ADAPTERS, "params", "params")},
    "no step": without(linen(), "step"),
    "a step and an empty optimizer": {**without(linen(), "opt_state"), ("opt_state",): "{}"},
    "optimizer without moments of half the model": {
        path: "None" if "opt_state" in path and "token_embedder" in path else spec
        for path, spec in linen().items()
    },
    "adapters that are absent for some weights": {
        ("step",): "int32[]",
        **below(ADAPTERS, "params", "params"),
        ("params", "params", "decoder", "layers_0", "mlp", "lora_a.kernel"): "None",
    },
}


@pytest.mark.parametrize("to", [Layout.NNX, Layout.MAXTEXT, Layout.TUNIX])
@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_state_stays_that_part_and_comes_back(tmp_path: Path, part: str, to: Layout) -> None:
    before, after = there_and_back(PARTS[part], tmp_path, to)
    assert differences(after, before) == []
    there = inspect(tmp_path / "there").inventory.entries
    arrays = [entry for entry in there if isinstance(entry.value, ArrayValue)]
    assert len(arrays) == sum(leaf.data is not None for leaf in before.values())


def test_what_a_run_of_adapters_keeps_beside_its_steps_comes_along(tmp_path: Path) -> None:
    run = save_run({"items": random_tree(PARTS["adapters and step"], "lora")}, tmp_path / "run")
    (run / "adapter_config.json").write_text('{"r": 4}', encoding="utf-8")
    convert(run, tmp_path / "there", Layout.NNX)
    assert (tmp_path / "there" / "adapter_config.json").read_text(encoding="utf-8") == '{"r": 4}'
    assert verify(tmp_path / "there", against=run) == []


def test_adapters_of_tunix_stay_adapters(tmp_path: Path) -> None:
    specs = {
        "model_params": {(*path, "value"): spec for path, spec in ADAPTERS.items()},
        "optimizer_state": {
            ("step", "value"): "uint32[]",
            ("opt_state", "0", "count", "value"): "int32[]",
            **{("opt_state", "0", "mu", *path, "value"): spec for path, spec in ADAPTERS.items()},
            **{("opt_state", "0", "nu", *path, "value"): spec for path, spec in ADAPTERS.items()},
        },
    }
    trees = {item: random_tree(entries, item) for item, entries in specs.items()}
    run = save_run(trees, tmp_path / "run", Storage())
    convert(run, tmp_path / "linen", Layout.LINEN)
    convert(tmp_path / "linen", tmp_path / "back", Layout.TUNIX)
    step = Path(str(STEP_FOLDER))
    for item in specs:
        assert differences(read(tmp_path / "back" / step / item), read(run / step / item)) == []


def test_another_item_with_arrays_is_copied_as_it_is_and_the_plan_says_so(tmp_path: Path) -> None:
    trees = {"items": random_tree(linen(), "items"), "accumulated_grads": random_tree(model(), "grads")}
    run = save_run(trees, tmp_path / "run", Storage())
    notes = [
        note for note in plan(run, Layout.NNX, item="items").notes if note.code is NoteCode.ITEM_AS_IT_IS
    ]
    assert [note.text.partition(":")[0] for note in notes] == ["accumulated_grads"]
    receipt = convert(run, tmp_path / "target", Layout.NNX, item="items")
    assert set(notes) <= set(receipt.notes)
    at = Path(str(STEP_FOLDER)) / "accumulated_grads"
    assert differences(read(tmp_path / "target" / at), read(run / at)) == []
