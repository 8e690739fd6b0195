"""The bases of everything in this package: frozen, strict, closed to unknown fields."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
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
    record = made(cls)
    record.__pydantic_config__ = _STRICT  # type: ignore[attr-defined]
    record.__init__ = _init_by_slots(record)  # type: ignore[method-assign]
    return record


def _init_by_slots(record: Any) -> Callable[..., None]:
    """An `__init__` that fills the slots themselves: a third faster than that of a frozen dataclass.

    Which looks up every attribute by its name, to get past its own refusal to set any.
    """
    known: dict[str, Any] = {}
    parameters, lines = [], []
    for field in fields(record):
        known[f"set_{field.name}"] = getattr(record, field.name).__set__
        known[f"default_{field.name}"] = field.default
        optional = "" if field.default is MISSING else f"=default_{field.name}"
        parameters.append(f"{field.name}{optional}")
        lines.append(f"    set_{field.name}(self, {field.name})")
    exec("\n".join([f"def __init__(self, *, {', '.join(parameters)}):", *lines]), known)
    made: Callable[..., None] = known["__init__"]
    return made
