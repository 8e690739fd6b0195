"""Which trees of modules a source and a spec give, whichever of the two is Linen's."""

from typing import TYPE_CHECKING

from linen_nnx.convert.layouts import Lifted
from linen_nnx.convert.mapping.inferring import infer
from linen_nnx.convert.mapping.modules import Node, linen_tree, nnx_tree, slot_of, spec_tree
from linen_nnx.convert.mapping.running import Runner
from linen_nnx.schema.errors import ConversionError
from linen_nnx.schema.inference import Inference
from linen_nnx.schema.ir import RNGS
from linen_nnx.schema.options import Accept
from linen_nnx.schema.problem import Code
from linen_nnx.schema.spec import Spec

if TYPE_CHECKING:
    from linen_nnx.convert.probing.probe import Probe


def inferred(lifted: Lifted, spec: Spec, accept: Accept, probe: "Probe | None" = None) -> Inference:
    """The rules from Linen to NNX, of a state and a spec of the other framework. Raises `ConversionError`.

    With a probe, which needs flax, both models are run: `SpecError` where they do not.
    """
    variables = lifted.state.variables
    if lifted.form.layout.is_nnx == spec.layout.is_nnx:
        raise ConversionError.one(
            Code.DIRECTION_CONTRADICTION,
            expected="a source in one framework and a spec of the other",
            found=f"{lifted.form.layout.value} and {spec.layout.value}",
        )
    if spec.layout.is_nnx:
        linen, nnx = linen_tree(variables), spec_tree(spec)
        types, rngs = spec.leaves, spec.rngs
    else:
        linen, nnx = spec_tree(spec), nnx_tree(variables)
        types, rngs = (), tuple(v.slot.path for v in variables if v.slot.collection == RNGS)
    runner = None if probe is None else lambda: _runner(probe, linen, nnx)
    return infer(linen, nnx, accept, types, rngs, runner)


def _runner(probe: "Probe", linen: Node, nnx: Node) -> Runner:
    # Here: it needs flax, and what is inferred by structure does not.
    from linen_nnx.convert.probing.runner import Models

    variables = {slot_of(node.path, leaf): leaf.spec for node in linen.walk() for leaf in node.leaves}
    targets = {slot_of(node.path, leaf).path: leaf.spec for node in nnx.walk() for leaf in node.leaves}
    return Models(probe, variables, targets)
