"""Said aloud: where a conversion between frameworks is exact in its values and training goes on otherwise.

Nothing here changes a byte. What a state tells by its structure is told; what it cannot tell (a mask of the
weight decay is a function in the user's program) is said as far as there is a sign of it.
"""

from collections.abc import Iterator, Sequence

from linen_nnx.schema.array import ArrayValue, EmptyValue
from linen_nnx.schema.ir import OptimizerLeaf, TrainState, Variable
from linen_nnx.schema.ops import Fill, refs
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Note, NoteCode

_MASKED, _PARTITIONED = "inner_state", "inner_states"
"""The only field of optax's `MaskedState`, and the field of its `PartitionState`."""


def training_notes(state: TrainState) -> list[Note]:
    """What a user should know before training goes on in the other framework."""
    return [*_masks(state.optimizer), *_norms(state.variables)]


def _masks(optimizer: Sequence[OptimizerLeaf]) -> Iterator[Note]:
    """A mask or a label that is chosen by the name of a module chooses other leaves where names differ."""
    siblings: dict[KeyPath, set[str]] = {}
    signs: dict[KeyPath, None] = {}
    for at in dict.fromkeys(item.at for item in optimizer):
        for depth, name in enumerate(at.names):
            siblings.setdefault(at[:depth], set()).add(name)
            if name in (_MASKED, _PARTITIONED):
                signs[at[:depth]] = None
    for item in optimizer:
        if item.mirrors is not None and isinstance(item.leaf.value, EmptyValue):
            signs[item.at] = None
    # inject_hyperparams and apply_if_finite have a field of the same name beside others.
    found = [
        at
        for at in signs
        if siblings.get(at, set()) <= {_MASKED, _PARTITIONED, "ns_coeffs"} or _has_hole(at, optimizer)
    ]
    if found:
        text = (
            "the optimizer treats some parameters otherwise than others (masked or partitioned), and which "
            "is not on disk: a mask or label by names of Linen modules means other leaves under NNX's names"
        )
        yield Note(code=NoteCode.MASKS_BY_NAME, text=text, paths=tuple(found[:5]))


def _has_hole(at: KeyPath, optimizer: Sequence[OptimizerLeaf]) -> bool:
    return any(item.at == at and item.mirrors is not None for item in optimizer)


def _norms(variables: Sequence[Variable]) -> Iterator[Note]:
    """SpectralNorm and WeightNorm: NNX's write into the parameter at every call."""
    paths = tuple(v.slot.path for v in variables if _of_norm(v))
    if paths:
        text = (
            "SpectralNorm or WeightNorm: the values and the first call are the same, but NNX's writes the "
            "normalised kernel back into the parameter at every call, and Linen's never: training differs"
        )
        yield Note(code=NoteCode.NORM_WRITES_BACK, text=text, paths=paths[:5])


def _of_norm(variable: Variable) -> bool:
    """Linen keys such a variable by a path (`Dense_0/kernel/u`), NNX by the text of a tuple."""
    if not isinstance(variable.leaf.value, ArrayValue):
        return False
    name = variable.slot.path[-1].name
    linen = (
        variable.slot.path.names[:-1] and "/" in name and name.rpartition("/")[2] in ("u", "sigma", "scale")
    )
    return bool(linen) or (name.startswith("('") and name.endswith(")"))


def dropped_notes(before: TrainState, after: TrainState) -> list[Note]:
    """Parameters with moments that rules drop, and zeros that they put back."""
    read = {ref for leaf in after.leaves() for ref in refs(leaf.op)}
    trained = {item.mirrors for item in before.optimizer if item.mirrors is not None}
    gone = [v.slot for v in before.variables if not read.issuperset(refs(v.leaf.op))]
    put = [v.slot for v in after.variables if isinstance(v.leaf.op, Fill)]
    notes = []
    if paths := tuple(slot.path for slot in gone if slot in trained):
        text = "what is dropped was trained: Linen's next step would move it even from zero, and NNX has none"
        notes.append(Note(code=NoteCode.DROPPED_WAS_TRAINED, text=text, paths=paths[:5]))
    if paths := tuple(slot.path for slot in put):
        text = "zeros are put where NNX has nothing; Linen trains them from the next step on"
        notes.append(Note(code=NoteCode.DROPPED_WAS_TRAINED, text=text, paths=paths[:5]))
    return notes
