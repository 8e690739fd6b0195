"""Which layer stands where in the stacks of a group, and on which axis."""

from collections.abc import Iterator, Mapping, Sequence

from linen_nnx.convert.layers.names import Alone, Block, Left, One, Range, Role
from linen_nnx.schema.array import ArraySpec
from linen_nnx.schema.layout import LayerSlot
from linen_nnx.schema.ops import logical_rank
from linen_nnx.schema.path import ROOT, KeyPath

Stacks = Mapping[KeyPath, tuple[Role, Mapping[KeyPath, ArraySpec]]]


def axes_of(stacks: Stacks, aux: set[int]) -> dict[int, int]:
    """Every axis that all stacks allow, and the number of blocks on it (0 if there are no blocks)."""
    stacked = [spec for role, specs in stacks.values() if _is_stack(role) for spec in specs.values()]
    found = {}
    for axis in range(min(map(logical_rank, stacked), default=0)):
        blocks = _blocks(stacks, axis)
        if blocks is not None and (len(aux) != 1 or blocks in (0, *aux)):
            found[axis] = blocks
    return found


def _is_stack(role: Role) -> bool:
    match role:
        case Block() | Range():
            return True
        case Left(inner=inner):
            return inner
        case Alone() | One():
            return False


def _blocks(stacks: Stacks, axis: int) -> int | None:
    """The number of blocks if the layers are stacked on `axis`, or None if they cannot be."""
    blocks: set[int] = set()
    for role, specs in stacks.values():
        if not _is_stack(role):
            continue
        lengths = {spec.shape[axis] for spec in specs.values()}
        if len(lengths) != 1 or (isinstance(role, Range) and lengths != {role.end - role.start + 1}):
            return None
        if isinstance(role, Block):
            blocks |= lengths
            if role.inner and _inner(specs, axis) is None:
                return None
    if len(blocks) > 1:
        return None
    return blocks.pop() if blocks else 0


def _inner(specs: Mapping[KeyPath, ArraySpec], axis: int) -> int | None:
    """Layers in the stack inside one block: it lies right behind the block axis."""
    lengths = {spec.shape[axis + 1] if logical_rank(spec) > axis + 1 else 0 for spec in specs.values()}
    return lengths.pop() if len(lengths) == 1 and 0 not in lengths else None


def slots_of(stacks: Stacks, singles: Sequence[int], name: str, axis: int | None) -> tuple[LayerSlot, ...]:
    """A slot a layer, in order: layers before the blocks, the blocks, what is left over."""
    blocks = (0 if axis is None else _blocks(stacks, axis)) or 0
    return (
        *(LayerSlot(path=ROOT / f"{name}_{number}") for number in singles),
        *_numbered(stacks),
        *_in_blocks(stacks, blocks, axis),
        *_left(stacks, axis),
    )


def _numbered(stacks: Stacks) -> Iterator[LayerSlot]:
    """Ranges and layers that are named by their number in the whole decoder."""
    found: dict[int, LayerSlot] = {}
    for path, (role, _) in stacks.items():
        match role:
            case Range(start, end):
                found.update({n: LayerSlot(path=path, index=(n - start,)) for n in range(start, end + 1)})
            case Alone(number):
                found[number] = LayerSlot(path=path)
            case _:
                continue
    for number in sorted(found):
        yield found[number]


def _in_blocks(stacks: Stacks, blocks: int, axis: int | None) -> Iterator[LayerSlot]:
    parts = _ordered_blocks(stacks, axis)
    for block in range(max(blocks, 1) if parts else 0):
        for path, inner in parts:
            if inner is None:
                yield LayerSlot(path=path, index=(block,))
            else:
                yield from (LayerSlot(path=path, index=(block, n)) for n in range(inner))


def _ordered_blocks(stacks: Stacks, axis: int | None) -> list[tuple[KeyPath, int | None]]:
    parts = [(role, path, specs) for path, (role, specs) in stacks.items() if isinstance(role, Block)]
    return [
        (path, _inner(specs, axis) if role.inner and axis is not None else None)
        for role, path, specs in sorted(parts, key=lambda part: part[0].order)
    ]


def _left(stacks: Stacks, axis: int | None) -> Iterator[LayerSlot]:
    parts = [(role, path, specs) for path, (role, specs) in stacks.items() if isinstance(role, Left)]
    for role, path, specs in sorted(parts, key=lambda part: part[0].order):
        if not role.inner:
            yield LayerSlot(path=path)
            continue
        lengths = {spec.shape[axis] for spec in specs.values()} if axis is not None else {1}
        yield from (LayerSlot(path=path, index=(n,)) for n in range(lengths.pop()))
