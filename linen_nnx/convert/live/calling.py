"""Call a Linen module and an NNX model alike, by one example and one set of options."""

import inspect
from collections.abc import Mapping
from typing import Any


def in_evaluation(model: Any) -> Any:
    """A copy of an NNX model, in eval mode: no call changes the one given."""
    from flax import nnx

    copy = nnx.clone(model)
    copy.eval()
    return copy


def options_of(model: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options that an NNX model's call has parameters for."""
    known = inspect.signature(type(model).__call__).parameters
    return {name: value for name, value in options.items() if name in known}
