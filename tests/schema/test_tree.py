"""Entries of a live tree are what orbax writes for the same tree."""

from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import linen_nnx
from linen_nnx.schema.array import ArraySpec, ArrayValue, DType, Empty, EmptyValue, Holder
from linen_nnx.schema.errors import LayoutError
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.tree import inventory_of
from tests.support.checkpoints import save_item


class Dense(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.BatchNorm(use_running_average=False)(nn.Dense(3)(x))
        return nn.Dense(2)(nn.relu(x))


class Model(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(2, 3, rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(3, 3, rngs=rngs) for _ in range(11)])


class Pair(NamedTuple):
    first: Any
    second: Any


@flax.struct.dataclass
class Record:
    weight: Any
    name: str = flax.struct.field(pytree_node=False, default="static")  # type: ignore[no-untyped-call]


def linen_state(tx: optax.GradientTransformation) -> TrainState:
    variables = Dense().init(jax.random.key(0), jnp.ones((1, 2)))
    state: TrainState = TrainState.create(  # type: ignore[no-untyped-call]
        apply_fn=Dense().apply, params=variables, tx=tx
    )
    stepped: TrainState = state.replace(step=jnp.int32(3))
    return stepped


def nnx_state() -> Any:
    model = Model(nnx.Rngs(0, dropout=1))
    optimizer = nnx.Optimizer(model, optax.adamw(optax.constant_schedule(0.1)), wrt=nnx.Param)
    return nnx.state({"model": model, "optimizer": optimizer})


def pure(state: Any) -> Any:
    return nnx.to_pure_dict(state)


PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3, jnp.bfloat16)}
TREES: dict[str, Any] = {
    "numpy": {"a": np.ones((2, 3), np.float16), "b": {"c": np.zeros((), np.int8)}},
    "jax": {"a": jnp.ones((2, 3), jnp.float8_e4m3fn), "b": {"c": jnp.zeros((), jnp.bool)}},
    "python scalars": {"int": 3, "float": 0.5, "bool": True, "text": "words"},
    "numpy scalars": {"a": np.float32(1), "b": np.int64(2)},
    "empties": {"a": None, "b": {}, "c": [], "d": (), "e": optax.EmptyState(), "f": optax.MaskedNode()},
    "sequences": {"a": [jnp.ones(1), (jnp.ones(2), None)], "b": [[], {}]},
    "integer keys": {"a": {0: jnp.ones(1), 10: jnp.ones(2), 2: jnp.ones(3)}},
    "odd names": {"lora_a.kernel": jnp.ones(1), "x": {"0": jnp.ones(1), "[0]": jnp.ones(1)}},
    "named tuple": {"pair": Pair(jnp.ones(1), Pair(None, 2))},
    "dataclass": {"record": Record(weight=jnp.ones(2))},
    "ordered": OrderedDict(b=jnp.ones(1), a=jnp.ones(2)),
    "typed keys": {n: jax.random.key(0, impl=n) for n in ("threefry2x32", "rbg", "unsafe_rbg")},
    "key arrays": {"keys": jax.random.split(jax.random.key(0), 5), "raw": jax.random.PRNGKey(0)},
    "adamw": optax.adamw(0.1).init(PARAMS),
    "adamw with a schedule": optax.adamw(optax.constant_schedule(0.1)).init(PARAMS),
    "masked": optax.masked(optax.adam(0.1), {"w": True, "b": False}).init(PARAMS),
    "inject": optax.inject_hyperparams(optax.adam)(learning_rate=0.1).init(PARAMS),
    "multi": optax.multi_transform(
        {"t": optax.adam(0.1), "f": optax.set_to_zero()}, {"w": "t", "b": "f"}
    ).init(PARAMS),
    "steps": optax.MultiSteps(optax.sgd(0.1, momentum=0.9), 2).init(PARAMS),
    "adafactor": optax.adafactor(0.1).init(PARAMS),
    "Linen, sgd": linen_state(optax.sgd(0.1)),
    "Linen, adamw": linen_state(optax.adamw(optax.constant_schedule(0.1))),
    "NNX state": nnx_state(),
    "NNX pure dict": pure(nnx_state()),
}


@pytest.mark.parametrize("name", TREES)
def test_entries_of_a_live_tree_are_what_orbax_writes(name: str, tmp_path: Path) -> None:
    tree = TREES[name]
    written = linen_nnx.inspect(save_item(tree, tmp_path / "item")).inventory
    assert inventory_of(tree) == written


def shapes(tree: Any) -> Any:
    return jax.eval_shape(lambda: tree)


@pytest.mark.parametrize("name", ["jax", "typed keys", "key arrays", "adamw", "masked", "NNX pure dict"])
def test_a_tree_of_shapes_has_the_entries_of_its_arrays(name: str) -> None:
    assert inventory_of(shapes(TREES[name])) == inventory_of(TREES[name])


def test_an_abstract_train_state_has_the_entries_of_a_real_one() -> None:
    real = linen_state(optax.adamw(0.1))
    assert inventory_of(jax.eval_shape(lambda: linen_state(optax.adamw(0.1)))) == inventory_of(real)


def test_an_abstract_nnx_state_has_the_entries_of_a_real_one() -> None:
    assert inventory_of(nnx.eval_shape(nnx_state)) == inventory_of(nnx_state())


def test_a_numpy_tree_differs_from_a_jax_one_in_its_holder_alone() -> None:
    numpy, jaxs = inventory_of({"a": np.ones(2, np.float32)}), inventory_of({"a": jnp.ones(2)})
    spec = ArraySpec(shape=(2,), dtype=DType.FLOAT32)
    assert numpy.entries[0].value == ArrayValue(spec=spec, holder=Holder.NUMPY)
    assert jaxs.entries[0].value == ArrayValue(spec=spec, holder=Holder.JAX)


def test_list_positions_are_indices_and_digit_keys_are_names() -> None:
    assert set(inventory_of({"a": [1]}).by_path) == {KeyPath.of("a", 0)}
    assert set(inventory_of({"a": {0: 1}}).by_path) == {KeyPath.of("a", "0")}


def test_layers_of_an_nnx_list_stand_in_the_order_of_their_numbers() -> None:
    entries = inventory_of(nnx_state()).entries
    numbers = [e.path.names[2] for e in entries if e.path.names[:2] == ("model", "layers")]
    assert list(dict.fromkeys(numbers)) == [str(n) for n in range(11)]


def test_every_kind_of_empty_has_its_name() -> None:
    found = {str(e.path): e.value for e in inventory_of(TREES["empties"]).entries}
    assert found == {
        "a": EmptyValue(empty=Empty.NONE),
        "b": EmptyValue(empty=Empty.DICT),
        "c": EmptyValue(empty=Empty.LIST),
        "d": EmptyValue(empty=Empty.TUPLE),
        "e": EmptyValue(empty=Empty.NONE),
        "f": EmptyValue(empty=Empty.NONE),
    }


@pytest.mark.parametrize("leaf", [object(), {1, 2}, len, 1j, b"bytes"], ids=lambda leaf: type(leaf).__name__)
def test_a_leaf_that_no_checkpoint_can_hold_is_refused(leaf: object) -> None:
    with pytest.raises(LayoutError, match=f"a: .*{type(leaf).__name__}"):
        inventory_of({"a": leaf})


def test_an_empty_tree_is_one_empty_at_the_root() -> None:
    assert inventory_of({}) == Inventory.of(inventory_of({}).entries)
    assert [str(e) for e in inventory_of({}).entries] == [": {}"]
