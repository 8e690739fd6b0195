"""Each kind of rule: what it is held against, the rule, and what must come of it by numpy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.support.small import Specs

Arrays = Mapping[str, Any]
Make = Callable[[Arrays], Any]


@dataclass(frozen=True)
class Kind:
    """`wanted`: by the path in NNX, made of the arrays of Linen by their paths."""

    params: Specs
    rules: str
    wanted: dict[str, Make]


def same(path: str) -> Make:
    return lambda arrays: arrays[path]


def layer(path: str, axis: int, n: int) -> Make:
    return lambda arrays: np.take(arrays[path], n, axis)


def piece(path: str, axis: int, n: int, count: int) -> Make:
    return lambda arrays: np.split(arrays[path], count, axis)[n]


COUNT = 11
"""So that `layers_10` stands before `layers_2` on disk."""
GATES = ("ii", "if", "ig", "io")
DENSE: Specs = {("Dense_0", "kernel"): "float32[4,6]", ("Dense_0", "bias"): "float32[6]"}
LAYERS: Specs = {(f"layers_{n}", "w"): "float32[4,6]" for n in range(COUNT)}
CELL: Specs = {("cell", gate, "kernel"): "bfloat16[4,2]" for gate in GATES}
SCAN: Specs = {("scan", "w"): "float32[4,3,6]"}

REST = """
[[rule]]
from = "params/Dense_0/*"
to = "head/*"
"""
LITERAL = """
[[rule]]
from = "params/Dense_0/bias"
to = "b"
[[rule]]
from = "params/*"
to = "*"
"""
NUMBER = """
[[rule]]
from = "params/layers_{i}/*"
to = "layers/{i}/*"
"""
ARITHMETIC = r"""
[[rule]]
match = 'params/layers_(\d+)/(.*)'
to = "conv{1+1}/{2}"
"""
KEYS = """
[[rule]]
path = ["params", "odd", "a/b"]
to_path = ["n", "('a',)"]
"""
STACK = """
[[rule]]
from = "params/layers_{i}/*"
to = "layers/*"
op = { stack = { axis = 1 } }
"""
STACK_BY = r"""
[[rule]]
match = 'params/layers_(\d+)/(.*)'
to = "{2}"
op = { stack = { by = 1, axis = -1 } }
"""
UNSTACK = """
[[rule]]
from = "params/scan/*"
to = "l/{i}/*"
op = { unstack = { axis = 1 } }
"""
MOVE = """
[[rule]]
from = "params/scan/*"
to = "s/*"
op = { move_axis = { from = 1, to = 0 } }
"""
CONCAT = """
[[rule]]
from = ["params/cell/ii/*", "params/cell/if/*", "params/cell/ig/*", "params/cell/io/*"]
to = "dense_i/*"
op = { concat = { axis = -1 } }
"""
SPLIT = """
[[rule]]
from = "params/fused/*"
to = ["a/*", "b/*", "c/*"]
op = { split = { axis = 1 } }
"""

KINDS: dict[str, Kind] = {
    "rest": Kind(DENSE, REST, {f"head/{name}": same(f"Dense_0/{name}") for name in ("kernel", "bias")}),
    "literal": Kind(DENSE, LITERAL, {"b": same("Dense_0/bias"), "Dense_0/kernel": same("Dense_0/kernel")}),
    "number": Kind(LAYERS, NUMBER, {f"layers/{n}/w": same(f"layers_{n}/w") for n in range(COUNT)}),
    "arithmetic": Kind(LAYERS, ARITHMETIC, {f"conv{n + 1}/w": same(f"layers_{n}/w") for n in range(COUNT)}),
    "keys": Kind({("odd", "a/b"): "float32[2]"}, KEYS, {"n/('a',)": same("odd/a/b")}),
    "stack": Kind(
        LAYERS, STACK, {"layers/w": lambda p: np.stack([p[f"layers_{n}/w"] for n in range(COUNT)], 1)}
    ),
    "stack-by": Kind(
        LAYERS, STACK_BY, {"w": lambda p: np.stack([p[f"layers_{n}/w"] for n in range(COUNT)], -1)}
    ),
    "unstack": Kind(SCAN, UNSTACK, {f"l/{n}/w": layer("scan/w", 1, n) for n in range(3)}),
    "move": Kind(SCAN, MOVE, {"s/w": lambda p: np.moveaxis(p["scan/w"], 1, 0)}),
    "concat": Kind(
        CELL,
        CONCAT,
        {"dense_i/kernel": lambda p: np.concatenate([p[f"cell/{gate}/kernel"] for gate in GATES], -1)},
    ),
    "split": Kind(
        {("fused", "kernel"): "float32[4,6]"},
        SPLIT,
        {f"{name}/kernel": piece("fused/kernel", 1, n, 3) for n, name in enumerate("abc")},
    ),
}
