"""`to_nnx` and `load`: put a train state into a live NNX model and its optimizer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from linen_nnx.convert.live.arrays import from_disk, like
from linen_nnx.convert.live.filling import Read, Streams, fill
from linen_nnx.convert.live.ruling import AnyRules, ruled, towards
from linen_nnx.convert.memory import prepared
from linen_nnx.convert.planner import plan
from linen_nnx.convert.requirements import unmet
from linen_nnx.convert.spec.live import spec_of_live
from linen_nnx.convert.store.location import locate
from linen_nnx.convert.store.memory_source import MemorySource
from linen_nnx.convert.store.orbax_source import open_item
from linen_nnx.convert.store.protocol import Source
from linen_nnx.convert.store.read import open_array
from linen_nnx.convert.twins import twin_problems
from linen_nnx.schema.errors import CheckpointError, ConversionError, raise_if
from linen_nnx.schema.layout import Layout, Leaves
from linen_nnx.schema.live import LiveReceipt
from linen_nnx.schema.ops import Origin
from linen_nnx.schema.options import Accept, ConversionOptions
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Plan

Plans = Callable[[ConversionOptions], tuple[Plan, Read]]
"""Plan by options, and say how the arrays of the plan are made."""


def into_nnx(
    state: object,
    model: Any,
    optimizer: Any,
    options: ConversionOptions | None,
    rules: AnyRules | None,
    accept: Accept | str,
    rngs: Streams,
) -> LiveReceipt:
    """Fill a model and its optimizer from a live train state of any layout."""

    def planned(asked: ConversionOptions) -> tuple[Plan, Read]:
        made = prepared(state, asked)
        return made.plan, lambda write, live: like(made.leaf(write), live)

    return _into(MemorySource(state), planned, (model, optimizer), options, rules, accept, rngs)


def load(
    path: Path | str,
    model: Any,
    optimizer: Any = None,
    *,
    rules: AnyRules | None = None,
    accept: Accept | str = Accept.PROVED,
    rngs: Streams = "keep",
    options: ConversionOptions | None = None,
    step: int | None = None,
    item: str | None = None,
) -> LiveReceipt:
    """Fill a live NNX model and its optimizer straight from a checkpoint of any layout, Linen or NNX.

    Every array keeps the sharding of the one that it replaces and is read shard by shard onto its devices;
    model and optimizer may be abstract (`nnx.eval_shape`, with shardings or without). Rules, `accept` and
    `rngs` are those of `to_nnx`. All is checked before the first variable changes. Raises `CheckpointError`,
    `ConversionError` with every difference, `StorageError`.
    """
    opened = open_item(locate(Path(path), step, item))
    raise_if(opened.problems, CheckpointError)

    def leaf(at: KeyPath) -> Any:
        return open_array(opened.arrays[at]) if at in opened.arrays else None

    def planned(asked: ConversionOptions) -> tuple[Plan, Read]:
        made = plan(opened, asked)
        items = {Origin.SOURCE: opened}
        if opened.side is not None and opened.side.item is not None:
            items[Origin.SIDE] = opened.side.item
        raise_if([*twin_problems(made.drops, leaf), *unmet(made, items)], ConversionError)
        return made, lambda write, live: from_disk(write, live, items)

    return _into(opened, planned, (model, optimizer), options, rules, accept, rngs)


def _into(
    source: Source,
    planned: Plans,
    objects: tuple[Any, Any],
    options: ConversionOptions | None,
    rules: AnyRules | None,
    accept: Accept | str,
    rngs: Streams,
) -> LiveReceipt:
    spec = spec_of_live(*objects)
    base = towards(Layout.NNX, options).model_copy(update={"leaves": Leaves.BARE})
    asked, found = ruled(source, spec, base, rules, accept)
    made, read = planned(asked)
    doubts = () if found is None else found.problems
    return fill(*objects, made, read, rngs, doubts, asked.rules)
