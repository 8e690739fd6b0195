"""Read stored arrays through tensorstore."""

from pathlib import Path
from typing import Any

from linen_nnx.convert.store.keyvalue import ocdbt_spec
from linen_nnx.schema.errors import StorageError
from linen_nnx.schema.orbax_metadata import StorageForm
from linen_nnx.schema.zarr import ZarrV2, ZarrV3, zarr_json


def open_array(folder: Path, storage: StorageForm, name: str, zarr: ZarrV2 | ZarrV3) -> Any:
    """One stored array of the item in `folder`, opened on known metadata. Raises `StorageError`."""
    import tensorstore as ts

    if storage.ocdbt:
        kvstore = ocdbt_spec(folder, f"{name}/")
    else:
        kvstore = {"driver": "file", "path": f"{folder}/{name}/"}
    driver = "zarr" if zarr.zarr_format == 2 else "zarr3"
    spec = {"driver": driver, "kvstore": kvstore, "metadata": zarr_json(zarr)}
    try:
        return ts.open(spec, open=True, assume_metadata=True).result()
    except ValueError as error:
        raise StorageError(f"cannot open {name}: {error}") from error


def read_array(folder: Path, storage: StorageForm, name: str, zarr: ZarrV2 | ZarrV3) -> Any:
    """One whole array, as numpy. Raises `StorageError`."""
    try:
        return open_array(folder, storage, name, zarr).read().result()
    except ValueError as error:
        raise StorageError(f"cannot read {name}: {error}") from error
