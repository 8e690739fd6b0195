"""Read a rules file: TOML, every fault at once, each with the rule that has it."""

import json
import tomllib
from pathlib import Path

from pydantic import ValidationError

from linen_nnx.schema.errors import ConversionError, StorageError
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.rules import Rules


def read_rules(file: Path | str) -> Rules:
    """The rules of a file. Raises `ConversionError` with every fault, `StorageError` if there is none."""
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"cannot read {path}: {error}") from error
    return parse_rules(text, path.name)


def parse_rules(text: str, name: str = "rules") -> Rules:
    """The rules of a TOML document; `name` is what problems call it."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConversionError.one(Code.RULES_INVALID, item=name, expected="TOML", found=str(error)) from error
    try:
        # By way of JSON, which knows arrays alone where TOML does too: the models are strict.
        return Rules.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise ConversionError(_problems(error, name)) from error


def _problems(error: ValidationError, name: str) -> list[Problem]:
    return [
        Problem(
            code=Code.RULES_INVALID,
            item=name,
            path=KeyPath.of(*fault["loc"]),
            expected="a rule of the form that `linen-nnx schema rules` describes",
            found=fault["msg"].removeprefix("Value error, "),
        )
        for fault in error.errors(include_url=False)
    ]
