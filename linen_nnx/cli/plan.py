"""`linen-nnx plan`: what a conversion would do."""

from linen_nnx.cli import options as opt
from linen_nnx.cli.conversion import Conversion, takes_conversion

NAME = "plan"


@takes_conversion
def run(source: opt.Source, asked: Conversion, as_json: opt.Json = False) -> None:
    """Show every write and every drop, leaf by leaf. Reads metadata alone."""
    from linen_nnx.cli import render
    from linen_nnx.convert.converting import plan

    options = asked.options_for(source)
    effort = asked.effort()
    render.step_taken(source, asked.step, asked.item)
    made = plan(
        source,
        options=options,
        template=asked.template,
        step=asked.step,
        item=asked.item,
        effort=effort,
    )
    if as_json:
        render.json(made)
    else:
        render.plan(made)
