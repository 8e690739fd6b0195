"""Write an orbax item: arrays through tensorstore, then the files that make it restorable.

Source of the facts: items that orbax-checkpoint 0.11 and 0.12 write, and what their readers ask for.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linen_nnx.convert.store.keyvalue import ocdbt_spec
from linen_nnx.convert.store.target_arrays import TargetArray
from linen_nnx.schema.array import ArrayValue, StringValue, Value
from linen_nnx.schema.orbax_metadata import (
    ARRAY_METADATAS,
    METADATA_FILE,
    SHARDING_FILE,
    STRINGS_FILE,
    ArrayMetadata,
    ArrayMetadatas,
    StorageForm,
    sharding_name,
    tree_entry,
)
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.zarr import zarr_json

_OCDBT_CONFIG = {
    "max_inline_value_bytes": 1024,
    "max_decoded_node_bytes": 100_000_000,
    "manifest_kind": "single",
}
_DATA_FILE_BYTES = 2**31


@dataclass(frozen=True, slots=True)
class TargetEntry:
    """One entry of the item to write; `array` describes the storage of an array."""

    path: KeyPath
    value: Value
    array: TargetArray | None


def array_spec(folder: Path, storage: StorageForm, name: str, array: TargetArray) -> dict[str, Any]:
    """The tensorstore spec that creates one array."""
    if storage.ocdbt:
        kvstore = {
            **ocdbt_spec(folder, f"{name}/"),
            "config": _OCDBT_CONFIG,
            "target_data_file_size": _DATA_FILE_BYTES,
        }
    else:
        kvstore = {"driver": "file", "path": f"{folder}/{name}/"}
    driver = "zarr" if array.zarr.zarr_format == 2 else "zarr3"
    return {
        "driver": driver,
        "kvstore": kvstore,
        "metadata": zarr_json(array.zarr),
        "store_data_equal_to_fill_value": True,
    }


def write_item_files(
    folder: Path, storage: StorageForm, entries: Sequence[TargetEntry], custom_metadata: object
) -> None:
    """Everything beside the arrays; `_METADATA`, which makes the folder an item, last."""
    arrays = [(entry, entry.array) for entry in entries if entry.array is not None]
    _write(folder / ARRAY_METADATAS / "process_0", _array_metadatas(arrays))
    shardings = {
        sharding_name(entry.path.param_name): array.sharding.model_dump_json()
        for entry, array in arrays
        if array.sharding is not None
    }
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
        "store_array_data_equal_to_fill_value": True,
        "custom_metadata": custom_metadata,
    }
    _write(folder / METADATA_FILE, json.dumps(document))


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
