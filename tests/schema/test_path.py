"""The text form of a key path, and its natural order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linen_nnx.schema.path import ROOT, AttributeKey, DictKey, KeyPath, SequenceKey
from tests.schema.strategies import KEYS, PATHS


@given(PATHS)
def test_every_path_comes_back_from_its_text(path: KeyPath) -> None:
    assert KeyPath.parse(str(path)) == path


@given(PATHS, PATHS)
def test_two_paths_have_the_same_text_only_if_they_are_equal(one: KeyPath, other: KeyPath) -> None:
    assert (str(one) == str(other)) == (one == other)


@given(st.text(alphabet="/\\[].0aé", max_size=12))
def test_any_text_that_is_read_settles_after_one_rewriting(text: str) -> None:
    path = KeyPath.parse(text)
    assert KeyPath.parse(str(path)) == path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (ROOT, ""),
        (KeyPath.of("opt_state", 0, "mu"), "opt_state/[0]/mu"),
        (KeyPath.of("opt_state", "0", "mu"), "opt_state/0/mu"),
        (KeyPath((AttributeKey("mu"),)), ".mu"),
        (KeyPath.of(".mu"), "\\.mu"),
        (KeyPath.of("[0]"), "\\[0]"),
        (KeyPath.of("a/b"), "a\\/b"),
        (KeyPath.of("a\\b"), "a\\\\b"),
        (KeyPath.of("a", "", "b"), "a/\\0/b"),
        (KeyPath.of(""), "\\0"),
        (KeyPath.of("\\0"), "\\\\0"),
        (KeyPath.of("lora_a.kernel"), "lora_a.kernel"),
        (KeyPath.of("two\nlines"), "two\\x0alines"),
        (KeyPath.of("\x1b[31mred"), "\\x1b[31mred"),
        (KeyPath.of("\\x1b"), "\\\\x1b"),
        (KeyPath.of("half \ud800"), "half \\ud800"),
        (KeyPath.of("κερνελ 😀"), "κερνελ 😀"),
    ],
)
def test_the_text_form_is_as_documented(path: KeyPath, text: str) -> None:
    assert str(path) == text
    assert KeyPath.parse(text) == path


def test_key_types_make_different_paths() -> None:
    paths = {KeyPath((key,)) for key in (DictKey("0"), SequenceKey(0), AttributeKey("0"))}
    assert len(paths) == 3
    assert len({str(path) for path in paths}) == 3


@given(st.lists(st.integers(0, 10**9), unique=True))
def test_numbered_names_sort_by_their_numbers(numbers: list[int]) -> None:
    paths = sorted((KeyPath.of("decoder", f"layers_{n}", "w") for n in numbers), key=KeyPath.natural)
    assert [path.names[1] for path in paths] == [f"layers_{n}" for n in sorted(numbers)]


@given(st.lists(st.integers(0, 10**9), unique=True), st.booleans())
def test_digits_and_indices_sort_by_value(numbers: list[int], as_index: bool) -> None:
    keys = numbers if as_index else map(str, numbers)
    paths = sorted((KeyPath.of("layers", key, "w") for key in keys), key=KeyPath.natural)
    assert [int(path.names[1]) for path in paths] == sorted(numbers)


def test_layer_2_stands_before_layer_10() -> None:
    assert KeyPath.of("layers_2").natural() < KeyPath.of("layers_10").natural()
    assert KeyPath.of("layers_2", "z").natural() < KeyPath.of("layers_10", "a").natural()


@given(PATHS, PATHS)
def test_any_two_paths_can_be_ordered(one: KeyPath, other: KeyPath) -> None:
    a, b = one.natural(), other.natural()
    assert (a < b) + (a == b) + (a > b) == 1


@given(PATHS, PATHS)
def test_a_joined_path_starts_with_its_first_part_and_ends_with_its_second(
    one: KeyPath, other: KeyPath
) -> None:
    joined = one + other
    assert joined.startswith(one)
    assert joined[len(one) :] == other
    assert joined.names == one.names + other.names


@given(PATHS, KEYS)
def test_equal_paths_hash_alike(path: KeyPath, key: DictKey | SequenceKey | AttributeKey) -> None:
    assert hash(KeyPath(path.keys)) == hash(path)
    assert KeyPath((*path.keys, key)) != path
