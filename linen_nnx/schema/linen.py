"""The wire layout `linen`: a Flax Linen `TrainState`, as orbax writes it.

```
step                       int32[] jax.Array after a jitted step, else a Python scalar
params/params/<path>       the `params` collection; params/<collection>/<path> every other one
opt_state                  optax: tuples are sequences, named tuples dicts, EmptyState and MaskedNode None;
                           a moment repeats the collection level: [0]/mu/params/<path>
```
With `nested_params=False` the state holds `variables["params"]` itself: params/<path>, mu/<path>.
"""

from collections.abc import Iterator
from typing import Literal

from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.model import Model
from linen_nnx.schema.path import ROOT, DictKey, KeyPath
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.wire import joined, step_problems

TOP = ("step", "params", "opt_state")
"""The names at the root."""


class LinenCollection(Model):
    """One collection of the variables dict; paths are relative to it."""

    name: str
    entries: tuple[Entry, ...]


class LinenTrainState(Model):
    """A Linen `TrainState` on disk."""

    layout: Literal["linen"] = "linen"
    step: ArrayValue | None = None
    nested_params: bool = True
    collections: tuple[LinenCollection, ...]
    opt_state: tuple[Entry, ...] = ()

    def inventory(self) -> Inventory:
        """The same state as entries."""
        return Inventory.of(self._entries())

    def _entries(self) -> Iterator[Entry]:
        if self.step is not None:
            yield Entry(path=ROOT / "step", value=self.step)
        for collection in self.collections:
            base = ROOT / "params" / collection.name if self.nested_params else ROOT / "params"
            yield from joined(base, collection.entries)
        yield from joined(ROOT / "opt_state", self.opt_state)

    def check(self) -> list[Problem]:
        """Every broken invariant of the layout."""
        return [*step_problems(ROOT / "step", self.step), *self._no_params(), *self._digit_chains()]

    def _no_params(self) -> Iterator[Problem]:
        if not any(collection.name == "params" and collection.entries for collection in self.collections):
            yield Problem(
                code=Code.MISSING_ENTRY,
                path=ROOT / "params",
                expected="a params collection",
                found="none" if not self.collections else ", ".join(c.name for c in self.collections),
            )

    def _digit_chains(self) -> Iterator[Problem]:
        """Linen writes an optax chain as a sequence, so a digit dict key at its root is another layout."""
        digits = {
            entry.path.keys[0]
            for entry in self.opt_state
            if len(entry.path) and isinstance(entry.path.keys[0], DictKey) and entry.path.names[0].isdecimal()
        }
        for key in sorted(digits, key=str):
            yield Problem(
                code=Code.WRONG_KIND,
                path=KeyPath((DictKey("opt_state"), key)),
                expected="a sequence index: Linen keeps an optax chain as a list",
                found="a dict key",
            )
