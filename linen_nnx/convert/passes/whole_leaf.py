"""Optimizers whose update looks at a whole array: restacked, they go on from the same state otherwise.

The conversion is exact; what the optimizer computes next is not what it would have. Only signs that stand on
disk are used: muon's coefficients, and lamb's chain of one state and three empty ones.
"""

from collections.abc import Sequence

from linen_nnx.schema.array import EmptyValue
from linen_nnx.schema.ir import OptimizerLeaf
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Note, NoteCode

_MUON = "ns_coeffs"
_LAMB_CHAIN = 4


def whole_leaf_notes(optimizer: Sequence[OptimizerLeaf]) -> list[Note]:
    """A note for each such optimizer found."""
    notes = []
    if at := next((item.at for item in optimizer if len(item.at) and item.at.names[-1] == _MUON), None):
        notes.append(_note("muon orthogonalises each matrix, and sorts arrays by their rank", at))
    if _is_lamb(optimizer):
        notes.append(_note("lamb scales its step by the norm of each array", KeyPath.of(0)))
    return notes


def _is_lamb(optimizer: Sequence[OptimizerLeaf]) -> bool:
    """One state with two mirrors, then three empty ones; adam's own chains are shorter."""
    empties = [i for i in optimizer if len(i.at) == 1 and isinstance(i.leaf.value, EmptyValue)]
    fields = {item.at for item in optimizer if item.mirrors is not None}
    positions = {item.at[:1] for item in optimizer if len(item.at)}
    return len(empties) == _LAMB_CHAIN - 1 and len(fields) == 2 and len(positions) == _LAMB_CHAIN


def _note(what: str, at: KeyPath) -> Note:
    text = f"{what}: after restacking it sees other arrays, so training goes on from here in another way"
    return Note(code=NoteCode.RESTACK_CHANGES_TRAINING, text=text, paths=(at,))
