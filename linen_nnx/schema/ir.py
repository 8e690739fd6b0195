"""The intermediate representation: one train state, whatever layout it came from or goes to.

Each leaf carries its value AND the op over source entries that makes it, so a pass rewrites leaves and
the plan is read off the last state: nothing is matched by name a second time. Optimizer positions are
canonical: a chain position is a sequence index, whether the disk has a list (Linen) or a dict of digits
(NNX); a moment names the variable that it mirrors instead of repeating its path.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import TypeVar

from linen_nnx.schema.array import ArrayValue, Value
from linen_nnx.schema.layout import LayerGroup
from linen_nnx.schema.model import Model, value
from linen_nnx.schema.ops import Op
from linen_nnx.schema.path import ROOT, AttributeKey, DictKey, KeyPath
from linen_nnx.schema.problem import Code, Problem

PARAMS = "params"
"""The collection of trained weights."""
RNGS = "rngs"
"""PRNG streams: NNX keeps them in the state, Linen does not."""
REFERENCE = "reference_params"
"""The frozen weights that DPO compares with: a collection of a Linen state, a module beside an NNX model."""
LABELLED = "inner_states"
"""The field in which optax's partitions keep the states of their labels, in a dict."""
UNKNOWN = "variables"
"""Non-trained NNX variables of a type that the disk does not tell."""


T = TypeVar("T", bound=Hashable)


@value
class Leaf:
    """What stands at a place and how it is made."""

    value: Value
    op: Op


@value
class Slot:
    """One variable: its collection and its path inside the model."""

    collection: str
    path: KeyPath

    def __hash__(self) -> int:
        """Of the path, which seldom stands in two collections."""
        return hash(self.path)

    def __str__(self) -> str:
        """`params:decoder/layers/mlp/wo/kernel`."""
        return f"{self.collection}:{self.path}"


@value
class Variable:
    """A variable of the model."""

    slot: Slot
    leaf: Leaf


@value
class OptimizerLeaf:
    """A leaf of the optimizer state, below `at`; `mirrors` names its variable if it is a moment.

    `at` begins with an attribute key for a field of a `TrainState` subclass beside `opt_state`, such as an
    average of the parameters, which mirrors them as a moment does.
    """

    at: KeyPath
    mirrors: Slot | None = None
    factored: bool = False
    """A mirror of reduced shape (adafactor's factors, novograd's norms): it cannot be restacked."""
    leaf: Leaf

    def __str__(self) -> str:
        """`[0]/mu <params:…>`."""
        return _named(self.at, self.mirrors)


def _named(at: KeyPath, mirrors: Slot | None) -> str:
    return str(at) if mirrors is None else f"{at} <{mirrors}>"


_MODEL, _OPTIMIZER, _MOMENT = AttributeKey("model"), AttributeKey("optimizer"), AttributeKey("moment")
_INNER = AttributeKey("inner")


def inside(problem: Problem) -> Problem:
    """The problem as one of an inner state."""
    return problem.model_copy(update={"path": KeyPath((_INNER, *problem.path.keys))})


def outside(path: KeyPath) -> KeyPath | None:
    """The address inside an inner state that `path` names, if it does."""
    return path[1:] if len(path) and path.keys[0] == _INNER else None


def address(slot: Slot) -> KeyPath:
    """The path that a problem of a variable carries, until a layout says where it stands on disk."""
    return KeyPath((_MODEL, DictKey(slot.collection), *slot.path.keys))


def optimizer_address(at: KeyPath, mirrors: Slot | None) -> KeyPath:
    """The same for an optimizer leaf."""
    moment = () if mirrors is None else (_MOMENT, DictKey(mirrors.collection), *mirrors.path.keys)
    return KeyPath((_OPTIMIZER, *at.keys, *moment))


def read_address(path: KeyPath) -> Slot | tuple[KeyPath, Slot | None] | None:
    """What an address names: a variable, or an optimizer leaf; None for a path that is no address."""
    if not len(path) or path.keys[0] not in (_MODEL, _OPTIMIZER):
        return None
    if path.keys[0] == _MODEL:
        return Slot(collection=path.names[1], path=path[2:])
    if _MOMENT not in path.keys:
        return path[1:], None
    end = path.keys.index(_MOMENT)
    return path[1:end], Slot(collection=path.names[end + 1], path=path[end + 2 :])


AVERAGE = AttributeKey("ema")
"""Begins the place of the average of the parameters that `nnx.EMA` keeps; in Linen a field of that name."""
BESIDE = AttributeKey("beside")
"""Begins the place of what stands beside a state that has a key of its own, such as a configuration."""


def is_beside(at: KeyPath) -> bool:
    """Whether a place is beside the state."""
    return BESIDE in at and at[0] == BESIDE


def is_field(item: Variable | OptimizerLeaf) -> bool:
    """Whether a leaf belongs to a field of a `TrainState` subclass, not to the optimizer."""
    return isinstance(item, OptimizerLeaf) and len(item.at) > 0 and isinstance(item.at[0], AttributeKey)


class TrainState(Model):
    """A whole train state. `aside` is what the target layout cannot hold and a side item carries."""

    step: Leaf | None = None
    variables: tuple[Variable, ...]
    optimizer: tuple[OptimizerLeaf, ...] = ()
    groups: tuple[LayerGroup, ...] = ()
    aside: tuple[Variable | OptimizerLeaf, ...] = ()
    inner: "TrainState | None" = None
    """DiLoCo: the state that each replica trains."""
    replicas: int | None = None
    """Of such an inner state: the length of the first axis of every array."""

    def leaves(self) -> Iterator[Leaf]:
        """Every leaf, once."""
        if self.step is not None:
            yield self.step
        for part in (self.variables, self.optimizer, self.aside):
            for item in part:
                yield item.leaf
        if self.inner is not None:
            yield from self.inner.leaves()

    def check(self) -> list[Problem]:
        """Every broken invariant: addresses are unique, the step is a count, moments fit parameters."""
        return [
            *self._repeated(),
            *self._bad_step(),
            *self._bad_chains(),
            *self._bad_moments(),
            *(() if self.inner is None else map(inside, self.inner.check())),
        ]

    def _repeated(self) -> Iterator[Problem]:
        slots = [variable.slot for variable in self.variables]
        places = [(leaf.at, leaf.mirrors) for leaf in self.optimizer]
        twice = [(str(slot), times) for slot, times in _repeats(slots)]
        twice += [(f"optimizer {_named(*place)}", times) for place, times in _repeats(places)]
        for name, times in twice:
            yield Problem(code=Code.TWO_WRITERS, expected=f"one {name}", found=f"{times} of them")

    def _bad_step(self) -> Iterator[Problem]:
        if self.step is None:
            return
        value = self.step.value
        shape = () if self.replicas is None else (self.replicas,)
        if not isinstance(value, ArrayValue) or not value.spec.dtype.is_integer or value.spec.shape != shape:
            yield Problem(
                code=Code.WRONG_KIND, path=ROOT / "step", expected="an integer scalar", found=str(value)
            )

    def _bad_chains(self) -> Iterator[Problem]:
        """Positions of a chain are sequence indices here: a digit that is left stands among names."""
        chains = {
            at[: depth + 1]
            for at in {item.at for item in self.optimizer}
            for depth, key in enumerate(at)
            if isinstance(key, DictKey) and key.name.isdecimal() and at[:depth][-1:].names != (LABELLED,)
        }
        if not chains:
            return
        layers = {variable.slot.path[:1] for variable in self.variables}
        for at in sorted(chains, key=KeyPath.natural):
            yield _digit_problem(at, is_layer=at in layers)

    def _bad_moments(self) -> Iterator[Problem]:
        values = {variable.slot: variable.leaf.value for variable in self.variables}
        modules: set[tuple[str, KeyPath]] = set()
        for moment in self.optimizer:
            slot = moment.mirrors
            if slot is None:
                continue
            if (parameter := values.get(slot)) is not None:
                if not _same_shape(moment.leaf.value, parameter) and not moment.factored:
                    yield _misshapen(moment, slot, parameter)
                continue
            modules = modules or {(s.collection, s.path[:n]) for s in values for n in range(len(s.path))}
            if (slot.collection, slot.path) not in modules:
                yield Problem(
                    code=Code.UNKNOWN_ENTRY,
                    path=optimizer_address(moment.at, slot),
                    expected="only moments of the model's parameters",
                    found=f"{moment.leaf.value}, where the model has nothing",
                )


def _repeats(places: list[T]) -> list[tuple[T, int]]:
    """What stands there more than once, and how often."""
    if len(set(places)) == len(places):
        return []
    return [(place, times) for place, times in Counter(places).items() if times > 1]


def _same_shape(moment: Value, parameter: Value) -> bool:
    """What is no array has no shape that could differ."""
    if moment is parameter or not (isinstance(moment, ArrayValue) and isinstance(parameter, ArrayValue)):
        return True
    return moment.spec.shape == parameter.spec.shape


def _digit_problem(at: KeyPath, *, is_layer: bool) -> Problem:
    if not is_layer:
        return Problem(
            code=Code.WRONG_KIND,
            path=optimizer_address(at, None),
            expected="positions of an optax chain, or named fields",
            found="a position among named fields",
        )
    return Problem(
        code=Code.AMBIGUOUS_CHAIN,
        path=optimizer_address(at, None),
        expected="a position of an optax chain, or a layer of the model, and not what may be either",
        found="a digit that is both, with arrays that fit that layer",
        hint="keep this optimizer's state under a field of a name, as optax's own states do",
    )


def _misshapen(moment: OptimizerLeaf, slot: Slot, parameter: Value) -> Problem:
    assert isinstance(parameter, ArrayValue)
    return Problem(
        code=Code.MOMENT_MISMATCH,
        path=optimizer_address(moment.at, slot),
        expected=f"the shape of its parameter, {parameter.spec}",
        found=str(moment.leaf.value),
    )
