"""A leaf as a slice of one stored array: some of its axes fixed at an index, the others free."""

from dataclasses import dataclass
from typing import assert_never

from linen_nnx.schema.ops import Cast, Concat, Copy, Fill, MoveAxis, Op, Ref, Split, Stack, Take


@dataclass(frozen=True, slots=True)
class Slice:
    """`fixed` are pairs of axis and index, the axes in order."""

    ref: Ref
    fixed: tuple[tuple[int, int], ...] = ()

    def free(self, rank: int) -> list[int]:
        """The axes that the leaf has, of an array of `rank`."""
        gone = {axis for axis, _ in self.fixed}
        return [axis for axis in range(rank) if axis not in gone]


def slice_of(op: Op) -> Slice:
    """The slice that a lifted leaf is. Raises `TypeError` on an op that a lifted leaf does not have."""
    match op:
        case Copy(source=source):
            return Slice(source)
        case Take(of=of, axis=axis, index=index):
            inner = slice_of(of)
            gone = {fixed for fixed, _ in inner.fixed}
            stored = [at for at in range(axis + len(gone) + 1) if at not in gone][axis]
            return Slice(inner.ref, tuple(sorted((*inner.fixed, (stored, index)))))
        case Stack() | MoveAxis() | Concat() | Split() | Cast() | Fill():
            raise TypeError(f"{op.kind} is no slice of one stored array")
        case _:
            assert_never(op)
