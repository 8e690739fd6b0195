"""Decide the form of the target from what the user asked and from what is known: never by a guess."""

from collections.abc import Sequence
from typing import assert_never

from linen_nnx.convert.layers.target import AxisChoice, LayerForm
from linen_nnx.convert.passes.layers import LayersPass
from linen_nnx.convert.replicas import diloco_target, refuse_replicas
from linen_nnx.schema.array import ArraySpec, ArrayValue, DType
from linen_nnx.schema.errors import ConversionError
from linen_nnx.schema.layout import Form, LayerNames, LayerStacking, Layout, Leaves
from linen_nnx.schema.options import ConversionOptions, Direction
from linen_nnx.schema.problem import Code

_LAYER_NAMES = {
    Layout.LINEN: LayerNames.UNDERSCORE,
    Layout.MAXTEXT: LayerNames.UNDERSCORE,
    Layout.NNX: LayerNames.NESTED,
    Layout.PARAMS: LayerNames.UNDERSCORE,
    Layout.TUNIX: LayerNames.NESTED,
    Layout.DILOCO: LayerNames.UNDERSCORE,
}


def target_of(source: Form, options: ConversionOptions) -> tuple[Layout, Layout | None]:
    """The layout asked for, and that of a DiLoCo state's inner one. Raises `ConversionError`."""
    if source.layout is Layout.DILOCO:
        return diloco_target(source, options)
    if options.to is Layout.DILOCO:
        raise refuse_replicas()
    return target_layout(source.layout, options), None


def target_layout(source: Layout, options: ConversionOptions) -> Layout:
    """The layout asked for. Raises `ConversionError` where a direction contradicts the source."""
    match options.direction:
        case Direction.AUTO:
            asked = None
        case Direction.LINEN_TO_NNX:
            asked = Layout.NNX
        case Direction.NNX_TO_LINEN:
            asked = Layout.LINEN
        case _:
            assert_never(options.direction)
    if asked is not None and source.is_nnx == asked.is_nnx:
        raise _contradiction(options.direction, f"a source in the layout {source.value}")
    if asked is not None and options.to not in (None, asked):
        raise _contradiction(options.direction, f"--to {options.to}")
    return options.to or asked or (Layout.LINEN if source.is_nnx else Layout.NNX)


def _contradiction(direction: Direction, found: str) -> ConversionError:
    first = direction.value.partition("-")[0]
    return ConversionError.one(
        Code.DIRECTION_CONTRADICTION,
        expected=f"a source that is {first}, for --direction {direction.value}",
        found=found,
        hint="leave --direction out to convert to the other layout, or name the target with --to",
    )


def target_form(
    layout: Layout, inner: Layout | None, source: Form, known: Form | None, options: ConversionOptions
) -> Form:
    """`known` is a form of the target's layout: of the template, of the source, or from before."""
    if inner is None:
        return _form(layout, source, known, options)
    before = source if source.inner is None else source.inner
    within = _form(inner, before, known.inner if known else None, options)
    around = _form(inner, source, known, options)
    return around.model_copy(update={"layout": layout, "inner": within, "step": None})


def _form(layout: Layout, source: Form, known: Form | None, options: ConversionOptions) -> Form:
    leaves = None
    if layout.is_nnx:
        leaves = options.leaves or (known.leaves if known and known.leaves else Leaves.WRAPPED)
    return Form(
        layout=layout,
        leaves=leaves,
        base=known.base if known else False,
        nested=known.nested if known else None,
        nested_params=known.nested_params if known else True,
        empties=known.empties if known else (),
        collections=known.collections if known else (),
        field_collections=known.field_collections if known else (),
        odd_moments=known.odd_moments if known else (),
        wrapped=known.wrapped if known else (),
        old_names=known.old_names if known and layout is Layout.LINEN else (),
        layer_names=_layer_names(layout, source, known, options),
        groups=known.groups if known else (),
        step=known.step if known and known.step else _step(layout),
    )


def _step(layout: Layout) -> ArrayValue:
    return ArrayValue(spec=ArraySpec(shape=(), dtype=DType.UINT32 if layout.is_nnx else DType.INT32))


def _layer_names(layout: Layout, source: Form, known: Form | None, options: ConversionOptions) -> LayerNames:
    if options.layer_names is not None:
        return options.layer_names
    if layout is Layout.MAXTEXT:
        # What today's MaxText reads, whatever an older run wrote.
        return LayerNames.UNDERSCORE
    for form in (known, source if source.layout is layout else None):
        names = {g.names for g in form.groups if g.stacking is LayerStacking.UNSTACKED} if form else set()
        if len(names) == 1:
            return names.pop()
    return _LAYER_NAMES[layout]


def layers_pass(
    form: Form, source: Form, earlier: Sequence[Form], options: ConversionOptions, *, imitate: bool
) -> LayersPass:
    """The pass that brings the layers into the target's form; `imitate` that of a template to the letter.

    `earlier` are the forms that the state once had.
    """
    axes = {group.axis for group in (*form.groups, *source.groups) if group.axis is not None}
    return LayersPass(
        form=LayerForm(
            stacking=options.stacking,
            names=form.layer_names or _LAYER_NAMES[form.layout],
            axis=AxisChoice(stated=options.layer_axis, source=axes.pop() if len(axes) == 1 else None),
            cycle=options.layer_cycle,
            decoder=options.decoder,
            like=form.groups,
            once=tuple(group for other in earlier for group in other.groups),
            layout=form.layout if form.inner is None else form.inner.layout,
            imitate=imitate,
        )
    )
