"""From a source to the intermediate representation: by its own record where it has one, else by its looks."""

from dataclasses import dataclass

from linen_nnx.convert.checking import layer_problems, layout_problems, state_problems
from linen_nnx.convert.detect import detect
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


def read_entries(inventory: Inventory, side: Side | None, layout: Layout | None = None) -> Read:
    """Read entries in `layout`, or in the one that is their own. Raises `LayoutError` where none is clear.

    What wrote the item may have left a record of its form: that decides, and not what the item looks like,
    unless the item contradicts it.
    """
    form = None if side is None else side.residue.form
    if form is None or layout not in (None, form.layout):
        detection = detect(inventory) if layout is None else Detection(layout=layout)
        return Read(detection, *examine(inventory, detection.layout))
    wrapped, problems = recorded(form, inventory)
    wire, others = examine(inventory, form.layout, wrapped)
    overtaken = _overtaken(inventory, form.layout) if others else []
    return Read(_on_record(form), wire, [*overtaken, *problems, *others])


def lift_source(source: Source, layout: Layout | None = None, origin: Origin = Origin.SOURCE) -> Lifted:
    """Read a source into the intermediate representation, with what lies beside it."""
    inventory = source.inventory
    read = read_entries(inventory, source.side, layout)
    if read.problems:
        raise LayoutError(layout_problems(read.wire, read.problems, inventory))
    routes = {} if source.side is None else {r.path: r.collection for r in source.side.residue.routes}
    lifted = lift(read.wire, inventory, routes, origin)
    if origin is Origin.SOURCE:
        lifted = Lifted(with_side(lifted.state, source.side), lifted.form, lifted.notes)
    if problems := state_problems(lifted):
        # Refused in any case: then say of the layers too what is wrong with them.
        raise LayoutError([*problems, *layer_problems(lifted)])
    return lifted


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
