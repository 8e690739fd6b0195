"""All that is wrong with the entries of a train state, as far as metadata tells."""

from pydantic import ValidationError

from linen_nnx.convert.layers.check import layer_gaps, unlike_layers
from linen_nnx.convert.layers.recognise import collect
from linen_nnx.convert.layouts import AnyState, Lifted, lift, on_disk
from linen_nnx.convert.moments import moment_problems
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.ir import inside
from linen_nnx.schema.problem import Problem


def layout_problems(wire: AnyState, problems: list[Problem], inventory: Inventory) -> list[Problem]:
    """Every problem: `problems` of the layout, and those of moments and layers.

    What the layout does not know is left out, and the rest is looked at all the same.
    """
    try:
        lifted = lift(wire, inventory, {})
    except ValidationError:
        # Nothing more can be said of entries that do not even form a tree.
        return problems
    return list(dict.fromkeys([*problems, *state_problems(lifted), *layer_problems(lifted)]))


def state_problems(lifted: Lifted) -> list[Problem]:
    """What no conversion can take: moments that do not fit their parameters."""
    state = lifted.state
    inner = [] if state.inner is None else [inside(p) for p in moment_problems(state.inner)]
    return on_disk([*state.check(), *moment_problems(state), *inner], lifted.form)


def layer_problems(lifted: Lifted) -> list[Problem]:
    """Layers that are missing, or unlike the others."""
    state = lifted.state
    seen = collect(state.variables)
    problems = [*layer_gaps(seen, state.groups), *unlike_layers(seen, state.groups)]
    return on_disk(problems, lifted.form)
