"""`Inference`: the rules that a source and a spec of its target allow, and what is left open."""

from linen_nnx.schema.model import Model
from linen_nnx.schema.problem import Problem
from linen_nnx.schema.rules import Rules

TODO = "TODO"
"""How the evidence of a rule begins that is a candidate only: no conversion follows it."""


class Inference(Model):
    """Rules, each with its evidence; `problems` say which of them are candidates, and why."""

    rules: Rules
    problems: tuple[Problem, ...] = ()
    ways: int = 1
    """In how many ways the models can be paired by structure; 1 is a proof, 0 is none."""
