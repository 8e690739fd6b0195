"""An orbax item on disk as a `Source`: its entries from metadata alone, its faults all at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from linen_nnx.convert.store.item_reader import ItemReader
from linen_nnx.convert.store.keyvalue import Ocdbt
from linen_nnx.convert.store.location import OWN_FOLDER, Location
from linen_nnx.convert.store.metadata_files import parsed, read_tree
from linen_nnx.convert.store.read import StoredArray, read_array
from linen_nnx.schema.array import Value
from linen_nnx.schema.errors import CheckpointError, raise_if
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.orbax_metadata import (
    METADATA_FILE,
    OCDBT_MANIFEST,
    StorageForm,
)
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import same_content
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.residue import RESIDUE_FILE, SIDE_ITEM, Kept, Residue


@dataclass(frozen=True, slots=True)
class OrbaxSide:
    """The side item of an item."""

    residue: Residue
    item: "OrbaxItem | None"

    @property
    def values(self) -> dict[KeyPath, Value]:
        """What was kept, by its path in the side item."""
        return {kept.path: kept.value for kept in self.residue.kept}


@dataclass(frozen=True)
class OrbaxItem:
    """An item, opened: every file of metadata parsed, every array's metadata read, no array byte."""

    location: Location
    storage: StorageForm
    inventory: Inventory
    arrays: dict[KeyPath, StoredArray] = field(repr=False)
    problems: tuple[Problem, ...]
    side: OrbaxSide | None
    custom_metadata: JsonValue = None

    @property
    def folder(self) -> Path:
        """The item folder."""
        return self.location.item

    def scalar(self, path: KeyPath) -> int | None:
        """Read one integer scalar."""
        return int(read_array(self.arrays[path]))


def open_item(location: Location) -> OrbaxItem:
    """Open a state. What leaves the rest readable stands in `problems`; else raises `CheckpointError`."""
    parts = location.items
    if location.item.is_file():
        # Here, since few have such a file, and msgpack need not be imported for others.
        from linen_nnx.convert.store.msgpack_source import open_msgpack

        return open_msgpack(location)
    if len(parts) == 1:
        return _open_one(location)
    opened = [(part.prefix, _open_one(Location(item=part.folder))) for part in parts]
    first = opened[0][1]
    return OrbaxItem(
        location=location,
        storage=first.storage,
        inventory=Inventory.of(
            Entry(path=prefix + entry.path, value=entry.value)
            for prefix, item in opened
            for entry in item.inventory.entries
        ),
        arrays={prefix + path: array for prefix, item in opened for path, array in item.arrays.items()},
        problems=tuple(
            problem.model_copy(update={"path": prefix + problem.path})
            for prefix, item in opened
            for problem in item.problems
        ),
        side=first.side,
        custom_metadata=first.custom_metadata,
    )


def _open_one(location: Location) -> OrbaxItem:
    folder = location.item
    # An index of many arrays takes as long to read as the tree.
    database = Ocdbt(folder) if (folder / OCDBT_MANIFEST).is_file() else None
    listed, tree = read_tree(folder / METADATA_FILE)
    ocdbt = database is not None if tree.use_ocdbt is None else tree.use_ocdbt
    storage = StorageForm(
        ocdbt=ocdbt,
        zarr_format=3 if tree.use_zarr3 else 2,
        stores_fill_values=tree.store_array_data_equal_to_fill_value,
    )
    reader = ItemReader(folder, storage, listed, database)
    entries = reader.entries()
    raise_if([p for p in reader.problems if p.code is Code.NAME_COLLISION], CheckpointError)
    return OrbaxItem(
        location=location,
        storage=storage,
        inventory=Inventory.of(entries),
        arrays=reader.arrays,
        problems=tuple(reader.problems),
        side=_open_side(folder),
        custom_metadata=tree.custom_metadata,
    )


def _open_side(folder: Path) -> OrbaxSide | None:
    own = folder / OWN_FOLDER
    if not (own / RESIDUE_FILE).is_file():
        return None
    residue = parsed(own / RESIDUE_FILE, Residue)
    item = open_item(Location(item=own / SIDE_ITEM)) if (own / SIDE_ITEM).is_dir() else None
    found = {} if item is None else item.inventory.by_path
    lost = [_not_kept(kept, found.get(kept.path)) for kept in residue.kept if not _is_kept(kept, found)]
    raise_if(lost, CheckpointError)
    return OrbaxSide(residue=residue, item=item)


def _is_kept(kept: Kept, found: Mapping[KeyPath, Value]) -> bool:
    return kept.path in found and same_content(found[kept.path], kept.value)


def _not_kept(kept: Kept, found: Value | None) -> Problem:
    """What the record of a conversion names is not what lies beside the state."""
    return Problem(
        code=Code.STORAGE_MISMATCH,
        path=kept.path,
        expected=f"{kept.value}, as {RESIDUE_FILE} says",
        found="nothing" if found is None else str(found),
        item=f"{OWN_FOLDER}/{SIDE_ITEM}",
        hint="what was kept for the way back is damaged; without the folder the state alone is read",
    )
