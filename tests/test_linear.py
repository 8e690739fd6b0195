"""Work grows with the number of arrays, and not with its square. No clock is read here."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks.planning import SHAPES, Shape, make
from linen_nnx import ConversionOptions, LayerStacking, inspect, plan, validate
from tests.support.calls import assert_linear

ARRAYS = (1_000, 2_000, 4_000)

STACKING = {
    "renamed": None,
    "stacked": LayerStacking.STACKED,
    "taken apart": LayerStacking.UNSTACKED,
}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_calls_of_a_plan_grow_with_the_arrays(shape: Shape, tmp_path: Path) -> None:
    stacking = STACKING[shape.name]
    options = ConversionOptions(stacking=stacking, layer_axis=None if stacking is None else 0)
    sources = [make(count, tmp_path / str(count), scanned=shape.scanned) for count in ARRAYS]
    plan(sources[0], options=options)  # Modules that are imported, models that are built: once for all.
    assert_linear(partial(plan, source, options=options) for source in sources)


@pytest.mark.parametrize("read", [inspect, validate], ids=["inspect", "validate"])
def test_the_calls_of_a_reading_grow_with_the_arrays(read: Callable[[Path], object], tmp_path: Path) -> None:
    sources = [make(count, tmp_path / str(count)) for count in ARRAYS]
    read(sources[0])
    assert_linear(partial(read, source) for source in sources)
