"""What is wrong with the layers of a state: gaps in the numbering, layers unlike the others."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from linen_nnx.convert.layers.names import PIPELINE, unstacked_path
from linen_nnx.convert.layers.recognise import Seen, Specs, collect
from linen_nnx.schema.array import ArraySpec
from linen_nnx.schema.ir import PARAMS, Slot, Variable, address
from linen_nnx.schema.layout import LayerGroup, LayerNames, LayerStacking
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem


def in_params(path: KeyPath) -> KeyPath:
    """The address of a parameter, or of what stands around parameters."""
    return address(Slot(collection=PARAMS, path=path))


def unrestackable(variables: Sequence[Variable], groups: Sequence[LayerGroup]) -> list[Problem]:
    """What stands against restacking this state at all: stacks that are not understood, or no layers."""
    stages: dict[KeyPath, None] = {}
    for variable in variables:
        for depth, name in enumerate(variable.slot.path.names):
            if name in PIPELINE:
                stages[variable.slot.path[: depth + 1]] = None
                break
    problems = [
        Problem(
            code=Code.UNSUPPORTED,
            path=in_params(path),
            expected="layers stacked on one axis, or one by one",
            found="pipeline stages, stacked by stage and repeat",
            hint="leave out --scan-layers and --no-scan-layers: they are then kept as they are",
        )
        for path in stages
    ]
    if not groups and not problems:
        problems.append(
            Problem(
                code=Code.LAYERS_NOT_STACKABLE,
                expected="layers, such as decoder/layers or decoder/layers_0",
                found="none under any name that is known",
                hint="leave out --scan-layers and --no-scan-layers",
            )
        )
    return problems


def layer_gaps(variables: Sequence[Variable], groups: Sequence[LayerGroup]) -> list[Problem]:
    """Layers that the numbering of their group skips."""
    seen = collect(variables)
    return [
        Problem(
            code=Code.LAYER_GAP,
            path=in_params(unstacked_path(group, index, group.names)),
            expected=f"{group.count} layers, numbered without a gap",
            found="no such layer",
            hint="a layer was lost before this checkpoint was written; do not renumber the others",
        )
        for group in groups
        if group.stacking is LayerStacking.UNSTACKED
        for index in range(group.count)
        if index + _base(group) not in seen[group.parent, group.name].layers
    ]


def unlike_layers(variables: Sequence[Variable], groups: Sequence[LayerGroup]) -> list[Problem]:
    """Leaves of layers that differ from those of the other layers without any regular pattern."""
    seen = collect(variables)
    problems: list[Problem] = []
    for group in groups:
        found = seen[group.parent, group.name]
        if group.stacking is LayerStacking.STACKED:
            problems.extend(_odd_in_stack(group, found))
        elif _period(found.layers) is None:
            problems.extend(_odd_layers(group, found.layers))
    return problems


def _base(group: LayerGroup) -> int:
    return group.first if group.names is LayerNames.NESTED else 0


def _period(layers: Mapping[int, Specs]) -> int | None:
    """The length of the shortest cycle of like layers, seen at least twice; None if there is none."""
    kinds = [layers[number] for number in sorted(layers)]
    for period in range(1, max(1, len(kinds) // 2) + 1):
        if all(kind == kinds[index % period] for index, kind in enumerate(kinds)):
            return period
    return None


def period_of(group: LayerGroup, variables: Sequence[Variable]) -> int | None:
    """The shortest cycle of like layers in an unstacked group, seen at least twice."""
    return _period(collect(variables)[group.parent, group.name].layers)


def _odd_layers(group: LayerGroup, layers: Mapping[int, Specs]) -> Iterator[Problem]:
    """Layers that lost a leaf, or hold one of another shape.

    Layers may be of several kinds, each with leaves that the others have not: an attention layer among
    recurrent ones. A layer whose leaves are another's without some is no kind of its own.
    """
    kinds = {frozenset(layer) for layer in layers.values()}
    whole = [kind for kind in kinds if not any(kind < other for other in kinds)]
    for kind in sorted(whole, key=len):
        alike = {number: layer for number, layer in layers.items() if frozenset(layer) <= kind}
        for rest in sorted(kind, key=KeyPath.natural):
            found = {number: layer.get(rest) for number, layer in alike.items()}
            common, times = Counter(found.values()).most_common(1)[0]
            for number, spec in sorted(found.items()):
                if spec != common:
                    path = unstacked_path(group, number - _base(group), group.names) + rest
                    yield layer_problem(path, common, spec, group, times)


def layer_problem(
    path: KeyPath, expected: ArraySpec | None, found: ArraySpec | None, group: LayerGroup, agree: int
) -> Problem:
    """A leaf unlike that of the other layers."""
    match expected, found:
        case ArraySpec(), ArraySpec() if expected.shape == found.shape:
            code = Code.DTYPE_MISMATCH
        case ArraySpec(), ArraySpec():
            code = Code.SHAPE_MISMATCH
        case _:
            code = Code.LAYER_LEAF_MISSING
    return Problem(
        code=code,
        path=in_params(path),
        expected=f"{expected or 'nothing'}, as in {agree} of {group.count} layers",
        found=str(found or "nothing"),
        hint="layers must agree to be stacked; convert with --no-scan-layers to keep them apart",
    )


def _odd_in_stack(group: LayerGroup, found: Seen) -> Iterator[Problem]:
    """Where shapes allow no layer axis, the leaves that stand against the axis most agree on."""
    if group.axes:
        return
    specs = {
        group.parent + inside + rest: spec
        for inside, (_, leaves) in found.stacks.items()
        for rest, spec in leaves.items()
    }
    votes = Counter((a, size) for spec in specs.values() for a, size in enumerate(spec.shape))
    (axis, length), times = votes.most_common(1)[0] if votes else ((0, 0), 0)
    if times * 2 <= len(specs):
        return
    for path, spec in specs.items():
        if len(spec.shape) <= axis or spec.shape[axis] != length:
            yield Problem(
                code=Code.SHAPE_MISMATCH,
                path=in_params(path),
                expected=f"{length} layers on axis {axis}, as in {times} of {len(specs)} arrays",
                found=str(spec),
            )
