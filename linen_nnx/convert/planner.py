"""From a source to a checked `Plan`: detect, parse, lift, passes, lower. No array byte is read."""

from dataclasses import dataclass

from pydantic import ValidationError

from linen_nnx.convert.collisions import collisions
from linen_nnx.convert.era_names import linens_own
from linen_nnx.convert.framing.nesting import nested
from linen_nnx.convert.layouts import Lifted, examine, lower, on_disk
from linen_nnx.convert.passes.aside import SetAside
from linen_nnx.convert.passes.dtypes import CastParts
from linen_nnx.convert.passes.layers import LayersPass
from linen_nnx.convert.passes.optimizer import Depth, FillChains
from linen_nnx.convert.passes.params_only import ParamsOnly
from linen_nnx.convert.passes.promote import Promote
from linen_nnx.convert.passes.runner import Pass, Ran, run
from linen_nnx.convert.passes.step import StepPass
from linen_nnx.convert.passes.strays import strays
from linen_nnx.convert.passes.template import FromTemplate
from linen_nnx.convert.quantised import refuse_quantised
from linen_nnx.convert.reading import lift_source
from linen_nnx.convert.replicas import refuse_rules, run_inner
from linen_nnx.convert.ruled import FollowRules, MeetSpec, Ruled, rules_of
from linen_nnx.convert.side import put_in, residue_of, side_writes
from linen_nnx.convert.store.protocol import Side, Source
from linen_nnx.convert.target import layers_pass, target_form, target_of
from linen_nnx.convert.training import training_notes
from linen_nnx.convert.wrappers import wrap
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.errors import ConversionError, InvariantError, raise_if
from linen_nnx.schema.inventory import Entry, Inventory
from linen_nnx.schema.ir import RNGS, TrainState, is_beside
from linen_nnx.schema.layout import Form, Layout
from linen_nnx.schema.ops import Cast, Copy, Origin, Ref, read_by
from linen_nnx.schema.options import Aux, ConversionOptions, Parts
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.plan import Input, Note, NoteCode, Plan, Write
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.rules import Rules


def plan(source: Source, options: ConversionOptions, template: Source | None = None) -> Plan:
    """The whole conversion as data. Raises `LayoutError`, `ConversionError`."""
    lifted = lift_source(source, options.source)
    layout, inner = target_of(lifted.form, options)
    if inner is not None and (options.rules is not None or options.spec is not None or options.dtypes):
        raise refuse_rules()
    ruled = rules_of(lifted, layout, options)
    refuse_quantised((v.slot.path for v in lifted.state.variables), lifted.form, layout, options)
    against = None if template is None else _lift_template(template, layout, inner)
    known = against.form if against else _known(source, lifted.form, layout, inner)
    form = target_form(layout, inner, lifted.form, known, options)
    if known is None and layout is Layout.LINEN:
        form = form.model_copy(update={"old_names": linens_own(lifted.state.variables)})
    try:
        if not lifted.form.is_of(layout, inner) and not _params_only(form, options):
            raise_if(strays(lifted.state), ConversionError)
        ran = _run(_Way(lifted, form, source.side, options, against, ruled))
    except ConversionError as error:
        raise ConversionError(on_disk(error.problems, lifted.form)) from error
    state = ran.state
    raise_if(collisions(state, layout), ConversionError)
    if state.inner is not None and inner is not None:
        raise_if(collisions(state.inner, inner), ConversionError)
    _check_step(state, source)
    writes, form, notes = wrap(lower(state, form), form, lifted.form, known)
    form = form.model_copy(update={"groups": state.groups})
    _check_lowered(writes, form)
    writes = nested(writes, form)
    aside, kept = side_writes(state)
    residue = residue_of(lifted.form, source.side, state, form, kept) if options.aux is Aux.KEEP else None
    try:
        return Plan(
            source=lifted.form,
            target=form,
            inputs=_inputs(source, template, [*writes, *aside]),
            writes=(*writes, *aside),
            drops=(*lifted.drops, *ran.drops),
            notes=(
                *lifted.notes,
                *ran.notes,
                *notes,
                *_training(lifted, layout),
                *_no_rngs(lifted, state, layout),
            ),
            rules=None if ruled is None else ruled.digest,
            residue=residue,
        )
    except ValidationError as error:
        problem = Problem(
            code=Code.UNREAD_SOURCE, expected="a plan that conserves the state", found=str(error)
        )
        raise InvariantError("planning", [problem]) from error


def _known(source: Source, form: Form, layout: Layout, inner: Layout | None) -> Form | None:
    """A form of the target's layout that the source itself knows of."""
    earlier = () if source.side is None else source.side.residue.origins
    return next((known for known in (form, *earlier) if known.is_of(layout, inner)), None)


def _lift_template(template: Source, layout: Layout, inner: Layout | None) -> Lifted:
    lifted = lift_source(template, origin=Origin.TEMPLATE)
    if not lifted.form.is_of(layout, inner):
        raise ConversionError.one(
            Code.WRONG_KIND,
            expected=f"a template in the target's layout, {layout.value}",
            found=f"one in the layout {lifted.form.layout.value}",
        )
    return lifted


@dataclass(frozen=True, slots=True)
class _Way:
    """From a source to a form: all that the passes go by. `side` is what lies beside the source."""

    source: Lifted
    form: Form
    side: Side | None
    options: ConversionOptions
    template: Lifted | None
    ruled: Ruled | None


def _run(way: _Way) -> Ran:
    """All passes, over the inner state too if there is one and it is kept."""
    state, form = way.source.state, way.form
    if state.inner is None or form.inner is None:
        return run(state, _passes(way))
    ran = run(state.model_copy(update={"inner": None}), _passes(way))
    like = None if way.template is None else way.template.state.inner
    aside = SetAside(form=form.inner, aux=way.options.aux, filled=put_in(way.side, inner=True))
    within = run_inner(state.inner, _layers(way), like, aside)
    return Ran(
        state=ran.state.model_copy(update={"inner": within.state}),
        drops=[*ran.drops, *within.drops],
        notes=[*ran.notes, *within.notes],
    )


def _layers(way: _Way) -> LayersPass:
    # What an older MaxText run wrote, today's may not read: only a template says that it is wanted so.
    within = None if way.form.inner is None else way.form.inner.layout
    imitate = way.template is not None or Layout.MAXTEXT not in (way.form.layout, within)
    earlier = () if way.side is None else way.side.residue.origins
    return layers_pass(way.form, way.source.form, earlier, way.options, imitate=imitate)


def _passes(way: _Way) -> list[Pass]:
    form, options = way.form, way.options
    partial = _params_only(form, options)
    passes: list[Pass] = [ParamsOnly()] if partial else []
    if way.ruled is None:
        passes.append(_layers(way))
    else:
        passes.append(FollowRules(way.ruled, partial=partial, spec=options.spec))
    if way.template is not None:
        if way.ruled is None:
            passes.append(Promote(way.template.state))
        passes.append(FromTemplate(way.template.state, () if way.ruled is None else way.ruled.rules.keep))
    if not form.layout.is_nnx:
        passes.append(FillChains(depth=Depth.TOP if form.layout is Layout.MAXTEXT else Depth.ALL))
    if form.step is not None:
        passes.append(StepPass(value=form.step))
    if options.dtypes:
        passes.append(CastParts(dtypes=options.dtypes))
    if options.spec is not None and not partial:
        passes.append(MeetSpec(options.spec, Rules() if way.ruled is None else way.ruled.rules))
    passes.append(SetAside(form=form, aux=options.aux, filled=put_in(way.side)))
    return passes


def _params_only(form: Form, options: ConversionOptions) -> bool:
    return options.parts is Parts.PARAMS or form.layout is Layout.PARAMS


def _check_step(state: TrainState, source: Source) -> None:
    """The step must fit its new dtype; its value is one scalar, so it is read now."""
    step = state.step
    if step is None or not isinstance(step.op, Cast) or not isinstance(step.value, ArrayValue):
        return
    match step.op.of:
        case Copy(source=Ref(origin=Origin.SOURCE, path=path)):
            value = source.scalar(path)
        case _:
            return
    bits = step.value.spec.dtype.itemsize * 8
    signed = step.value.spec.dtype.value.startswith("int")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if value is not None and not low <= value <= high:
        raise ConversionError.one(
            Code.STEP_OUT_OF_RANGE,
            path=path,
            expected=f"a step that {step.value.spec.dtype.value} can hold, {low} to {high}",
            found=str(value),
        )


def _check_lowered(writes: list[Write], form: Form) -> None:
    """What was lowered parses as its layout; anything else is our own fault."""
    try:
        inventory = Inventory.of(
            Entry(path=write.target, value=write.value) for write in writes if not is_beside(write.target)
        )
    except ValidationError as error:
        problem = Problem(code=Code.TWO_WRITERS, expected="each target once", found=str(error))
        raise InvariantError("lowering", [problem]) from error
    if problems := examine(inventory, form.layout)[1]:
        raise InvariantError("lowering", problems)


def _inputs(source: Source, template: Source | None, writes: list[Write]) -> tuple[Input, ...]:
    # The references that the writes have, so that none is compared key by key.
    read = {ref.path: ref for ref in read_by(write.op for write in writes) if ref.origin is Origin.SOURCE}
    inputs = [
        Input(source=read.get(e.path) or Ref(path=e.path), value=e.value) for e in source.inventory.entries
    ]
    if source.side is not None:
        inputs += [
            Input(source=Ref(origin=Origin.SIDE, path=path), value=value)
            for path, value in source.side.values.items()
        ]
    if template is not None:
        used: set[KeyPath] = {
            ref.path for ref in read_by(write.op for write in writes) if ref.origin is Origin.TEMPLATE
        }
        inputs += [
            Input(source=Ref(origin=Origin.TEMPLATE, path=e.path), value=e.value)
            for e in template.inventory.entries
            if e.path in used
        ]
    return tuple(inputs)


def _training(lifted: Lifted, layout: Layout) -> list[Note]:
    """Between frameworks a state may be exact and training go on otherwise."""
    return training_notes(lifted.state) if lifted.form.layout.is_nnx != layout.is_nnx else []


def _no_rngs(lifted: Lifted, state: TrainState, layout: Layout) -> list[Note]:
    collections = {variable.slot.collection for variable in state.variables}
    if layout not in (Layout.NNX, Layout.TUNIX) or RNGS in collections or lifted.form.layout.is_nnx:
        return []
    text = (
        "the source has no PRNG streams; a model with dropout needs them to resume. "
        "Give --template a checkpoint of the target to take them from it"
    )
    return [Note(code=NoteCode.NO_RNGS, text=text)]
