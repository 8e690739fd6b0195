"""`Problems`: the JSON document of `validate`, `verify` and of every refusal."""

from linen_nnx.schema.model import Model
from linen_nnx.schema.problem import Problem


class Problems(Model):
    """All problems found; none means valid."""

    problems: tuple[Problem, ...]
