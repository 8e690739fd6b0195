"""What a run of both models says of the forms that structure allows."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from linen_nnx.convert.mapping.colours import Colours
from linen_nnx.convert.mapping.modules import Keys, Node
from linen_nnx.convert.mapping.pairing import Settled
from linen_nnx.convert.mapping.running import ROUNDING, Runner
from linen_nnx.convert.mapping.settling import Tried, Verdict, judged, tried, values
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.rules import Rule


@dataclass(frozen=True)
class Probed:
    """The forms that are left, and what is known of the first of them."""

    fits: Sequence[Node]
    settled: Settled = field(default_factory=dict)
    upright: frozenset[Keys] = frozenset()
    refuted: bool = False
    """Whether the candidates for what is not settled are wrong."""
    problems: tuple[Problem, ...] = ()


def probed(linen: Node, fits: Sequence[Node], doubted: Sequence[Keys], run: Runner) -> Probed:
    """Try every form; without one that computes the same, nothing is known but that."""
    found = [tried(linen, tree, doubted, run) for tree in fits]
    same = [one for one in found if one.verdict is Verdict.SAME]
    if not same:
        return Probed(fits, problems=(differing(found),))
    left = [one.tree for one in found if one.verdict is not Verdict.OTHER and one is not same[0]]
    first = same[0]
    return Probed([first.tree, *left], first.settled, first.upright, first.open_differs)


def differing(found: Sequence[Tried]) -> Problem:
    """No form computes the same."""
    ran = [one for one in found if one.verdict is not Verdict.UNKNOWN]
    if not ran:
        return Problem(
            code=Code.MODELS_DIFFER,
            expected="candidates by which both models can be run",
            found="candidates that do not number the layers to be stacked from 0",
            hint="write the rules by hand, or without the probe",
        )
    closest = min(ran, key=lambda one: one.apart)
    nearly = closest.verdict is Verdict.NEARLY
    return Problem(
        code=Code.MODELS_DIFFER,
        expected="two models that compute the same by some mapping of their variables",
        found=f"outputs that differ by {closest.apart * ROUNDING:.1e} of their size at best",
        hint="more than rounding, less than a wrong mapping: another activation, epsilon or precision?"
        if nearly
        else "does one use dropout, batch statistics, another activation or another order of its layers?",
    )


def confirmed(rules: Sequence[Rule], linen: Node, run: Runner) -> list[Problem]:
    """Rules that structure proves, held against a run."""
    verdict, distance = judged(rules, values(linen, rules, Colours(), "flat"), run)
    return [] if verdict is Verdict.SAME else [differing([Tried(linen, verdict, distance)])]
