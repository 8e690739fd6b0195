"""The bases of everything in this package: frozen, strict, closed to unknown fields."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

from pydantic import BaseModel, ConfigDict

_STRICT = ConfigDict(frozen=True, strict=True, extra="forbid", ser_json_inf_nan="constants", defer_build=True)

T = TypeVar("T")


class Model(BaseModel):
    """A frozen record. Strict (no coercion), `extra="forbid"`, compared and hashed by value.

    Its validators are built when it is first used: no command uses all of the models.
    """

    model_config = _STRICT


@dataclass_transform(frozen_default=True, kw_only_default=True)
def value(cls: type[T]) -> type[T]:
    """Make `cls` a small frozen record of which a plan holds one or more a leaf.

    For pydantic it is what a `Model` is: strict and closed where it is read from JSON, a field of models, in
    their schemas. But to make one in Python is a quarter of the time and a tenth of the memory, because types
    are left to mypy there: each holds what a model or a reader of ours has validated before.
    """
    made: Callable[[type[T]], type[T]] = dataclass(frozen=True, slots=True, kw_only=True)
    kind = made(cls)
    kind.__pydantic_config__ = _STRICT  # type: ignore[attr-defined]
    _fill_by_slots(kind)
    return kind


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make `cls` a frozen record, such as a `value` is, that is never read or written as JSON."""
    made: Callable[[type[T]], type[T]] = dataclass(frozen=True, slots=True)
    kind = made(cls)
    _fill_by_slots(kind)
    return kind


def _fill_by_slots(kind: Any) -> None:
    """Give a frozen dataclass an `__init__` that fills its slots, in half the time of its own.

    Which sets every attribute by its name, to get past its own refusal to set any.
    """
    names: dict[str, Any] = {}
    parameters, lines = [], []
    for one in fields(kind):
        names[f"set_{one.name}"] = getattr(kind, one.name).__set__
        names[f"default_{one.name}"] = one.default
        optional = "" if one.default is MISSING else f"=default_{one.name}"
        parameters += ["*"] if one.kw_only and "*" not in parameters else []
        parameters.append(f"{one.name}{optional}")
        lines.append(f"    set_{one.name}(self, {one.name})")
    exec("\n".join([f"def __init__(self, {', '.join(parameters)}):", *lines]), names)
    kind.__init__ = names["__init__"]
