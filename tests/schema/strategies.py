"""One strategy for each model of `linen_nnx.schema`."""

import dataclasses
from datetime import UTC
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from linen_nnx.schema import routing
from linen_nnx.schema.array import (
    KEY_WORDS,
    ArraySpec,
    ArrayValue,
    DType,
    Empty,
    EmptyValue,
    Holder,
    StringValue,
    Value,
)
from linen_nnx.schema.detection import Against, Detection
from linen_nnx.schema.difference import Difference, verdict_of
from linen_nnx.schema.digest import FileDigest, Level, LogicalChunks, Span, StoredChunks
from linen_nnx.schema.inspection import DTypeCount, Inspection, MirrorField, Part, PartName
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.ir import Leaf, OptimizerLeaf, Slot, TrainState, Variable
from linen_nnx.schema.layout import (
    Form,
    LayerGroup,
    LayerNames,
    LayerSlot,
    LayerStacking,
    Layout,
    Leaves,
    Route,
)
from linen_nnx.schema.linen import LinenCollection, LinenTrainState
from linen_nnx.schema.maxtext import MaxtextTrainState
from linen_nnx.schema.nnx import NnxTrainState
from linen_nnx.schema.ops import (
    Cast,
    Concat,
    Copy,
    Fill,
    MoveAxis,
    Op,
    Origin,
    Ref,
    Split,
    Stack,
    Take,
    result,
)
from linen_nnx.schema.options import (
    FLOAT_DTYPES,
    STEP_DTYPES,
    Accept,
    Aux,
    Chunks,
    Codec,
    ConversionOptions,
    Direction,
    PartDType,
    Parts,
    Storing,
)
from linen_nnx.schema.orbax_metadata import (
    ArrayMetadata,
    ArrayMetadatas,
    CheckpointMetadata,
    KeyMetadata,
    KeyType,
    NamedSharding,
    StorageForm,
    TreeEntry,
    TreeMetadata,
    ValueMetadata,
)
from linen_nnx.schema.path import AttributeKey, DictKey, Key, KeyPath, SequenceKey
from linen_nnx.schema.plan import Drop, DropRule, Input, Note, NoteCode, Place, Plan, Write
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.receipt import (
    Digested,
    Identity,
    Receipt,
    Recorded,
    Seal,
    Sealed,
    Times,
    Versions,
)
from linen_nnx.schema.report import Problems
from linen_nnx.schema.residue import Filled, Kept, OptimizerAddress, Residue, VariableAddress
from linen_nnx.schema.routing import Execution, RoutedPlan
from linen_nnx.schema.spec import Kind, Spec, SpecLeaf, SpecModule, SpecOptimizerLeaf
from linen_nnx.schema.zarr import ZarrV2, ZarrV3
from tests.schema.rule_strategies import RULE_CASES, RULES

T = TypeVar("T")

NASTY = st.sampled_from(
    [
        "",
        "0",
        "007",
        "/",
        "\\",
        "[",
        "]",
        "[3]",
        ".",
        ".x",
        "\\0",
        "a/b",
        "a\\/b",
        "lora_a.kernel",
        "a\n",
        " ",
    ]
)
PLAIN = st.from_regex(r"[a-z]+(_[0-9]{1,2})?", fullmatch=True)
NAMES = st.one_of(PLAIN, NASTY, st.text(max_size=6), st.text(alphabet="/\\[].0axu1\n\x1b", max_size=8))
INDICES = st.integers(0, 10**6)
KEYS: st.SearchStrategy[Key] = st.one_of(
    st.builds(DictKey, NAMES), st.builds(SequenceKey, INDICES), st.builds(AttributeKey, NAMES)
)
PATHS = st.lists(KEYS, max_size=5).map(lambda keys: KeyPath(tuple(keys)))
TEXTS = st.text(max_size=12)
COUNTS = st.integers(0, 2**40)
MAYBE_TEXT = st.none() | TEXTS


def tuples_of(elements: st.SearchStrategy[T], most: int = 3) -> st.SearchStrategy[tuple[T, ...]]:
    """Tuples of any length up to `most`."""
    return st.lists(elements, max_size=most).map(lambda items: tuple(items))


SHAPES = tuples_of(st.integers(0, 9), 4)
BARE_SPECS = st.builds(ArraySpec, shape=SHAPES, dtype=st.sampled_from(DType))
KEY_SPECS = st.builds(
    lambda impl, shape: ArraySpec(shape=(*shape, KEY_WORDS[impl]), dtype=DType.UINT32, key_impl=impl),
    st.sampled_from(sorted(KEY_WORDS)),
    SHAPES,
)
SPECS = BARE_SPECS | KEY_SPECS
ARRAYS = st.builds(ArrayValue, spec=SPECS, holder=st.sampled_from(Holder))
STRINGS = st.builds(StringValue, text=TEXTS)
EMPTIES = st.builds(EmptyValue, empty=st.sampled_from(Empty))
VALUES: st.SearchStrategy[Value] = st.one_of(ARRAYS, STRINGS, EMPTIES)
ENTRIES = st.builds(Entry, path=PATHS, value=VALUES)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Entries at paths of one depth: none is inside another."""
    depth = draw(st.integers(1, 3))
    path = st.lists(KEYS, min_size=depth, max_size=depth).map(lambda keys: KeyPath(tuple(keys)))
    paths = draw(st.lists(path, unique=True, max_size=6))
    return Inventory.of(Entry(path=path, value=draw(VALUES)) for path in paths)


SLOTS_OF_LAYERS = st.builds(LayerSlot, path=PATHS, index=tuples_of(st.integers(0, 9)))


@st.composite
def groups(draw: st.DrawFn) -> LayerGroup:
    """A slot a layer where layers are stacked."""
    stacking, count = draw(st.sampled_from(LayerStacking)), draw(st.integers(1, 4))
    slots = draw(st.lists(SLOTS_OF_LAYERS, min_size=count, max_size=count, unique=True))
    return LayerGroup(
        parent=draw(PATHS),
        name=draw(NAMES),
        stacking=stacking,
        names=draw(st.sampled_from(LayerNames)),
        first=draw(st.integers(0, 9)),
        count=count,
        slots=tuple(slots) if stacking is LayerStacking.STACKED else (),
        axes=draw(tuples_of(st.integers(0, 3))),
    )


GROUPS = groups()
ROUTES = st.builds(Route, path=PATHS, collection=NAMES)
FORMS = st.builds(
    Form,
    layout=st.sampled_from(Layout),
    leaves=st.none() | st.sampled_from(Leaves),
    nested_params=st.booleans(),
    layer_names=st.none() | st.sampled_from(LayerNames),
    groups=tuples_of(GROUPS),
    step=st.none() | ARRAYS,
)
SLOTS = st.builds(Slot, collection=NAMES, path=PATHS)
REFS = st.builds(Ref, origin=st.sampled_from(Origin), path=PATHS)
COPIES = st.builds(Copy, source=REFS)
FILLS = st.builds(Fill, value=VALUES)
SMALL = st.integers(0, 5)


def takes(of: st.SearchStrategy[Op]) -> st.SearchStrategy[Take]:
    """Slices of ops."""
    return st.builds(Take, of=of, axis=SMALL, index=SMALL)


def stacks(of: st.SearchStrategy[Op]) -> st.SearchStrategy[Stack]:
    """Stacks of ops."""
    return st.builds(Stack, parts=st.lists(of, min_size=1, max_size=3).map(tuple), axis=SMALL)


def moves(of: st.SearchStrategy[Op]) -> st.SearchStrategy[MoveAxis]:
    """Ops with an axis moved."""
    return st.builds(MoveAxis, of=of, source=SMALL, destination=SMALL)


def concats(of: st.SearchStrategy[Op]) -> st.SearchStrategy[Concat]:
    """Ops one after the other."""
    return st.builds(Concat, parts=st.lists(of, min_size=1, max_size=3).map(tuple), axis=SMALL)


def splits(of: st.SearchStrategy[Op]) -> st.SearchStrategy[Split]:
    """Pieces of ops."""
    return st.builds(Split, of=of, axis=SMALL, index=SMALL, count=st.integers(1, 5))


def casts(of: st.SearchStrategy[Op]) -> st.SearchStrategy[Cast]:
    """Casts of ops."""
    return st.builds(Cast, of=of, dtype=st.sampled_from(DType))


OPS: st.SearchStrategy[Op] = st.recursive(
    st.one_of(COPIES, FILLS),
    lambda of: st.one_of(takes(of), stacks(of), moves(of), concats(of), splits(of), casts(of)),
    max_leaves=4,
)
WRITES = st.builds(Write, place=st.sampled_from(Place), target=PATHS, value=VALUES, op=OPS)
DROPS = st.builds(Drop, source=REFS, rule=st.sampled_from(DropRule))
NOTES = st.builds(Note, code=st.sampled_from(NoteCode), text=TEXTS, paths=tuples_of(PATHS))
INPUTS = st.builds(Input, source=REFS, value=VALUES)
VARIABLE_ADDRESSES = st.builds(VariableAddress, slot=SLOTS)
OPTIMIZER_ADDRESSES = st.builds(OptimizerAddress, at=PATHS, mirrors=st.none() | SLOTS)
KEPT = st.builds(Kept, path=PATHS, value=VALUES, address=st.one_of(VARIABLE_ADDRESSES, OPTIMIZER_ADDRESSES))
FILLED = st.builds(Filled, at=PATHS, inner=st.booleans())
RESIDUES = st.builds(
    Residue,
    origins=tuples_of(FORMS),
    routes=tuples_of(ROUTES),
    kept=tuples_of(KEPT),
    filled=tuples_of(FILLED),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans that conserve: each input is copied, cast, sliced, stacked or dropped, each to its own target."""
    inputs = [
        Input(source=Ref(path=KeyPath.of("in", str(number))), value=draw(VALUES))
        for number in range(draw(st.integers(0, 4)))
    ]
    writes: list[Write] = []
    drops: list[Drop] = []
    for entry in inputs:
        copy = Copy(source=entry.source)
        how = draw(st.sampled_from(["copy", "cast", "take", "stack", "drop"]))
        ops: list[Op] = [copy]
        if how == "drop":
            drops.append(Drop(source=entry.source, rule=draw(st.sampled_from(DropRule))))
            continue
        if isinstance(entry.value, ArrayValue):
            spec = entry.value.spec
            if how == "cast":
                ops = [Cast(of=copy, dtype=draw(st.sampled_from(DType)))]
            elif how == "stack":
                ops = [Stack(parts=(copy, copy), axis=0)]
            elif how == "take" and len(spec.shape) > (spec.key_impl is not None) and spec.shape[0]:
                ops = [Take(of=copy, axis=0, index=index) for index in range(spec.shape[0])]
        for op in ops:
            value = result(op, {entry.source: entry.value}.__getitem__)
            target = KeyPath.of("out", str(len(writes)))
            writes.append(Write(place=draw(st.sampled_from(Place)), target=target, value=value, op=op))
    return Plan(
        source=draw(FORMS),
        target=draw(FORMS),
        inputs=tuple(inputs),
        writes=tuple(writes),
        drops=tuple(drops),
        notes=draw(tuples_of(NOTES)),
        residue=draw(st.none() | RESIDUES),
    )


LEAVES = st.builds(Leaf, value=VALUES, op=OPS)
VARIABLES = st.builds(Variable, slot=SLOTS, leaf=LEAVES)
OPTIMIZER_LEAVES = st.builds(
    OptimizerLeaf, at=PATHS, mirrors=st.none() | SLOTS, factored=st.booleans(), leaf=LEAVES
)
TRAIN_STATES = st.builds(
    TrainState,
    step=st.none() | LEAVES,
    variables=tuples_of(VARIABLES),
    optimizer=tuples_of(OPTIMIZER_LEAVES),
    groups=tuples_of(GROUPS),
    aside=tuples_of(st.one_of(VARIABLES, OPTIMIZER_LEAVES)),
)
COLLECTIONS = st.builds(LinenCollection, name=NAMES, entries=tuples_of(ENTRIES))
LINEN = st.builds(
    LinenTrainState,
    step=st.none() | ARRAYS,
    nested_params=st.booleans(),
    collections=tuples_of(COLLECTIONS),
    opt_state=tuples_of(ENTRIES),
)
NNX = st.builds(
    NnxTrainState,
    leaves=st.sampled_from(Leaves),
    model=tuples_of(ENTRIES),
    step=st.none() | ARRAYS,
    opt_state=tuples_of(ENTRIES),
)
MAXTEXT = st.builds(
    MaxtextTrainState,
    step=st.none() | ARRAYS,
    params=tuples_of(ENTRIES),
    aux=tuples_of(ENTRIES),
    opt_state=tuples_of(ENTRIES),
)
PROBLEMS = st.builds(
    Problem,
    code=st.sampled_from(Code),
    path=PATHS,
    expected=TEXTS,
    found=TEXTS,
    hint=MAYBE_TEXT,
    item=MAYBE_TEXT,
    file=MAYBE_TEXT,
)
PART_DTYPES = st.one_of(
    st.builds(
        PartDType,
        part=st.sampled_from([part for part in PartName if part is not PartName.STEP]),
        dtype=st.sampled_from(sorted(FLOAT_DTYPES)),
    ),
    st.builds(
        PartDType,
        part=st.just(PartName.STEP),
        dtype=st.sampled_from(sorted(STEP_DTYPES)),
    ),
)
OPTIONS = st.builds(
    ConversionOptions,
    to=st.none() | st.sampled_from(Layout),
    direction=st.sampled_from(Direction),
    stacking=st.none() | st.sampled_from(LayerStacking),
    layer_axis=st.none() | SMALL,
    leaves=st.none() | st.sampled_from(Leaves),
    layer_names=st.none() | st.sampled_from(LayerNames),
    parts=st.sampled_from(Parts),
    aux=st.sampled_from(Aux),
    rules=st.none() | RULES,
    inverse=st.booleans(),
    accept=st.sampled_from(Accept),
    chunks=st.sampled_from(Chunks),
    codec=st.sampled_from(Codec),
    dtypes=st.lists(PART_DTYPES, unique_by=lambda cast: cast.part).map(tuple),
)
AGAINST = st.builds(Against, layout=st.sampled_from(Layout), reason=TEXTS)
DETECTIONS = st.builds(
    Detection, layout=st.sampled_from(Layout), evidence=tuples_of(TEXTS), against=tuples_of(AGAINST)
)
STORAGE = st.builds(
    StorageForm, ocdbt=st.booleans(), zarr_format=st.sampled_from([2, 3]), stores_fill_values=st.booleans()
)
PARTS = st.builds(Part, name=st.sampled_from(PartName), entries=COUNTS, elements=COUNTS, nbytes=COUNTS)
DTYPE_COUNTS = st.builds(
    DTypeCount, part=st.sampled_from(PartName), dtype=TEXTS, arrays=COUNTS, nbytes=COUNTS
)
MIRRORS = st.builds(MirrorField, at=PATHS, moments=COUNTS, empty=COUNTS)
INSPECTIONS = st.builds(
    Inspection,
    path=TEXTS,
    item=TEXTS,
    step_folder=st.none() | COUNTS,
    step=st.none() | COUNTS,
    storage=STORAGE,
    detection=st.none() | DETECTIONS,
    parts=tuples_of(PARTS),
    dtypes=tuples_of(DTYPE_COUNTS),
    groups=tuples_of(GROUPS),
    mirrors=tuples_of(MIRRORS),
    inventory=inventories(),
    problems=tuples_of(PROBLEMS),
    notes=tuples_of(NOTES),
    kept_aside=COUNTS,
)
VERSIONS = st.builds(
    Versions, linen_nnx=TEXTS, python=TEXTS, tensorstore=TEXTS, zstandard=TEXTS, blake3=TEXTS
)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
STORED_CHUNKS = st.builds(StoredChunks, chunks=tuples_of(st.none() | DIGESTS))
LOGICAL_CHUNKS = st.builds(LogicalChunks, part_shape=tuples_of(SMALL), chunks=tuples_of(DIGESTS))
SPANS = st.builds(Span, offset=COUNTS, length=COUNTS, digest=DIGESTS)
FILE_DIGESTS = st.builds(
    FileDigest, level=st.sampled_from(Level), path=TEXTS, size=COUNTS, spans=tuples_of(SPANS)
)
IDENTITIES = st.builds(
    Identity,
    path=TEXTS,
    step=st.none() | COUNTS,
    committed=st.booleans(),
    commit_timestamp_nsecs=st.none() | COUNTS,
    metadata=tuples_of(FILE_DIGESTS),
    receipt=st.none() | DIGESTS,
)
_SECONDS = st.floats(0, 1e9)
TIMES = st.builds(Times, planning=_SECONDS, writing=_SECONDS, digesting=_SECONDS, total=_SECONDS)
MOMENTS_IN_TIME = st.datetimes(timezones=st.just(UTC))
SEALED = st.builds(
    Sealed,
    place=st.sampled_from(Place),
    target=PATHS,
    value=VALUES,
    digests=tuples_of(STORED_CHUNKS | LOGICAL_CHUNKS),
)
RECORDED = st.builds(
    Recorded,
    place=st.sampled_from(Place),
    target=PATHS,
    value=VALUES,
    digests=tuples_of(STORED_CHUNKS | LOGICAL_CHUNKS),
    op=OPS,
    route=st.sampled_from(routing.Route),
)
EFFORTS = st.builds(
    routing.Effort,
    transfer=st.sampled_from(routing.Transfer),
    workers=st.none() | st.integers(1, 99),
    memory=st.integers(1, 2**50),
)
TRAFFIC = st.builds(routing.Traffic, **dict.fromkeys(routing.Traffic.model_fields, COUNTS))
RECEIPTS = st.builds(
    Receipt,
    tool=VERSIONS,
    at=MOMENTS_IN_TIME,
    source=TEXTS,
    source_identity=IDENTITIES,
    target=TEXTS,
    source_layout=st.sampled_from(Layout),
    target_layout=st.sampled_from(Layout),
    options=OPTIONS,
    effort=EFFORTS,
    nbytes=COUNTS,
    times=TIMES,
    traffic=TRAFFIC,
    plan_digest=TEXTS,
    drops=tuples_of(DROPS),
    notes=tuples_of(NOTES),
    digested=st.sampled_from(Digested),
    entries=tuples_of(RECORDED),
    files=tuples_of(FILE_DIGESTS),
    digest=DIGESTS,
)
SEALS = st.builds(
    Seal,
    tool=VERSIONS,
    at=MOMENTS_IN_TIME,
    entries=tuples_of(SEALED),
    files=tuples_of(FILE_DIGESTS),
    digest=DIGESTS,
)

JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), TEXTS),
    lambda of: st.lists(of, max_size=2) | st.dictionaries(TEXTS, of, max_size=2),
    max_leaves=4,
)
JSON_OBJECTS = st.dictionaries(TEXTS, JSON, max_size=2)
KEY_METADATA = st.one_of(
    st.builds(KeyMetadata, key=NAMES, key_type=st.just(KeyType.DICT)),
    st.builds(KeyMetadata, key=st.integers(0, 99).map(str), key_type=st.just(KeyType.SEQUENCE)),
)
VALUE_METADATA = st.builds(
    ValueMetadata,
    value_type=st.sampled_from(["jax.Array", "np.ndarray", "scalar", "string", *Empty, "other"]),
    skip_deserialize=st.booleans(),
    write_shape=st.none() | SHAPES,
)
TREE_ENTRIES = st.builds(TreeEntry, key_metadata=tuples_of(KEY_METADATA), value_metadata=VALUE_METADATA)
TREES = st.builds(
    TreeMetadata,
    tree_metadata=st.dictionaries(TEXTS, TREE_ENTRIES, max_size=3),
    use_ocdbt=st.none() | st.booleans(),
    use_zarr3=st.booleans(),
    store_array_data_equal_to_fill_value=st.booleans(),
    custom_metadata=JSON,
)
ARRAY_METADATA = st.builds(
    ArrayMetadata,
    param_name=NAMES,
    write_shape=SHAPES,
    chunk_shape=SHAPES,
    ext_metadata=st.none() | JSON_OBJECTS,
)
ARRAY_METADATAS = st.lists(ARRAY_METADATA, max_size=3).map(ArrayMetadatas.of)
CHECKPOINTS = st.builds(
    CheckpointMetadata,
    item_handlers=JSON,
    commit_timestamp_nsecs=st.none() | COUNTS,
    custom_metadata=st.none() | JSON_OBJECTS,
)
SHARDINGS = st.builds(NamedSharding, sharding_type=TEXTS, partition_spec=tuples_of(JSON))
ZARR_V2 = st.builds(
    ZarrV2,
    zarr_format=st.just(2),
    shape=SHAPES,
    chunks=SHAPES,
    dtype=st.sampled_from(["<f4", "bfloat16", "|b1"]),
    dimension_separator=st.sampled_from([".", "/"]),
)
ZARR_V3 = st.builds(
    lambda shape, chunk, dtype, separator, name, codecs: ZarrV3.model_validate(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
            "chunk_key_encoding": {"name": name, "configuration": {"separator": separator}},
            "codecs": codecs,
        }
    ),
    SHAPES,
    SHAPES,
    st.sampled_from(["float32", "bfloat16", "bool"]),
    st.sampled_from(["/", "."]),
    st.sampled_from(["default", "v2"]),
    tuples_of(JSON_OBJECTS),
)

AXES = st.none() | tuples_of(st.none() | NAMES | st.lists(NAMES, min_size=1, max_size=2).map(tuple))
SPEC_LEAVES = st.builds(
    SpecLeaf,
    path=PATHS,
    collection=NAMES,
    kind=st.sampled_from(Kind),
    type=st.none() | NAMES,
    spec=SPECS,
    out_sharding=AXES,
)
SPEC_OPTIMIZER_LEAVES = st.builds(
    SpecOptimizerLeaf, at=PATHS, mirrors=st.none() | SLOTS, value=VALUES, out_sharding=AXES
)
EXPECTED = st.builds(
    Spec.of,
    st.sampled_from(Layout),
    st.lists(SPEC_LEAVES, max_size=3, unique_by=lambda leaf: leaf.slot),
    st.lists(SPEC_OPTIMIZER_LEAVES, max_size=3),
    modules=st.lists(st.builds(SpecModule, path=PATHS, name=NAMES), max_size=2),
    step=st.none() | SPECS,
    flax=st.none() | TEXTS,
)

CASES: dict[type[Any], st.SearchStrategy[Any]] = {
    **RULE_CASES,
    Against: AGAINST,
    ArrayMetadata: ARRAY_METADATA,
    ArrayMetadatas: ARRAY_METADATAS,
    ArraySpec: SPECS,
    ArrayValue: ARRAYS,
    Cast: casts(OPS),
    CheckpointMetadata: CHECKPOINTS,
    Concat: concats(OPS),
    ConversionOptions: OPTIONS,
    PartDType: PART_DTYPES,
    Storing: st.builds(Storing, chunks=st.sampled_from(Chunks), codec=st.sampled_from(Codec)),
    Copy: COPIES,
    DTypeCount: DTYPE_COUNTS,
    Detection: DETECTIONS,
    Drop: DROPS,
    EmptyValue: EMPTIES,
    Entry: ENTRIES,
    Fill: FILLS,
    Filled: FILLED,
    Form: FORMS,
    Input: INPUTS,
    Inspection: INSPECTIONS,
    Inventory: inventories(),
    Kept: KEPT,
    LayerGroup: GROUPS,
    LayerSlot: SLOTS_OF_LAYERS,
    Leaf: LEAVES,
    LinenCollection: COLLECTIONS,
    LinenTrainState: LINEN,
    MaxtextTrainState: MAXTEXT,
    MirrorField: MIRRORS,
    MoveAxis: moves(OPS),
    NamedSharding: SHARDINGS,
    NnxTrainState: NNX,
    Note: NOTES,
    OptimizerAddress: OPTIMIZER_ADDRESSES,
    OptimizerLeaf: OPTIMIZER_LEAVES,
    Part: PARTS,
    Plan: plans(),
    Problem: PROBLEMS,
    Problems: st.builds(Problems, problems=tuples_of(PROBLEMS)),
    Receipt: RECEIPTS,
    Recorded: RECORDED,
    Seal: SEALS,
    Sealed: SEALED,
    Identity: IDENTITIES,
    Times: TIMES,
    routing.Traffic: TRAFFIC,
    FileDigest: FILE_DIGESTS,
    Span: SPANS,
    StoredChunks: STORED_CHUNKS,
    LogicalChunks: LOGICAL_CHUNKS,
    Ref: REFS,
    Residue: RESIDUES,
    Route: ROUTES,
    Slot: SLOTS,
    Spec: EXPECTED,
    SpecLeaf: SPEC_LEAVES,
    SpecOptimizerLeaf: SPEC_OPTIMIZER_LEAVES,
    Split: splits(OPS),
    Stack: stacks(OPS),
    StorageForm: STORAGE,
    StringValue: STRINGS,
    Take: takes(OPS),
    TrainState: TRAIN_STATES,
    TreeEntry: TREE_ENTRIES,
    TreeMetadata: TREES,
    ValueMetadata: VALUE_METADATA,
    Variable: VARIABLES,
    VariableAddress: VARIABLE_ADDRESSES,
    Versions: VERSIONS,
    Write: WRITES,
    ZarrV2: ZARR_V2,
    ZarrV3: ZARR_V3,
}
"""Models whose values are not free, or that want names and shapes of some kind."""


def case_of(model: type[Any]) -> st.SearchStrategy[Any]:
    """The case of a model: one of those above, or one that follows from its fields alone."""
    if model is RoutedPlan:
        return st.builds(_routed, plans(), _annotated(Execution))
    if model in CASES:
        return CASES[model]
    if dataclasses.is_dataclass(model):
        fields = {name: _annotated(kind) for name, kind in get_type_hints(model, include_extras=True).items()}
    else:
        fields = {
            name: _annotated(field.annotation, *field.metadata) for name, field in model.model_fields.items()
        }
    return st.builds(_difference if model is Difference else model, **fields)


def _difference(**fields: Any) -> Difference:
    return Difference(**{**fields, "verdict": verdict_of(fields["differences"], fields["within"])})


def _routed(plan: Plan, execution: Execution) -> RoutedPlan:
    return RoutedPlan(**{name: getattr(plan, name) for name in Plan.model_fields}, execution=execution)


_PLAIN: dict[object, st.SearchStrategy[Any]] = {
    KeyPath: PATHS,
    str: TEXTS,
    bool: st.booleans(),
    float: st.floats(0, 1e9),
    NoneType: st.none(),
}


def _annotated(annotation: Any, *metadata: object) -> st.SearchStrategy[Any]:
    """Values of an annotation; a field of a kind that is not known here needs a case by hand."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if annotation is int:
        limits = [limit.ge for limit in metadata if isinstance(limit, Ge)]
        return st.integers(max([0, *(limit for limit in limits if isinstance(limit, int))]), 2**40)
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        inner = [item for field in arguments[1:] for item in getattr(field, "metadata", [field])]
        return _annotated(arguments[0], *inner)
    if origin in (Union, UnionType):
        return st.one_of([_annotated(argument, *metadata) for argument in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return tuples_of(_annotated(arguments[0]))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    if isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)
    ):
        return case_of(annotation)
    raise NotImplementedError(f"give the model a case by hand: {annotation}")
