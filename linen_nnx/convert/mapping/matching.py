"""Which trees of modules a source and a spec give, whichever of the two is Linen's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from linen_nnx.convert.layouts import Lifted
from linen_nnx.convert.mapping.inferring import infer
from linen_nnx.convert.mapping.modules import (
    Node,
    contracted,
    linen_tree,
    nnx_tree,
    slot_of,
    spec_tree,
    without,
)
from linen_nnx.convert.mapping.running import Runner
from linen_nnx.convert.spec.against import unlike
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.errors import ConversionError, raise_if
from linen_nnx.schema.inference import Inference
from linen_nnx.schema.ir import RNGS
from linen_nnx.schema.options import Accept
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.spec import Kind, Spec, SpecLeaf

if TYPE_CHECKING:
    from linen_nnx.convert.probing.probe import Probe


def inferred(
    lifted: Lifted,
    spec: Spec,
    accept: Accept,
    probe: "Probe | None" = None,
    model: Spec | None = None,
) -> Inference:
    """The rules from Linen to NNX, of a state and a spec of the other framework. Raises `ConversionError`.

    With a probe, which needs flax, both models are run: `SpecError` where they do not. `model` tells what no
    NNX checkpoint tells of itself, its classes; a probe tells it too.
    """
    if lifted.form.layout.is_nnx == spec.layout.is_nnx:
        raise ConversionError.one(
            Code.DIRECTION_CONTRADICTION,
            expected="a source in one framework and a spec of the other",
            found=f"{lifted.form.layout.value} and {spec.layout.value}",
        )
    if spec.layout.is_nnx:
        linen, full = linen_tree(lifted.state.variables), spec_tree(spec)
        types, rngs = spec.leaves, spec.rngs
    else:
        linen = spec_tree(spec)
        full, types, rngs = _from_nnx(lifted, _own(probe) if model is None else model)
    constants = _constants(linen, types)
    nnx = contracted(without(full, constants)) if constants else full
    runner = None if probe is None else lambda: _runner(probe, linen, nnx)
    found = infer(linen, nnx, accept, types, (*rngs, *constants), runner)
    return found if spec.layout.is_nnx or types else _without_classes(found)


def _constants(linen: Node, types: Sequence[SpecLeaf]) -> tuple[KeyPath, ...]:
    """Arrays that stand bare in modules, such as tables of positions: the model's own.

    Where the Linen state has variables of unknown kinds they may come from there.
    """
    if any(leaf.kind is Kind.OTHER for node in linen.walk() for leaf in node.leaves):
        return ()
    live = any(leaf.type is not None for leaf in types)
    return tuple(leaf.path for leaf in types if live and leaf.type is None and leaf.kind is Kind.OTHER)


_Nnx = tuple[Node, tuple[SpecLeaf, ...], tuple[KeyPath, ...]]


def _from_nnx(lifted: Lifted, model: Spec | None) -> _Nnx:
    """The modules of an NNX checkpoint, its variables as a spec has them, and its PRNG streams."""
    variables = lifted.state.variables
    if model is None:
        return nnx_tree(variables), (), tuple(v.slot.path for v in variables if v.slot.collection == RNGS)
    streams = {*model.rngs, *(v.slot.path for v in variables if v.slot.collection == RNGS)}
    there = {
        v.slot.path: v.leaf.value.spec
        for v in variables
        if isinstance(v.leaf.value, ArrayValue) and v.slot.path not in streams
    }
    expected = {leaf.path: leaf.spec for leaf in model.leaves if leaf.path not in streams}
    raise_if(list(unlike("the model", there, expected)), ConversionError)
    return spec_tree(model), model.leaves, model.rngs


def _own(probe: "Probe | None") -> Spec | None:
    from linen_nnx.convert.spec.making import spec_of

    return None if probe is None else spec_of(probe.nnx)


def _without_classes(found: Inference) -> Inference:
    """What is not found may be so for want of classes: that is said."""
    hint = (
        "give --model the spec of the NNX model, or --probe: no checkpoint tells the classes of its modules"
    )

    def hinted(one: Problem) -> Problem:
        return one.model_copy(update={"hint": hint}) if one.code is Code.NO_MAPPING else one

    return found.model_copy(update={"problems": tuple(map(hinted, found.problems))})


def _runner(probe: "Probe", linen: Node, nnx: Node) -> Runner:
    # Here: it needs flax, and what is inferred by structure does not.
    from linen_nnx.convert.probing.runner import Models

    variables = {slot_of(node.path, leaf): leaf.spec for node in linen.walk() for leaf in node.leaves}
    targets = {slot_of(node.path, leaf).path: leaf.spec for node in nnx.walk() for leaf in node.leaves}
    return Models(probe, variables, targets)
