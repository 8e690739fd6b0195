"""`Page`: what a page shows, whatever result it is of. Nothing here knows of HTML."""

from enum import StrEnum

from linen_nnx.schema.model import Model


class Verdict(StrEnum):
    """What the page says first."""

    GOOD = "good"
    BAD = "bad"
    OPEN = "open"
    """Nothing was judged: a plan, or a receipt without its checkpoint."""


class Tone(StrEnum):
    """What became of an entry, or will. The page colours by it, and its legend says it in words."""

    PLAIN = "as it stands"
    KEPT = "by reference: stored bytes as they are"
    CHUNK = "by chunk: stored chunks under new keys"
    DECODE = "decoded and encoded anew"
    MADE = "put in: no array is stored for it"
    ASIDE = "kept aside"
    DROPPED = "dropped"
    EQUAL = "equal"
    DIFFERENT = "different"
    FIRST_ONLY = "only in the first"
    SECOND_ONLY = "only in the second"
    FAULTY = "has a problem"


class Row(Model):
    """One entry of the tree."""

    keys: tuple[str, ...]
    """Its key path, outermost first."""
    spec: str
    """`float32[16,5]`, or what empty it is."""
    nbytes: int
    """In memory; 0 for what is no array."""
    tone: Tone = Tone.PLAIN
    remark: str = ""
    """How it is made, or how it differs."""
    digest: str = ""


class Fact(Model):
    """A line of the summary."""

    name: str
    text: str


class Finding(Model):
    """A problem, a difference, a drop or a note: what it is, where, and what to do."""

    kind: str
    """Its code or rule."""
    where: str
    text: str
    hint: str = ""


class Findings(Model):
    """Findings of one sort, under one heading."""

    heading: str
    found: tuple[Finding, ...]


class Page(Model):
    """All of a page."""

    title: str
    verdict: Verdict
    saying: str
    """The verdict in words."""
    facts: tuple[Fact, ...]
    findings: tuple[Findings, ...] = ()
    rows: tuple[Row, ...]
    commands: tuple[str, ...]
    """How to see the same again."""
