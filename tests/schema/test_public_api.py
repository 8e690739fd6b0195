"""The names a user imports: all there, all documented, all listed once."""

import importlib
import inspect
import pkgutil
from enum import Enum

import pytest

import linen_nnx
import linen_nnx.convert
import linen_nnx.schema

NAMES = [name for name in linen_nnx.__all__ if not name.startswith("__")]


@pytest.mark.parametrize("name", linen_nnx.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(linen_nnx, name) is not None


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_a_docstring_of_its_own(name: str) -> None:
    value = getattr(linen_nnx, name)
    assert value.__doc__
    assert value.__doc__.strip()


def test_public_names_are_sorted_and_listed_once() -> None:
    assert list(linen_nnx.__all__) == sorted(set(linen_nnx.__all__))


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_defined_in_this_package(name: str) -> None:
    assert getattr(linen_nnx, name).__module__.startswith("linen_nnx.")


def test_convert_stays_the_function_whatever_was_imported_before() -> None:
    """The function shares its name with the folder of the modules that do it."""
    importlib.import_module("linen_nnx.convert.planner")
    assert callable(linen_nnx.convert)
    assert callable(linen_nnx.plan)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = linen_nnx.no_such_name


def test_a_name_is_the_same_object_each_time() -> None:
    assert linen_nnx.Plan is linen_nnx.Plan
    assert linen_nnx.Plan is importlib.import_module("linen_nnx.schema.plan").Plan


def modules() -> list[str]:
    """Every module of the package."""
    return [
        info.name
        for info in pkgutil.walk_packages(linen_nnx.__path__, "linen_nnx.")
        if "__main__" not in info.name
    ]


@pytest.mark.parametrize("name", modules())
def test_every_public_thing_of_a_module_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for key, value in vars(module).items():
        if key.startswith("_") or getattr(value, "__module__", None) != name:
            continue
        if inspect.isfunction(value) or (isinstance(value, type) and not issubclass(value, Enum)):
            assert inspect.getdoc(value), f"{name}.{key}"
