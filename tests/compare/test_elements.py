"""What two arrays differ in, however they are cut into tiles."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from linen_nnx.convert.compare.elements import Tally
from linen_nnx.convert.compare.units import slab_of, tiles
from linen_nnx.convert.engine.evaluate import numpy_dtype
from linen_nnx.schema.array import ArraySpec, DType
from linen_nnx.schema.difference import Tolerance

Array = np.ndarray[Any, Any]
FLOATS = hnp.arrays(np.float32, (3, 4), elements=st.floats(width=32))
STEPS = st.tuples(st.integers(1, 3), st.integers(1, 4))


def tally(one: Array, other: Array, step: tuple[int, ...], tolerance: Tolerance | None = None) -> Tally:
    spec = ArraySpec(shape=one.shape, dtype=DType(one.dtype.name))
    found = Tally(spec, spec, tolerance)
    for region in tiles(one.shape, step):
        found.add(tuple(part.start for part in region), one[region], other[region])
    return found


@given(one=FLOATS, other=FLOATS, mix=hnp.arrays(bool, (3, 4)), step=STEPS)
def test_counts_places_and_extremes_are_those_of_the_whole_array(
    one: Array, other: Array, mix: Array, step: tuple[int, int]
) -> None:
    other = np.where(mix, one, other)
    found = tally(one, other, step).statistics()
    differs = one.view(np.uint32) != other.view(np.uint32)
    assert found.differing == found.beyond == differs.sum()
    nan, nan_other = np.isnan(one), np.isnan(other)
    assert found.nans == (differs & (nan != nan_other)).sum()
    assert found.zero_signs == (differs & (one == 0) & (other == 0)).sum()
    assert (found.first is not None) is bool(differs.any())
    if found.first is not None:
        assert differs[found.first.index]
        assert (found.first.a, found.first.b) == tuple(str(side[found.first.index]) for side in (one, other))
    numbers = differs & ~nan & ~nan_other
    if numbers.any():
        with np.errstate(invalid="ignore"):
            away = np.abs(one.astype(float) - other.astype(float))[numbers]
        assert found.max_abs == away.max()
        assert found.largest is not None
    else:
        assert found.max_abs is None


@given(
    one=FLOATS,
    other=FLOATS,
    mix=hnp.arrays(bool, (3, 4)),
    step=STEPS,
    at=st.integers(0, 12),
    tolerant=st.booleans(),
)
def test_what_several_threads_found_is_joined_to_what_one_would_have(
    one: Array, other: Array, mix: Array, step: tuple[int, int], at: int, tolerant: bool
) -> None:
    other = np.where(mix, one, other)
    spec = ArraySpec(shape=one.shape, dtype=DType.FLOAT32)
    asked = Tolerance(atol=0.1, rtol=0.1) if tolerant else None
    whole = Tally(spec, spec, asked, 2.0)
    joined, early, late = whole.fresh(), whole.fresh(), whole.fresh()
    for position, region in enumerate(tiles(one.shape, step)):
        corner = tuple(part.start for part in region)
        for found in (whole, early if position < at else late):
            found.add(corner, one[region], other[region])
    joined.join(early)
    joined.join(late)
    assert joined.statistics() == whole.statistics()
    assert (joined.seen_scale, joined.nonzero, joined.corners) == (
        whole.seen_scale,
        whole.nonzero,
        whole.corners,
    )


@given(st.lists(st.integers(0, 9), max_size=4), st.integers(1, 16), st.integers(1, 4000))
def test_slabs_follow_one_another_in_the_order_of_the_elements(
    shape: list[int], itemsize: int, nbytes: int
) -> None:
    order = np.arange(int(np.prod(shape, dtype=int))).reshape(shape)
    step = slab_of(shape, itemsize, nbytes)
    slabs = [order[region] for region in tiles(shape, step)] if order.size else []
    assert np.array_equal(np.concatenate([[], *(slab.reshape(-1) for slab in slabs)]), order.reshape(-1))
    assert all(slab.size * itemsize <= max(nbytes, itemsize) for slab in slabs)


@given(value=st.floats(-1, 1, width=32).filter(lambda x: x <= 0 or x > 2**-120), away=st.integers(1, 1000))
def test_the_distance_of_a_float_to_one_further_is_counted_in_ulps(value: float, away: int) -> None:
    one = np.asarray([value], np.float32)
    other = one.copy()
    for _ in range(away):
        other = np.nextafter(other, np.float32(0 if value > 0 else 1))
    assert tally(one, other, (1,)).ulps == away


@given(one=FLOATS, step=STEPS, atol=st.floats(0, 1), rtol=st.floats(0, 1), other=FLOATS)
def test_within_tolerance_is_what_the_formula_says(
    one: Array, other: Array, step: tuple[int, int], atol: float, rtol: float
) -> None:
    tolerance = Tolerance(atol=atol, rtol=rtol)
    finite = one[np.isfinite(one)].astype(float)
    scale = float(np.abs(finite).max(initial=0.0))
    spec = ArraySpec(shape=one.shape, dtype=DType.FLOAT32)
    found = Tally(spec, spec, tolerance, scale)
    for region in tiles(one.shape, step):
        found.add(tuple(part.start for part in region), one[region], other[region])
    wide, wide_other = one.astype(float), other.astype(float)
    with np.errstate(invalid="ignore"):
        size = np.maximum(np.abs(wide), np.abs(wide_other))
        size = np.where(np.isinf(size), 0.0, size)
        near = np.abs(wide - wide_other) <= atol * scale + rtol * size
    near |= np.isnan(wide) & np.isnan(wide_other)
    differs = one.view(np.uint32) != other.view(np.uint32)
    assert found.beyond == (differs & ~near).sum()


@pytest.mark.parametrize("dtype", DType)
def test_every_dtype_is_equal_to_itself_and_one_element_that_differs_is_found(dtype: DType) -> None:
    kind = numpy_dtype(dtype)
    one = np.zeros((2, 3), np.int8).astype(kind)
    other = one.copy()
    other[1, 2] = np.ones((), np.int8).astype(kind)
    assert tally(one, one.copy(), (1, 3)).differing == 0
    if other[1, 2] == one[1, 2]:
        # A format of powers of two alone has no zero: its zero is another of its values.
        other[1, 2] = np.asarray(2.0).astype(kind)
    found = tally(one.T, other.T, (3, 1)).statistics()
    assert (found.differing, found.first is not None and found.first.index) == (1, (2, 1))
