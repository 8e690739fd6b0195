"""Work grows with the number of arrays, and not with its square. Calls are counted: no clock is read here."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

import pytest

from benchmarks.planning import SHAPES, Shape, make
from linen_nnx import ConversionOptions, LayerStacking, inspect, plan, validate

ARRAYS = (1_000, 2_000, 4_000)

STACKING = {
    "renamed": None,
    "stacked": LayerStacking.STACKED,
    "taken apart": LayerStacking.UNSTACKED,
}


class Calls:
    """Counts every call, of Python functions and of built-in ones."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        self.count += event in ("call", "c_call")

    def __enter__(self) -> "Calls":
        sys.setprofile(self)
        return self

    def __exit__(self, *raised: object) -> None:
        sys.setprofile(None)


def calls_of(work: Callable[[], object]) -> int:
    with Calls() as calls:
        work()
    return calls.count


def assert_linear(counts: Sequence[int]) -> None:
    """Of work for 1, 2 and 4 times as much: the last half takes twice what the second quarter takes."""
    once, twice, four_times = counts
    assert four_times - twice <= 2.1 * (twice - once), counts


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_calls_of_a_plan_grow_with_the_arrays(shape: Shape, tmp_path: Path) -> None:
    stacking = STACKING[shape.name]
    options = ConversionOptions(stacking=stacking, layer_axis=None if stacking is None else 0)
    sources = [make(count, tmp_path / str(count), scanned=shape.scanned) for count in ARRAYS]
    plan(sources[0], options=options)  # Modules that are imported, models that are built: once for all.
    assert_linear([calls_of(partial(plan, source, options=options)) for source in sources])


@pytest.mark.parametrize("read", [inspect, validate], ids=["inspect", "validate"])
def test_the_calls_of_a_reading_grow_with_the_arrays(read: Callable[[Path], object], tmp_path: Path) -> None:
    sources = [make(count, tmp_path / str(count)) for count in ARRAYS]
    read(sources[0])
    assert_linear([calls_of(partial(read, source)) for source in sources])
