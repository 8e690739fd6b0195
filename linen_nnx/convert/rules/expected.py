"""Hold a state that rules have made against the spec of what it is for."""

from collections.abc import Iterator

from linen_nnx.schema.array import ArraySpec, ArrayValue
from linen_nnx.schema.ir import Slot, TrainState, is_field
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.rule_text import glob
from linen_nnx.schema.rules import Mirroring, Rules
from linen_nnx.schema.spec import Kind, Spec, SpecLeaf

Place = tuple[str, KeyPath]
"""A collection (none in NNX, where the path alone is the place) and a path."""


def expectation_problems(state: TrainState, spec: Spec, rules: Rules) -> list[Problem]:
    """Targets without a writer, writers without a target, other shapes, dtypes or types."""
    return [*_variables(state, spec, rules), *_optimizer(state, spec)]


def left_to_target(state: TrainState, spec: Spec, rules: Rules) -> list[KeyPath]:
    """Variables that rules keep from the target, and that nothing has given yet."""
    kept = [glob(keep.to) for keep in rules.keep]
    have = {_place(v.slot, spec) for v in state.variables}
    return [
        leaf.path
        for leaf in spec.leaves
        if _place(leaf.slot, spec) not in have and any(one.fullmatch(str(leaf.path)) for one in kept)
    ]


def _place(slot: Slot, spec: Spec) -> Place:
    return ("" if spec.layout.is_nnx else slot.collection, slot.path)


def _variables(state: TrainState, spec: Spec, rules: Rules) -> Iterator[Problem]:
    wanted = {_place(leaf.slot, spec): leaf for leaf in spec.leaves}
    found = {_place(v.slot, spec): v for v in state.variables}
    kept = set(left_to_target(state, spec, rules))
    for place, leaf in wanted.items():
        if place not in found and leaf.path not in kept:
            hint = "add a rule whose target it is, or [[keep]] it"
            yield _problem(Code.NO_WRITER, f"a writer of {leaf}", "none", hint)
    for place, variable in found.items():
        if place not in wanted:
            yield _problem(
                Code.UNEXPECTED_ENTRY, "only variables of the target", f"{place[1]}: {variable.leaf.value}"
            )
            continue
        leaf = wanted[place]
        if spec.layout.is_nnx and (fault := _kind_fault(variable.slot, leaf, rules)):
            yield fault
        yield from _unlike(str(leaf.path), leaf.spec, variable.leaf.value)


def _kind_fault(slot: Slot, leaf: SpecLeaf, rules: Rules) -> Problem | None:
    """A variable must not become one of another kind: it would be trained, or no longer."""
    stated = rules.collections.get(slot.collection)
    stated = None if isinstance(stated, Mirroring) else stated
    kind = Kind.of_collection(slot.collection)
    fits = leaf.kind is kind if stated is None else stated in (leaf.type, leaf.kind.value)
    if fits or leaf.kind is Kind.RNG:
        return None
    expected = f"a {leaf.type or leaf.kind.value} at {leaf.path}"
    hint = f'say [collections] {slot.collection} = "{leaf.type or leaf.kind.value}" if that is meant'
    return _problem(Code.WRONG_KIND, expected, f"one of the collection {slot.collection}", hint)


def _optimizer(state: TrainState, spec: Spec) -> Iterator[Problem]:
    if not spec.optimizer:
        return
    wanted = {(leaf.at, _mirrored(leaf.mirrors)): leaf.value for leaf in spec.optimizer}
    found = {(i.at, _mirrored(i.mirrors)): i.leaf.value for i in state.optimizer if not is_field(i)}
    for place in dict.fromkeys((*wanted, *found)):
        ours, theirs = found.get(place), wanted.get(place)
        name = " of ".join(str(part) for part in place if part is not None)
        if isinstance(theirs, ArrayValue) and not isinstance(ours, ArrayValue):
            hint = "another optimizer, or masks and labels that mean other leaves"
            yield _problem(Code.NO_WRITER, f"a writer of {name}: {theirs}", str(ours or "none"), hint)
        elif isinstance(ours, ArrayValue) and not isinstance(theirs, ArrayValue):
            yield _problem(
                Code.UNEXPECTED_ENTRY,
                f"{theirs or 'nothing'}, as the target's optimizer has",
                f"{name}: {ours}",
            )
        elif isinstance(theirs, ArrayValue):
            yield from _unlike(name, theirs.spec, ours)


def _mirrored(slot: Slot | None) -> KeyPath | None:
    return None if slot is None else slot.path


def _unlike(name: str, wanted: ArraySpec, value: object) -> Iterator[Problem]:
    spec = value.spec if isinstance(value, ArrayValue) else None
    if spec == wanted:
        return
    same_shape = spec is not None and spec.shape == wanted.shape
    code = Code.DTYPE_MISMATCH if same_shape else Code.SHAPE_MISMATCH
    yield _problem(code, f"{wanted} at {name}, as the target has it", str(value))


def _problem(code: Code, expected: str, found: str, hint: str | None = None) -> Problem:
    return Problem(code=code, expected=expected, found=found, hint=hint)
