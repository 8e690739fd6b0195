"""Random states that AQT quantised: in their own layout exact, in every form; elsewhere refused by name."""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from linen_nnx import Code, ConversionError, ConversionOptions, LayerStacking, Layout
from linen_nnx.convert.memory import convert_tree
from linen_nnx.schema.array import DType
from tests.properties.states import noise
from tests.support.checkpoints import tree_of
from tests.support.entries import Array, Keys, flat

PARTS = ("AqtDotGeneral_0", "qrhs", "frozen")
SIZES = st.integers(5, 9)
"""Of no dimension is the length a number of layers."""


@dataclass(frozen=True)
class Quantised:
    """Layers of kernels that are quantised and of norms that are not, and one kernel beside them."""

    layout: Layout
    layers: int
    kernels: dict[Keys, tuple[int, int]]
    stacked: bool

    def tree(self, *, stacked: bool) -> Any:
        """In one form of the layers; the bits are those of the place in the model."""
        leaves: dict[Keys, Any] = {("token_embedder", "embedding"): bits("embedding", 11, 12)}
        for path, (rows, columns) in self.kernels.items():
            numbers = [None] if path[0] == "logits_dense" else [*range(self.layers)]
            values = [bits(f"{path} {n}", rows, columns, dtype=DType.INT8) for n in numbers]
            scales = [bits(f"{path} {n} scale", 1, columns) for n in numbers]
            for home, index in self._homes(numbers, stacked=stacked):
                at = ("decoder", *home, *path)
                leaves[*at, "kernel"] = {}
                leaves[*at, *PARTS, "qvalue"] = index(values)
                leaves[*at, *PARTS, "scale", 0] = index(scales)
        norms = [bits(f"norm {n}", 10) for n in range(self.layers)]
        for home, index in self._homes([*range(self.layers)], stacked=stacked):
            norm = index(norms)
            leaves["decoder", *home, "norm", "scale"] = norm.T if stacked else norm
        return tree_of(dict(self._placed(leaves)))

    def _homes(self, numbers: list[Any], *, stacked: bool) -> Any:
        if numbers == [None]:
            return [((), lambda parts: parts[0])]
        if stacked:
            return [(("layers",), np.stack)]
        return [((f"layers_{n}",), lambda parts, n=n: parts[n]) for n in numbers]

    def _placed(self, leaves: dict[Keys, Any]) -> Any:
        for path, leaf in leaves.items():
            quantised = "qrhs" in path
            if self.layout is Layout.LINEN:
                yield ("params", "aqt" if quantised else "params", *path), leaf
            elif quantised:
                depth = path.index("frozen") + 1
                yield (*path[:depth], "value", *path[depth:]), leaf
            elif not isinstance(leaf, dict):
                yield (*path, "value"), leaf


def bits(place: str, *shape: int, dtype: DType = DType.FLOAT32) -> Array:
    """Random bits that the place decides."""
    return noise(zlib.crc32(place.encode()), shape, dtype)


@st.composite
def quantised(draw: st.DrawFn) -> Quantised:
    """Any of them."""
    names = draw(st.sets(st.sampled_from(["mlp/wi_0", "mlp/wo", "self_attention/query"]), min_size=1))
    paths: list[Keys] = [tuple(name.split("/")) for name in sorted(names)]
    if draw(st.booleans()):
        paths.append(("logits_dense",))
    return Quantised(
        layout=draw(st.sampled_from([Layout.LINEN, Layout.PARAMS])),
        layers=draw(st.integers(2, 4)),
        kernels={path: (draw(SIZES), draw(SIZES)) for path in paths},
        stacked=draw(st.booleans()),
    )


def content(tree: Any) -> dict[Keys, Any]:
    """Every entry, its type, shape and bytes."""
    return {
        path: leaf if leaf is None or isinstance(leaf, dict) else (leaf.dtype, leaf.shape, leaf.tobytes())
        for path, leaf in flat(tree)
    }


@given(quantised(), st.booleans())
def test_each_form_of_a_quantised_state_becomes_the_other_bit_for_bit(state: Quantised, to: bool) -> None:
    stacking = LayerStacking.STACKED if to else LayerStacking.UNSTACKED
    options = ConversionOptions(to=state.layout, stacking=stacking)
    done = convert_tree(state.tree(stacked=state.stacked), options=options)
    assert content(done.tree) == content(state.tree(stacked=to))


@given(quantised(), st.sampled_from(Layout), st.sampled_from([None, *LayerStacking]))
def test_in_every_other_layout_a_quantised_state_is_refused_by_the_name_of_its_maker(
    state: Quantised, to: Layout, stacking: LayerStacking | None
) -> None:
    assume(to is not state.layout)
    tree = state.tree(stacked=state.stacked)
    with pytest.raises(ConversionError) as caught:
        convert_tree(tree, options=ConversionOptions(to=to, stacking=stacking))
    assert {problem.code for problem in caught.value.problems} == {Code.UNSUPPORTED}
    assert to is Layout.DILOCO or "AQT" in caught.value.problems[0].found
