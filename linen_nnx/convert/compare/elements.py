"""Two numpy arrays of one shape, element by element: what differs, by how much, and where.

Bits decide: a NaN equals a NaN of the same bits, and -0.0 is not 0.0.
"""

from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from linen_nnx.schema.array import ArraySpec, DType
from linen_nnx.schema.difference import Element, Statistics, Tolerance

Array = np.ndarray[Any, Any]

_AT_ONCE = 2**20
"""Elements that are looked at as wide floats at a time."""
_NARROW = frozenset({"int2", "uint2", "int4", "uint4"})
"""Only some bits of their byte count."""
_UNSIGNED = frozenset({DType.FLOAT8_E8M0FNU, DType.FLOAT4_E2M1FN})


def is_float(spec: ArraySpec) -> bool:
    """Whether tolerances apply: counts, steps and keys are exact."""
    return spec.dtype.value.startswith(("float", "bfloat", "complex"))


def is_number(spec: ArraySpec) -> bool:
    """Whether differences mean something."""
    return spec.key_impl is None and spec.dtype is not DType.BOOL


@dataclass
class Tally:
    """What is known so far of one leaf, tile by tile."""

    a: ArraySpec
    b: ArraySpec
    tolerance: Tolerance | None = None
    scale: float | None = None
    """Of the whole leaf, where an earlier pass found it; a tolerance by scale needs it."""
    differing: int = 0
    beyond: int = 0
    first: Element | None = None
    largest: Element | None = None
    max_abs: float | None = None
    max_rel: float | None = None
    ulps: int | None = None
    seen_scale: float = 0.0
    nans: int = 0
    zero_signs: int = 0
    nonzero: list[bool] = field(default_factory=lambda: [False, False])
    corners: tuple[bytes, bytes] | None = None
    """The first element of each side, to find the leaf elsewhere."""
    _at: tuple[int, ...] = ()

    def add(self, at: tuple[int, ...], one: Array, other: Array) -> None:
        """Take in a tile that begins at `at`."""
        self._at = at
        if not any(at):
            self.corners = _corner(one), _corner(other)
        if self.wants_scale:
            self.seen_scale = max(self.seen_scale, _scale(one))
        for side, data in enumerate((one, other)):
            self.nonzero[side] = self.nonzero[side] or bool(_words(data).any())
        if self.a.dtype is self.b.dtype:
            mask = _words(one) != _words(other)
            differs = mask if mask.ndim == one.ndim else mask.any(axis=-1)
        else:
            wide, wide_other = _wide(one), _wide(other)
            differs = (wide != wide_other) & ~(np.isnan(wide) & np.isnan(wide_other))
        if differs.any():
            self._differ(one, other, np.flatnonzero(differs))

    @property
    def wants_scale(self) -> bool:
        """Whether every value must be seen: a tolerance by the array's own scale was given."""
        return self.tolerance is not None and self.tolerance.atol > 0 and is_float(self.a)

    def skipped(self) -> None:
        """A tile was found equal unread: nothing is known of its zeros."""
        self.nonzero = [True, True]

    def fresh(self) -> "Tally":
        """Of the same leaf, with nothing taken in."""
        return Tally(self.a, self.b, self.tolerance, self.scale)

    def join(self, later: "Tally") -> None:
        """Take in what was found in tiles that come after these."""
        if self.first is None or (later.beyond and not self.beyond):
            self.first = later.first or self.first
        if later.max_abs is not None and (self.max_abs is None or later.max_abs > self.max_abs):
            self.max_abs, self.largest = later.max_abs, later.largest
        self.max_rel = _larger(self.max_rel, later.max_rel)
        self.ulps = _larger(self.ulps, later.ulps)
        self.differing += later.differing
        self.beyond += later.beyond
        self.nans += later.nans
        self.zero_signs += later.zero_signs
        self.seen_scale = max(self.seen_scale, later.seen_scale)
        self.nonzero = [one or other for one, other in zip(self.nonzero, later.nonzero, strict=True)]
        self.corners = self.corners or later.corners

    def _differ(self, one: Array, other: Array, where: "np.ndarray[Any, np.dtype[np.intp]]") -> None:
        self.differing += len(where)
        flat, flat_other = one.reshape(-1), other.reshape(-1)
        for start in range(0, len(where), _AT_ONCE):
            part = where[start : start + _AT_ONCE]
            self._count(one.shape, part, flat[part], flat_other[part])

    def _count(self, shape: tuple[int, ...], where: Array, x: Array, y: Array) -> None:
        within = np.zeros(len(where), bool)
        if is_number(self.a) and is_number(self.b):
            within = self._measure(shape, where, x, y)
        self.beyond += len(where) - int(within.sum())
        outside = np.flatnonzero(~within)
        if len(outside) and (self.first is None or self.beyond == len(outside)):
            self.first = self._element(shape, where, x, y, int(outside[0]))
        elif self.first is None:
            self.first = self._element(shape, where, x, y, 0)

    def _measure(self, shape: tuple[int, ...], where: Array, x: Array, y: Array) -> Array:
        wide, other = _wide(x), _wide(y)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            away = np.abs(wide - other)
            # Two infinities of complex numbers: their distance is none.
            away[np.isnan(away)] = np.inf
            size = np.maximum(np.abs(wide), np.abs(other))
            relative = np.where(np.isinf(away), np.inf, np.where(size > 0, away / size, 0.0))
        nan, nan_other = np.isnan(wide), np.isnan(other)
        self.nans += int((nan != nan_other).sum())
        numbers = ~(nan | nan_other)
        if is_float(self.a):
            self.zero_signs += int((numbers & (away == 0) & (size == 0)).sum())
        if numbers.any():
            here = int(np.argmax(np.where(numbers, away, -1.0)))
            if self.max_abs is None or away[here] > self.max_abs:
                self.max_abs = float(away[here])
                self.largest = self._element(shape, where, x, y, here)
            self.max_rel = max(self.max_rel or 0.0, float(relative[numbers].max()))
            self._distance(x[numbers], y[numbers])
        if self.tolerance is None or not is_float(self.a) or self.a.dtype is not self.b.dtype:
            return np.zeros(len(where), bool)
        absolute = self.tolerance.atol * (self.scale if self.scale is not None else 0.0)
        near = numbers & (away <= absolute + self.tolerance.rtol * np.where(np.isinf(size), 0.0, size))
        return np.asarray(near | (nan & nan_other))

    def _distance(self, x: Array, y: Array) -> None:
        floats = self.a.dtype.value.startswith(("float", "bfloat")) and self.a.dtype not in _UNSIGNED
        if not floats or self.a.dtype is not self.b.dtype:
            return
        bits = 8 * x.dtype.itemsize
        (sign, size), (sign_other, size_other) = (_sign_and_size(v, bits) for v in (x, y))
        apart = np.where(
            sign == sign_other, np.maximum(size, size_other) - np.minimum(size, size_other), size + size_other
        )
        self.ulps = max(self.ulps or 0, int(apart.max()))

    def _element(self, shape: tuple[int, ...], where: Array, x: Array, y: Array, at: int) -> Element:
        inside = np.unravel_index(int(where[at]), shape) if shape else ()
        index = tuple(start + int(i) for start, i in zip(self._at, inside, strict=True))
        return Element(index=index, a=str(x[at]), b=str(y[at]))

    def statistics(self) -> Statistics:
        """What was found."""
        return Statistics(
            elements=self.a.size,
            differing=self.differing,
            beyond=self.beyond,
            first=self.first,
            largest=self.largest,
            max_abs=self.max_abs,
            max_rel=self.max_rel,
            ulps=self.ulps,
            scale=self.scale,
            nans=self.nans,
            zero_signs=self.zero_signs,
        )


N = TypeVar("N", int, float)


def _larger(one: N | None, other: N | None) -> N | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _words(data: Array) -> Array:
    """The bits as unsigned integers; one more axis where an element has more than eight bytes."""
    if data.dtype.name in _NARROW:
        data = data.astype(np.int8)
    size = data.dtype.itemsize
    if size <= 8:
        return data.view(np.dtype(f"u{size}"))
    return np.ascontiguousarray(data).reshape(*data.shape, 1).view(np.uint64)


def _wide(data: Array) -> Array:
    """The values as floats that hold those of every dtype; integers beyond 2**53 are rounded."""
    with np.errstate(invalid="ignore"):  # a signalling NaN stays a NaN
        return data.astype(np.complex128 if data.dtype.kind == "c" else np.float64)


def _scale(data: Array) -> float:
    """The largest finite magnitude."""
    largest = 0.0
    flat = data.reshape(-1)
    for start in range(0, flat.size, _AT_ONCE):
        size = np.abs(_wide(flat[start : start + _AT_ONCE]))
        largest = max(largest, float(size[np.isfinite(size)].max(initial=0.0)))
    return largest


def _corner(data: Array) -> bytes:
    return bytes(data[(slice(0, 1),) * data.ndim].tobytes())


def _sign_and_size(data: Array, bits: int) -> tuple[Array, Array]:
    words = data.view(np.dtype(f"u{bits // 8}")).astype(np.uint64)
    high = np.uint64(1 << (bits - 1))
    return words >= high, words & (high - np.uint64(1))
