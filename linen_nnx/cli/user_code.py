"""Functions of a user's own, named on the command line."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linen_nnx.convert.probing.probe import Probe


def named(text: str) -> Callable[[], Any]:
    """The function that `MODULE:FACTORY` names. Raises `SpecError`."""
    from linen_nnx.convert.spec.factory import factory

    # A user's module stands where they stand, as with `python -m`.
    if "" not in sys.path:
        sys.path.insert(0, "")
    return factory(text)


def probe_of(text: str) -> "Probe":
    """The probe that the named function makes. Raises `SpecError`."""
    from linen_nnx.convert.probing.models import made_probe

    return made_probe(named(text))
