"""Write all of an orbax item but its arrays: the files that make it restorable.

Source of the facts: items that orbax-checkpoint 0.11 and 0.12 write, and what their readers ask for.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from linen_nnx.convert.store.target_arrays import TargetArray
from linen_nnx.schema.array import ArrayValue, StringValue, Value
from linen_nnx.schema.model import record
from linen_nnx.schema.orbax_metadata import (
    ARRAY_METADATAS,
    METADATA_FILE,
    SHARDING_FILE,
    STRINGS_FILE,
    ArrayMetadata,
    ArrayMetadatas,
    NamedSharding,
    StorageForm,
    sharding_name,
    tree_entry,
)
from linen_nnx.schema.path import KeyPath


@record
class TargetEntry:
    """One entry of the item to write; `array` describes the storage of an array."""

    path: KeyPath
    value: Value
    array: TargetArray | None


def write_item_files(
    folder: Path, storage: StorageForm, entries: Sequence[TargetEntry], custom_metadata: object
) -> None:
    """Everything beside the arrays; `_METADATA`, which makes the folder an item, last."""
    arrays = [(entry, entry.array) for entry in entries if entry.array is not None]
    _write(folder / ARRAY_METADATAS / "process_0", _array_metadatas(arrays))
    shardings = _shardings(arrays)
    if shardings:
        _write(folder / SHARDING_FILE, json.dumps(shardings))
    strings = {e.path.param_name: e.value.text for e in entries if isinstance(e.value, StringValue)}
    if strings:
        _write(folder / STRINGS_FILE, json.dumps(strings))
    tree = dict(tree_entry(e.path, e.value, e.array.write_shape if e.array else None) for e in entries)
    document = {
        "tree_metadata": tree,
        "use_ocdbt": storage.ocdbt,
        "use_zarr3": storage.zarr_format == 3,
        "store_array_data_equal_to_fill_value": storage.stores_fill_values,
        "custom_metadata": custom_metadata,
    }
    _write(folder / METADATA_FILE, json.dumps(document))


def _shardings(arrays: Sequence[tuple[TargetEntry, TargetArray]]) -> dict[str, str]:
    """The sharding of every array, or of none: orbax fails on an array that a `_sharding` file leaves out.

    An array that never was on a device (a step that was a Python number) is put down as replicated.
    """
    known = next((array.sharding for _, array in arrays if array.sharding is not None), None)
    if known is None:
        return {}
    replicated = known.replicated()
    shardings = {sharding_name(e.path.param_name): array.sharding or replicated for e, array in arrays}
    # Most arrays share theirs with many others.
    texts = {id(one): one.model_dump_json(exclude_unset=True) for one in _each(shardings.values())}
    return {name: texts[id(sharding)] for name, sharding in shardings.items()}


def _each(shardings: Iterable[NamedSharding]) -> Iterable[NamedSharding]:
    """Every object once."""
    return {id(sharding): sharding for sharding in shardings}.values()


def _array_metadatas(arrays: Sequence[tuple[TargetEntry, TargetArray]]) -> str:
    return ArrayMetadatas.of(
        [
            ArrayMetadata(
                param_name=entry.path.param_name,
                write_shape=array.write_shape,
                chunk_shape=array.zarr.chunk_shape,
                ext_metadata=_extension(entry.value),
            )
            for entry, array in arrays
        ]
    ).model_dump_json()


def _extension(value: Value) -> dict[str, Any] | None:
    if isinstance(value, ArrayValue) and value.spec.key_impl is not None:
        return {"random_key_impl": value.spec.key_impl}
    return None


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
