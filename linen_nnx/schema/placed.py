"""Wire layouts in which every field stands at one place."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.wire import WireState, Wrapped, joined, leaf_at

STEP = ROOT / "step"


class PlacedState(WireState):
    """A train state with its step at the root and a field for each place; no leaf has a wrapper."""

    places: ClassVar[Mapping[str, KeyPath]]
    """Where each field stands, whose entries are relative to it."""
    layout: str
    step: ArrayValue | None = None

    @classmethod
    def known(cls) -> Sequence[KeyPath]:
        """The step and the fields."""
        return (STEP, *cls.places.values())

    @classmethod
    def step_path(cls) -> KeyPath | None:
        """At the root."""
        return STEP

    @classmethod
    def read(cls, inventory: Inventory, wrapped: Wrapped | None = None) -> Self:
        """Sort the entries into the fields."""
        del wrapped
        fields = {name: inventory.below(place) for name, place in cls.places.items()}
        return cls.model_validate({"step": leaf_at(inventory, STEP), **fields})

    def inventory(self) -> Inventory:
        """The same state as entries."""
        entries = [] if self.step is None else [Entry(path=STEP, value=self.step)]
        for name, place in self.places.items():
            entries += joined(place, getattr(self, name))
        return Inventory.of(entries)
