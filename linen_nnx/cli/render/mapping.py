"""What was inferred of two models."""

from pathlib import Path

from linen_nnx.cli.render.out import say
from linen_nnx.schema.inference import Inference


def inferred(found: Inference, out: Path | None) -> None:
    """What is open, and how much is known by what; to stderr, since stdout has the rules."""
    for problem in found.problems:
        say(str(problem))
    words = dict.fromkeys(rule.evidence or "" for rule in found.rules.rules)
    counts = {word: sum(rule.evidence == word for rule in found.rules.rules) for word in words}
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    where = "" if out is None else f" in {out}"
    say(f"{len(found.rules.rules)} rules{where}{': ' if said else ''}{said}")
