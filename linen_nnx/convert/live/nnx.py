"""`to_nnx` and `load`: put a train state into a live NNX model and its optimizer."""

from pathlib import Path
from typing import Any

from linen_nnx.convert.live.arrays import from_disk, like
from linen_nnx.convert.live.filling import Streams, fill
from linen_nnx.convert.memory import prepared
from linen_nnx.convert.planner import plan
from linen_nnx.convert.store.location import locate
from linen_nnx.convert.store.orbax_source import open_item
from linen_nnx.convert.store.read import open_array
from linen_nnx.convert.twins import twin_problems
from linen_nnx.schema.errors import CheckpointError, ConversionError, raise_if
from linen_nnx.schema.layout import Layout, Leaves
from linen_nnx.schema.live import LiveReceipt
from linen_nnx.schema.ops import Origin
from linen_nnx.schema.options import ConversionOptions


def into_nnx(
    state: object, model: Any, optimizer: Any, options: ConversionOptions, rngs: Streams
) -> LiveReceipt:
    """Fill a model and its optimizer from a live train state of any layout."""
    made = prepared(state, _towards(options))
    return fill(model, optimizer, made.plan, lambda write, live: like(made.leaf(write), live), rngs)


def load(
    path: Path | str,
    model: Any,
    optimizer: Any = None,
    *,
    options: ConversionOptions | None = None,
    rngs: Streams = "keep",
    step: int | None = None,
    item: str | None = None,
) -> LiveReceipt:
    """Fill a live NNX model and its optimizer straight from a checkpoint of any layout, Linen or NNX.

    Every array keeps the sharding of the one that it replaces and is read shard by shard onto its devices;
    model and optimizer may be abstract (`nnx.eval_shape`, with shardings or without). All is checked before
    the first variable changes. Raises `CheckpointError`, `ConversionError` with every difference,
    `StorageError`.
    """
    opened = open_item(locate(Path(path), step, item))
    raise_if(opened.problems, CheckpointError)
    made = plan(opened, _towards(options or ConversionOptions()))

    def leaf(at: Any) -> Any:
        return open_array(opened.arrays[at]) if at in opened.arrays else None

    raise_if(twin_problems(made.drops, leaf), ConversionError)
    items = {Origin.SOURCE: opened}
    if opened.side is not None and opened.side.item is not None:
        items[Origin.SIDE] = opened.side.item
    return fill(model, optimizer, made, lambda write, live: from_disk(write, live, items), rngs)


def _towards(options: ConversionOptions) -> ConversionOptions:
    return options.model_copy(update={"to": Layout.NNX, "leaves": Leaves.BARE})
