"""Real orbax checkpoints with random content, made from golden inventories or from any tree."""

import hashlib
import os
import re
import shutil
import tempfile
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import jax
import ml_dtypes  # noqa: F401  (teaches numpy the names of jax's dtypes)
import numpy as np
import orbax.checkpoint as ocp

from tests.support.entries import Array, Keys
from tests.support.golden import Golden

STEP_FOLDER = 2
STEP = 3
"""MaxText's folder `2` holds the state after step 3."""

KEY_WORDS = {"threefry2x32": 2, "rbg": 4, "unsafe_rbg": 4}

NARROW = {"int2": (-2, 2), "uint2": (0, 4), "int4": (-8, 8), "uint4": (0, 16)}
"""Dtypes of less than a byte, with their ranges."""

_SPEC = re.compile(r"(?:key<(\w+)>|(\w+))\[([\d,]*)\](?: \((.+)\))?")
_EMPTIES: dict[str, Any] = {"None": None, "{}": {}, "[]": [], "()": ()}


@dataclass(frozen=True)
class Storage:
    """How arrays are stored."""

    ocdbt: bool = True
    zarr_format: int = 3

    def __str__(self) -> str:
        return f"{'ocdbt' if self.ocdbt else 'plain'}-zarr{self.zarr_format}"

    def handler(self) -> ocp.PyTreeCheckpointHandler:
        """Orbax's own writer of this form."""
        return ocp.PyTreeCheckpointHandler(use_ocdbt=self.ocdbt, use_zarr3=self.zarr_format == 3)


STORAGES = [Storage(ocdbt, zarr) for ocdbt in (True, False) for zarr in (2, 3)]


def random_leaf(spec: str, seed: str) -> Any:
    """A leaf of the spec, of random bits that `seed` alone decides."""
    if spec in _EMPTIES:
        return _EMPTIES[spec]
    match = _SPEC.fullmatch(spec)
    assert match is not None, spec
    impl, dtype, dimensions, kind = match.groups()
    shape = tuple(int(size) for size in dimensions.split(",") if size)
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    if impl is not None:
        words = rng.integers(0, 2**32, (*shape, KEY_WORDS[impl]), dtype=np.uint32)
        return jax.random.wrap_key_data(jax.numpy.asarray(words), impl=impl)
    data = random_bits(dtype, shape, rng)
    match kind:
        case None:
            return jax.numpy.asarray(data)
        case "np.ndarray":
            return data
        case _:
            return data.item()


def random_bits(dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Every pattern of bits that the dtype has, NaNs and infinities among them."""
    kind = np.dtype(dtype)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype in NARROW:
        return rng.integers(*NARROW[dtype], shape).astype(kind)
    if dtype == "float4_e2m1fn":
        return rng.integers(0, 16, shape, dtype=np.uint8).view(kind)
    raw = rng.bytes(prod(shape) * kind.itemsize)
    return np.frombuffer(raw, dtype=kind).reshape(shape).copy()


def tree_of(entries: dict[Keys, Any]) -> Any:
    """Nested dicts and lists of flat entries."""
    if set(entries) == {()}:
        return entries[()]
    groups: dict[str | int, dict[Keys, Any]] = {}
    for path, value in entries.items():
        groups.setdefault(path[0], {})[path[1:]] = value
    if all(isinstance(key, int) for key in groups):
        return [tree_of(groups[index]) for index in range(len(groups))]
    return {str(key): tree_of(children) for key, children in groups.items()}


def random_tree(specs: dict[Keys, str], seed: str) -> Any:
    """A tree of random leaves; a leaf named `step` is the number of the step."""
    leaves = {path: random_leaf(spec, f"{seed}/{path}") for path, spec in specs.items()}
    for path, spec in specs.items():
        bare = path[:-1] if path[-1:] == ("value",) else path
        if bare[-1:] == ("step",) and spec in {"int32[]", "uint32[]"}:
            leaves[path] = jax.numpy.asarray(STEP, dtype=spec.removesuffix("[]"))
    return tree_of(leaves)


def save_item(tree: Any, item: Path, storage: Storage | None = None, chunk_bytes: int | None = None) -> Path:
    """One item, alone; its chunks of no more than `chunk_bytes`, else one an array and device."""
    small = ocp.SaveArgs(chunk_byte_size=chunk_bytes)
    save_args = None if chunk_bytes is None else jax.tree.map(lambda _: small, tree)
    with ocp.Checkpointer((storage or Storage()).handler()) as checkpointer:
        checkpointer.save(item, args=ocp.args.PyTreeSave(tree, save_args=save_args))
    return item


def save_run(
    items: dict[str, Any],
    run: Path,
    storage: Storage | None = None,
    step: int = STEP_FOLDER,
    custom_metadata: dict[str, Any] | None = None,
) -> Path:
    """A step folder with `items`, as a training run saves it. Returns the run folder."""
    storage = storage or Storage()
    handlers = {name: storage.handler() for name in items}
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
    with ocp.CheckpointManager(run, item_handlers=handlers, options=options) as manager:
        arguments = {name: ocp.args.PyTreeSave(tree) for name, tree in items.items()}
        manager.save(step, args=ocp.args.Composite(**arguments), custom_metadata=custom_metadata)
    return run


def build(golden: Golden, run: Path, storage: Storage) -> Path:
    """A real checkpoint of a golden inventory."""
    items = {item: random_tree(specs, f"{golden.name}/{item}") for item, specs in golden.items.items()}
    return save_run(items, run, storage, custom_metadata={"scan_layers": "-unscan-" not in golden.name})


class Cache:
    """Checkpoints built once for all workers of a test session, under one shared folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(exist_ok=True, parents=True)

    def golden(self, golden: Golden, storage: Storage | None = None) -> Path:
        """The run folder of a golden inventory; by default in the storage form of the original."""
        storage = storage or Storage(golden.ocdbt, golden.zarr_format)
        target = self._root / f"{golden.name}-{storage}"
        if not target.is_dir():
            building = Path(tempfile.mkdtemp(dir=self._root))
            build(golden, building / "run", storage)
            # Another worker may have been faster: then its folder stands, and is the same.
            try:
                os.rename(building / "run", target)
            except OSError:
                assert target.is_dir()
            shutil.rmtree(building)
        return target


def files_of(folder: Path) -> dict[str, str]:
    """A digest of every file below a folder, links and empty folders noted."""
    return {
        str(path.relative_to(folder)): "folder"
        if path.is_dir()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
    }
