"""Where layers that stand one by one go when they are stacked anew: as their family has it, or as they show.

Never by a guess: what neither a user nor the layers themselves tell is a problem that names the option.
"""

from collections.abc import Iterator, Mapping
from itertools import groupby

from linen_nnx.convert.layers.eras import slots_in, today
from linen_nnx.convert.layers.families import Family, family_of
from linen_nnx.convert.layers.faults import in_params
from linen_nnx.convert.layers.names import DENSE, LAYERS, MOE, REMAINDER
from linen_nnx.convert.layers.recognise import GroupKey, Seen, period_of
from linen_nnx.schema.choices import Decoder
from linen_nnx.schema.layout import LayerGroup, LayerSlot
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.problem import Code, Problem

ENGRAM = "engram"
"""DeepSeek's layers with an n-gram memory: they stand alone, and cut the runs of the others in ranges."""
Slots = tuple[LayerSlot, ...]


def fresh_slots(
    group: LayerGroup,
    seen: Mapping[GroupKey, Seen],
    cycle: int | None = None,
    stated: Decoder | None = None,
    *,
    newest: bool = True,
) -> tuple[Slots, Problem | None]:
    """The slots of an unstacked group, or what stands against stacking it.

    `cycle` and the `stated` decoder are the user's. Not the `newest` form: then it is no matter which of two
    families it is that stand alike in older ones.
    """
    found = seen[group.parent, group.name]
    if group.name != LAYERS:
        if group.name in (DENSE, MOE) and any(ENGRAM in seen[key].names for key in _siblings(group, seen)):
            return _ranges(group, found), None
        block = cycle or period_of(found) or 1
        if group.count % block:
            return (), _no_remainder(group, block)
        slots = _cycled(LAYERS, "layers_{}", group.count, block)
        return tuple(LayerSlot(path=ROOT / group.name + s.path[1:], index=s.index) for s in slots), None
    family = family_of(found.names, found.beside, stated)
    if family is None:
        return _cycled(LAYERS, "layers_{}", group.count, cycle or period_of(found) or 1), None
    if newest and family.twin is not None and stated is None:
        return (), _unknown_twin(group, family, family.twin)
    return _of_family(group, found, family, cycle)


def kindred(group: LayerGroup, seen: Mapping[GroupKey, Seen]) -> list[list[int]] | None:
    """Numbers of layers that must be alike, where names tell; None where only the layers themselves do."""
    found = seen[group.parent, group.name]
    numbers = sorted(found.layers)
    if group.name != LAYERS:
        has = [n for n in numbers if ENGRAM in found.names_of(n)]
        return [has, [n for n in numbers if n not in has]] if has else None
    family = family_of(found.names, found.beside)
    if family is None or not (family.kinds or not family.stackable):
        return None
    slots, problem = _of_family(group, found, family, None)
    if problem is not None or len(numbers) != group.count:
        # The layers differ by nature, and the places that would tell how are not known.
        return []
    classes: dict[str | KeyPath, list[int]] = {}
    for number, slot in zip(numbers, slots, strict=True):
        # A layer that is never stacked may be unlike every other.
        classes.setdefault(slot.path.names[-1] if slot.index else slot.path, []).append(number)
    return list(classes.values())


def _siblings(group: LayerGroup, seen: Mapping[GroupKey, Seen]) -> Iterator[GroupKey]:
    return (key for key in seen if key[0] == group.parent and key[1] in (DENSE, MOE))


def _of_family(
    group: LayerGroup, found: Seen, family: Family, stated: int | None
) -> tuple[Slots, Problem | None]:
    if not family.stackable:
        return (), _problem(group, "layers that a run may stack", f"those of {family.name}, which differ")
    cycle = stated or family.cycle or _told(found, family)
    if cycle is None:
        return (), _unknown_cycle(group, family)
    prefix = 0
    if family.prefix_mark is not None:
        prefix = _prefix(found, family.prefix_mark) or _lacking(found, family.prefix_lacks)
        if prefix == 0:
            return (), _unknown_prefix(group, family)
    left = (group.count - prefix) % cycle
    if left and not family.remainder:
        expected = f"a multiple of {cycle} layers, the blocks of {family.name}"
        return (), _problem(group, expected, f"{group.count - prefix}")
    if family.local_stack:
        return slots_in(today(family), group.count, cycle), None
    alone = tuple(LayerSlot(path=ROOT / f"{group.name}_{n}") for n in range(prefix))
    return (*alone, *_blocks(family.stack, family.slot, group.count - prefix, cycle)), None


def _told(found: Seen, family: Family) -> int | None:
    """The cycle by the first layer that closes a block."""
    if family.open_mark is None:
        return None
    numbers = sorted(found.layers)
    closing = (n for n in numbers if family.open_mark not in found.names_of(n))
    return next((n - numbers[0] + 1 for n in closing), None)


def _prefix(found: Seen, mark: str) -> int:
    numbers = sorted(found.layers)
    return next((i for i, n in enumerate(numbers) if mark not in found.names_of(n)), len(numbers))


def _lacking(found: Seen, names: tuple[str, str] | None) -> int:
    """Layers before the first that holds what those of the prefix lack; 0 if none does."""
    numbers = sorted(found.layers)
    holding = (i for i, n in enumerate(numbers) if any(r.names[-2:] == names for r in found.layers[n]))
    return next(holding, 0)


def _cycled(stack: str, slot: str, count: int, cycle: int) -> Slots:
    """One run, or blocks of `cycle`; the last, incomplete block is the remainder."""
    if cycle == 1:
        return tuple(LayerSlot(path=ROOT / stack, index=(n,)) for n in range(count))
    return _blocks(stack, slot, count, cycle)


def _blocks(stack: str, slot: str, count: int, cycle: int) -> Slots:
    filled = count - count % cycle
    return (
        *(LayerSlot(path=ROOT / stack / slot.format(n % cycle), index=(n // cycle,)) for n in range(filled)),
        *(LayerSlot(path=ROOT / REMAINDER / slot.format(n)) for n in range(count - filled)),
    )


def _ranges(group: LayerGroup, found: Seen) -> Slots:
    """Runs between the layers with an engram, named by their first and last layer in the whole decoder."""
    slots: list[LayerSlot] = []
    numbers = sorted(found.layers)
    has = {n: ENGRAM in found.names_of(n) for n in numbers}
    for alone, run in groupby(numbers, key=has.__getitem__):
        places = [group.first + numbers.index(n) for n in run]
        if alone:
            slots += [LayerSlot(path=ROOT / f"{group.name}_{ENGRAM}_{n}") for n in places]
            continue
        path = ROOT / f"{group.name}_{places[0]}_{places[-1]}"
        slots += [LayerSlot(path=path, index=(index,)) for index in range(len(places))]
    return tuple(slots)


def _unknown_cycle(group: LayerGroup, family: Family) -> Problem:
    return Problem(
        code=Code.LAYERS_NOT_STACKABLE,
        path=in_params(group.at),
        expected=f"to know how many layers of {family.name} make a block: a run may choose it",
        found="layers that do not tell",
        hint="name it with --layer-cycle, or give a --template with stacked layers",
    )


def _unknown_twin(group: LayerGroup, family: Family, twin: Decoder) -> Problem:
    return Problem(
        code=Code.LAYERS_NOT_STACKABLE,
        path=in_params(group.at),
        expected=f"to know whether {family.name} or {twin} has these layers: they stack them otherwise",
        found="names and shapes that both have",
        hint=f"say --decoder {family.name} or --decoder {twin}, or give a --template with stacked layers",
    )


def _unknown_prefix(group: LayerGroup, family: Family) -> Problem:
    return Problem(
        code=Code.LAYERS_NOT_STACKABLE,
        path=in_params(group.at),
        expected=f"{family.prefix_mark} in the first layers of {family.name}, which are never stacked",
        found="none, so that their number is not known",
        hint="give a --template with stacked layers",
    )


def _no_remainder(group: LayerGroup, cycle: int) -> Problem:
    return Problem(
        code=Code.LAYERS_NOT_STACKABLE,
        path=in_params(group.at),
        expected=f"a multiple of {cycle} layers, the length of a block: what is left over has no known place",
        found=str(group.count),
        hint="name another length with --layer-cycle, or convert with --no-scan-layers",
    )


def _problem(group: LayerGroup, expected: str, found: str) -> Problem:
    return Problem(
        code=Code.LAYERS_NOT_STACKABLE,
        path=in_params(group.at),
        expected=expected,
        found=found,
        hint="leave out --scan-layers, or convert with --no-scan-layers",
    )
