"""Which trees of modules a source and a spec give, whichever of the two is Linen's."""

from linen_nnx.convert.layouts import Lifted
from linen_nnx.convert.mapping.inferring import infer
from linen_nnx.convert.mapping.modules import linen_tree, nnx_tree, spec_tree
from linen_nnx.schema.errors import ConversionError
from linen_nnx.schema.inference import Inference
from linen_nnx.schema.ir import RNGS
from linen_nnx.schema.options import Accept
from linen_nnx.schema.problem import Code
from linen_nnx.schema.spec import Spec


def inferred(lifted: Lifted, spec: Spec, accept: Accept) -> Inference:
    """The rules from Linen to NNX, of a state and a spec of the other framework. Raises `ConversionError`."""
    variables = lifted.state.variables
    if lifted.form.layout.is_nnx == spec.layout.is_nnx:
        raise ConversionError.one(
            Code.DIRECTION_CONTRADICTION,
            expected="a source in one framework and a spec of the other",
            found=f"{lifted.form.layout.value} and {spec.layout.value}",
        )
    if spec.layout.is_nnx:
        return infer(linen_tree(variables), spec_tree(spec), accept, spec.leaves, spec.rngs)
    rngs = [v.slot.path for v in variables if v.slot.collection == RNGS]
    return infer(spec_tree(spec), nnx_tree(variables), accept, (), rngs)
