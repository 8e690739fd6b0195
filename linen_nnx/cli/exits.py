"""Exit codes, and which error ends in which."""

from enum import IntEnum


class Exit(IntEnum):
    """Promised: scripts depend on them."""

    DONE = 0
    """Done, valid or equal."""
    REFUSED = 1
    """Refused, invalid, different or not verified; the problems were printed."""
    USAGE = 2
    STORAGE = 3
    OUR_FAULT = 4


def exit_of(error: BaseException) -> Exit:
    """The exit code for an error that ended a command."""
    from linen_nnx.schema.errors import InvariantError, MissingExtraError, ProblemsError, StorageError

    match error:
        case InvariantError():
            return Exit.OUR_FAULT
        case ProblemsError():
            return Exit.REFUSED
        case MissingExtraError():
            return Exit.USAGE
        case StorageError() | OSError():
            return Exit.STORAGE
        case _:
            return Exit.OUR_FAULT
