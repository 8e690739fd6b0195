"""What is wrong with the layers of a state: gaps in the numbering, layers unlike the others."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from linen_nnx.convert.layers.faults import in_params, layer_problem
from linen_nnx.convert.layers.fresh import kindred
from linen_nnx.convert.layers.names import PIPELINE, unstacked_path
from linen_nnx.convert.layers.recognise import GroupKey, Seen, Specs, period_of
from linen_nnx.schema.ir import Variable
from linen_nnx.schema.layout import LayerGroup, LayerNames, LayerStacking
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem


def stages(variables: Sequence[Variable]) -> tuple[KeyPath, ...]:
    """Where pipeline stages stand: stacked by stage and repeat, which no shape tells apart."""
    found: dict[KeyPath, None] = {}
    for variable in variables:
        for depth, name in enumerate(variable.slot.path.names):
            if name in PIPELINE:
                found[variable.slot.path[: depth + 1]] = None
                break
    return tuple(found)


def unrestackable(variables: Sequence[Variable], groups: Sequence[LayerGroup]) -> list[Problem]:
    """What stands against restacking this state at all: there are no layers but those of pipeline stages."""
    if groups:
        return []
    problems = [
        Problem(
            code=Code.UNSUPPORTED,
            path=in_params(path),
            expected="layers stacked on one axis, or one by one",
            found="pipeline stages, stacked by stage and repeat",
            hint="leave out --scan-layers and --no-scan-layers: they are then kept as they are",
        )
        for path in stages(variables)
    ]
    if not problems:
        problems.append(
            Problem(
                code=Code.LAYERS_NOT_STACKABLE,
                expected="layers, such as decoder/layers or decoder/layers_0",
                found="none under any name that is known",
                hint="leave out --scan-layers and --no-scan-layers",
            )
        )
    return problems


def layer_gaps(seen: Mapping[GroupKey, Seen], groups: Sequence[LayerGroup]) -> list[Problem]:
    """Layers that the numbering of their group skips."""
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


def unlike_layers(seen: Mapping[GroupKey, Seen], groups: Sequence[LayerGroup]) -> list[Problem]:
    """Leaves of layers that differ from those of the other layers without any regular pattern."""
    problems: list[Problem] = []
    for group in groups:
        found = seen[group.parent, group.name]
        if group.stacking is LayerStacking.STACKED:
            problems.extend(_odd_in_stack(group, found))
        else:
            problems.extend(_odd_layers(group, seen))
    return problems


def _base(group: LayerGroup) -> int:
    return group.first if group.names is LayerNames.NESTED else 0


def _odd_layers(group: LayerGroup, seen: Mapping[GroupKey, Seen]) -> Iterator[Problem]:
    """Layers that lost a leaf, or hold one of another shape."""
    layers = seen[group.parent, group.name].layers
    classes = kindred(group, seen)
    if classes is None:
        if period_of(seen[group.parent, group.name]) is not None:
            return
        classes = _by_kind(layers)
    for numbers in classes:
        alike = {number: layers[number] for number in numbers}
        leaves = dict.fromkeys(rest for layer in alike.values() for rest in layer)
        for rest in sorted(leaves, key=KeyPath.natural):
            found = {number: layer.get(rest) for number, layer in alike.items()}
            common, times = Counter(found.values()).most_common(1)[0]
            for number, spec in sorted(found.items()):
                if spec != common:
                    path = unstacked_path(group, number - _base(group), group.names) + rest
                    yield layer_problem(path, common, spec, group, times)


def _by_kind(layers: Mapping[int, Specs]) -> list[list[int]]:
    """Layers that should be alike.

    Layers may be of several kinds, each with leaves that the others have not: an attention layer among
    recurrent ones. A layer whose leaves are another's without some is no kind of its own.
    """
    kinds = {frozenset(layer) for layer in layers.values()}
    whole = [kind for kind in kinds if not any(kind < other for other in kinds)]
    return [
        [number for number, layer in layers.items() if frozenset(layer) <= kind]
        for kind in sorted(whole, key=len)
    ]


def _odd_in_stack(group: LayerGroup, found: Seen) -> Iterator[Problem]:
    """Where shapes allow no layer axis, the leaves that stand against the axis most agree on."""
    if group.axes or not group.has_stacks:
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
