"""All that may stand around a train state, taken off in one order."""

from collections.abc import Callable, Sequence

from linen_nnx.convert.framing.modules import without_module_states, without_sown
from linen_nnx.convert.framing.nesting import unnested, unnested_nnx, unsplit
from linen_nnx.convert.framing.releases import from_optimizer, unwrapped, without_absent, without_second_model
from linen_nnx.convert.framing.signs import is_framed
from linen_nnx.convert.framing.state import At, Framed
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.layout import Form


def framed(inventory: Inventory) -> Framed:
    """Take off all that is known to stand around a train state; most states have nothing of it."""
    if not is_framed(inventory):
        return Framed((), whole=inventory)
    state = Framed(tuple(At(entry.path, entry.path, entry.value) for entry in inventory.entries))
    steps: Sequence[Callable[[Framed], Framed]] = (
        unsplit,
        unwrapped,
        without_module_states,
        unnested,
        unnested_nnx,
        from_optimizer,
        without_second_model,
        without_sown,
        without_absent,
    )
    for step in steps:
        state = step(state)
    return state


def framed_as(inventory: Inventory, form: Form) -> Framed:
    """The entries of an item that is on record for `form`: nothing but its key stands around the state."""
    if form.nested is None:
        return Framed((), whole=inventory)
    return unnested(Framed(tuple(At(entry.path, entry.path, entry.value) for entry in inventory.entries)))
