"""The exceptions a caller may handle. Each carries problems; the text is derived from them."""

from collections.abc import Sequence
from typing import Self

from linen_nnx.schema.path import ROOT, KeyPath
from linen_nnx.schema.problem import Code, Problem


class LinenNnxError(Exception):
    """Base of all errors raised on purpose."""


class ProblemsError(LinenNnxError):
    """Refused, with every problem found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Carry `problems` (at least one)."""
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)

    @classmethod
    def one(
        cls,
        code: Code,
        *,
        expected: str,
        found: str,
        path: KeyPath = ROOT,
        hint: str | None = None,
        item: str | None = None,
        file: str | None = None,
    ) -> Self:
        """Refuse for a single problem."""
        return cls(
            [Problem(code=code, path=path, expected=expected, found=found, hint=hint, item=item, file=file)]
        )


class CheckpointError(ProblemsError):
    """The path is not a whole, readable checkpoint."""


class LayoutError(ProblemsError):
    """The entries fit no known layout, or more than one, or break the layout's invariants."""


class ConversionError(ProblemsError):
    """This conversion cannot be done, or cannot be done without a guess."""


class SpecError(ProblemsError):
    """There is no expected train state to be had: a factory fails, or makes something else."""


class InvariantError(ProblemsError):
    """Our own fault: a step of the conversion broke an invariant. `stage` names the step."""

    def __init__(self, stage: str, problems: Sequence[Problem]) -> None:
        """Carry the `stage` that broke and its `problems`."""
        super().__init__(problems)
        self.stage = stage

    def __str__(self) -> str:
        """The stage, then the problems."""
        return f"invariant broken after {self.stage}:\n{super().__str__()}"


class StorageError(LinenNnxError):
    """Reading or writing failed below us: disk, permissions, network."""


class MissingExtraError(LinenNnxError, ImportError):
    """An optional dependency is not installed. `extra` names the one to install."""

    def __init__(self, extra: str) -> None:
        """Say how to install `extra`."""
        super().__init__(f"this needs more packages: pip install 'linen-nnx[{extra}]'")
        self.extra = extra


def raise_if(problems: Sequence[Problem], error: type[ProblemsError]) -> None:
    """Raise `error` with all `problems`, if there are any."""
    if problems:
        raise error(problems)
