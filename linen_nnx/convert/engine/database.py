"""The OCDBT database of a target, committed by reference in one version."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linen_nnx.convert.engine.ocdbt_format import leaf_node, manifest
from linen_nnx.convert.engine.sink import PARTS
from linen_nnx.convert.store.extents import StoredValue
from linen_nnx.schema.orbax_metadata import OCDBT_MANIFEST

if TYPE_CHECKING:
    import tensorstore as ts

_CONFIG = {
    "max_inline_value_bytes": 1024,
    "max_decoded_node_bytes": 100_000_000,
    "manifest_kind": "single",
}
"""As orbax writes it."""
_NODE = "index"


def commit(folder: Path, values: Mapping[str, StoredValue]) -> None:
    """Make the index of the database of `folder`; of `values`, one or more, in files below `folder`.

    The index is first written by us, as a manifest and a node apart. Both databases have the same base, so
    tensorstore copies all entries from the one to the other by reference, and no value is read.
    Raises `ValueError`.
    """
    import tensorstore as ts

    (folder / PARTS).mkdir(exist_ok=True)
    node = leaf_node(values)
    (folder / PARTS / _NODE).write_bytes(node.data)
    (folder / PARTS / OCDBT_MANIFEST).write_bytes(manifest(f"{PARTS}/{_NODE}", node))
    # Files are made durable all at once, before the rename.
    context = ts.Context({"file_io_sync": False})
    ours = _open({**_spec(folder), "manifest": _file(folder / PARTS)}, context)
    theirs = {"config": _CONFIG, "assume_config": True, "target_data_file_size": 2**31}
    target = _open({**_spec(folder), **theirs}, context)
    transaction = ts.Transaction(atomic=True)
    ours.experimental_copy_range_to(target.with_transaction(transaction)).result()
    transaction.commit_async().result()


def _spec(folder: Path) -> dict[str, Any]:
    return {"driver": "ocdbt", "base": _file(folder)}


def _file(folder: Path) -> dict[str, Any]:
    return {"driver": "file", "path": f"{folder}/"}


def _open(spec: dict[str, Any], context: "ts.Context") -> "ts.KvStore":
    import tensorstore as ts

    return ts.KvStore.open(spec, context=context).result()
