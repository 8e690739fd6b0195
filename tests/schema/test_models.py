"""Every model of `linen_nnx.schema` is frozen, closed (or keeps what it does not know) and round-trips."""

import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import linen_nnx.schema
from linen_nnx.schema.model import Model
from linen_nnx.schema.nnx import NnxShaped
from tests.schema.strategies import CASES, case_of


def models() -> Iterator[type[BaseModel]]:
    """Every public pydantic model that a module of `schema/` defines."""
    for info in pkgutil.iter_modules(linen_nnx.schema.__path__):
        module = importlib.import_module(f"linen_nnx.schema.{info.name}")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, BaseModel)
                and value.__module__ == module.__name__
            ):
                yield value


BASES = {Model, NnxShaped}
"""What others are made of; no value is one of these."""
PUBLIC = [
    model
    for model in models()
    if model not in BASES and not model.__name__.startswith("_") and not inspect.isabstract(model)
]
CLOSED = [model for model in PUBLIC if issubclass(model, Model)]
OPEN = [model for model in PUBLIC if not issubclass(model, Model)]
by_name = pytest.mark.parametrize("model", PUBLIC, ids=lambda model: model.__name__)


def test_every_model_has_a_case() -> None:
    """A model that is new gets one from its fields, or must be given one by hand."""
    assert {model for model in PUBLIC if not isinstance(case_of(model), st.SearchStrategy)} == set()
    assert set(CASES) <= set(PUBLIC)


@by_name
@settings(max_examples=25)
@given(data=st.data())
def test_a_model_comes_back_from_its_json(model: type[BaseModel], data: st.DataObject) -> None:
    one = data.draw(case_of(model))
    again = model.model_validate_json(one.model_dump_json())
    assert again == one
    assert again.model_dump_json() == one.model_dump_json()


@by_name
@settings(max_examples=5)
@given(data=st.data())
def test_a_model_is_frozen(model: type[BaseModel], data: st.DataObject) -> None:
    one = data.draw(case_of(model))
    before = one.model_dump_json()
    for name in model.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(one, name, getattr(one, name))
    assert one.model_dump_json() == before


@pytest.mark.parametrize("model", CLOSED, ids=lambda model: model.__name__)
@settings(max_examples=5)
@given(data=st.data())
def test_our_own_models_refuse_unknown_fields(model: type[BaseModel], data: st.DataObject) -> None:
    document = json.loads(data.draw(case_of(model)).model_dump_json())
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model.model_validate_json(json.dumps({**document, "no_such_field": 1}))


@pytest.mark.parametrize("model", OPEN, ids=lambda model: model.__name__)
@settings(max_examples=5)
@given(data=st.data())
def test_models_of_foreign_files_keep_unknown_fields(model: type[BaseModel], data: st.DataObject) -> None:
    document = json.loads(data.draw(case_of(model)).model_dump_json())
    unknown = {"x_unknown": {"deep": [1, None, "é"], "empty": {}}}
    read = model.model_validate_json(json.dumps({**document, **unknown}))
    assert json.loads(read.model_dump_json()) == {**document, **unknown}


def test_the_foreign_models_are_those_of_orbax_and_zarr() -> None:
    homes = {model.__module__.rpartition(".")[2] for model in OPEN}
    assert homes == {"orbax_metadata", "zarr"}
