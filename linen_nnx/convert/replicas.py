"""What a DiLoCo state asks of a conversion: which layout it gets, and the passes over its inner state.

It stays a DiLoCo state: `linen` and `maxtext` name the framework of its inner state. Only its synchronised
weights can stand by themselves.
"""

from linen_nnx.convert.diloco import inner_form
from linen_nnx.convert.layers.target import DEFAULT_AXIS, AxisChoice
from linen_nnx.convert.passes.aside import SetAside
from linen_nnx.convert.passes.layers import AUX_AXIS, LayersPass
from linen_nnx.convert.passes.optimizer import Depth, FillChains
from linen_nnx.convert.passes.runner import Pass, Ran, run
from linen_nnx.convert.passes.template import FromTemplate
from linen_nnx.schema.errors import ConversionError
from linen_nnx.schema.ir import TrainState
from linen_nnx.schema.layout import Form, Layout
from linen_nnx.schema.options import ConversionOptions, Direction, Parts
from linen_nnx.schema.problem import Code

_OTHER = {Layout.LINEN: Layout.MAXTEXT, Layout.MAXTEXT: Layout.LINEN}


def diloco_target(source: Form, options: ConversionOptions) -> tuple[Layout, Layout | None]:
    """The layout asked for, and that of the inner state. Raises `ConversionError` where there is none."""
    before = inner_form(source).layout
    if options.parts is Parts.PARAMS or options.to is Layout.PARAMS:
        return options.to or Layout.PARAMS, None
    asked = {Direction.LINEN_TO_NNX: Layout.MAXTEXT, Direction.NNX_TO_LINEN: Layout.LINEN}.get(
        options.direction
    )
    if asked is before or (asked is not None and options.to not in (None, asked)):
        raise ConversionError.one(
            Code.DIRECTION_CONTRADICTION,
            expected=f"a source and a --to that fit --direction {options.direction.value}",
            found=f"a DiLoCo state whose inner state is {before.value}",
            hint="leave --direction out, or name the framework with --to linen or --to maxtext",
        )
    match options.to or asked:
        case None:
            return Layout.DILOCO, _OTHER[before]
        case Layout.DILOCO:
            return Layout.DILOCO, before
        case (Layout.LINEN | Layout.MAXTEXT) as inner:
            return Layout.DILOCO, inner
        case other:
            raise ConversionError.one(
                Code.UNSUPPORTED,
                expected=f"a train state of one replica, to convert to {other.value}",
                found="DiLoCo's replicas, which no NNX state has a place for",
                hint="--to params gives the synchronised weights; --to linen, --to maxtext keep the replicas",
            )


def refuse_replicas() -> ConversionError:
    """One train state says neither how many replicas there were nor what the outer optimizer held."""
    return ConversionError.one(
        Code.UNSUPPORTED,
        expected="a DiLoCo state, to convert to one",
        found="the train state of one replica",
        hint="start the DiLoCo run from the weights: --to params, or --to maxtext",
    )


def refuse_rules() -> ConversionError:
    """Rules, specs and casts are of one state, and DiLoCo's are two."""
    return ConversionError.one(
        Code.UNSUPPORTED,
        expected="the train state of one replica, to follow rules, to meet a spec or to be cast",
        found="a DiLoCo state",
        hint="convert its synchronised weights with --to params, and those with rules",
    )


def run_inner(inner: TrainState, layers: LayersPass, like: TrainState | None, aside: SetAside) -> Ran:
    """The passes over an inner state; `layers` is the outer state's, `like` the template's inner state."""
    passes: list[Pass] = [behind_replicas(layers)]
    if like is not None:
        passes.append(FromTemplate(like))
    passes.append(FillChains(depth=Depth.ALL if aside.form.layout is Layout.LINEN else Depth.TOP))
    passes.append(aside)
    return run(inner, passes)


def behind_replicas(layers: LayersPass) -> LayersPass:
    """The same pass where every axis stands one further back."""
    axis, form = layers.form.axis, layers.form
    source = DEFAULT_AXIS if axis.source is None else axis.source
    stated = None if axis.stated is None else axis.stated + 1
    moved = form.model_copy(update={"axis": AxisChoice(stated=stated, source=source + 1)})
    return LayersPass(form=moved, aux_axis=AUX_AXIS + 1)
