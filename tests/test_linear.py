"""Work grows with the number of arrays, and not with its square. No clock is read here."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks.planning import SHAPES, Shape, make
from linen_nnx import ConversionOptions, LayerStacking, inspect, plan, validate
from linen_nnx.convert.layers.recognise import recognise
from linen_nnx.convert.layers.target import AxisChoice, LayerForm
from linen_nnx.convert.lifting import lift_variables
from linen_nnx.convert.passes.layers import LayersPass
from linen_nnx.schema.array import ArraySpec, ArrayValue, DType
from linen_nnx.schema.inventory import Entry
from linen_nnx.schema.ir import PARAMS, TrainState
from linen_nnx.schema.layout import LayerNames
from linen_nnx.schema.ops import Origin
from linen_nnx.schema.path import KeyPath
from tests.support.calls import Lines, assert_linear

ARRAYS = (1_000, 2_000, 4_000)

STACKING = {
    "renamed": None,
    "stacked": LayerStacking.STACKED,
    "taken apart": LayerStacking.UNSTACKED,
}


MOST_CALLS = {"renamed": 300, "stacked": 250, "taken apart": 225}
"""For each array of a plan, functions of Python and built-in ones together."""


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_calls_of_a_plan_grow_with_the_arrays(shape: Shape, tmp_path: Path) -> None:
    stacking = STACKING[shape.name]
    options = ConversionOptions(stacking=stacking, layer_axis=None if stacking is None else 0)
    sources = [make(count, tmp_path / str(count), scanned=shape.scanned) for count in ARRAYS]
    plan(sources[0], options=options)  # Modules that are imported, models that are built: once for all.
    calls = assert_linear(partial(plan, source, options=options) for source in sources)
    assert calls <= MOST_CALLS[shape.name] * (ARRAYS[2] - ARRAYS[1])


@pytest.mark.parametrize("read", [inspect, validate], ids=["inspect", "validate"])
def test_the_calls_of_a_reading_grow_with_the_arrays(read: Callable[[Path], object], tmp_path: Path) -> None:
    sources = [make(count, tmp_path / str(count)) for count in ARRAYS]
    read(sources[0])
    assert_linear(partial(read, source) for source in sources)


@pytest.mark.parametrize("before", LayerStacking)
def test_restacking_grows_with_the_layers(before: LayerStacking) -> None:
    """Even of a single parameter: what is done for each layer does not go through all of the layers."""
    after = next(form for form in LayerStacking if form is not before)
    form = LayerForm(stacking=after, names=LayerNames.UNDERSCORE, axis=AxisChoice(stated=0, source=0))

    def restacked(state: TrainState) -> None:
        passed = LayersPass(form=form).apply(state)
        assert not passed.problems
        assert passed.state.groups[0].stacking is after

    restacked(layered(200, before))
    assert_linear((partial(restacked, layered(count, before)) for count in (200, 400, 800)), of=Lines)


def layered(layers: int, stacking: LayerStacking) -> TrainState:
    """A state of one parameter in each of so many layers."""
    if stacking is LayerStacking.STACKED:
        paths, shape = [KeyPath.of("decoder", "layers", "w")], [layers, 4]
    else:
        paths, shape = [KeyPath.of("decoder", f"layers_{n}", "w") for n in range(layers)], [4]
    value = ArrayValue(spec=ArraySpec(shape=tuple(shape), dtype=DType.FLOAT32))
    entries = [Entry(path=path, value=value) for path in paths]
    variables = lift_variables(PARAMS, entries, lambda path: path, Origin.SOURCE)
    return TrainState(variables=variables, groups=recognise(variables))
