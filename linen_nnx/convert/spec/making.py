"""`spec_of`: the expected train state of anything that has or is one."""

from pathlib import Path

from linen_nnx.convert.reading import lift_source
from linen_nnx.convert.spec.of_state import spec_of_state
from linen_nnx.convert.store.location import locate
from linen_nnx.convert.store.memory_source import MemorySource
from linen_nnx.convert.store.orbax_source import open_item
from linen_nnx.schema.errors import SpecError, raise_if
from linen_nnx.schema.spec import Spec


def spec_of(
    subject: object, optimizer: object = None, *, step: int | None = None, item: str | None = None
) -> Spec:
    """The train state that `subject` expects, or is; nothing is computed and no array is allocated or read.

    `subject` is the path of a checkpoint; an `nnx.Module`, with its `nnx.Optimizer` or an optax transform
    as `optimizer`; an `nnx.Optimizer` that holds its model; a function that makes any of these (or a pair
    `(model, optimizer)`, or a Linen `TrainState`), which is evaluated abstractly; or a live train state.
    Paths need no flax. Raises `CheckpointError`, `LayoutError`, `SpecError`.
    """
    if isinstance(subject, Spec):
        return subject
    if isinstance(subject, str | Path):
        opened = open_item(locate(Path(subject), step, item))
        raise_if(opened.problems, SpecError)
        lifted = lift_source(opened)
        return spec_of_state(lifted.state, lifted.form.layout)
    if callable(subject) or optimizer is not None or _is_live(subject):
        from linen_nnx.convert.spec.live import spec_of_live

        return spec_of_live(subject, optimizer)
    return spec_of_tree(subject)


def spec_of_tree(tree: object) -> Spec:
    """Of a live train state of any layout."""
    lifted = lift_source(MemorySource(tree))
    return spec_of_state(lifted.state, lifted.form.layout)


def _is_live(subject: object) -> bool:
    """Whether it is an object of NNX, or a pair of them; told without importing flax."""
    parts = subject if isinstance(subject, tuple) and not hasattr(subject, "_fields") else (subject,)
    return any(base.__module__.startswith("flax.nnx") for part in parts for base in type(part).__mro__) and (
        not any(type(part).__name__ in {"State", "FlatState"} for part in parts)
    )
