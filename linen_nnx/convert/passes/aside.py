"""Set aside what the target layout cannot hold: it travels in a side item, or is dropped by name.

An empty state that an earlier conversion put into a chain is no content of the state: it is dropped by a name
of its own, and a layout that has a place for it has it filled in again.
"""

from collections.abc import Iterator, Sequence

from linen_nnx.convert.layouts import holder
from linen_nnx.convert.passes.optimizer import is_gap
from linen_nnx.convert.passes.runner import Passed
from linen_nnx.schema.ir import OptimizerLeaf, TrainState, Variable
from linen_nnx.schema.layout import Form
from linen_nnx.schema.model import Model
from linen_nnx.schema.ops import Ref, refs
from linen_nnx.schema.options import Aux
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Drop, DropRule, Note, NoteCode


class SetAside(Model):
    """`form` is the target's; `filled` are the places of empties that a conversion put into the source."""

    name: str = "aside"
    form: Form
    aux: Aux
    filled: tuple[KeyPath, ...] = ()

    def apply(self, state: TrainState) -> Passed:
        """Part what the layout holds from what it does not."""
        holds = holder(state, self.form)
        lost = {id(item) for part in (state.variables, state.optimizer) for item in part if not holds(item)}
        if not lost and not state.aside:
            return Passed(state)
        variables = tuple(v for v in state.variables if id(v) not in lost)
        optimizer = tuple(o for o in state.optimizer if id(o) not in lost)
        aside = (
            *state.aside,
            *(v for v in state.variables if id(v) in lost),
            *(o for o in state.optimizer if id(o) in lost),
        )
        put_in = [item for item in aside if self._was_put_in(item)]
        aside = tuple(item for item in aside if not self._was_put_in(item))
        drops = [Drop(source=ref, rule=DropRule.PUT_IN) for ref in _read(put_in)]
        held = state.model_copy(update={"variables": variables, "optimizer": optimizer, "aside": ()})
        if self.aux is Aux.KEEP:
            return Passed(held.model_copy(update={"aside": aside}), drops=drops, notes=_notes(aside))
        kept = {ref for leaf in held.leaves() for ref in refs(leaf.op)}
        drops += [Drop(source=ref, rule=DropRule.NO_KEEP_AUX) for ref in _read(aside) if ref not in kept]
        return Passed(held, drops=drops)

    def _was_put_in(self, item: Variable | OptimizerLeaf) -> bool:
        return isinstance(item, OptimizerLeaf) and is_gap(item) and item.at in self.filled


def _read(aside: Sequence[Variable | OptimizerLeaf]) -> Iterator[Ref]:
    yield from dict.fromkeys(ref for item in aside for ref in refs(item.leaf.op))


def _notes(aside: tuple[Variable | OptimizerLeaf, ...]) -> list[Note]:
    if not aside:
        return []
    variables = [item.slot.path for item in aside if isinstance(item, Variable)]
    moments = sum(isinstance(item, OptimizerLeaf) and item.mirrors is not None for item in aside)
    rest = len(aside) - len(variables) - moments
    counts = ((len(variables), "variable"), (moments, "moment"), (rest, "empty optimizer state"))
    what = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts if count)
    verb = "is" if len(aside) == 1 else "are"
    text = f"{what} that the target layout cannot hold {verb} kept in its linen_nnx/ folder for the way back"
    return [Note(code=NoteCode.KEPT_ASIDE, text=text, paths=tuple(variables[:5]))]
