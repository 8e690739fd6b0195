"""Decode a chunk that spans layers so that each layer's elements come to lie together.

What is decoded at a time stays in the core's cache until it is where it belongs: the chunk as a whole is
written to memory once.
"""

from math import gcd

import numpy as np

from linen_nnx.convert.engine.buffers import Buffers
from linen_nnx.convert.engine.codec import Elements

_RUN = 2**16
"""Bytes from which on a run is decoded to its place at once."""
_PIECE = 2**18

Shape = tuple[int, int, int]
"""Layers, runs of each, and bytes of a run: what lies together in the chunk, too."""


def piece_nbytes(shape: Shape) -> int:
    """Bytes that `take_apart` holds beside the layers."""
    layers, runs, run = shape
    return 0 if runs == 1 or run >= _RUN else _rows(shape) * layers * run


def take_apart(elements: Elements, out: memoryview, shape: Shape, buffers: Buffers) -> None:
    """Fill `out` with the first layer, then the second, and so on. Raises `ValueError`."""
    layers, runs, run = shape
    if runs == 1:
        elements.fill(out)
    elif run >= _RUN:
        for at in range(runs):
            for layer in range(layers):
                start = (layer * runs + at) * run
                elements.fill(out[start : start + run])
    else:
        _by_pieces(elements, out, shape, buffers.get("piece", piece_nbytes(shape)))
    elements.end()


def _by_pieces(elements: Elements, out: memoryview, shape: Shape, piece: memoryview) -> None:
    layers, runs, run = shape
    # The widest unsigned integer of which a run has a whole number: fewer steps for short runs.
    word = np.dtype(f"u{gcd(run, 8)}")
    apart = np.frombuffer(out, word).reshape(layers, runs, -1)
    for first in range(0, runs, rows := _rows(shape)):
        rows = min(rows, runs - first)
        taken = piece[: rows * layers * run]
        elements.fill(taken)
        together = np.frombuffer(taken, word).reshape(rows, layers, -1)
        np.copyto(apart[:, first : first + rows], together.swapaxes(0, 1))


def _rows(shape: Shape) -> int:
    """How many runs of every layer are decoded at a time."""
    layers, runs, run = shape
    return min(runs, max(1, _PIECE // (layers * run)))
