"""Small states of every dtype, saved by orbax in every storage form, and what the engine makes of them."""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts

from linen_nnx import DType, KeyPath
from linen_nnx.convert.engine.execute import Part, write_item
from linen_nnx.convert.engine.progress import Silent
from linen_nnx.convert.engine.routes import Router, Settled, settle
from linen_nnx.convert.store.keyvalue import ocdbt_spec
from linen_nnx.convert.store.location import Location
from linen_nnx.convert.store.orbax_source import open_item
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.schema.ops import Concat, Copy, MoveAxis, Op, Origin, Ref, Split, Stack, Take, refs, result
from linen_nnx.schema.options import Storing
from linen_nnx.schema.orbax_metadata import OCDBT_MANIFEST
from linen_nnx.schema.path import ROOT
from linen_nnx.schema.plan import Place, Write
from linen_nnx.schema.routing import Effort
from linen_nnx.schema.zarr import ZarrV2, ZarrV3
from tests.support.checkpoints import Storage, random_leaf, save_item, tree_of
from tests.support.entries import Keys

LAYERS = 3
WIDTH = 1300
"""So that layers of a byte an element, and smaller chunks of wider ones, are not inline in an index."""
NOT_STORED = {"uint2", "uint4", "float8_e4m3"}
"""Dtypes that tensorstore cannot write."""
WIDE = {"int64", "uint64", "float64", "complex128"}
"""Dtypes that jax has with x64 alone: saved from numpy."""
DTYPES = [dtype.value for dtype in DType if dtype.value not in NOT_STORED]
FEW = ["bool", "int4", "int16", "float8_e4m3fn", "bfloat16", "float32", "float64", "complex64"]
"""One of each kind and width."""
KEYS = ["threefry2x32", "unsafe_rbg"]

Values = dict[str, tuple[str, tuple[int, ...], bytes]]
"""By name: dtype (of a typed key, its implementation), shape, bytes."""


@dataclass(frozen=True)
class Written:
    """Where a state was saved, and how."""

    storage: Storage
    chunks: str

    def __str__(self) -> str:
        return f"{self.storage}-{self.chunks}"

    @property
    def dtypes(self) -> list[str]:
        return DTYPES if self.chunks == "whole" else FEW


def _spec(dtype: str, shape: str) -> str:
    return f"{dtype}[{shape}]{' (np.ndarray)' if dtype in WIDE else ''}"


def state(dtypes: Sequence[str]) -> Any:
    """One array as it is, layers one by one, and layers stacked on axis 1, of each dtype."""
    specs: dict[Keys, str] = {}
    for dtype in dtypes:
        specs["plain", dtype] = _spec(dtype, f"4,{WIDTH}")
        specs["scan", dtype] = _spec(dtype, f"4,{LAYERS},{WIDTH}")
        specs |= {("layers", str(n), dtype): _spec(dtype, f"4,{WIDTH}") for n in range(LAYERS)}
    for impl in KEYS:
        specs["plain", impl] = f"key<{impl}>[]"
        specs["scan", impl] = f"key<{impl}>[4,{LAYERS}]"
        specs |= {("layers", str(n), impl): f"key<{impl}>[4]" for n in range(LAYERS)}
    return tree_of({path: random_leaf(spec, str(path)) for path, spec in specs.items()})


def save(written: Written, folder: Path) -> None:
    """Save `state` at `folder`, in many chunks or one an array; sharded over devices if there are several."""
    tree = state(written.dtypes)
    if len(jax.devices()) > 1:
        mesh = jax.sharding.Mesh(np.array(jax.devices()), ("x",))
        tree = jax.tree.map(lambda leaf: _sharded(leaf, mesh), tree)
    save_item(tree, folder, written.storage, chunk_bytes=2000 if written.chunks == "small" else None)


def _sharded(leaf: Any, mesh: Any) -> Any:
    if not isinstance(leaf, jax.Array) or leaf.ndim < 2:
        return leaf
    by_rows = jax.P("x")  # type: ignore[no-untyped-call]  # jax says nothing of it
    return jax.device_put(leaf, jax.sharding.NamedSharding(mesh, by_rows))


def save_sharded(written: Written, folder: Path) -> None:
    """The same on four devices, which need a process of their own."""
    code = (
        "from pathlib import Path; from tests.engine.states import *\n"
        f"save(Written(Storage({written.storage.ocdbt}, {written.storage.zarr_format}), 'sharded'), "
        f"Path({str(folder)!r}))"
    )
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    root = Path(__file__).parent.parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env=flags, capture_output=True)


def in_one_data_file(source: Path, folder: Path) -> Path:
    """The item `source` with all its values in one file: orbax spreads them as its threads happen to run."""
    data = shutil.ignore_patterns("d", "ocdbt.process_*", OCDBT_MANIFEST)
    shutil.copytree(source, folder, ignore=data)
    before = ts.KvStore.open(ocdbt_spec(source)).result()
    transaction = ts.Transaction(atomic=True)
    after = ts.KvStore.open(ocdbt_spec(folder)).result().with_transaction(transaction)
    for key in before.list().result():
        after.write(key, before[key]).result()
    transaction.commit_sync()
    assert len(list((folder / "d").iterdir())) == 1
    return folder


def restored(folder: Path) -> Values:
    """What orbax restores, bit for bit."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        found = checkpointer.metadata(folder).item_metadata.tree
        wanted = jax.tree.map(lambda leaf: _args(leaf, here), found)
        tree = checkpointer.restore(folder, args=ocp.args.PyTreeRestore(restore_args=wanted))
    return {
        ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path): _bits(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _args(leaf: Any, here: Any) -> ocp.RestoreArgs:
    """To this one device, whatever it was saved from; numpy arrays stay what they are."""
    if getattr(leaf, "sharding", None) is None:
        return ocp.RestoreArgs()
    return ocp.ArrayRestoreArgs(sharding=here)


def _bits(leaf: Any) -> tuple[str, tuple[int, ...], bytes]:
    if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        words = np.asarray(jax.random.key_data(leaf))
        return f"key<{jax.random.key_impl(leaf)}>", words.shape, words.tobytes()
    array = np.asarray(leaf)
    return str(array.dtype), array.shape, array.tobytes()


def conversions(written: Written) -> dict[str, Op]:
    """By the target's name: a rename, stacks and an unstack of every dtype, and what rules may ask for."""
    ops: dict[str, Op] = {}
    for kind in [*written.dtypes, *KEYS]:
        layers = tuple(_copy("layers", str(n), kind) for n in range(LAYERS))
        ops[f"renamed.{kind}"] = _copy("plain", kind)
        if kind in FEW:
            ops[f"first.{kind}"] = Stack(parts=layers, axis=0)
        ops[f"second.{kind}"] = Stack(parts=layers, axis=1)
        ops |= {f"layer_{n}.{kind}": Take(of=_copy("scan", kind), axis=1, index=n) for n in range(LAYERS)}
        if kind in FEW:
            scan = _copy("scan", kind)
            ops[f"moved.{kind}"] = MoveAxis(of=scan, source=1, destination=0)
            ops[f"back.{kind}"] = MoveAxis(of=scan, source=0, destination=2)
            ops[f"joined.{kind}"] = Concat(parts=layers, axis=1)
            ops[f"across.{kind}"] = Concat(parts=layers, axis=0)
            ops |= {f"part_{n}.{kind}": Split(of=scan, axis=2, index=n, count=4) for n in range(4)}
            ops[f"both.{kind}"] = Split(
                of=MoveAxis(of=scan, source=1, destination=0), axis=1, index=1, count=2
            )
    return ops


def _copy(*names: str) -> Copy:
    return Copy(source=Ref(path=KeyPath.of(*names)))


def expected(source: Values, ops: dict[str, Op]) -> Values:
    """The same by numpy, of what orbax restores from the source."""
    out: Values = {}
    for name, op in ops.items():
        match op:
            case Copy(source=ref):
                out[name] = source[ref.path.param_name]
            case Stack(parts=parts, axis=axis):
                found = [source[part.source.path.param_name] for part in parts if isinstance(part, Copy)]
                arrays = [_words(value) for value in found]
                stacked = np.stack(arrays, axis)
                out[name] = (found[0][0], stacked.shape[:-1], stacked.tobytes())
            case Take(of=Copy(source=ref), axis=axis, index=index):
                value = source[ref.path.param_name]
                taken = np.ascontiguousarray(np.take(_words(value), index, axis))
                out[name] = (value[0], taken.shape[:-1], taken.tobytes())
            case MoveAxis() | Concat() | Split():
                words = _of_rules(op, source)
                dtype = source[next(refs(op)).path.param_name][0]
                out[name] = (dtype, words.shape[:-1], np.ascontiguousarray(words).tobytes())
            case _:
                raise AssertionError(op)
    return out


def _of_rules(op: Op, source: Values) -> "np.ndarray[Any, Any]":
    match op:
        case Copy(source=ref):
            return _words(source[ref.path.param_name])
        case MoveAxis(of=of, source=before, destination=after):
            return np.moveaxis(_of_rules(of, source), before, after)
        case Concat(parts=parts, axis=axis):
            return np.concatenate([_of_rules(part, source) for part in parts], axis)
        case Split(of=of, axis=axis, index=index, count=count):
            return np.split(_of_rules(of, source), count, axis)[index]
        case _:
            raise AssertionError(op)


def _words(value: tuple[str, tuple[int, ...], bytes]) -> "np.ndarray[Any, Any]":
    """The bytes of each element on a last axis of their own, so that any dtype will do."""
    _, shape, data = value
    raw = np.frombuffer(data, np.uint8)
    return raw.reshape(*shape, raw.size // int(np.prod(shape)))


def opened(folder: Path) -> Items:
    """The item at `folder` as the source of a plan."""
    item = open_item(Location(item=folder))
    assert item.problems == ()
    return {Origin.SOURCE: item}


def codec_of(zarr: ZarrV2 | ZarrV3) -> object:
    """How chunks are encoded, whatever their shape."""
    if isinstance(zarr, ZarrV2):
        return (zarr.model_extra or {}).get("compressor")
    (sharding,) = zarr.codecs
    settings = sharding["configuration"]
    assert isinstance(settings, dict)
    return settings["codecs"]


def level_of(zarr: ZarrV2 | ZarrV3) -> object:
    """Of zstd; None where chunks are not compressed."""
    match codec_of(zarr):
        case None | [{"name": "bytes"}]:
            return None
        case {"id": "zstd", "level": level}:
            return level
        case [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": level}}]:
            return level
        case other:
            raise AssertionError(other)


def write(
    ops: Mapping[str, Op],
    source: Path,
    target: Path,
    effort: Effort | None = None,
    storing: Storing | None = None,
) -> Settled:
    """Let the engine write `ops` into an item at `target`, in the storage form of the source."""
    items = opened(source)
    item = items[Origin.SOURCE]
    values = {entry.path: entry.value for entry in item.inventory.entries}
    writes = [
        Write(target=KeyPath.of(*name.split(".", 1)), value=result(op, lambda ref: values[ref.path]), op=op)
        for name, op in ops.items()
    ]
    router = Router(items, item.storage, storing or Storing())
    settled = settle([router.route(one) for one in writes], item.storage)
    part = Part(Place.ITEM, ROOT, settled)
    write_item(part, items, target, item.storage, None, effort or Effort(), Silent())
    return settled
