"""The wire layout `nnx`: a native Flax NNX train state, as orbax writes it.

```
model/<path>               every Variable type mixed: Param, RngState, BatchStat, …
optimizer/step             uint32[]
optimizer/opt_state        optax: tuples are dicts of digits, empty states are absent: 0/mu/<path>
```
Each leaf stands bare (`to_pure_dict`) or under a last key `value` (an `nnx.State`).
"""

from collections.abc import Iterator, Sequence
from typing import Literal, Self

from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.layout import Leaves
from linen_nnx.schema.path import ROOT, KeyPath, SequenceKey
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.wire import WireState, joined, leaf_at, step_problems

MODEL = ROOT / "model"
OPTIMIZER = ROOT / "optimizer"
STEP = OPTIMIZER / "step"
OPT_STATE = OPTIMIZER / "opt_state"
VALUE = "value"


class NnxTrainState(WireState):
    """A native NNX train state on disk; the paths here are without their last key `value`."""

    layout: Literal["nnx"] = "nnx"
    leaves: Leaves
    model: tuple[Entry, ...]
    step: ArrayValue | None = None
    opt_state: tuple[Entry, ...] = ()

    @classmethod
    def known(cls) -> Sequence[KeyPath]:
        """The model, and the two fields of `nnx.Optimizer`."""
        return (MODEL, STEP, OPT_STATE)

    @classmethod
    def read(cls, inventory: Inventory) -> Self:
        """Sort the entries into the fields, without their last key `value`."""
        model, opt_state = inventory.below(MODEL), inventory.below(OPT_STATE)
        wrapped = leaf_at(inventory, STEP / VALUE)
        step = wrapped if wrapped is not None else leaf_at(inventory, STEP)
        optimizer = [_is_wrapped(entry) for entry in opt_state]
        if step is not None:
            optimizer.append(wrapped is not None)
        leaves = _leaf_form([_is_wrapped(entry) for entry in model], optimizer)
        return cls(leaves=leaves, model=_unwrapped(model), step=step, opt_state=_unwrapped(opt_state))

    def inventory(self) -> Inventory:
        """The same state as entries. Not for mixed leaves, which have no rule."""
        base, wrapped = ROOT / "optimizer", self.leaves is Leaves.WRAPPED
        model = joined(ROOT / "model", self.model)
        step = () if self.step is None else (Entry(path=base / "step", value=self.step),)
        optimizer = (*step, *joined(base / "opt_state", self.opt_state))
        return Inventory.of(
            [
                *(wrap(entry) if self.leaves is not Leaves.BARE else entry for entry in model),
                *(wrap(entry) if wrapped else entry for entry in optimizer),
            ]
        )

    def check(self) -> list[Problem]:
        """Every broken invariant of the layout."""
        return [*step_problems(ROOT / "optimizer" / "step", self.step), *self._no_model(), *self._sequences()]

    def _no_model(self) -> Iterator[Problem]:
        if not self.model:
            yield Problem(
                code=Code.MISSING_ENTRY, path=ROOT / "model", expected="the model's variables", found="none"
            )

    def _sequences(self) -> Iterator[Problem]:
        """NNX has no sequences on disk: list and tuple positions become dict keys of digits."""
        base = KeyPath.of("optimizer", "opt_state")
        for entry in self.opt_state:
            if any(isinstance(key, SequenceKey) for key in entry.path):
                yield Problem(
                    code=Code.WRONG_KIND,
                    path=base + entry.path,
                    expected="dict keys only: NNX keeps an optax chain as a dict of digits",
                    found="a sequence index",
                )


def wrap(entry: Entry) -> Entry:
    """The same entry under a last key `value`."""
    return Entry(path=entry.path / VALUE, value=entry.value)


def _is_wrapped(entry: Entry) -> bool:
    return len(entry.path) > 0 and entry.path.names[-1] == VALUE


def _unwrapped(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Only a last key that is exactly `value` goes: a variable may be *named* `cached_value`."""
    return tuple(Entry(path=e.path[:-1], value=e.value) if _is_wrapped(e) else e for e in entries)


def _leaf_form(model: list[bool], optimizer: list[bool]) -> Leaves:
    if not any(model) and not any(optimizer):
        return Leaves.BARE
    if all(model) and all(optimizer):
        return Leaves.WRAPPED
    if all(model) and not any(optimizer):
        return Leaves.MODEL_WRAPPED
    return Leaves.MIXED
