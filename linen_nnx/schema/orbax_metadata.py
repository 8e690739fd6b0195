"""Orbax's own files, as pydantic models: what stands beside the arrays of an item.

Source of the facts: orbax-checkpoint 0.11 and 0.12 and what they write. Keys that are absent mean an
older writer; fields that we do not interpret are kept and written back.
"""

from binascii import b2a_base64
from enum import IntEnum
from typing import Annotated, Any, NamedTuple, assert_never

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetPydanticSchema, JsonValue
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from linen_nnx.schema.array import ArrayValue, Empty, EmptyValue, Holder, StringValue, Value
from linen_nnx.schema.model import Model
from linen_nnx.schema.ops import moved
from linen_nnx.schema.path import AttributeKey, DictKey, Key, KeyPath, SequenceKey

METADATA_FILE = "_METADATA"
CHECKPOINT_METADATA_FILE = "_CHECKPOINT_METADATA"
SHARDING_FILE = "_sharding"
STRINGS_FILE = "_strings.json"
ARRAY_METADATAS = "array_metadatas"
COMMIT_MARKER = "commit_success.txt"
OCDBT_MANIFEST = "manifest.ocdbt"
ITEM_FILES = frozenset({METADATA_FILE, CHECKPOINT_METADATA_FILE, SHARDING_FILE, STRINGS_FILE, COMMIT_MARKER})
"""Files of an item that are not arrays."""


class _Kept(BaseModel):
    """Fields that we do not know are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)


class KeyType(IntEnum):
    """Orbax's two kinds of key: attributes are written as dict keys, tuples as sequences."""

    SEQUENCE = 1
    DICT = 2


class KeyMetadata(TypedDict):
    """One key of a path. A dict and no model: an entry has several, and all they make is a path."""

    key: str
    key_type: KeyType


def typed(key: KeyMetadata) -> Key:
    """Our key for it. Raises `ValueError` on a sequence index that is no number."""
    return SequenceKey(int(key["key"])) if key["key_type"] is KeyType.SEQUENCE else DictKey(key["key"])


def _path(keys: tuple[KeyMetadata, ...]) -> KeyPath:
    return KeyPath([typed(key) for key in keys])


def _keys(path: KeyPath) -> list[KeyMetadata]:
    return [{"key": key.name, "key_type": _key_type(key)} for key in path]


def _keys_schema(source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
    """The keys as orbax lists them; each list becomes a path at once, so that no more is held."""
    return core_schema.no_info_after_validator_function(
        _path,
        handler.generate_schema(tuple[KeyMetadata, ...]),
        serialization=core_schema.plain_serializer_function_ser_schema(_keys),
    )


_EMPTIES = {empty.value: empty for empty in Empty}


class ValueMetadata(_Kept):
    """What kind of leaf: `jax.Array`, `np.ndarray`, `scalar`, `string`, or an empty's name."""

    value_type: str
    skip_deserialize: bool = False
    write_shape: tuple[int, ...] | None = None

    @property
    def empty(self) -> Empty | None:
        """Which empty it is, if it is one."""
        return _EMPTIES.get(self.value_type)


class TreeEntry(_Kept):
    """One entry of the tree."""

    key_metadata: Annotated[KeyPath, GetPydanticSchema(_keys_schema)]
    value_metadata: ValueMetadata

    @property
    def path(self) -> KeyPath:
        """Its typed path."""
        return self.key_metadata


class TreeMetadata(_Kept):
    """`_METADATA`: the tree, and how arrays are stored."""

    tree_metadata: dict[str, TreeEntry]
    use_ocdbt: bool | None = None
    use_zarr3: bool = False
    store_array_data_equal_to_fill_value: bool = False
    custom_metadata: JsonValue = None


class Written(NamedTuple):
    """How a process wrote an array: one object for all that were written alike."""

    write_shape: tuple[int, ...]
    key_impl: str | None
    """The PRNG implementation of a typed key."""


class ArrayMetadata(_Kept):
    """One array as a process wrote it; `ext_metadata` alone tells a typed PRNG key."""

    param_name: str
    write_shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    ext_metadata: dict[str, JsonValue] | None = None

    @property
    def key_impl(self) -> str | None:
        """The PRNG implementation of a typed key."""
        impl = (self.ext_metadata or {}).get("random_key_impl")
        return impl if isinstance(impl, str) else None

    @property
    def written(self) -> Written:
        """All that a conversion asks of it but the name."""
        return Written(self.write_shape, self.key_impl)


class _Wrapped(_Kept):
    array_metadata: ArrayMetadata


class ArrayMetadatas(_Kept):
    """`array_metadatas/process_N`."""

    array_metadatas: tuple[_Wrapped, ...]

    @classmethod
    def of(cls, arrays: list[ArrayMetadata]) -> "ArrayMetadatas":
        """The file for `arrays`."""
        return cls(array_metadatas=tuple(_Wrapped(array_metadata=array) for array in arrays))


class CheckpointMetadata(_Kept):
    """`_CHECKPOINT_METADATA`: of a step (handlers by item) or of a bare item (one handler)."""

    item_handlers: JsonValue = None
    commit_timestamp_nsecs: int | None = None
    custom_metadata: dict[str, JsonValue] | None = None


class NamedSharding(_Kept):
    """A `jax.sharding.NamedSharding` as JSON; `partition_spec` may leave out trailing axes."""

    sharding_type: str
    partition_spec: tuple[JsonValue, ...] = ()

    def replicated(self) -> "NamedSharding":
        """The same devices, every one with the whole array."""
        return self.model_copy(update={"partition_spec": ()}) if self.partition_spec else self

    def without_axis(self, axis: int) -> "NamedSharding":
        """For an array that lost `axis`."""
        spec = self.partition_spec[:axis] + self.partition_spec[axis + 1 :]
        return self.model_copy(update={"partition_spec": spec})

    def with_axis(self, axis: int) -> "NamedSharding":
        """For an array with a new, replicated `axis`."""
        if axis >= len(self.partition_spec):
            return self
        spec = (*self.partition_spec[:axis], None, *self.partition_spec[axis:])
        return self.model_copy(update={"partition_spec": spec})

    def with_moved_axis(self, source: int, destination: int, rank: int) -> "NamedSharding":
        """For an array of `rank` of which one axis was moved."""
        if not self.partition_spec:
            return self
        spec = moved((*self.partition_spec, *[None] * (rank - len(self.partition_spec))), source, destination)
        return self.model_copy(update={"partition_spec": spec})


def sharding_name(param_name: str) -> str:
    """The key of an array in `_sharding`."""
    return b2a_base64(param_name.encode(), newline=False).translate(_URL_SAFE).decode()


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class StorageForm(Model):
    """How an item stores its arrays."""

    ocdbt: bool
    zarr_format: Annotated[int, Field(ge=2, le=3)]
    stores_fill_values: bool = True
    """False: a chunk that is not there is all fill value (zero), legally. True: it is a loss."""
    legacy: bool = False
    """It is a msgpack file of flax; the rest says how a conversion of it is written."""


def tree_entry(
    path: KeyPath, value: Value, write_shape: tuple[int, ...] | None
) -> tuple[str, dict[str, Any]]:
    """One entry of `tree_metadata`: its key and its document."""
    kind, shape = _value_type(value), None
    if isinstance(value, ArrayValue) and value.holder is Holder.JAX and write_shape is not None:
        shape = list(write_shape)
    values: dict[str, Any] = {"value_type": kind, "skip_deserialize": isinstance(value, EmptyValue)}
    if shape is not None:
        values["write_shape"] = shape
    keys = [{"key": key.name, "key_type": _key_type(key).value} for key in path]
    return str(path.names), {"key_metadata": keys, "value_metadata": values}


def _value_type(value: Value) -> str:
    match value:
        case ArrayValue(holder=holder):
            return holder.value
        case StringValue():
            return "string"
        case EmptyValue(empty=empty):
            return empty.value
        case _:
            assert_never(value)


def _key_type(key: Key) -> KeyType:
    match key:
        case SequenceKey():
            return KeyType.SEQUENCE
        case DictKey() | AttributeKey():
            return KeyType.DICT
        case _:
            assert_never(key)
