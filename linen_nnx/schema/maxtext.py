"""The wire layout `maxtext`: the Linen-shaped train state that MaxText's NNX runs write since 2026.

```
step                       int32[]
params/params/<path>       nnx.Param variables
opt_state                  the top level of the chain as a list padded with None up to its last used entry,
                           the fields `mu` and `nu` of each top entry under `params`; all that is nested
                           deeper stays as NNX has it: dicts of digits, no `params`, no empties
nnx_aux/model/<path>       every other persistent variable: RngState, BatchStat, …
```
Runs of May to July 2026 have no `nnx_aux`, and name unscanned layers `layers/3` instead of `layers_3`.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from linen_nnx.schema.inventory import Entry
from linen_nnx.schema.path import ROOT, KeyPath, SequenceKey
from linen_nnx.schema.placed import STEP, PlacedState
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.wire import positioned, step_problems, unnamed, without_end

OPT_STATE = ROOT / "opt_state"
PARAMS_BASE = KeyPath.of("params", "params")
AUX_BASE = KeyPath.of("nnx_aux", "model")
WRAPPED_FIELDS = frozenset({"mu", "nu"})
"""The fields of a top-level optimizer entry that MaxText puts under `params`; it goes by these names."""


class MaxtextTrainState(PlacedState):
    """A Linen-shaped train state of an NNX run."""

    places: ClassVar[Mapping[str, KeyPath]] = {"params": PARAMS_BASE, "opt_state": OPT_STATE, "aux": AUX_BASE}
    layout: Literal["maxtext"] = "maxtext"
    params: tuple[Entry, ...]
    aux: tuple[Entry, ...] = ()
    opt_state: tuple[Entry, ...] = ()

    def check(self) -> list[Problem]:
        """Every broken invariant of the layout."""
        roots = [*unnamed(PARAMS_BASE, self.params), *unnamed(AUX_BASE, self.aux)]
        return [*step_problems(STEP, self.step), *self._no_params(), *roots, *self._nested_lists()]

    def _nested_lists(self) -> Iterator[Problem]:
        """Only the outermost chain is a list: all that is nested deeper stays a dict of digits."""
        own = positioned(self.params)
        for entry in self.opt_state:
            if any(isinstance(key, SequenceKey) for key in without_end(entry.path[1:], own)):
                yield Problem(
                    code=Code.WRONG_KIND,
                    path=OPT_STATE + entry.path,
                    expected="a list of positions at the root of opt_state, and dicts of digits below",
                    found="a sequence index below",
                )

    def _no_params(self) -> Iterator[Problem]:
        if not self.params:
            yield Problem(
                code=Code.MISSING_ENTRY, path=PARAMS_BASE, expected="the model's parameters", found="none"
            )
