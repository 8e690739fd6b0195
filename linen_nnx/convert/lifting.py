"""What all layouts share on the way up: leaves that copy their source, optimizer entries in place."""

from collections.abc import Callable, Sequence

from linen_nnx.convert.mirrors import Chains, Placed, place
from linen_nnx.schema.array import Value
from linen_nnx.schema.inventory import Entry
from linen_nnx.schema.ir import Leaf, OptimizerLeaf, Slot, Variable
from linen_nnx.schema.ops import Copy, Origin, Ref
from linen_nnx.schema.path import KeyPath

Where = Callable[[KeyPath], KeyPath]
"""From a path inside a part of the state to the path on disk."""


def copied(value: Value, path: KeyPath, origin: Origin) -> Leaf:
    """A leaf that is the source entry at `path`."""
    return Leaf(value=value, op=Copy(source=Ref(origin=origin, path=path)))


def lift_variables(
    collection: str, entries: Sequence[Entry], where: Where, origin: Origin
) -> tuple[Variable, ...]:
    """One variable an entry."""
    return tuple(
        [
            Variable(
                slot=Slot(collection=collection, path=entry.path),
                leaf=copied(entry.value, where(entry.path), origin),
            )
            for entry in entries
        ]
    )


def lift_optimizer(
    opt_state: Sequence[Entry],
    variables: Sequence[Variable],
    where: Where,
    origin: Origin,
    chains: Chains = Chains.DIGITS,
) -> tuple[OptimizerLeaf, ...]:
    """Canonical optimizer leaves; each moment knows its variable, of which it has the very slot."""
    return tuple([_lifted(placed, where, origin) for placed in place(opt_state, variables, chains)])


def _lifted(placed: Placed, where: Where, origin: Origin) -> OptimizerLeaf:
    entry = placed.entry
    return OptimizerLeaf(
        at=placed.at,
        mirrors=placed.mirrors,
        factored=placed.factored,
        leaf=copied(entry.value, where(entry.path), origin),
    )
