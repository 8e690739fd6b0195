"""What the decoders were found to hold, as it is kept: a JSON file a case.

A form is what one or more trainers hold; modules that hold the same share a line, by the paths above it.
"""

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("data")
_NUMBERED = re.compile(r".*_\d+")
Specs = dict[str, str]
"""By path: `float32[16,5]`."""


@dataclass(frozen=True)
class Form:
    """`params` are trained; `others` are not, by Linen's collection first, or by NNX's path."""

    params: Specs
    others: Specs


@dataclass
class Decoder:
    """A case: its flags, its forms by who holds them (`nnx 0.2.5 scan`), and who does not build it."""

    flags: str
    forms: dict[str, Form] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def names() -> list[str]:
    """Every case that is kept."""
    return sorted(file.stem for file in FOLDER.glob("*.json"))


@cache
def load(name: str) -> Decoder:
    """Read one case."""
    document = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    forms = {}
    for each in document["forms"]:
        form = Form(_spread(each["params"]), _spread(each["others"]))
        forms.update(dict.fromkeys(each["held by"], form))
    return Decoder(document["flags"], forms, document["refused"])


def save(name: str, found: Decoder) -> None:
    """Write one case; equal forms once."""
    holders: dict[str, list[str]] = defaultdict(list)
    for holder, form in found.forms.items():
        holders[_rendered(form)].append(holder)
    forms = [f'  {{"held by": {json.dumps(by)},\n{text}}}' for text, by in holders.items()]
    refused = json.dumps(found.refused, indent=1).replace("\n", "\n ")
    lines = ["{", f' "flags": {json.dumps(found.flags)},', f' "refused": {refused},', ' "forms": [']
    text = "\n".join([*lines, ",\n".join(forms), " ]", "}", ""])
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


def _rendered(form: Form) -> str:
    parts = []
    for name, specs in (("params", form.params), ("others", form.others)):
        lines = [
            f"    {json.dumps(above)}: {json.dumps(inside)}" for above, inside in _gathered(specs).items()
        ]
        parts.append(f'   "{name}": {{' + ("\n" + ",\n".join(lines) + "\n   }" if lines else "}"))
    return ",\n".join(parts)


def _gathered(specs: Specs) -> dict[str, Specs]:
    """By the paths down to the last number, joined by a space where the rest is the same."""
    inside: dict[str, Specs] = defaultdict(dict)
    for path, spec in specs.items():
        keys = path.split("/")
        depth = max((i + 1 for i, key in enumerate(keys[:-1]) if _NUMBERED.fullmatch(key)), default=1)
        inside["/".join(keys[:depth])]["/".join(keys[depth:])] = spec
    same: dict[str, list[str]] = defaultdict(list)
    for above, rest in inside.items():
        same[json.dumps(rest)].append(above)
    return {" ".join(above): json.loads(rest) for rest, above in same.items()}


def _spread(gathered: dict[str, Specs]) -> Specs:
    return {
        f"{above}/{rest}": spec
        for joined, inside in gathered.items()
        for above in joined.split()
        for rest, spec in inside.items()
    }
