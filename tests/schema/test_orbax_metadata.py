"""Orbax's own files, read from real checkpoints: nothing is lost, and our entries are orbax's."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from linen_nnx.schema.array import ArraySpec, ArrayValue, DType, Empty, EmptyValue, Holder, StringValue, Value
from linen_nnx.schema.orbax_metadata import (
    ArrayMetadata,
    ArrayMetadatas,
    CheckpointMetadata,
    KeyMetadata,
    KeyType,
    NamedSharding,
    TreeEntry,
    TreeMetadata,
    sharding_name,
    tree_entry,
    typed,
)
from linen_nnx.schema.path import AttributeKey, DictKey, KeyPath, SequenceKey
from tests.schema.strategies import ARRAY_METADATA, VALUES
from tests.support.checkpoints import STORAGES, Storage, save_item


@pytest.fixture(scope="module", params=STORAGES, ids=str)
def item(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Storage]:
    """One real item with every kind of leaf."""
    storage: Storage = request.param
    tree = {
        "jax": jnp.ones((2, 3), jnp.bfloat16),
        "numpy": np.arange(4, dtype=np.int16),
        "key": jax.random.key(0, impl="unsafe_rbg"),
        "scalar": 3,
        "text": "words",
        "none": None,
        "empties": [{}, [], (), optax.EmptyState()],
        "a.b": {"0": jnp.zeros(2)},
        "chain": optax.adam(0.1).init({"w": jnp.zeros(3)}),
    }
    return save_item(tree, tmp_path_factory.mktemp("orbax") / "item", storage), storage


def parsed(file: Path, model: type[BaseModel]) -> tuple[Any, Any]:
    """The document, and what the model makes of it."""
    text = file.read_bytes()
    return json.loads(text), json.loads(model.model_validate_json(text).model_dump_json(exclude_unset=True))


def test_no_field_of_a_real_file_is_lost(item: tuple[Path, Storage]) -> None:
    folder, _ = item
    files: list[tuple[Path, type[BaseModel]]] = [
        (folder / "_METADATA", TreeMetadata),
        (folder / "_CHECKPOINT_METADATA", CheckpointMetadata),
        (folder / "array_metadatas" / "process_0", ArrayMetadatas),
    ]
    for file, model in files:
        document, again = parsed(file, model)
        assert again == document


def test_the_metadata_tells_the_storage_form(item: tuple[Path, Storage]) -> None:
    folder, storage = item
    tree = TreeMetadata.model_validate_json((folder / "_METADATA").read_bytes())
    assert (tree.use_ocdbt, tree.use_zarr3) == (storage.ocdbt, storage.zarr_format == 3)


def test_key_types_are_read_as_they_were_saved(item: tuple[Path, Storage]) -> None:
    tree = TreeMetadata.model_validate_json((item[0] / "_METADATA").read_bytes())
    paths = {entry.path for entry in tree.tree_metadata.values()}
    assert KeyPath.of("a.b", "0") in paths
    assert KeyPath.of("chain", 0, "mu", "w") in paths
    assert KeyPath.of("empties", 3) in paths


def test_our_entries_are_written_as_orbax_writes_them(item: tuple[Path, Storage]) -> None:
    """`tree_entry` of what was read is the document that orbax wrote."""
    document = json.loads((item[0] / "_METADATA").read_bytes())["tree_metadata"]
    for name, written in document.items():
        entry = TreeEntry.model_validate(written)
        value = value_of(entry)
        assert tree_entry(entry.path, value, entry.value_metadata.write_shape) == (name, written)


def value_of(entry: TreeEntry) -> Value:
    kind = entry.value_metadata.value_type
    if kind in set(Empty):
        return EmptyValue(empty=Empty(kind))
    if kind == "string":
        return StringValue(text="")
    return ArrayValue(spec=ArraySpec(shape=(), dtype=DType.FLOAT32), holder=Holder(kind))


def test_a_typed_key_is_told_by_the_array_metadata_alone(item: tuple[Path, Storage]) -> None:
    text = (item[0] / "array_metadatas" / "process_0").read_bytes()
    arrays = [wrapped.array_metadata for wrapped in ArrayMetadatas.model_validate_json(text).array_metadatas]
    assert {array.param_name: array.key_impl for array in arrays if array.key_impl} == {"key": "unsafe_rbg"}


def test_a_real_sharding_moves_with_its_axes(item: tuple[Path, Storage]) -> None:
    document = json.loads((item[0] / "_sharding").read_bytes())
    assert sharding_name("a.b.0") in document
    for text in document.values():
        sharding = NamedSharding.model_validate_json(text)
        assert json.loads(sharding.model_dump_json(exclude_unset=True)) == json.loads(text)


PARTS = st.lists(st.one_of(st.none(), st.sampled_from(["data", "fsdp"])), max_size=4).map(tuple)


@given(PARTS, st.integers(0, 4))
def test_a_new_axis_is_replicated_and_moves_the_others(spec: tuple[str | None, ...], axis: int) -> None:
    before = NamedSharding(sharding_type="NamedSharding", partition_spec=spec)
    after = before.with_axis(axis)
    full = (*spec, *(None for _ in range(5 - len(spec))))
    expected = (*full[:axis], None, *full[axis:])
    assert (*after.partition_spec, *(None for _ in range(6 - len(after.partition_spec)))) == expected
    assert (*after.without_axis(axis).partition_spec, *(None,) * 9)[:5] == full


@given(ARRAY_METADATA)
def test_array_metadata_keeps_its_order_in_its_file(array: ArrayMetadata) -> None:
    file = ArrayMetadatas.of([array, array.model_copy(update={"param_name": "other"})])
    assert [wrapped.array_metadata.param_name for wrapped in file.array_metadatas] == [
        array.param_name,
        "other",
    ]


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        (KeyMetadata(key="3", key_type=KeyType.SEQUENCE), SequenceKey(3)),
        (KeyMetadata(key="3", key_type=KeyType.DICT), DictKey("3")),
        (KeyMetadata(key="mu", key_type=KeyType.DICT), DictKey("mu")),
    ],
)
def test_a_key_is_typed_by_its_key_type(key: KeyMetadata, ours: DictKey | SequenceKey) -> None:
    assert typed(key) == ours


def test_a_sequence_index_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="mu"):
        typed(KeyMetadata(key="mu", key_type=KeyType.SEQUENCE))


@given(VALUES)
def test_an_attribute_is_written_as_a_dict_key(value: Value) -> None:
    _, attribute = tree_entry(KeyPath((AttributeKey("mu"),)), value, None)
    _, key = tree_entry(KeyPath((DictKey("mu"),)), value, None)
    assert attribute == key


def test_keys_that_are_absent_mean_an_older_writer() -> None:
    old = TreeMetadata.model_validate_json('{"tree_metadata": {}}')
    assert (old.use_ocdbt, old.use_zarr3, old.store_array_data_equal_to_fill_value) == (None, False, False)


@pytest.mark.parametrize("text", ["", "{", '{"tree_metadata": 3}', '{"tree_metadata": {"a": {}}}', "[]"])
def test_a_damaged_file_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TreeMetadata.model_validate_json(text)
