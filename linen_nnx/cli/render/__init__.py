"""The only room that formats: results to stdout, all that is for people to stderr. One file a kind."""

from importlib import import_module
from typing import TYPE_CHECKING

from linen_nnx.cli.render.out import (
    counted,
    error,
    json,
    our_fault,
    problems,
    progress,
    resumable,
    say,
    step_taken,
    text,
    verdict,
)
from linen_nnx.cli.render.plan import content, plan, receipt, sealed

if TYPE_CHECKING:
    from linen_nnx.cli.render.differences import difference
    from linen_nnx.cli.render.inspections import flat, inspection, tree
    from linen_nnx.cli.render.mapping import inferred

__all__ = [
    "content",
    "counted",
    "difference",
    "error",
    "flat",
    "inferred",
    "inspection",
    "json",
    "our_fault",
    "plan",
    "problems",
    "progress",
    "receipt",
    "resumable",
    "say",
    "sealed",
    "step_taken",
    "text",
    "tree",
    "verdict",
]

_LATER = {
    "difference": "differences",
    "flat": "inspections",
    "inspection": "inspections",
    "tree": "inspections",
    "inferred": "mapping",
}
"""What single commands show, and its file, which imports models that the others have no use for."""


def __getattr__(name: str) -> object:
    """Import what is shown when it is."""
    if name not in _LATER:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
