"""A `Runner` for inference: draws the values, and takes them from the one model to the other by rules."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from linen_nnx.convert.engine.evaluate import NumpyArrays, evaluate
from linen_nnx.convert.lifting import copied
from linen_nnx.convert.mapping.running import CannotRunError, Outputs, Value
from linen_nnx.convert.passes.rename import RenamePass
from linen_nnx.convert.probing.models import LinenModel, NnxModel
from linen_nnx.convert.probing.probe import Probe
from linen_nnx.convert.probing.values import drawn
from linen_nnx.convert.spec.against import unlike
from linen_nnx.schema.array import ArraySpec, ArrayValue
from linen_nnx.schema.errors import ConversionError, raise_if
from linen_nnx.schema.ir import Slot, TrainState, Variable, address
from linen_nnx.schema.ops import Op, Origin
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.rules import Rule, Rules


class Models:
    """Both models of a probe, held against the checkpoint's variables and the spec's."""

    def __init__(
        self, probe: Probe, linen: Mapping[Slot, ArraySpec], nnx: Mapping[KeyPath, ArraySpec]
    ) -> None:
        """`linen` and `nnx` are what is to be mapped.

        Raises `SpecError`, and `ConversionError` with every variable that the probe's models have otherwise.
        """
        self._linen, self._nnx = LinenModel(probe), NnxModel(probe)
        own = {
            path: spec
            for path, spec in self._nnx.specs.items()
            if path in nnx or path not in self._nnx.constants
        }
        problems = [
            *unlike("the Linen module of the probe", {address(s): v for s, v in linen.items()},
                     {address(s): v for s, v in self._linen.specs.items()}),
            *unlike("the NNX model of the probe", nnx, own),
        ]  # fmt: skip
        raise_if(problems, ConversionError)
        self._specs, self._targets = dict(linen), dict(nnx)
        self._ops: dict[tuple[Rule, ...], dict[KeyPath, Op]] = {}

    def linen(self, values: Mapping[Slot, Value]) -> Outputs:
        """Linen's outputs."""
        return self._linen(self._drawn(values))

    def nnx(self, rules: Sequence[Rule], values: Mapping[Slot, Value]) -> Outputs:
        """NNX's, with what the rules make of the same values."""
        arrays = {_at(slot): array for slot, array in self._drawn(values).items()}
        ops = self._ops_of(tuple(rules))
        made = {path: evaluate(op, lambda ref: arrays[ref.path], NumpyArrays()) for path, op in ops.items()}
        return self._nnx(made)

    def _drawn(self, values: Mapping[Slot, Value]) -> dict[Slot, Any]:
        out = {}
        for slot, spec in self._specs.items():
            value = values[slot]
            array = drawn(value.seed, spec, slot.path.names[-1])
            array = np.swapaxes(array, 0, 1) if value.turned else array
            out[slot] = np.zeros_like(array) if value.zero else array
        return out

    def _ops_of(self, rules: tuple[Rule, ...]) -> dict[KeyPath, Op]:
        if rules not in self._ops:
            self._ops[rules] = self._planned(rules)
        return self._ops[rules]

    def _planned(self, rules: tuple[Rule, ...]) -> dict[KeyPath, Op]:
        """What the rules make of which variables: the very pass that a conversion runs."""
        variables = tuple(
            Variable(slot=slot, leaf=copied(ArrayValue(spec=spec), _at(slot), Origin.SOURCE))
            for slot, spec in self._specs.items()
        )
        renaming = RenamePass(Rules(rules=rules), backwards=False)
        passed = renaming.apply(TrainState(variables=variables))
        made = {v.slot.path: v.leaf for v in passed.state.variables}
        specs = {path: leaf.value.spec for path, leaf in made.items() if isinstance(leaf.value, ArrayValue)}
        if passed.problems or specs != self._targets:
            raise CannotRunError
        return {path: leaf.op for path, leaf in made.items()}


def _at(slot: Slot) -> KeyPath:
    return KeyPath.of(slot.collection, *slot.path.names)
