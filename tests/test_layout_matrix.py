"""The matrix in docs/layouts.md is what the code does. Run this file as a script to print it anew."""

from pathlib import Path
from typing import Any

import numpy as np

from linen_nnx import ConversionError, ConversionOptions, Layout, convert_tree
from linen_nnx.convert.memory import Converted
from linen_nnx.schema.array import ArrayValue

PAGE = Path(__file__).parent.parent / "docs" / "layouts.md"
BEGIN, END = "<!-- matrix -->\n", "<!-- end of matrix -->"
LAYERS = 3


def _array(*shape: int) -> "np.ndarray[Any, Any]":
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


def _weights() -> dict[str, Any]:
    layers = {str(n): {"mlp": {"kernel": _array(4, 5), "bias": _array(5)}} for n in range(LAYERS)}
    return {
        "decoder": {"layers": layers, "norm": {"scale": _array(4)}},
        "token_embedder": {"embedding": _array(7, 4)},
    }


def native_nnx() -> dict[str, Any]:
    """A whole NNX state: weights, moments, step, PRNG streams."""
    model = _weights()
    model["decoder"]["rngs"] = {"dropout": {"count": np.zeros((), np.uint32), "key": np.zeros(2, np.uint32)}}
    count = np.zeros((), np.int32)
    chain = {"0": {"count": count, "mu": _weights(), "nu": _weights()}, "2": {"count": count}}
    return {"model": model, "optimizer": {"step": np.zeros((), np.uint32), "opt_state": chain}}


def replicas() -> dict[str, Any]:
    """Two replicas of the same state in an NNX run, and the outer state."""

    def twice(node: Any) -> Any:
        match node:
            case dict():
                return {name: twice(child) for name, child in node.items()}
            case list():
                return [twice(child) for child in node]
            case None:
                return None
            case _:
                return np.stack([node, node])

    maxtext = convert_tree(native_nnx(), Layout.MAXTEXT).tree
    weights = maxtext["params"]
    return {
        "step": maxtext["step"],
        "params": weights,
        "outer_opt_state": [{"trace": weights["params"]}, None],
        "inner_state": twice(maxtext),
    }


def source(layout: Layout) -> dict[str, Any]:
    """The same state in each layout."""
    if layout is Layout.DILOCO:
        return replicas()
    return convert_tree(native_nnx(), layout).tree


def cell(before: Layout, after: Layout) -> str:
    """What becomes of a state, in words."""
    try:
        done = convert_tree(source(before), after, ConversionOptions())
    except ConversionError as error:
        return f"refused: `{error.problems[0].code.value}`"
    return _said(done)


def _said(done: Converted) -> str:
    aside = [write for write in done.plan.side_writes if isinstance(write.value, ArrayValue)]
    rules = sorted({drop.rule.value for drop in done.plan.drops})
    if rules:
        return f"drops by `{'`, `'.join(rules)}`"
    if aside:
        return "exact; PRNG streams aside"
    return "exact; empty states aside" if done.plan.side_writes else "exact"


def matrix() -> str:
    """The table of the page."""
    layouts = [Layout.LINEN, Layout.MAXTEXT, Layout.NNX, Layout.TUNIX, Layout.PARAMS, Layout.DILOCO]
    lines = [
        "| from \\ to | " + " | ".join(layout.value for layout in layouts) + " |",
        "|---" * (len(layouts) + 1) + "|",
        *(
            f"| **{before.value}** | " + " | ".join(cell(before, after) for after in layouts) + " |"
            for before in layouts
        ),
    ]
    return "\n".join(lines) + "\n"


def test_the_matrix_of_the_manual_is_what_the_code_does() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page[page.index(BEGIN) + len(BEGIN) : page.index(END)] == matrix()


if __name__ == "__main__":
    print(matrix())  # noqa: T201
