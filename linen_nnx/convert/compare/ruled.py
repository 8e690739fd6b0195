"""Hold a checkpoint that rules have made against its source: the plan is made again, and each value with it.

Rules give variables other names and shapes, so leaves of the two sides cannot be paired by what they are
called. The receipt has the rules; what they make of the source must be what stands there.
"""

from collections.abc import Iterator

import numpy as np

from linen_nnx.convert.compare.elements import Tally
from linen_nnx.convert.compare.told import values_differ
from linen_nnx.convert.engine.reader import Reader
from linen_nnx.convert.engine.regions import Region, Regions
from linen_nnx.convert.planner import plan
from linen_nnx.convert.reading import lift_source
from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.convert.store.read import StoredArray, open_array
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.difference import Statistics
from linen_nnx.schema.ops import Origin
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Write, same_content
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.zarr import chunk_grid


def leads_across(options: ConversionOptions, source: OrbaxItem, target: OrbaxItem) -> bool:
    """Whether rules led from the one to the other. Raises `LayoutError`."""
    if options.rules is None and options.spec is None:
        return False
    return lift_source(source).form.layout.is_nnx != lift_source(target).form.layout.is_nnx


def ruled_problems(source: OrbaxItem, target: OrbaxItem, options: ConversionOptions) -> list[Problem]:
    """Every array of `target` that is not what `options` make of `source`, bit for bit.

    Variables of the target that come from a template are not looked at. Raises `LayoutError`,
    `ConversionError`, `StorageError`.
    """
    items = {Origin.SOURCE: source}
    if source.side is not None and source.side.item is not None:
        items[Origin.SIDE] = source.side.item
    writes = [write for write in plan(source, options).item_writes if isinstance(write.value, ArrayValue)]
    found = target.inventory.by_path
    out = []
    for write in writes:
        value = found.get(write.target)
        if not isinstance(value, ArrayValue) or not same_content(value, write.value):
            out.append(_problem(write.target, str(write.value), str(value or "nothing")))
        elif (counted := _counted(write, value, items, target.arrays[write.target])).differing:
            out.append(values_differ(write.target, counted, "what the rules make of the source"))
    return out


def _counted(write: Write, value: ArrayValue, items: Items, stored: StoredArray) -> Statistics:
    made, array = Regions(Reader(items, cache=0)), open_array(stored)
    tally = Tally(value.spec, value.spec)
    for region in _regions(stored):
        wanted, found = (np.asarray(a) for a in (made.read(write.op, region), array[region].read().result()))
        tally.add(tuple(part.start for part in region), wanted, found)
    return tally.statistics()


def _regions(stored: StoredArray) -> Iterator[Region]:
    """A chunk at a time."""
    zarr = stored.zarr
    for index in chunk_grid(zarr):
        sizes = zip(index, zarr.chunk_shape, zarr.shape, strict=True)
        yield tuple(slice(at * part, min((at + 1) * part, size)) for at, part, size in sizes)


def _problem(path: KeyPath, expected: str, found: str) -> Problem:
    return Problem(code=Code.VALUE_DIFFERS, path=path, expected=expected, found=found)
