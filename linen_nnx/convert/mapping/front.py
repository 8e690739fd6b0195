"""`infer_rules`: from a source and a spec of its target to rules."""

from pathlib import Path
from typing import TYPE_CHECKING

from linen_nnx.convert.mapping.matching import inferred
from linen_nnx.convert.reading import lift_source
from linen_nnx.convert.spec.document import read_spec
from linen_nnx.convert.store.location import locate
from linen_nnx.convert.store.memory_source import MemorySource
from linen_nnx.convert.store.orbax_source import open_item
from linen_nnx.schema.errors import CheckpointError, raise_if
from linen_nnx.schema.inference import Inference
from linen_nnx.schema.options import Accept
from linen_nnx.schema.spec import Spec

if TYPE_CHECKING:
    from linen_nnx.convert.probing.probe import Probe


def infer_rules(
    source: object,
    spec: Spec | Path | str,
    accept: Accept | str = Accept.PROVED,
    *,
    probe: "Probe | None" = None,
    model: Spec | Path | str | None = None,
    step: int | None = None,
    item: str | None = None,
) -> Inference:
    """The rules that lead from Linen to NNX, of a source in one framework and a spec of the other.

    `source` is a checkpoint (a path) or a live tree, `spec` a `Spec` or the file of one. What is not proved,
    and not accepted, is a candidate: `problems` say so, and no conversion follows it. With a `Probe` both
    models are run to settle what structure leaves open, and what they do not compute alike by is no proof;
    that needs flax. `model` is the spec of the NNX model that an NNX source is of: it knows the classes,
    which no checkpoint tells. Raises `CheckpointError`, `LayoutError`, `SpecError`, `ConversionError`.
    """
    if isinstance(source, str | Path):
        opened = open_item(locate(Path(source), step, item))
        raise_if(opened.problems, CheckpointError)
        lifted = lift_source(opened)
    else:
        lifted = lift_source(MemorySource(source))
    own = model if model is None or isinstance(model, Spec) else read_spec(model)
    return inferred(lifted, spec if isinstance(spec, Spec) else read_spec(spec), Accept(accept), probe, own)
