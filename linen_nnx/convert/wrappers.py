"""Which leaves stand under a last key `value`: in the source by its own record, in the target by its form."""

from collections.abc import Callable, Iterable, Sequence

from linen_nnx.convert.layouts import nnx_roots
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.layout import Form, Layout, Leaves
from linen_nnx.schema.ops import Origin, refs
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Note, NoteCode, Write
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.wire import VALUE, Wrapped


def recorded(form: Form, inventory: Inventory) -> tuple[Wrapped, list[Problem]]:
    """The wrapped leaves of an item that `form` is on record for, and where the item contradicts it."""
    if _by_list(form):
        claimed = [path / VALUE for path in form.wrapped]
    else:
        by_rule = _rule(form)
        claimed = [e.path for e in inventory.entries if by_rule(e.path)]
    wrong = [path for path in claimed if path not in inventory.by_path or path.names[-1] != VALUE]
    return frozenset(claimed).difference(wrong), [_contradiction(path, inventory) for path in wrong]


def wrap(
    lowered: Iterable[Write], form: Form, source: Form, known: Form | None
) -> tuple[list[Write], Form, list[Note]]:
    """The writes in the wrappers of `form`, which then lists those that no rule tells.

    The list of `known` has paths of that checkpoint. Where that is the source itself a leaf that is moved or
    restacked takes its wrapper along.
    """
    if not _by_list(form):
        by_rule = _rule(form)
        return [_ended(w, by_rule(w.target)) for w in lowered], form, []
    writes = list(lowered)
    listed = frozenset(form.wrapped)
    moved = known is source
    made = [_ended(w, w.target in listed or (moved and _was_wrapped(w, listed))) for w in writes]
    ends = {w.target[:-1] for w, before in zip(made, writes, strict=True) if w is not before}
    lost = [] if moved else sorted(listed - ends, key=KeyPath.natural)
    if lost and form.leaves is Leaves.MIXED:
        whole = form.model_copy(update={"leaves": Leaves.WRAPPED, "wrapped": ()})
        return [_ended(w, True) for w in writes], whole, _notes(lost, "every leaf is written so")
    listing = form.model_copy(update={"wrapped": tuple(sorted(ends, key=KeyPath.natural))})
    return made, listing, _notes(lost, "no leaf that took their place is written so")


def _by_list(form: Form) -> bool:
    """Whether wrappers are listed leaf by leaf: flax boxes, and mixed NNX leaves."""
    return not form.layout.is_nnx or form.leaves is Leaves.MIXED


def _rule(form: Form) -> Callable[[KeyPath], bool]:
    """Which leaves of an NNX state stand in wrappers, as its form says of the model and of the rest."""
    match form.layout:
        case Layout.NNX | Layout.PARAMS | Layout.TUNIX:
            roots = nnx_roots(form.layout)
        case _:
            return lambda path: False
    of_model, of_others = (
        form.leaves is not None and form.leaves.wraps(model=model, mixed=False) for model in (True, False)
    )
    if of_model == of_others:
        return lambda path: of_model
    return lambda path: of_model if any(path.startswith(base) for base in roots.models) else of_others


def _ended(write: Write, wrapped: bool) -> Write:
    if not wrapped:
        return write
    return Write(place=write.place, target=write.target / VALUE, value=write.value, op=write.op)


def _was_wrapped(write: Write, listed: frozenset[KeyPath]) -> bool:
    read = [ref for ref in refs(write.op) if ref.origin is Origin.SOURCE]
    return bool(read) and all(ref.path.names[-1] == VALUE and ref.path[:-1] in listed for ref in read)


def _contradiction(path: KeyPath, inventory: Inventory) -> Problem:
    return Problem(
        code=Code.MISSING_ENTRY if path not in inventory.by_path else Code.WRONG_KIND,
        path=path,
        expected="a leaf under value, as linen_nnx/ beside the state says",
        found="nothing" if path not in inventory.by_path else "a leaf without that key",
        hint=CHANGED,
    )


CHANGED = (
    "the state was changed after it was converted; without its linen_nnx/ folder it is read by its looks"
)


def _notes(lost: Sequence[KeyPath], instead: str) -> list[Note]:
    if not lost:
        return []
    text = f"{len(lost)} leaves that stood under `value` before do not stand there any more; {instead}"
    return [Note(code=NoteCode.WRAPPERS_LOST, text=text, paths=tuple(lost[:5]))]
