"""The command line, run in this process."""

import sys

from linen_nnx.cli import main as command_line


def run(*arguments: object) -> int:
    """Run a command; its exit code."""
    before, sys.argv = sys.argv, ["linen-nnx", *map(str, arguments)]
    try:
        command_line.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0
