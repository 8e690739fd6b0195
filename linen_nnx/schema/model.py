"""The base of every model in this package: frozen, strict, closed to unknown fields."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A frozen record. Strict (no coercion), `extra="forbid"`, compared and hashed by value."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", ser_json_inf_nan="constants")
