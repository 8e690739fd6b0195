"""The wire layouts of NNX states, as orbax writes them: `nnx`, `tunix`, `params`.

```
nnx      model/<path>          every Variable type mixed: Param, RngState, BatchStat, …
         reference_model/<path>  the frozen weights of a DPO run (until June 2026)
         ema/params/<path>     an average of the variables, as `nnx.EMA` keeps it beside a model
         optimizer/step        uint32[]
         optimizer/opt_state   optax: tuples are dicts of digits, empty states are absent: 0/mu/<path>
tunix    two items of a step: model_params/<path> and optimizer_state/{step,opt_state}
params   <path> at the root: weights alone
```
Each leaf stands bare (`to_pure_dict`) or under a last key `value` (an `nnx.State`); a model that an adapter
holds stands below one more key, `base`, and so do its moments.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.layout import Leaves
from linen_nnx.schema.path import ROOT, DictKey, Key, KeyPath, SequenceKey
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.wire import (
    VALUE,
    WireState,
    Wrapped,
    bare_paths,
    joined,
    leaf_at,
    positioned,
    step_problems,
    unnamed,
    without_end,
)

BASE = DictKey("base")
MODEL_PARAMS, OPTIMIZER_STATE = "model_params", "optimizer_state"
"""Tunix's two items."""


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the model and what belongs to it stand, as far as there is any of it.

    The fields of `nnx.Optimizer`, a reference model, the average of `nnx.EMA`.
    """

    model: KeyPath
    step: KeyPath | None = None
    opt_state: KeyPath | None = None
    reference: KeyPath | None = None
    average: KeyPath | None = None

    @property
    def models(self) -> Sequence[KeyPath]:
        """What holds variables of the model, whose leaves are wrapped as the model's are."""
        found = (self.model, self.reference, self.average)
        return [root for root in found if root is not None]


class NnxShaped(WireState):
    """A state of NNX variables; the paths here are without their last key `value`."""

    roots: ClassVar[Roots]

    leaves: Leaves
    model: tuple[Entry, ...]
    step: ArrayValue | None = None
    opt_state: tuple[Entry, ...] = ()
    reference: tuple[Entry, ...] = ()
    average: tuple[Entry, ...] = ()
    wrapped: tuple[KeyPath, ...] = ()
    """Of mixed leaves, those under `value`, by their whole paths without it."""

    @classmethod
    def known(cls) -> Sequence[KeyPath]:
        """The model, the two fields of `nnx.Optimizer`, a reference model, an average."""
        roots = cls.roots
        found = (roots.model, roots.step, roots.opt_state, roots.reference, roots.average)
        return [root for root in found if root is not None]

    @classmethod
    def step_path(cls) -> KeyPath | None:
        """Where the step stands."""
        return cls.roots.step

    @classmethod
    def read(cls, inventory: Inventory, wrapped: Wrapped | None = None) -> Self:
        """Sort the entries into the fields, without their last key `value`."""
        roots = cls.roots
        model, reference, average, opt_state = (
            _Part.below(inventory, root, wrapped)
            for root in (roots.model, roots.reference, roots.average, roots.opt_state)
        )
        in_step = None if roots.step is None else leaf_at(inventory, roots.step / VALUE)
        step = None if roots.step is None or in_step is not None else leaf_at(inventory, roots.step)
        signs = [*opt_state.signs]
        if roots.step is not None and (in_step is not None or step is not None):
            signs.append(in_step is not None)
        leaves = _leaf_form([*model.signs, *reference.signs, *average.signs], signs)
        ends: list[KeyPath] = []
        if leaves is Leaves.MIXED:
            ends = [*model.ends, *reference.ends, *average.ends, *opt_state.ends]
            ends += [roots.step] if roots.step is not None and in_step is not None else []
        return cls(
            leaves=leaves,
            model=model.bare,
            step=step if in_step is None else in_step,
            opt_state=opt_state.bare,
            reference=reference.bare,
            average=average.bare,
            wrapped=tuple(sorted(ends, key=KeyPath.natural)),
        )

    @property
    def base(self) -> bool:
        """Whether an adapter holds the model: all of it stands below `base`."""
        return bool(self.model) and all(len(e.path) > 1 and e.path.keys[0] == BASE for e in self.model)

    def inventory(self) -> Inventory:
        """The same state as entries."""
        roots, mixed = self.roots, set(self.wrapped)
        entries = [*joined(roots.model, self.model)]
        if roots.reference is not None:
            entries += joined(roots.reference, self.reference)
        if roots.average is not None:
            entries += joined(roots.average, self.average)
        of_model = len(entries)
        if self.step is not None and roots.step is not None:
            entries.append(Entry(path=roots.step, value=self.step))
        if roots.opt_state is not None:
            entries += joined(roots.opt_state, self.opt_state)
        return Inventory.of(
            _ended(entry, self.leaves.wraps(model=index < of_model, mixed=entry.path in mixed))
            for index, entry in enumerate(entries)
        )

    def check(self) -> list[Problem]:
        """Every broken invariant of the layout."""
        step = () if self.roots.step is None else step_problems(self.roots.step, self.step)
        leaves = [*unnamed(self.roots.model, self.model)]
        if self.roots.reference is not None:
            leaves += unnamed(self.roots.reference, self.reference)
        if self.roots.average is not None:
            leaves += unnamed(self.roots.average, self.average)
        return [*step, *self._no_model(), *leaves, *self._sequences()]

    def _no_model(self) -> Iterator[Problem]:
        if not self.model:
            yield Problem(
                code=Code.MISSING_ENTRY, path=self.roots.model, expected="the model's variables", found="none"
            )

    def _sequences(self) -> Iterator[Problem]:
        """NNX has no sequences on disk: list and tuple positions become dict keys of digits.

        Only the script that MaxText dropped left an optax chain as Linen's list, beside a wrapped model.
        A list inside a dict of digits, or beside it, was written by neither.
        """
        if self.leaves is Leaves.MODEL_WRAPPED and not any(map(_is_digit_chain, self.opt_state)):
            return
        keys = frozenset[Key]().union(*[entry.path for entry in self.opt_state])
        positions = {key for key in keys if isinstance(key, SequenceKey)}
        # A variable whose value is a tuple has positions of its own, and its moments have them too.
        own = positioned(self.model) if positions else frozenset()
        for entry in self.opt_state if positions else ():
            if not positions.isdisjoint(without_end(entry.path, own)):
                yield Problem(
                    code=Code.WRONG_KIND,
                    path=(self.roots.opt_state or ROOT) + entry.path,
                    expected="dict keys only: NNX keeps an optax chain as a dict of digits",
                    found="a sequence index",
                )


class NnxTrainState(NnxShaped):
    """A native NNX train state."""

    roots: ClassVar[Roots] = Roots(
        model=ROOT / "model",
        step=ROOT / "optimizer" / "step",
        opt_state=ROOT / "optimizer" / "opt_state",
        reference=ROOT / "reference_model",
        average=ROOT / "ema" / "params",
    )
    layout: Literal["nnx"] = "nnx"


class TunixTrainState(NnxShaped):
    """Tunix's two items, as one tree."""

    roots: ClassVar[Roots] = Roots(
        model=ROOT / MODEL_PARAMS,
        step=ROOT / OPTIMIZER_STATE / "step",
        opt_state=ROOT / OPTIMIZER_STATE / "opt_state",
    )
    layout: Literal["tunix"] = "tunix"


class ParamsState(NnxShaped):
    """Weights alone: the model tree at the root, for inference."""

    roots: ClassVar[Roots] = Roots(model=ROOT)
    layout: Literal["params"] = "params"


@dataclass(frozen=True, slots=True)
class _Part:
    """What stands below one root: without wrappers, and which leaves stood in one."""

    bare: tuple[Entry, ...]
    ends: list[KeyPath]
    """The wrapped leaves, by where they stand without their wrapper."""
    signs: list[bool]

    @classmethod
    def below(cls, inventory: Inventory, root: KeyPath | None, wrapped: Wrapped | None) -> "_Part":
        if root is None:
            return cls((), [], [])
        depth, ends = len(root), bare_paths(inventory, root, wrapped)
        bare = [
            Entry(path=(entry.path if end is None else end)[depth:], value=entry.value)
            for entry, end in zip(inventory.under(root), ends, strict=True)
        ]
        return cls(tuple(bare), [end for end in ends if end is not None], [end is not None for end in ends])


def _ended(entry: Entry, wrapped: bool) -> Entry:
    return Entry(path=entry.path / VALUE, value=entry.value) if wrapped else entry


def _is_digit_chain(entry: Entry) -> bool:
    """Whether the first position on the way to an entry is a dict key of digits."""
    for key in entry.path:
        if isinstance(key, SequenceKey):
            return False
        if key.name.isdecimal():
            return True
    return False


def _leaf_form(model: list[bool], optimizer: list[bool]) -> Leaves:
    if not any(model) and not any(optimizer):
        return Leaves.BARE
    if all(model) and all(optimizer):
        return Leaves.WRAPPED
    if all(model) and not any(optimizer):
        return Leaves.MODEL_WRAPPED
    return Leaves.MIXED
