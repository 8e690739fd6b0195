"""The boxes of the tree map: their bytes add up, whatever the tree."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from linen_nnx.cli.page.model import Row, Tone
from linen_nnx.cli.page.treemap import Box, boxes

_PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple)


@st.composite
def _rows(draw: st.DrawFn) -> list[Row]:
    paths = draw(st.lists(_PATHS, max_size=12, unique=True))
    leaves = [path for path in paths if not any(o != path and o[: len(path)] == path for o in paths)]
    tone = st.sampled_from([Tone.KEPT, Tone.DECODE])
    return [Row(keys=at, spec="", nbytes=draw(st.integers(0, 9)), tone=draw(tone)) for at in leaves]


def _below(drawn: tuple[Box, ...]) -> Counter[int]:
    below: Counter[int] = Counter()
    for box in drawn:
        if box.parent is not None:
            below[box.parent] += box.nbytes
    return below


@given(_rows())
def test_a_box_is_as_large_as_all_that_is_in_it(rows: list[Row]) -> None:
    drawn = boxes(rows)
    below = _below(drawn)
    assert all(drawn[index].nbytes == total for index, total in below.items())
    assert sum(box.nbytes for box in drawn if box.parent is None) == sum(row.nbytes for row in rows)


@given(_rows(), st.integers(1, 6))
def test_what_is_summed_up_leaves_no_box_without_its_parent(rows: list[Row], most: int) -> None:
    drawn = boxes(rows, most=most)
    assert len(drawn) <= most
    assert all(box.parent is None or box.parent < index for index, box in enumerate(drawn))
    assert all(drawn[index].nbytes >= total for index, total in _below(drawn).items())


@given(_rows())
def test_the_keys_down_to_a_leaf_are_its_path(rows: list[Row]) -> None:
    drawn = boxes(rows)
    paths = set()
    for box in drawn:
        keys, up = box.keys, box.parent
        while up is not None:
            keys, up = drawn[up].keys + keys, drawn[up].parent
        paths.add(keys)
    assert {row.keys for row in rows if row.nbytes} <= paths


def test_a_box_has_the_one_tone_of_what_is_in_it() -> None:
    rows = [
        Row(keys=("a", "x"), spec="", nbytes=2, tone=Tone.KEPT),
        Row(keys=("a", "y"), spec="", nbytes=1, tone=Tone.KEPT),
        Row(keys=("b",), spec="", nbytes=1, tone=Tone.DECODE),
    ]
    tones = {box.keys: box.tone for box in boxes(rows)}
    assert tones == {(): "mixed", ("a",): "kept", ("x",): "kept", ("y",): "kept", ("b",): "decode"}
