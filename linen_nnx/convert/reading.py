"""From a source to the intermediate representation: by its own record where it has one, else by its looks."""

from dataclasses import dataclass, replace

from linen_nnx.convert.checking import layer_problems, layout_problems, state_problems
from linen_nnx.convert.detect import detect
from linen_nnx.convert.framing.framed import framed, framed_as
from linen_nnx.convert.framing.state import Framed
from linen_nnx.convert.layouts import AnyState, Lifted, examine, lift
from linen_nnx.convert.side import with_side
from linen_nnx.convert.store.protocol import Side, Source
from linen_nnx.convert.wrappers import CHANGED, recorded
from linen_nnx.schema.detection import Detection
from linen_nnx.schema.errors import LayoutError
from linen_nnx.schema.inventory import Inventory
from linen_nnx.schema.layout import Form, Layout
from linen_nnx.schema.ops import Origin
from linen_nnx.schema.problem import Code, Problem


@dataclass(frozen=True, slots=True)
class Read:
    """The entries of a source as a layout has them, and every way in which they are not so."""

    detection: Detection
    wire: AnyState
    problems: list[Problem]
    framed: Framed
    """The entries as the layout's reader took them; paths of problems are theirs until `on_disk`."""


def read_entries(inventory: Inventory, side: Side | None, layout: Layout | None = None) -> Read:
    """Read entries in `layout`, or in the one that is their own. Raises `LayoutError` where none is clear.

    What wrote the item may have left a record of its form: that decides, and not what the item looks like,
    unless the item contradicts it.
    """
    form = None if side is None else side.residue.form
    if form is None or layout not in (None, form.layout):
        inside = framed(inventory)
        inventory = inside.inventory
        found = detect(inventory) if layout is None else Detection(layout=layout)
        detection = found.model_copy(update={"evidence": (*found.evidence, *inside.evidence)})
        return Read(detection, *examine(inventory, detection.layout), inside)
    inside = framed_as(inventory, form)
    inventory = inside.inventory
    wrapped, problems = recorded(form, inventory)
    wire, others = examine(inventory, form.layout, wrapped)
    overtaken = _overtaken(inventory, form.layout) if others else []
    return Read(_on_record(form), wire, [*overtaken, *problems, *others], inside)


def lift_as_it_is(source: Source, layout: Layout | None = None, origin: Origin = Origin.SOURCE) -> Lifted:
    """Read a source into the intermediate representation, with what lies beside it. Raises `LayoutError`.

    Moments need not fit their parameters, nor layers each other.
    """
    return _lifted(read_entries(source.inventory, source.side, layout), source.side, origin)


def lift_source(source: Source, layout: Layout | None = None, origin: Origin = Origin.SOURCE) -> Lifted:
    """The same, of a source that can be converted. Raises `LayoutError`."""
    read = read_entries(source.inventory, source.side, layout)
    lifted = _lifted(read, source.side, origin)
    if problems := state_problems(lifted):
        # Refused in any case: then say of the layers too what is wrong with them.
        raise LayoutError(read.framed.on_disk([*problems, *layer_problems(lifted)]))
    return lifted


def _lifted(read: Read, side: Side | None, origin: Origin) -> Lifted:
    inside, inventory = read.framed, read.framed.inventory
    if read.problems:
        raise LayoutError(inside.on_disk(layout_problems(read.wire, read.problems, inventory)))
    routes = {} if side is None else {r.path: r.collection for r in side.residue.routes}
    lifted = _unframed(lift(read.wire, inventory, routes, origin), inside, origin)
    return replace(lifted, state=with_side(lifted.state, side)) if origin is Origin.SOURCE else lifted


def _unframed(lifted: Lifted, inside: Framed, origin: Origin) -> Lifted:
    """The state with its paths on disk, and with what was taken off around it."""
    return replace(
        lifted,
        state=inside.placed(lifted.state, origin),
        form=lifted.form.model_copy(update={"nested": inside.nested}),
        drops=inside.dropped(origin),
    )


def _on_record(form: Form) -> Detection:
    return Detection(
        layout=form.layout, evidence=("the record of the conversion that wrote it, in linen_nnx/, says so",)
    )


def _overtaken(inventory: Inventory, layout: Layout) -> list[Problem]:
    """The entries break the layout on record: whether they look like another."""
    try:
        looks = detect(inventory).layout.value
    except LayoutError:
        looks = "none that is known"
    if looks == layout.value:
        return []
    return [
        Problem(
            code=Code.AMBIGUOUS_LAYOUT,
            expected=f"the layout {layout.value}, as linen_nnx/ beside the state says",
            found=f"entries that break it; by its looks the layout is {looks}",
            hint=CHANGED,
        )
    ]
