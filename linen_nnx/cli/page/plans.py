"""What a page shows of a plan."""

from linen_nnx.cli.page.model import Fact, Page, Verdict
from linen_nnx.cli.page.rows import dropped, losses, written
from linen_nnx.cli.render.out import duration, size
from linen_nnx.schema.routing import RoutedPlan


def of_plan(made: RoutedPlan) -> Page:
    """What a conversion would do."""
    values = {entry.source: entry.value for entry in made.inputs}
    writes = zip(made.writes, made.execution.writes, strict=True)
    rows = [written(w.place, w.target, w.value, w.op, routed.route) for w, routed in writes]
    rows += [dropped(drop, values[drop.source]) for drop in made.drops]
    cost = made.execution
    facts = (
        Fact(name="layouts", text=f"{made.source.layout.value} to {made.target.layout.value}"),
        Fact(
            name="entries",
            text=f"{len(made.item_writes)} written, {len(made.side_writes)} kept aside, "
            f"{len(made.drops)} dropped",
        ),
        Fact(
            name="stored bytes",
            text=f"{size(cost.referenced)} by reference, {size(cost.moved)} moved one by one, "
            f"{size(cost.decoded)} decoded",
        ),
        Fact(name="memory", text=f"at most {size(cost.peak_memory)}"),
        Fact(name="time", text=f"about {duration(cost.seconds)} on a fast disk"),
    )
    return Page(
        title=f"plan: {made.source.layout.value} to {made.target.layout.value}",
        verdict=Verdict.OPEN,
        saying="a plan: nothing has been written",
        facts=facts,
        findings=losses(made.drops, made.notes),
        rows=tuple(rows),
        commands=(),
    )
