"""Chain positions: Linen keeps a `None` for each empty state, NNX leaves a gap.

A gap below the last used position is filled: its state is empty for certain. What stood behind the last
one cannot be seen in an NNX state; a side item or a template brings it back, else the chain ends there.
"""

from collections import defaultdict
from enum import StrEnum

from linen_nnx.convert.passes.runner import Passed
from linen_nnx.schema.array import EmptyValue
from linen_nnx.schema.ir import Leaf, OptimizerLeaf, TrainState
from linen_nnx.schema.model import Model
from linen_nnx.schema.ops import Fill
from linen_nnx.schema.path import KeyPath, SequenceKey
from linen_nnx.schema.plan import Note, NoteCode

_EMPTY = EmptyValue()
"""What stands in a gap."""


def is_gap(item: OptimizerLeaf) -> bool:
    """Whether it is such an empty state as stands in a gap, of whatever origin."""
    return item.mirrors is None and item.leaf.value == _EMPTY


class Depth(StrEnum):
    """Which chains are written as lists."""

    ALL = "all"
    TOP = "top"


class FillChains(Model):
    """Put an empty state into every gap of a chain that is written as a list."""

    name: str = "optimizer"
    depth: Depth
    note: bool = True

    def apply(self, state: TrainState) -> Passed:
        """Fill the gaps."""
        used: dict[KeyPath, set[int]] = defaultdict(set)
        for at in dict.fromkeys(item.at for item in state.optimizer):
            for depth, key in enumerate(at):
                if isinstance(key, SequenceKey):
                    used[at[:depth]].add(key.index)
        gaps = [
            chain / index
            for chain, positions in used.items()
            if self.depth is Depth.ALL or len(chain) == 0
            for index in range(max(positions))
            if index not in positions
        ]
        filled = tuple(OptimizerLeaf(at=at, leaf=Leaf(value=_EMPTY, op=Fill(value=_EMPTY))) for at in gaps)
        return Passed(
            state.model_copy(update={"optimizer": (*state.optimizer, *filled)}),
            notes=self._notes(state, gaps),
        )

    def _notes(self, state: TrainState, gaps: list[KeyPath]) -> list[Note]:
        if not self.note or self.depth is not Depth.ALL:
            return []
        if state.step is not None and not state.optimizer:
            text = (
                "the source has no optimizer state, so the length of its chain of empty states is not known; "
                "a --template of the target gives it"
            )
            return [Note(code=NoteCode.CHAIN_LENGTH_UNKNOWN, text=text)]
        if not gaps:
            return []
        text = (
            f"{len(gaps)} empty state{'' if len(gaps) == 1 else 's'} between used ones put in as None; "
            "empty states behind the last used one cannot be seen in the source"
        )
        return [Note(code=NoteCode.CHAIN_PADDED, text=text, paths=tuple(gaps[:5]))]
