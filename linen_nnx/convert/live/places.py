"""The places of a live model and its optimizer: every variable, by the path that its array has on disk."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from linen_nnx.convert.spec.live import held_value, kind_of, path_of
from linen_nnx.schema.array import ArraySpec, ArrayValue
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.spec import Kind
from linen_nnx.schema.tree import value_of

_MODEL, _OPTIMIZER = ROOT / "model", ROOT / "optimizer"


@dataclass(frozen=True, slots=True)
class Place:
    """One variable (or bare array) of a model or an optimizer."""

    owner: Any
    keys: tuple[Any, ...]
    """Its path in the owner's state."""
    variable: Any
    kind: Kind
    spec: ArraySpec

    @property
    def value(self) -> Any:
        """The array that it holds now, or the shape of one."""
        return held_value(self.variable)

    def holding(self, value: Any) -> Any:
        """The same variable, with its type and metadata, around another array."""
        replace = getattr(self.variable, "replace", None)
        return value if replace is None or self.variable is self.value else replace(value)


def places(model: Any, optimizer: Any) -> dict[KeyPath, Place]:
    """Each by its path in a native state with bare leaves. What holds no array is no place."""
    found = {_MODEL + path_of(place.keys): place for place in _places(model)}
    if optimizer is not None:
        # The model of an optimizer that holds one is filled as the model.
        of_optimizer = (place for place in _places(optimizer) if place.keys[0] != "model")
        found |= {_OPTIMIZER + path_of(place.keys): place for place in of_optimizer}
    return found


def _places(owner: Any) -> Iterator[Place]:
    from flax import nnx

    for keys, variable in nnx.to_flat_state(nnx.state(owner)):
        value = value_of(held_value(variable))
        if isinstance(value, ArrayValue):
            yield Place(owner, tuple(keys), variable, kind_of(variable), value.spec)


def update(values: Mapping[KeyPath, Any], where: Mapping[KeyPath, Place]) -> None:
    """Put each value into its place. Nothing can fail here any more: all was checked and is there."""
    from flax import nnx

    owners = {id(place.owner): place.owner for place in where.values()}
    states = {
        key: nnx.from_flat_state(
            [
                (where[path].keys, where[path].holding(v))
                for path, v in values.items()
                if where[path].owner is o
            ]
        )
        for key, o in owners.items()
    }
    for key, owner in owners.items():
        nnx.update(owner, states[key])
