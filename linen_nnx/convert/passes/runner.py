"""Run passes over a state; its invariants are checked before, between and after them.

A pass is a frozen record of its options. It returns a new state, what stands against it, and what the
user should know. Problems end the conversion; a broken invariant is our own fault and names the pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from linen_nnx.schema.errors import ConversionError, InvariantError, raise_if
from linen_nnx.schema.ir import TrainState
from linen_nnx.schema.plan import Drop, Note
from linen_nnx.schema.problem import Problem


@dataclass(frozen=True, slots=True)
class Passed:
    """What a pass made of a state."""

    state: TrainState
    problems: Sequence[Problem] = ()
    drops: Sequence[Drop] = ()
    notes: Sequence[Note] = ()


class Pass(Protocol):
    """One rewrite of the intermediate representation."""

    @property
    def name(self) -> str:
        """For errors and `plan`."""
        ...

    def apply(self, state: TrainState) -> Passed:
        """Rewrite a valid state into a valid state."""
        ...


@dataclass
class Ran:
    """The last state, and everything that the passes had to say."""

    state: TrainState
    drops: list[Drop] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def run(state: TrainState, passes: Sequence[Pass]) -> Ran:
    """Apply `passes` in order. Raises `ConversionError`, or `InvariantError` naming the pass at fault."""
    raise_if(state.check(), ConversionError)
    ran = Ran(state)
    for one in passes:
        passed = one.apply(ran.state)
        raise_if(passed.problems, ConversionError)
        if passed.state is not ran.state and (broken := passed.state.check()):
            raise InvariantError(f"the pass {one.name}", broken)
        ran.state = passed.state
        ran.drops.extend(passed.drops)
        ran.notes.extend(passed.notes)
    return ran
