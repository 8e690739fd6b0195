"""Places that two variables of a state would share in a layout: refused, for neither may go under."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator

from linen_nnx.schema.ir import PARAMS, REFERENCE, Slot, TrainState, Variable
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.path import KeyPath, SequenceKey
from linen_nnx.schema.problem import Code, Problem

Place = tuple[Hashable, KeyPath]
"""A path in one of the parts in which a layout keeps variables."""


def collisions(state: TrainState, layout: Layout) -> list[Problem]:
    """A problem for each place that two claim: two leaves, a leaf and a module, a list and a dict."""
    places: list[Place] = [(_part(v.slot, layout), v.slot.path) for v in state.variables]
    places += [
        (f"aside {item.slot.collection}", item.slot.path)
        for item in state.aside
        if isinstance(item, Variable)
    ]
    return [
        Problem(
            code=Code.TWO_WRITERS,
            path=path,
            expected=f"one variable or module of this path: {layout.value} keeps one of a name",
            found=found,
        )
        for (_, path), found in _clashes(places)
    ]


def _part(slot: Slot, layout: Layout) -> Hashable:
    match layout:
        case Layout.LINEN:
            return slot.collection
        case Layout.MAXTEXT:
            return slot.collection == PARAMS
        case _:
            return slot.collection == REFERENCE


def _clashes(places: Iterable[Place]) -> Iterator[tuple[Place, str]]:
    leaves = Counter(places)
    modules: dict[Place, type] = {}
    mixed: dict[Place, str] = {}
    for part, path in leaves:
        for depth in range(len(path) - 1, -1, -1):
            above, kind = (part, path[:depth]), type(path[depth])
            if modules.get(above) is kind:
                break
            if SequenceKey in (kind, modules.setdefault(above, kind)) and modules[above] is not kind:
                mixed[above] = "positions of a list beside names"
    yield from ((place, f"{times} variables") for place, times in leaves.items() if times > 1)
    yield from ((place, "a variable and a module") for place in leaves if place in modules)
    yield from mixed.items()
