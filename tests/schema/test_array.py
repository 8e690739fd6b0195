"""Dtypes and array specs against jax and ml_dtypes."""

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from pydantic import ValidationError

from linen_nnx.convert.engine.evaluate import numpy_dtype
from linen_nnx.schema.array import KEY_WORDS, ArraySpec, ArrayValue, DType, Empty, EmptyValue, Holder
from tests.schema.strategies import SHAPES, SPECS

NOT_STORABLE = {"float6_e2m3fn", "float6_e3m2fn", "int1", "uint1"}
"""jax names them, but tensorstore has no data type for them: no checkpoint can hold one."""
NOT_JAXS = {"complex32", "bcomplex32"}
"""ml_dtypes has them, jax refuses them."""


def test_dtypes_cover_all_of_jax() -> None:
    scalars = {
        np.dtype(kind.dtype).name
        for kind in vars(jnp).values()
        if isinstance(getattr(kind, "dtype", None), np.dtype) and callable(kind)
    }
    assert {"float32", "bfloat16", "float8_e4m3fn", "int4", "bool"} <= scalars
    assert scalars - NOT_STORABLE <= set(DType)


def test_dtypes_cover_all_of_ml_dtypes_that_jax_takes() -> None:
    kinds = [k for k in vars(ml_dtypes).values() if isinstance(k, type) and issubclass(k, np.generic)]
    names = {np.dtype(kind).name for kind in kinds}
    assert {"bfloat16", "float8_e5m2", "int4"} <= names
    assert names - NOT_STORABLE - NOT_JAXS <= set(DType)


def test_what_is_excepted_cannot_be_stored() -> None:
    for name in NOT_STORABLE:
        with pytest.raises(ValueError, match="No TensorStore data type"):
            ts.dtype(name)


@pytest.mark.parametrize("dtype", DType)
def test_each_dtype_is_one_of_numpys_and_jaxs(dtype: DType) -> None:
    numpy = numpy_dtype(dtype)
    assert numpy.name == dtype.value
    assert numpy.itemsize == dtype.itemsize
    assert dtype.is_integer == bool(jnp.issubdtype(numpy, jnp.integer))


@given(SHAPES)
def test_sizes_are_numpys(shape: tuple[int, ...]) -> None:
    spec, array = ArraySpec(shape=shape, dtype=DType.BFLOAT16), np.empty(shape, ml_dtypes.bfloat16)
    assert (spec.size, spec.nbytes) == (array.size, array.nbytes)


@pytest.mark.parametrize(("impl", "words"), KEY_WORDS.items())
def test_a_typed_key_is_uint32_words_of_its_implementation(impl: str, words: int) -> None:
    spec = ArraySpec(shape=(5, words), dtype=DType.UINT32, key_impl=impl)
    assert str(spec) == f"key<{impl}>[5]"
    for shape, dtype in [((5, words), DType.INT32), ((), DType.UINT32), ((words, 5), DType.UINT32)]:
        with pytest.raises(ValidationError, match="key is uint32"):
            ArraySpec(shape=shape, dtype=dtype, key_impl=impl)


def test_a_key_of_an_unknown_implementation_needs_words_too() -> None:
    assert str(ArraySpec(shape=(3, 7), dtype=DType.UINT32, key_impl="mine")) == "key<mine>[3]"
    with pytest.raises(ValidationError, match="mine key is uint32"):
        ArraySpec(shape=(), dtype=DType.UINT32, key_impl="mine")


@pytest.mark.parametrize("shape", [(-1,), (2, -3)])
def test_no_axis_is_of_negative_length(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        ArraySpec(shape=shape, dtype=DType.FLOAT32)


@given(SPECS)
def test_the_text_of_a_spec_tells_shape_and_dtype(spec: ArraySpec) -> None:
    assert spec.bare == f"{spec.dtype.value}[{','.join(str(size) for size in spec.shape)}]"
    assert (str(spec) == spec.bare) == (spec.key_impl is None)


def test_a_value_tells_its_holder_only_where_it_is_not_jaxs() -> None:
    spec = ArraySpec(shape=(16, 5), dtype=DType.FLOAT32)
    assert str(ArrayValue(spec=spec)) == "float32[16,5]"
    assert str(ArrayValue(spec=spec, holder=Holder.NUMPY)) == "float32[16,5] (np.ndarray)"


def test_empties_read_as_python_writes_them() -> None:
    assert [str(EmptyValue(empty=e)) for e in Empty] == ["None", "{}", "[]", "()", "()"]
