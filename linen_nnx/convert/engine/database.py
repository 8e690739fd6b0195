"""The OCDBT databases of a conversion: one set of data files, several manifests.

A manifest names values by file, offset and length, relative to a base folder. Every database here has the
target as its base: the target's own; that of finished parts, which are not committed; and the view of each
source, whose manifest is read where it is and whose data files lie (or are linked to) in the target under
their own names. Because the base is the same, a range of keys is copied from one to the other by reference.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorstore as ts

PARTS = ".linen-nnx-parts"
"""Folder of the manifest of parts that are finished but not committed."""

_CONFIG = {
    "max_inline_value_bytes": 1024,
    "max_decoded_node_bytes": 100_000_000,
    "manifest_kind": "single",
}
"""As orbax writes it."""
_NEW = {"config": _CONFIG, "assume_config": True, "target_data_file_size": 2**31}


def context() -> "ts.Context":
    """One for all databases of a conversion. Files are made durable all at once, before the rename."""
    import tensorstore as ts

    return ts.Context({"file_io_sync": False})


def committed(folder: Path, context: "ts.Context") -> "ts.KvStore":
    """The target's own database."""
    return _open(_spec(folder) | _NEW, context)


def parts(folder: Path, context: "ts.Context") -> "ts.KvStore":
    """Finished parts, whose values lie where the target's will."""
    return _open(_spec(folder) | _NEW | {"manifest": _file(folder / PARTS)}, context)


def view(folder: Path, source: Path, context: "ts.Context") -> "ts.KvStore":
    """The database of `source`, looked up in the data files of `folder`."""
    return _open(_spec(folder) | {"manifest": _file(source)}, context)


def plain(folder: Path, context: "ts.Context") -> "ts.KvStore":
    """A folder of files, a key a file."""
    return _open(_file(folder), context)


def _spec(folder: Path) -> dict[str, Any]:
    return {"driver": "ocdbt", "base": _file(folder)}


def _file(folder: Path) -> dict[str, Any]:
    return {"driver": "file", "path": f"{folder}/"}


def _open(spec: dict[str, Any], context: "ts.Context") -> "ts.KvStore":
    import tensorstore as ts

    return ts.KvStore.open(spec, context=context).result()
