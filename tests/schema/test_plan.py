"""The conservation law: a plan that would lose, repeat or misdescribe anything cannot be made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from linen_nnx.schema.array import ArraySpec, ArrayValue, DType, EmptyValue, Holder, StringValue, Value
from linen_nnx.schema.layout import Form, Layout
from linen_nnx.schema.ops import (
    Cast,
    Concat,
    Copy,
    Fill,
    MoveAxis,
    Op,
    OpError,
    Origin,
    Ref,
    Split,
    Stack,
    Take,
    refs,
    result,
)
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Drop, DropRule, Input, Place, Plan, Write, same_content
from tests.schema.strategies import plans

FORM = Form(layout=Layout.LINEN)
F32 = ArrayValue(spec=ArraySpec(shape=(2, 3), dtype=DType.FLOAT32))
A, B = Ref(path=KeyPath.of("a")), Ref(path=KeyPath.of("b"))
X, Y = KeyPath.of("x"), KeyPath.of("y")


def made(inputs: dict[Ref, Value], writes: list[Write], drops: tuple[Ref, ...] = ()) -> Plan:
    return Plan(
        source=FORM,
        target=FORM,
        inputs=tuple(Input(source=ref, value=value) for ref, value in inputs.items()),
        writes=tuple(writes),
        drops=tuple(Drop(source=ref, rule=DropRule.PARAMS_ONLY) for ref in drops),
    )


def write(target: KeyPath, op: Op, value: Value = F32, place: Place = Place.ITEM) -> Write:
    return Write(place=place, target=target, value=value, op=op)


def test_what_is_read_or_dropped_is_conserved() -> None:
    plan = made({A: F32, B: F32}, [write(X, Copy(source=A))], drops=(B,))
    assert [w.target for w in plan.item_writes] == [X]


def test_two_writers_of_one_target_are_refused() -> None:
    with pytest.raises(ValidationError, match="x has 2 writers"):
        made({A: F32, B: F32}, [write(X, Copy(source=A)), write(X, Copy(source=B))])


def test_the_item_and_the_side_item_are_different_places() -> None:
    writes = [write(X, Copy(source=A)), write(X, Copy(source=B), place=Place.SIDE)]
    plan = made({A: F32, B: F32}, writes)
    assert (len(plan.item_writes), len(plan.side_writes)) == (1, 1)


def test_an_entry_that_nothing_reads_is_refused() -> None:
    with pytest.raises(ValidationError, match="b is neither read nor dropped"):
        made({A: F32, B: F32}, [write(X, Copy(source=A))])


def test_an_entry_of_the_side_item_that_nothing_reads_is_refused() -> None:
    side = Ref(origin=Origin.SIDE, path=KeyPath.of("rngs"))
    with pytest.raises(ValidationError, match="side:rngs is neither read nor dropped"):
        made({A: F32, side: F32}, [write(X, Copy(source=A))])


def test_an_entry_of_the_template_owes_nothing() -> None:
    template = Ref(origin=Origin.TEMPLATE, path=KeyPath.of("t"))
    assert made({A: F32, template: F32}, [write(X, Copy(source=A))]).drops == ()


def test_an_entry_cannot_be_read_and_dropped() -> None:
    with pytest.raises(ValidationError, match="a is read and dropped at once"):
        made({A: F32}, [write(X, Copy(source=A))], drops=(A,))


def test_what_is_not_there_can_neither_be_read_nor_dropped() -> None:
    with pytest.raises(ValidationError, match="b is not an entry"):
        made({A: F32}, [write(X, Copy(source=A)), write(Y, Copy(source=B))])
    with pytest.raises(ValidationError, match="b is not an entry"):
        made({A: F32}, [write(X, Copy(source=A))], drops=(B,))


@pytest.mark.parametrize(
    "promised",
    [
        ArrayValue(spec=ArraySpec(shape=(3, 2), dtype=DType.FLOAT32)),
        ArrayValue(spec=ArraySpec(shape=(2, 3), dtype=DType.BFLOAT16)),
        EmptyValue(),
        StringValue(text=""),
    ],
    ids=str,
)
def test_a_write_must_make_what_it_promises(promised: Value) -> None:
    with pytest.raises(ValidationError, match=r"x: promised .*, made float32\[2,3\]"):
        made({A: F32}, [write(X, Copy(source=A), promised)])


def test_a_key_cannot_lose_its_implementation() -> None:
    words = ArraySpec(shape=(2,), dtype=DType.UINT32)
    key = ArrayValue(spec=ArraySpec(shape=(2,), dtype=DType.UINT32, key_impl="threefry2x32"))
    with pytest.raises(ValidationError, match="promised"):
        made({A: key}, [write(X, Copy(source=A), ArrayValue(spec=words))])


def test_the_holder_is_a_label_that_may_change() -> None:
    scalar = ArrayValue(spec=F32.spec, holder=Holder.SCALAR)
    assert same_content(F32, scalar)
    assert made({A: F32}, [write(X, Copy(source=A), scalar)]).writes[0].value == scalar


def test_parts_that_do_not_fit_together_are_refused() -> None:
    other = ArrayValue(spec=ArraySpec(shape=(2, 4), dtype=DType.FLOAT32))
    with pytest.raises(ValidationError, match="x: cannot stack"):
        made({A: F32, B: other}, [write(X, Stack(parts=(Copy(source=A), Copy(source=B)), axis=0))])
    with pytest.raises(ValidationError, match="x: no slice 2 on axis 0"):
        made({A: F32}, [write(X, Take(of=Copy(source=A), axis=0, index=2))])


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        made({A: F32, B: F32}, [write(X, Copy(source=A)), write(X, Copy(source=A))])
    assert "2 writers" in str(caught.value)
    assert "neither read nor dropped" in str(caught.value)


@given(plans(), st.data())
def test_no_write_or_drop_can_be_left_out_of_a_plan(plan: Plan, data: st.DataObject) -> None:
    """Each input is read or dropped; without its last reader the same plan is refused."""
    if not plan.inputs:
        return
    lost = data.draw(st.sampled_from(plan.inputs)).source
    writes = tuple(w for w in plan.writes if lost not in set(refs(w.op)))
    drops = tuple(d for d in plan.drops if d.source != lost)
    with pytest.raises(ValidationError, match="neither read nor dropped"):
        Plan(source=plan.source, target=plan.target, inputs=plan.inputs, writes=writes, drops=drops)


def spec_of(op: Op, *inputs: ArraySpec) -> ArraySpec:
    values = {Ref(path=KeyPath.of(str(n))): ArrayValue(spec=spec) for n, spec in enumerate(inputs)}
    value = result(op, values.__getitem__)
    assert isinstance(value, ArrayValue)
    return value.spec


def copy(number: int) -> Copy:
    return Copy(source=Ref(path=KeyPath.of(str(number))))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_a_slice_of_a_stack_has_the_spec_of_its_part(shape: list[int], data: st.DataObject) -> None:
    spec = ArraySpec(shape=tuple(shape), dtype=DType.FLOAT16)
    axis, count = data.draw(st.integers(0, len(shape))), data.draw(st.integers(1, 4))
    stack = Stack(parts=(copy(0),) * count, axis=axis)
    assert spec_of(stack, spec).shape == (*shape[:axis], count, *shape[axis:])
    assert spec_of(Take(of=stack, axis=axis, index=count - 1), spec) == spec


def test_an_entry_that_is_read_in_part_is_refused() -> None:
    """A slice that no write takes is lost as surely as a whole array that no write reads."""
    row = ArrayValue(spec=ArraySpec(shape=(3,), dtype=DType.FLOAT32))
    rows = [write(KeyPath.of(str(n)), Take(of=Copy(source=A), axis=0, index=n), row) for n in range(2)]
    assert len(made({A: F32}, rows).writes) == 2
    with pytest.raises(ValidationError):
        made({A: F32}, rows[:1])


def test_an_entry_that_is_read_in_part_at_a_second_axis_is_refused() -> None:
    cell = ArrayValue(spec=ArraySpec(shape=(), dtype=DType.FLOAT32))
    cells = [
        write(KeyPath.of(f"{i}{j}"), Take(of=Take(of=Copy(source=A), axis=0, index=i), axis=0, index=j), cell)
        for i in range(2)
        for j in range(3)
    ]
    assert len(made({A: F32}, cells).writes) == 6
    with pytest.raises(ValidationError):
        made({A: F32}, cells[1:])


def reads(wanted: dict[str, Op]) -> Plan:
    values: dict[Ref, Value] = {A: F32}
    return made(
        values, [write(KeyPath.of(n), op, result(op, values.__getitem__)) for n, op in wanted.items()]
    )


def test_pieces_that_are_all_there_conserve_and_one_less_is_refused() -> None:
    pieces: dict[str, Op] = {str(n): Split(of=Copy(source=A), axis=1, index=n, count=3) for n in range(3)}
    assert len(reads(pieces).writes) == 3
    with pytest.raises(ValidationError, match="slice 1 on axis 1"):
        reads({name: op for name, op in pieces.items() if name != "1"})


def test_pieces_and_slices_of_moved_axes_are_those_of_the_array() -> None:
    moved = MoveAxis(of=Copy(source=A), source=1, destination=0)
    rows: dict[str, Op] = {str(n): Take(of=moved, axis=0, index=n) for n in range(3)}
    assert len(reads(rows).writes) == 3
    with pytest.raises(ValidationError, match="slice 2 on axis 1"):
        reads({name: op for name, op in rows.items() if name != "2"})


def test_a_piece_of_what_was_joined_reads_that_part_alone() -> None:
    both: dict[Ref, Value] = {A: F32, B: F32}
    joined = Concat(parts=(Copy(source=A), Copy(source=B)), axis=1)
    halves = [Split(of=joined, axis=1, index=n, count=2) for n in range(2)]
    assert len(made(both, [write(KeyPath.of(str(n)), op) for n, op in enumerate(halves)]).writes) == 2
    with pytest.raises(ValidationError, match="b is read in part: all of it"):
        made(both, [write(X, halves[0])])


def test_pieces_that_overlap_cover_together() -> None:
    three = Split(of=Copy(source=A), axis=1, index=0, count=3)
    rows: dict[str, Op] = {str(n): Split(of=Copy(source=A), axis=0, index=n, count=2) for n in range(2)}
    assert len(reads({**rows, "again": three}).writes) == 3
    with pytest.raises(ValidationError, match="of slice 1 on axis 0"):
        reads({"0": rows["0"], "again": three})


@given(shape=st.tuples(*[st.integers(1, 4)] * 3), axes=st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_an_axis_moved_there_and_back_is_where_it_was(shape: tuple[int, ...], axes: tuple[int, int]) -> None:
    spec = ArraySpec(shape=shape, dtype=DType.FLOAT32)
    there = MoveAxis(of=copy(0), source=axes[0], destination=axes[1])
    back = MoveAxis(of=there, source=axes[1], destination=axes[0])
    assert spec_of(back, spec) == spec


def test_parts_of_unlike_shapes_are_not_joined_nor_uneven_pieces_made() -> None:
    other = ArrayValue(spec=ArraySpec(shape=(2, 4), dtype=DType.FLOAT32))
    with pytest.raises(ValidationError, match="cannot join"):
        made({A: F32, B: other}, [write(X, Concat(parts=(Copy(source=A), Copy(source=B)), axis=1))])
    with pytest.raises(OpError, match="no piece 0 of 2 equal ones on axis 1"):
        result(Split(of=Copy(source=A), axis=1, index=0, count=2), lambda _: F32)
    with pytest.raises(OpError, match="cannot move axis 2"):
        result(MoveAxis(of=Copy(source=A), source=2, destination=0), lambda _: F32)


def test_the_words_of_a_key_are_no_axis() -> None:
    key = ArraySpec(shape=(3, 2), dtype=DType.UINT32, key_impl="threefry2x32")
    assert str(spec_of(Take(of=copy(0), axis=0, index=0), key)) == "key<threefry2x32>[]"
    assert str(spec_of(Stack(parts=(copy(0), copy(0)), axis=1), key)) == "key<threefry2x32>[3,2]"
    with pytest.raises(OpError):
        spec_of(Take(of=copy(0), axis=1, index=0), key)
    with pytest.raises(OpError):
        spec_of(Stack(parts=(copy(0),), axis=2), key)


def test_a_string_has_no_dtype() -> None:
    with pytest.raises(OpError):
        result(Cast(of=copy(0), dtype=DType.INT8), lambda _: StringValue(text="x"))


def test_a_string_stands_for_every_layer_alike() -> None:
    words = StringValue(text="x")
    ops: list[Op] = [Take(of=copy(0), axis=0, index=0), Stack(parts=(copy(0), copy(1)), axis=1)]
    assert [result(op, lambda _: words) for op in ops] == [words, words]


def test_an_empty_stands_for_every_layer_alike() -> None:
    none = Fill(value=EmptyValue())
    assert result(Stack(parts=(none, none), axis=1), lambda _: F32) == EmptyValue()
    assert result(Take(of=none, axis=3, index=9), lambda _: F32) == EmptyValue()
    with pytest.raises(OpError):
        result(Stack(parts=(none, copy(0)), axis=0), lambda _: F32)
