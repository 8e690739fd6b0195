"""The wire layout `linen`: a Flax Linen `TrainState`, as orbax writes it.

```
step                       int32[] jax.Array after a jitted step, else a Python scalar
params/params/<path>       the `params` collection; params/<collection>/<path> every other one
opt_state                  optax: tuples are sequences, named tuples dicts, EmptyState and MaskedNode None;
                           a moment repeats the collection level: [0]/mu/params/<path>
```
With `nested_params=False` the state holds `variables["params"]` itself: params/<path>, mu/<path>; other
collections are then fields of a subclass (`batch_stats/<path>`). More fields of subclasses that are in
general use are known: PRNG keys, and averages of the parameters. A leaf in a flax box (a tree that was saved
without unboxing it) ends in `value`, its unboxed neighbours do not.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, Self

from linen_nnx.schema.array import ArrayValue, EmptyValue
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.model import Model
from linen_nnx.schema.path import ROOT, DictKey, KeyPath
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.wire import WireState, Wrapped, bare_paths, joined, leaf_at, step_problems, unnamed

PARAMS = ROOT / "params"
OPT_STATE = ROOT / "opt_state"
STEP = ROOT / "step"
FIELD_COLLECTIONS = ("batch_stats",)
"""Collections that subclasses of `TrainState` hold in a field of their own."""
FIELDS = (
    *("dropout_rng", "dropout_key", "rng", "rngs", "key", "prng_key"),
    *("ema_params", "ema", "target_params"),
    *("metrics", "loss_scale", "dynamic_scale"),
)
"""Other fields of subclasses that are in general use."""


def _is_unset(entries: tuple[Entry, ...]) -> bool:
    """A field that holds None, or nothing at all, is no collection."""
    return len(entries) == 1 and len(entries[0].path) == 0 and isinstance(entries[0].value, EmptyValue)


class LinenCollection(Model):
    """One collection of the variables dict; paths are relative to it."""

    name: str
    entries: tuple[Entry, ...]
    is_field: bool = False
    """Whether it is a field of the state, beside `params`."""


class LinenField(Model):
    """One more field of a subclass of `TrainState`."""

    name: str
    entries: tuple[Entry, ...]


class LinenTrainState(WireState):
    """A Linen `TrainState` on disk."""

    layout: Literal["linen"] = "linen"
    step: ArrayValue | None = None
    nested_params: bool = True
    collections: tuple[LinenCollection, ...]
    opt_state: tuple[Entry, ...] = ()
    fields: tuple[LinenField, ...] = ()
    boxed: tuple[KeyPath, ...] = ()
    """Leaves that stand in a flax box, by their paths without its key `value`."""

    @classmethod
    def known(cls) -> Sequence[KeyPath]:
        """The three fields of `TrainState` that are pytrees, and those of subclasses."""
        return (STEP, PARAMS, OPT_STATE, *(ROOT / name for name in (*FIELD_COLLECTIONS, *FIELDS)))

    @classmethod
    def step_path(cls) -> KeyPath | None:
        """Where the step stands."""
        return STEP

    @classmethod
    def read(cls, inventory: Inventory, wrapped: Wrapped | None = None) -> Self:
        """Sort the entries into the fields."""
        under = inventory.under(PARAMS)
        names = dict.fromkeys([entry.path[1].name for entry in under if len(entry.path) > 1])
        nested = "params" in names
        if nested:
            collections = [LinenCollection(name=n, entries=inventory.below(PARAMS / n)) for n in names]
        else:
            entries = inventory.below(PARAMS)
            collections = [LinenCollection(name="params", entries=entries)] if entries else []
        for name in FIELD_COLLECTIONS:
            found = inventory.below(ROOT / name)
            if found and not _is_unset(found):
                collections.append(LinenCollection(name=name, entries=found, is_field=True))
        below = [(name, inventory.below(ROOT / name)) for name in FIELDS]
        below += [(n, e) for n in FIELD_COLLECTIONS if _is_unset(e := inventory.below(ROOT / n))]
        state = cls(
            step=leaf_at(inventory, STEP),
            nested_params=nested or not under,
            collections=tuple(collections),
            opt_state=inventory.below(OPT_STATE),
            fields=tuple(LinenField(name=name, entries=found) for name, found in below if found),
        )
        return state.model_copy(update={"boxed": tuple(state._boxes(inventory, wrapped))})

    def _boxes(self, inventory: Inventory, wrapped: Wrapped | None) -> list[KeyPath]:
        """Moments are boxed where parameters are; without boxes `value` is a name like any other."""
        found = _bare(inventory, [self.base_of(collection) for collection in self.collections], wrapped)
        if found or wrapped:
            found += _bare(inventory, [OPT_STATE, *(ROOT / field.name for field in self.fields)], wrapped)
        return sorted(found, key=KeyPath.natural)

    def base_of(self, collection: LinenCollection) -> KeyPath:
        """Where a collection stands."""
        if collection.is_field:
            return ROOT / collection.name
        return PARAMS / collection.name if self.nested_params else PARAMS

    def inventory(self) -> Inventory:
        """The same state as entries."""
        return Inventory.of(self._entries())

    def _entries(self) -> Iterator[Entry]:
        if self.step is not None:
            yield Entry(path=STEP, value=self.step)
        for collection in self.collections:
            yield from joined(self.base_of(collection), collection.entries)
        yield from joined(OPT_STATE, self.opt_state)
        for field in self.fields:
            yield from joined(ROOT / field.name, field.entries)

    def check(self) -> list[Problem]:
        """Every broken invariant of the layout."""
        return [*step_problems(STEP, self.step), *self._no_params(), *self._leaves(), *self._digit_chains()]

    def _no_params(self) -> Iterator[Problem]:
        if not any(collection.name == "params" and collection.entries for collection in self.collections):
            yield Problem(
                code=Code.MISSING_ENTRY,
                path=PARAMS,
                expected="a params collection",
                found="none" if not self.collections else ", ".join(c.name for c in self.collections),
            )

    def _leaves(self) -> Iterator[Problem]:
        for collection in self.collections:
            yield from unnamed(self.base_of(collection), collection.entries)

    def _digit_chains(self) -> Iterator[Problem]:
        """Linen writes an optax chain as a sequence, so a digit dict key at its root is another layout."""
        heads = {entry.path[0] for entry in self.opt_state if len(entry.path)}
        digits = [key for key in heads if isinstance(key, DictKey) and key.name.isdecimal()]
        for key in sorted(digits, key=str):
            yield Problem(
                code=Code.WRONG_KIND,
                path=KeyPath((DictKey("opt_state"), key)),
                expected="a sequence index: Linen keeps an optax chain as a list",
                found="a dict key",
            )


def _bare(inventory: Inventory, bases: Sequence[KeyPath], wrapped: Wrapped | None) -> list[KeyPath]:
    """The leaves in a box, by their paths without its key."""
    return [path for base in bases for path in bare_paths(inventory, base, wrapped) if path is not None]
