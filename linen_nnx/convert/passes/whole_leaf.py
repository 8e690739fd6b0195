"""Optimizers whose update looks at a whole array: restacked, they go on from the same state otherwise.

The conversion is exact; what the optimizer computes next is not what it would have. Only signs that stand on
disk are used: muon's coefficients, lamb's chain of one state and three empty ones, and lars's, whose trace is
the fourth of four. What is wrapped around them (clipping, injected hyperparameters, several steps) is looked
through. Novograd and adafactor keep moments of reduced shapes, which are refused; other optimizers that look
at a whole array (fromage, adaptive gradient clipping) leave no sign.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from linen_nnx.schema.array import EmptyValue
from linen_nnx.schema.ir import OptimizerLeaf
from linen_nnx.schema.path import KeyPath, SequenceKey
from linen_nnx.schema.plan import Note, NoteCode

_MUON = "ns_coeffs"
_CHAIN = 4
"""Positions in lamb's chain, and in lars's."""


def whole_leaf_notes(optimizer: Sequence[OptimizerLeaf]) -> list[Note]:
    """A note for each such optimizer found."""
    notes = []
    if at := muon(optimizer):
        notes.append(_note("muon orthogonalises each matrix, and sorts arrays by their rank", at))
    for chain in _chains(optimizer):
        if chain.is_lamb:
            notes.append(_note("lamb scales its step by the norm of each array", chain.at))
        if chain.is_lars:
            notes.append(_note("lars scales its step by the norm of each array", chain.at))
    return notes


def muon(optimizer: Sequence[OptimizerLeaf]) -> KeyPath | None:
    """Where muon's coefficients stand, if it is muon."""
    return next((item.at for item in optimizer if len(item.at) and item.at.names[-1] == _MUON), None)


@dataclass
class _Chain:
    """What stands at the positions of one optax chain."""

    at: KeyPath
    mirrors: dict[int, set[KeyPath]] = field(default_factory=lambda: defaultdict(set))
    """The fields that mirror the parameters, by position."""
    counts: set[int] = field(default_factory=set)
    """Positions that hold other arrays."""
    empty: set[int] = field(default_factory=set)
    """Positions that hold nothing but empties."""

    @property
    def is_lamb(self) -> bool:
        """Two mirrors at the first position; then empties, but for the count of a schedule at the last."""
        if self.mirrors.keys() != {0} or len(self.mirrors[0]) != 2 or not self.counts <= {0, _CHAIN - 1}:
            return False
        last = max(self.counts | self.empty, default=0)
        return last == _CHAIN - 1 and (last in self.counts or {1, 2} <= self.empty)

    @property
    def is_lars(self) -> bool:
        """One mirror, at the last position, and before it at most the count of a schedule."""
        last = _CHAIN - 1
        one = self.mirrors.keys() == {last} and len(self.mirrors[last]) == 1
        return one and self.counts <= {last - 1} and max(self.empty, default=0) < last


def _chains(optimizer: Sequence[OptimizerLeaf]) -> list[_Chain]:
    chains: dict[KeyPath, _Chain] = {}
    for item in optimizer:
        for depth, key in enumerate(item.at):
            if not isinstance(key, SequenceKey):
                continue
            chain = chains.setdefault(item.at[:depth], _Chain(item.at[:depth]))
            if item.mirrors is not None:
                chain.mirrors[key.index].add(item.at)
            elif not isinstance(item.leaf.value, EmptyValue):
                chain.counts.add(key.index)
            else:
                chain.empty.add(key.index)
    return list(chains.values())


def _note(what: str, at: KeyPath) -> Note:
    text = f"{what}: after restacking it sees other arrays, so training goes on from here in another way"
    return Note(code=NoteCode.RESTACK_CHANGES_TRAINING, text=text, paths=(at,))
