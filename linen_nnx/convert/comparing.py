"""Hold a checkpoint against the one that it came from: every value through the intermediate representation.

Both sides are lifted and their layers taken apart, so that each leaf has the same name whatever the
layout and stacking; then each pair is read and compared bit for bit.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from linen_nnx.convert.engine.evaluate import NumpyArrays, evaluate
from linen_nnx.convert.layers.target import AxisChoice, LayerForm
from linen_nnx.convert.passes.layers import LayersPass
from linen_nnx.convert.passes.runner import run
from linen_nnx.convert.proof.receipts import read_receipt
from linen_nnx.convert.reading import lift_source
from linen_nnx.convert.store.orbax_source import OrbaxItem
from linen_nnx.convert.store.source_arrays import SourceArrays
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.errors import ProblemsError
from linen_nnx.schema.ir import PARAMS, Leaf, OptimizerLeaf, TrainState, Variable
from linen_nnx.schema.layout import LayerGroup, LayerNames, LayerStacking
from linen_nnx.schema.ops import Origin, refs
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.receipt import Receipt


@dataclass(frozen=True, slots=True)
class _Side:
    """One checkpoint, its leaves under names that do not depend on its layout."""

    item: OrbaxItem
    leaves: dict[KeyPath, Leaf]
    aux: set[KeyPath]

    def arrays(self) -> "dict[KeyPath, Leaf]":
        return {name: leaf for name, leaf in self.leaves.items() if isinstance(leaf.value, ArrayValue)}


def value_problems(source: OrbaxItem, target: OrbaxItem) -> list[Problem]:
    """Every array of `source` that `target` does not hold, bit for bit; and what it holds beside them."""
    try:
        one, other = _sides(source, target)
    except ProblemsError as error:
        return list(error.problems)
    dropped = _dropped(target)
    ours, theirs = one.arrays(), other.arrays()
    return [
        *(
            _missing(name, leaf)
            for name, leaf in ours.items()
            if name not in theirs and not set(refs(leaf.op)) <= dropped
        ),
        *(
            _unexpected(name, leaf)
            for name, leaf in theirs.items()
            if name not in ours and name not in other.aux
        ),
        *_differing(one, other, [name for name in ours if name in theirs]),
    ]


def _sides(source: OrbaxItem, target: OrbaxItem) -> tuple[_Side, _Side]:
    states = [lift_source(item).state for item in (source, target)]
    stacking = None if _alike(states[0].groups, states[1].groups) else LayerStacking.UNSTACKED
    axes = {group.axis for state in states for group in state.groups if group.axis is not None}
    stated = axes.pop() if len(axes) == 1 and stacking is not None else None
    sides = []
    for item, state in zip((source, target), states, strict=True):
        ambiguous = any(len(group.axes) > 1 for group in state.groups)
        axis = AxisChoice(stated=stated if ambiguous else None)
        flat = run(
            state, [LayersPass(form=LayerForm(stacking=stacking, names=LayerNames.UNDERSCORE, axis=axis))]
        ).state
        sides.append(_Side(item, dict(_named(flat)), _aux_names(flat)))
    return sides[0], sides[1]


def _alike(one: tuple[LayerGroup, ...], other: tuple[LayerGroup, ...]) -> bool:
    """Whether arrays of both sides hold the same layers, so that nothing need be taken apart."""

    def shape(group: LayerGroup) -> tuple[object, ...]:
        return (group.parent, group.name, group.stacking, group.count, group.slots, group.axes)

    return set(map(shape, one)) == set(map(shape, other))


def _named(state: TrainState) -> Iterator[tuple[KeyPath, Leaf]]:
    if state.step is not None:
        yield ROOT / "step", state.step
    for variable in (*state.variables, *(v for v in state.aside if isinstance(v, Variable))):
        yield ROOT / "model" + variable.slot.path, variable.leaf
    for item in (*state.optimizer, *(o for o in state.aside if isinstance(o, OptimizerLeaf))):
        mirrored = ROOT if item.mirrors is None else item.mirrors.path
        yield ROOT / "optimizer" + item.at + mirrored, item.leaf


def _aux_names(state: TrainState) -> set[KeyPath]:
    return {ROOT / "model" + v.slot.path for v in state.variables if v.slot.collection != PARAMS}


def _dropped(target: OrbaxItem) -> set[object]:
    """What the receipt of the conversion names as dropped."""
    receipt = read_receipt(target.folder)
    return {drop.source for drop in receipt.drops} if isinstance(receipt, Receipt) else set()


def _missing(name: KeyPath, leaf: Leaf) -> Problem:
    first = next(refs(leaf.op))
    return Problem(code=Code.MISSING_ENTRY, path=name, expected=f"the values of {first}", found="nothing")


def _unexpected(name: KeyPath, leaf: Leaf) -> Problem:
    return Problem(
        code=Code.UNEXPECTED_ENTRY,
        path=name,
        expected="nothing: the source has no such leaf",
        found=str(leaf.value),
    )


def _differing(one: _Side, other: _Side, names: list[KeyPath]) -> Iterator[Problem]:
    sides = [(side, _reader(side, names)) for side in (one, other)]
    # The order of the side whose arrays serve several names, so that each array is read once.
    leading = one if _sources(one, names) < _sources(other, names) else other
    for name in sorted(names, key=lambda n: next(refs(leading.leaves[n].op)).path.natural()):
        values = []
        for side, reader in sides:
            op = side.leaves[name].op
            sources = list(dict.fromkeys(refs(op)))
            reader.fetch(sources)
            values.append(np.asarray(evaluate(op, reader.array, NumpyArrays())))
            reader.used(sources)
        if problem := _difference(name, values[0], values[1]):
            yield problem


def _sources(side: _Side, names: list[KeyPath]) -> int:
    return len({ref for name in names for ref in refs(side.leaves[name].op)})


def _reader(side: _Side, names: list[KeyPath]) -> SourceArrays:
    items = {Origin.SOURCE: side.item}
    if side.item.side is not None and side.item.side.item is not None:
        items[Origin.SIDE] = side.item.side.item
    return SourceArrays(items, Counter(ref for name in names for ref in set(refs(side.leaves[name].op))))


def _difference(
    name: KeyPath, expected: "np.ndarray[Any, Any]", found: "np.ndarray[Any, Any]"
) -> Problem | None:
    if name == ROOT / "step":
        same = int(expected) == int(found)
        return None if same else _value_problem(name, str(int(expected)), str(int(found)))
    if expected.dtype != found.dtype or expected.shape != found.shape:
        return _value_problem(
            name, f"{expected.dtype}{list(expected.shape)}", f"{found.dtype}{list(found.shape)}"
        )
    one, other = _bytes(expected), _bytes(found)
    if np.array_equal(one, other):
        return None
    different = np.flatnonzero((one != other).any(axis=1))
    first = tuple(int(i) for i in np.unravel_index(int(different[0]), expected.shape))
    return _value_problem(
        name,
        f"the source's values, bit for bit; at {list(first)} {expected[first]}",
        f"{len(different)} of {expected.size} elements that differ; there {found[first]}",
    )


def _bytes(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """One row of bytes an element."""
    return np.ascontiguousarray(array).reshape(-1, 1).view(np.uint8)


def _value_problem(path: KeyPath, expected: str, found: str) -> Problem:
    return Problem(code=Code.VALUE_DIFFERS, path=path, expected=expected, found=found)
