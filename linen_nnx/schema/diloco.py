"""The wire layout `diloco`: many replicas that train apart and meet now and then, as MaxText writes them.

```
step                       the outer step
params/params/<path>       the synchronised weights, without a replica axis; Linen: every collection
outer_opt_state            the outer optimizer, a list: [0]/trace/<path>, [1] None; in a Linen run with
                           the collection level, [0]/trace/params/<path>
inner_state                a whole train state, Linen's or MaxText's, in which EVERY array (steps, counts and
                           keys too) has one more axis, the first: one slice a replica
```
Between June and August 2026 NNX runs saved `params/params` and `step` alone: that is an ordinary Linen state.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.inventory import Entry
from linen_nnx.schema.ops import logical_rank, taken_spec
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.placed import STEP, PlacedState
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.wire import step_problems

PARAMS = ROOT / "params"
INNER = ROOT / "inner_state"
OUTER_OPT_STATE = ROOT / "outer_opt_state"


class DilocoTrainState(PlacedState):
    """A DiLoCo train state on disk; `inner` is relative to `inner_state`."""

    places: ClassVar[Mapping[str, KeyPath]] = {
        "params": PARAMS,
        "outer_opt_state": OUTER_OPT_STATE,
        "inner": INNER,
    }
    layout: Literal["diloco"] = "diloco"
    params: tuple[Entry, ...]
    outer_opt_state: tuple[Entry, ...] = ()
    inner: tuple[Entry, ...]

    @property
    def replicas(self) -> int | None:
        """How many there are: the first axis of the inner step, else of any inner array."""
        arrays = {e.path: e.value.spec for e in self.inner if isinstance(e.value, ArrayValue)}
        specs = [arrays[STEP]] if STEP in arrays else list(arrays.values())
        return next((spec.shape[0] for spec in specs if logical_rank(spec)), None)

    def check(self) -> list[Problem]:
        """Every broken invariant of the layout."""
        return [
            *step_problems(STEP, self.step),
            *self._nothing(),
            *self._without_replicas(),
            *self._unlike_outer(),
        ]

    def _nothing(self) -> Iterator[Problem]:
        for path, entries in ((PARAMS, self.params), (INNER, self.inner)):
            if not entries:
                yield Problem(
                    code=Code.MISSING_ENTRY, path=path, expected="the weights of a DiLoCo run", found="none"
                )

    def _without_replicas(self) -> Iterator[Problem]:
        """Inner arrays whose first axis is not that of the others."""
        for entry in self.inner:
            if not isinstance(entry.value, ArrayValue):
                continue
            spec = entry.value.spec
            if not logical_rank(spec) or spec.shape[0] != self.replicas:
                yield Problem(
                    code=Code.SHAPE_MISMATCH,
                    path=INNER + entry.path,
                    expected=f"a first axis of {self.replicas} replicas",
                    found=str(entry.value),
                )

    def _unlike_outer(self) -> Iterator[Problem]:
        """Inner weights that are not the outer ones with one more axis."""
        inner = {entry.path: entry.value for entry in self.inner}
        for entry in self.params:
            value = inner.get(PARAMS + entry.path)
            if not isinstance(value, ArrayValue) or not logical_rank(value.spec):
                continue
            spec = taken_spec(value.spec, 0)
            if isinstance(entry.value, ArrayValue) and entry.value.spec.shape != spec.shape:
                yield Problem(
                    code=Code.SHAPE_MISMATCH,
                    path=INNER + PARAMS + entry.path,
                    expected=f"the outer weight's shape behind the replica axis, {entry.value.spec}",
                    found=str(value),
                )
