"""What an entry holds, without its bytes: array specs, empties, scalars and strings.

The dtypes are all that jax has; a typed PRNG key is an array of uint32 words with the name of its
implementation, because that is how orbax stores it (the name stands in `array_metadatas` alone).
"""

from enum import StrEnum
from functools import lru_cache
from math import prod
from typing import Annotated, Literal

from pydantic import Field, model_validator

from linen_nnx.schema.model import Model


class DType(StrEnum):
    """Every element type of jax that an array can be stored with, by numpy's (ml_dtypes') name."""

    BOOL = "bool"
    INT2 = "int2"
    INT4 = "int4"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT2 = "uint2"
    UINT4 = "uint4"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    FLOAT4_E2M1FN = "float4_e2m1fn"
    FLOAT8_E3M4 = "float8_e3m4"
    FLOAT8_E4M3 = "float8_e4m3"
    FLOAT8_E4M3FN = "float8_e4m3fn"
    FLOAT8_E4M3FNUZ = "float8_e4m3fnuz"
    FLOAT8_E4M3B11FNUZ = "float8_e4m3b11fnuz"
    FLOAT8_E5M2 = "float8_e5m2"
    FLOAT8_E5M2FNUZ = "float8_e5m2fnuz"
    FLOAT8_E8M0FNU = "float8_e8m0fnu"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"

    @property
    def itemsize(self) -> int:
        """Bytes one element takes in memory (sub-byte types take one, as in ml_dtypes)."""
        return _ITEMSIZES[self]

    @property
    def is_float(self) -> bool:
        """Of any width; not complex."""
        return self.value.startswith(("float", "bfloat"))

    @property
    def is_integer(self) -> bool:
        """Signed or unsigned, of any width; not bool."""
        return self.value.startswith(("int", "uint"))


def _itemsize(dtype: DType) -> int:
    digits = "".join(c for c in dtype.value.split("_")[0] if c.isdigit())
    return max(1, int(digits) // 8) if digits else 1


_ITEMSIZES = {dtype: _itemsize(dtype) for dtype in DType}

KEY_WORDS = {"threefry2x32": 2, "rbg": 4, "unsafe_rbg": 4}
"""uint32 words in one key of each of jax's PRNG implementations."""


class ArraySpec(Model):
    """Shape and dtype as stored; `key_impl` names the PRNG implementation of a typed key.

    A typed key array of logical shape `(5,)` under `unsafe_rbg` has shape `(5, 4)` here.
    """

    shape: tuple[Annotated[int, Field(ge=0)], ...]
    dtype: Annotated[DType, Field(strict=False)]
    key_impl: str | None = None

    @model_validator(mode="after")
    def _keys_are_words(self) -> "ArraySpec":
        if self.key_impl is None:
            return self
        words = KEY_WORDS.get(self.key_impl)
        if self.dtype is not DType.UINT32 or not self.shape or words not in (None, self.shape[-1]):
            raise ValueError(f"a {self.key_impl} key is uint32[..., {words or 'words'}], not {self.bare}")
        return self

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.size * self.dtype.itemsize

    @property
    def bare(self) -> str:
        """`float32[16,5]`, without a key implementation."""
        return f"{self.dtype.value}[{','.join(map(str, self.shape))}]"

    def __str__(self) -> str:
        """`float32[16,5]`, `key<unsafe_rbg>[5]`."""
        if self.key_impl is None:
            return self.bare
        return f"key<{self.key_impl}>[{','.join(map(str, self.shape[:-1]))}]"


@lru_cache(maxsize=4096)
def spec_of(shape: tuple[int, ...], dtype: DType, key_impl: str | None = None) -> ArraySpec:
    """One object for all arrays that are alike: those of a model are of few shapes."""
    return ArraySpec(shape=shape, dtype=dtype, key_impl=key_impl)


class Holder(StrEnum):
    """What kind of object an array leaf was: orbax's `value_type`, restored as the same kind."""

    JAX = "jax.Array"
    NUMPY = "np.ndarray"
    SCALAR = "scalar"


class ArrayValue(Model):
    """An array leaf (a Python scalar is an array of shape `()` held as `scalar`)."""

    kind: Literal["array"] = "array"
    spec: ArraySpec
    holder: Annotated[Holder, Field(strict=False)] = Holder.JAX

    def __str__(self) -> str:
        """The spec; the holder only where it is not the usual one."""
        return str(self.spec) if self.holder is Holder.JAX else f"{self.spec} ({self.holder.value})"


class StringValue(Model):
    """A string leaf; orbax keeps them in `_strings.json`."""

    kind: Literal["string"] = "string"
    text: str

    def __str__(self) -> str:
        """Quoted."""
        return f"string {self.text!r}"


class Empty(StrEnum):
    """The empties that orbax keeps as entries of their own."""

    NONE = "None"
    DICT = "Dict"
    LIST = "List"
    TUPLE = "Tuple"
    NAMED_TUPLE = "NamedTuple"


class EmptyValue(Model):
    """An entry without a leaf: `None`, `{}`, `[]`, `()`, or an empty named tuple."""

    kind: Literal["empty"] = "empty"
    empty: Annotated[Empty, Field(strict=False)] = Empty.NONE

    def __str__(self) -> str:
        """As Python writes it."""
        return {"None": "None", "Dict": "{}", "List": "[]", "Tuple": "()", "NamedTuple": "()"}[self.empty]


Value = Annotated[ArrayValue | StringValue | EmptyValue, Field(discriminator="kind")]
"""What stands at a path."""
