"""What an inventory holds: each path once, none inside another, in natural order."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from linen_nnx.schema.array import EmptyValue
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.path import AttributeKey, DictKey, KeyPath
from tests.schema.strategies import PATHS, inventories


def entry(*names: str | int) -> Entry:
    return Entry(path=KeyPath.of(*names), value=EmptyValue())


@given(inventories(), st.data())
def test_a_repeated_path_is_refused(inventory: Inventory, data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(inventory.entries)) if inventory.entries else entry("a")
    with pytest.raises(ValidationError, match="more than once"):
        Inventory.of([*inventory.entries, again, *([] if inventory.entries else [again])])


@given(PATHS.filter(lambda path: len(path) > 0), PATHS.filter(lambda path: len(path) > 0))
def test_a_path_inside_another_is_refused(path: KeyPath, rest: KeyPath) -> None:
    nested = [Entry(path=path, value=EmptyValue()), Entry(path=path + rest, value=EmptyValue())]
    with pytest.raises(ValidationError, match="leaf and subtree"):
        Inventory.of(nested)


def test_nested_paths_are_found_among_many() -> None:
    rest = [entry("a", str(n), "x") for n in range(50)]
    with pytest.raises(ValidationError, match="leaf and subtree at once: a/7 "):
        Inventory.of([*rest, entry("a", "7")][::-1])


def test_a_leaf_at_the_root_stands_alone() -> None:
    assert Inventory.of([entry()]).entries == (entry(),)
    with pytest.raises(ValidationError):
        Inventory.of([entry(), entry("a")])


@given(inventories(), st.randoms())
def test_the_order_of_the_input_does_not_matter(inventory: Inventory, how: random.Random) -> None:
    shuffled = how.sample(inventory.entries, len(inventory.entries))
    assert Inventory.of(shuffled) == inventory


def test_a_field_and_a_dict_key_of_one_name_are_two_places() -> None:
    field, key = KeyPath((DictKey("a"), AttributeKey("b"))), KeyPath.of("a", "b")
    made = Inventory.of(Entry(path=at / name, value=EmptyValue()) for name in "xy" for at in (key, field))
    assert [e.path.parent for e in made.entries] == [field, field, key, key]
    with pytest.raises(ValidationError, match="leaf and subtree at once: a/b"):
        Inventory.of([*made.entries[:2], Entry(path=key, value=EmptyValue()), made.entries[2]])


def test_layers_stand_in_the_order_of_their_numbers() -> None:
    numbers = [10, 2, 0, 11, 1]
    made = Inventory.of(entry("params", f"layers_{n}", "w") for n in numbers)
    assert [e.path.names[1] for e in made.entries] == [f"layers_{n}" for n in sorted(numbers)]


@given(inventories(), PATHS)
def test_below_gives_just_what_starts_with_the_prefix(inventory: Inventory, other: KeyPath) -> None:
    prefixes = {e.path[:1] for e in inventory.entries} | {other}
    for prefix in prefixes:
        below = {prefix + e.path: e.value for e in inventory.below(prefix)}
        assert below == {p: v for p, v in inventory.by_path.items() if p.startswith(prefix)}


def test_top_names_the_roots_in_order() -> None:
    made = Inventory.of([entry("step"), entry("params", "b"), entry("params", "a"), entry("opt_state", 0)])
    assert made.top == ("opt_state", "params", "step")
