"""Describe a checkpoint from its metadata."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from linen_nnx.convert.reading import lift_source, read_entries
from linen_nnx.convert.store.location import locate
from linen_nnx.convert.store.orbax_source import OrbaxItem, open_item
from linen_nnx.schema.array import ArrayValue, EmptyValue
from linen_nnx.schema.diloco import INNER
from linen_nnx.schema.errors import ProblemsError
from linen_nnx.schema.inspection import DTypeCount, Inspection, MirrorField, Part, PartName
from linen_nnx.schema.ir import PARAMS, Leaf, TrainState
from linen_nnx.schema.ops import Copy, Origin
from linen_nnx.schema.path import KeyPath


def inspect(path: Path | str, *, step: int | None = None, item: str | None = None) -> Inspection:
    """What stands at `path`. Reads metadata and one scalar. Raises `CheckpointError`.

    Its `fingerprint` is not taken, since that reads every array: `linen_nnx.fingerprint` does.
    """
    location = locate(Path(path), step, item)
    opened = open_item(location)
    described = Inspection(
        path=str(location.root),
        item=str(location.item),
        step_folder=location.step_number,
        step=None,
        storage=opened.storage,
        detection=None,
        inventory=opened.inventory,
        problems=opened.problems,
    )
    try:
        detection = read_entries(opened.inventory, opened.side).detection
        lifted = lift_source(opened)
    except ProblemsError as error:
        return described.model_copy(update={"problems": (*opened.problems, *error.problems)})
    parts = _parts(lifted.state)
    return described.model_copy(
        update={
            "detection": detection,
            "step": _step(opened, lifted.state),
            "parts": tuple(_part(name, leaves) for name, leaves in parts.items()),
            "dtypes": _dtypes(parts),
            "groups": lifted.state.groups,
            "mirrors": (*_mirrors(lifted.state), *_inner_mirrors(lifted.state)),
            "notes": lifted.notes,
            "kept_aside": 0 if opened.side is None else len(opened.side.residue.kept),
        }
    )


def _step(item: OrbaxItem, state: TrainState) -> int | None:
    match state.step:
        case Leaf(op=Copy(source=source)):
            return item.scalar(source.path)
        case _:
            return None


def _from_item(leaf: Leaf) -> bool:
    return isinstance(leaf.op, Copy) and leaf.op.source.origin is Origin.SOURCE


def _parts(state: TrainState) -> dict[PartName, list[Leaf]]:
    parts: dict[PartName, list[Leaf]] = {name: [] for name in PartName}
    if state.step is not None:
        parts[PartName.STEP].append(state.step)
    for variable in state.variables:
        part = PartName.PARAMS if variable.slot.collection == PARAMS else PartName.AUX
        parts[part].append(variable.leaf)
    parts[PartName.OPTIMIZER].extend(item.leaf for item in state.optimizer)
    for name, leaves in () if state.inner is None else _parts(state.inner).items():
        parts[name].extend(leaves)
    return {name: [leaf for leaf in leaves if _from_item(leaf)] for name, leaves in parts.items()}


def _part(name: PartName, leaves: list[Leaf]) -> Part:
    specs = [leaf.value.spec for leaf in leaves if isinstance(leaf.value, ArrayValue)]
    return Part(
        name=name,
        entries=len(leaves),
        elements=sum(spec.size for spec in specs),
        nbytes=sum(spec.nbytes for spec in specs),
    )


def _dtypes(parts: dict[PartName, list[Leaf]]) -> tuple[DTypeCount, ...]:
    arrays: Counter[tuple[PartName, str]] = Counter()
    nbytes: Counter[tuple[PartName, str]] = Counter()
    for part, leaves in parts.items():
        for leaf in leaves:
            if isinstance(leaf.value, ArrayValue):
                spec = leaf.value.spec
                name = spec.dtype.value if spec.key_impl is None else f"key<{spec.key_impl}>"
                arrays[part, name] += 1
                nbytes[part, name] += spec.nbytes
    return tuple(
        DTypeCount(part=part, dtype=dtype, arrays=count, nbytes=nbytes[part, dtype])
        for (part, dtype), count in arrays.items()
    )


def _inner_mirrors(state: TrainState) -> Iterator[MirrorField]:
    """Those of the state inside a DiLoCo state, by their places in the whole."""
    for field in () if state.inner is None else _mirrors(state.inner):
        yield field.model_copy(update={"at": INNER + field.at})


def _mirrors(state: TrainState) -> tuple[MirrorField, ...]:
    fields: dict[KeyPath, list[Leaf]] = defaultdict(list)
    for item in state.optimizer:
        if item.mirrors is not None:
            fields[item.at].append(item.leaf)
    return tuple(
        MirrorField(at=at, moments=len(leaves), empty=sum(isinstance(x.value, EmptyValue) for x in leaves))
        for at, leaves in fields.items()
    )
