"""Save and restore by orbax, as a training run does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

Tree = dict[str, Any]


@dataclass(frozen=True)
class Storage:
    """One of orbax's four ways to store arrays."""

    ocdbt: bool
    zarr3: bool

    def __str__(self) -> str:
        """For test ids."""
        return f"{'ocdbt' if self.ocdbt else 'folders'}-zarr{3 if self.zarr3 else 2}"


STORAGES = [Storage(ocdbt, zarr3) for ocdbt in (True, False) for zarr3 in (True, False)]


def save(folder: Path, tree: object, storage: Storage = STORAGES[0]) -> Path:
    """Save `tree` as one item."""
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=storage.ocdbt, use_zarr3=storage.zarr3)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(folder, tree)
    return folder


def restore(folder: Path) -> Tree:
    """Restore one item, arrays as numpy."""
    with ocp.PyTreeCheckpointer() as checkpointer:
        metadata = checkpointer.metadata(folder).item_metadata.tree
        arguments = ocp.checkpoint_utils.construct_restore_args(metadata)
        tree: Tree = checkpointer.restore(folder, restore_args=arguments)
    return tree


def same_bytes(one: Any, other: Any) -> bool:
    """Equal in shape, dtype and every bit: NaN equals itself, and zero is not minus zero."""
    a, b = np.asarray(one), np.asarray(other)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
