"""The only room that formats: results to stdout, all that is for people to stderr. One file a kind."""

from linen_nnx.cli.render.difference import difference
from linen_nnx.cli.render.inspection import flat, inspection, tree
from linen_nnx.cli.render.mapping import inferred
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
