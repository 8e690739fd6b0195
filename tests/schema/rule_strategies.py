"""Rules at random: each one whole, as the model demands."""

from hypothesis import strategies as st
from pydantic import BaseModel

from linen_nnx.schema.array import DType
from linen_nnx.schema.rules import (
    Dropping,
    Joining,
    Keep,
    Moving,
    OpConcat,
    OpDrop,
    OpMove,
    OpSplit,
    OpStack,
    OpUnstack,
    Requirement,
    Rule,
    Rules,
    Splitting,
    Stacking,
    Unstacking,
)

NAMES = st.text(st.sampled_from("abcXYZ_.'( ü"), min_size=1, max_size=6).filter(
    lambda name: name[0] not in "."
)
KEYS = st.lists(NAMES, min_size=1, max_size=3)
AXES = st.integers(-2, 3)
REASONS = st.text(min_size=1, max_size=10)
SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)
MOVES = st.tuples(AXES, AXES).map(lambda axes: Moving(source=axes[0], destination=axes[1]))
ZEROS = st.builds(
    Dropping,
    reason=REASONS,
    require=st.just(Requirement.ZERO),
    shape=SHAPES,
    dtype=st.sampled_from(DType),
)
DROPS = ZEROS | st.builds(Dropping, reason=REASONS, require=st.none() | st.just(Requirement.ZERO))
KEEPS = st.builds(Keep, to=KEYS.map("/".join) | st.just("**/rngs/*"))


def _path(keys: list[str], *more: str) -> str:
    return "/".join(["params", *keys, *more])


@st.composite
def invertible(draw: st.DrawFn, number: int = 0) -> Rule:
    """A rule that can be turned round; `number` keeps it apart from others."""
    one, other = draw(KEYS), [*draw(KEYS), f"t{number}"]
    one.append(f"s{number}")
    axis, to = draw(AXES), "/".join(other)
    kind = draw(
        st.sampled_from(
            ["name", "rest", "number", "match", "keys", "stack", "unstack", "move", "gates", "zero"]
        )
    )
    match kind:
        case "name":
            return Rule(source=_path(one), to=to)
        case "rest":
            return Rule(source=_path(one, "*"), to=to + "/*")
        case "number":
            return Rule(source=_path(one, "x_{i}", "*"), to=f"{to}/y{{i+{draw(st.integers(1, 3))}}}/*")
        case "match":
            return Rule(match=rf"params/s{number}/x_(\d+)/(.*)", to=f"{to}/y{{1+2}}/{{2}}")
        case "keys":
            return Rule(path=("params", *one, "a/b"), to_path=(*other, "('k', 'u')"))
        case "stack":
            return Rule(source=_path(one, "x_{i}", "*"), to=to + "/*", op=OpStack(stack=Stacking(axis=axis)))
        case "unstack":
            return Rule(source=_path(one, "*"), to=to + "/{i}/*", op=OpUnstack(unstack=Unstacking(axis=axis)))
        case "move":
            return Rule(source=_path(one, "*"), to=to + "/*", op=OpMove(move_axis=draw(MOVES)))
        case "gates":
            paths = tuple(_path(one, gate, "*") for gate in "ifgo")
            return Rule(source=paths, to=to + "/*", op=OpConcat(concat=Joining(axis=axis)))
        case _:
            return Rule(source=_path(one), op=OpDrop(drop=draw(ZEROS)))


RULE = invertible()
RULES = st.builds(
    Rules,
    collections=st.dictionaries(NAMES, NAMES, max_size=2),
    rules=st.lists(RULE, max_size=3).map(tuple),
    keep=st.lists(KEEPS, max_size=2).map(tuple),
)
RULE_CASES: dict[type[BaseModel], st.SearchStrategy[BaseModel]] = {
    Dropping: DROPS,
    Joining: st.builds(Joining, axis=AXES),
    Keep: KEEPS,
    Moving: MOVES,
    OpConcat: st.builds(OpConcat, concat=st.builds(Joining, axis=AXES)),
    OpDrop: st.builds(OpDrop, drop=DROPS),
    OpMove: st.builds(OpMove, move_axis=MOVES),
    OpSplit: st.builds(OpSplit, split=st.builds(Splitting, axis=AXES)),
    OpStack: st.builds(OpStack, stack=st.builds(Stacking, axis=AXES, by=st.none() | st.integers(1, 3))),
    OpUnstack: st.builds(OpUnstack, unstack=st.builds(Unstacking, axis=AXES)),
    Rule: RULE,
    Rules: RULES,
    Splitting: st.builds(Splitting, axis=AXES),
    Stacking: st.builds(Stacking, axis=AXES, by=st.none() | st.integers(1, 3)),
    Unstacking: st.builds(Unstacking, axis=AXES),
}
