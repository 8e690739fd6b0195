"""Every model of `linen_nnx.schema` is frozen, closed (or keeps what it does not know) and round-trips.

The same laws hold for the small records that are no pydantic models (`schema.model.value`).
"""

import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

import linen_nnx.schema
from linen_nnx.schema.model import Model
from linen_nnx.schema.nnx import NnxShaped
from tests.schema.strategies import CASES, case_of


def models() -> Iterator[type[Any]]:
    """Every public pydantic model and every value that a module of `schema/` defines."""
    for info in pkgutil.iter_modules(linen_nnx.schema.__path__):
        module = importlib.import_module(f"linen_nnx.schema.{info.name}")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and (issubclass(value, BaseModel) or hasattr(value, "__pydantic_config__"))
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
VALUES = [model for model in PUBLIC if not issubclass(model, BaseModel)]
CLOSED = [model for model in PUBLIC if issubclass(model, Model) or model in VALUES]
OPEN = [model for model in PUBLIC if model not in CLOSED]
by_name = pytest.mark.parametrize("model", PUBLIC, ids=lambda model: model.__name__)


def test_every_model_has_a_case() -> None:
    """A model that is new gets one from its fields, or must be given one by hand."""
    assert {model for model in PUBLIC if not isinstance(case_of(model), st.SearchStrategy)} == set()
    assert set(CASES) <= set(PUBLIC)


@by_name
@settings(max_examples=25)
@given(data=st.data())
def test_a_model_comes_back_from_its_json(model: type[BaseModel], data: st.DataObject) -> None:
    one, adapter = data.draw(case_of(model)), TypeAdapter(model)
    again = adapter.validate_json(adapter.dump_json(one))
    assert again == one
    assert adapter.dump_json(again) == adapter.dump_json(one)


@by_name
@settings(max_examples=5)
@given(data=st.data())
def test_a_model_is_frozen(model: type[BaseModel], data: st.DataObject) -> None:
    one, adapter = data.draw(case_of(model)), TypeAdapter(model)
    before = adapter.dump_json(one)
    for name in get_type_hints(model) if model in VALUES else model.model_fields:
        with pytest.raises((ValidationError, FrozenInstanceError), match=r"frozen|cannot assign to field"):
            setattr(one, name, getattr(one, name))
    assert adapter.dump_json(one) == before


@pytest.mark.parametrize("model", CLOSED, ids=lambda model: model.__name__)
@settings(max_examples=5)
@given(data=st.data())
def test_our_own_models_refuse_unknown_fields(model: type[BaseModel], data: st.DataObject) -> None:
    adapter = TypeAdapter(model)
    document = json.loads(adapter.dump_json(data.draw(case_of(model))))
    refusal = "Unexpected keyword argument" if model in VALUES else "Extra inputs are not permitted"
    with pytest.raises(ValidationError, match=refusal):
        adapter.validate_json(json.dumps({**document, "no_such_field": 1}))


def test_the_values_are_those_that_a_plan_holds_for_every_leaf() -> None:
    assert {value.__name__ for value in VALUES} == {
        *("Entry", "Slot", "Leaf", "Variable", "OptimizerLeaf"),
        *("Ref", "Copy", "Take", "Write", "Input", "RoutedWrite"),
    }


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_a_value_is_strict_where_it_is_read(value: type[Any]) -> None:
    document = dict.fromkeys(get_type_hints(value), 1.5)
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(value).validate_json(json.dumps(document))
    assert {error["loc"][0] for error in refused.value.errors()} == set(document)


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
