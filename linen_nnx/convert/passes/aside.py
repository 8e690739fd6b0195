"""Set aside what the target layout cannot hold: it travels in a side item, or is dropped by name."""

from collections.abc import Callable, Iterator

from linen_nnx.convert.passes.runner import Passed
from linen_nnx.schema.ir import OptimizerLeaf, TrainState, Variable
from linen_nnx.schema.ops import Ref, refs
from linen_nnx.schema.options import Aux
from linen_nnx.schema.plan import Drop, DropRule, Note, NoteCode

Holds = Callable[[Variable | OptimizerLeaf], bool]


class SetAside:
    """`holds` says what the target layout has a place for."""

    name = "aside"

    def __init__(self, holds: Holds, aux: Aux) -> None:
        """Keep what is not held, or drop it, as `aux` says."""
        self._holds = holds
        self._aux = aux

    def apply(self, state: TrainState) -> Passed:
        """Part what is held from what is not."""
        variables = tuple(v for v in state.variables if self._holds(v))
        optimizer = tuple(o for o in state.optimizer if self._holds(o))
        aside = (
            *state.aside,
            *(v for v in state.variables if not self._holds(v)),
            *(o for o in state.optimizer if not self._holds(o)),
        )
        held = state.model_copy(update={"variables": variables, "optimizer": optimizer, "aside": ()})
        if self._aux is Aux.KEEP:
            return Passed(held.model_copy(update={"aside": aside}), notes=_notes(aside))
        kept = {ref for leaf in held.leaves() for ref in refs(leaf.op)}
        drops = [Drop(source=ref, rule=DropRule.NO_KEEP_AUX) for ref in _read(aside) if ref not in kept]
        return Passed(held, drops=drops)


def _read(aside: tuple[Variable | OptimizerLeaf, ...]) -> Iterator[Ref]:
    yield from dict.fromkeys(ref for item in aside for ref in refs(item.leaf.op))


def _notes(aside: tuple[Variable | OptimizerLeaf, ...]) -> list[Note]:
    if not aside:
        return []
    variables = [item.slot.path for item in aside if isinstance(item, Variable)]
    rest = len(aside) - len(variables)
    text = (
        f"{len(variables)} variables and {rest} optimizer entries that the target layout cannot hold "
        "travel in its linen_nnx/ folder; a conversion back restores them"
    )
    return [Note(code=NoteCode.KEPT_ASIDE, text=text, paths=tuple(variables[:5]))]
