"""`MODULE:FACTORY`: find the function that a user names on the command line."""

import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from linen_nnx.schema.errors import SpecError
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, near

_NAMED = re.compile(r"(?P<module>[A-Za-z_][\w.]*|.+\.py):(?P<name>[A-Za-z_][\w.]*)")


def is_factory(text: str) -> bool:
    """Whether `text` names a function (`package.module:make`, `folder/file.py:make`) and is no path."""
    return _NAMED.fullmatch(text) is not None and not Path(text).exists()


def factory(text: str) -> Callable[[], Any]:
    """Import the function. Raises `SpecError` with what the import said, or with names that come close."""
    match = _NAMED.fullmatch(text)
    if match is None:
        raise _no_spec("MODULE:FACTORY, such as my_model:make, or file.py:make", text)
    module = _imported(match["module"])
    found: Any = module
    for name in match["name"].split("."):
        if not hasattr(found, name):
            names = [KeyPath.of(known) for known in vars(module) if callable(getattr(module, known))]
            raise _no_spec(f"{name} in {match['module']}", "no such name", hint=near(KeyPath.of(name), names))
        found = getattr(found, name)
    if not callable(found):
        raise _no_spec("a function", f"{text}, which is a {type(found).__name__}")
    made: Callable[[], Any] = found
    return made


def _imported(module: str) -> Any:
    try:
        return _from_file(Path(module)) if module.endswith(".py") else importlib.import_module(module)
    except Exception as error:
        raise _no_spec(
            f"a module {module} that can be imported", f"{type(error).__name__}: {error}"
        ) from error


def _from_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _no_spec(expected: str, found: str, hint: str | None = None) -> SpecError:
    return SpecError.one(Code.NO_SPEC, expected=expected, found=found, hint=hint)
