"""`linen-nnx`: the commands, and what becomes of their errors."""

import gc
import os
import sys
from typing import Annotated, NoReturn

import typer

from linen_nnx.cli import (
    convert,
    demo,
    diff,
    inspect,
    map,
    plan,
    report,
    schema,
    seal,
    spec,
    validate,
    verify,
)
from linen_nnx.cli.exits import Exit, exit_of
from linen_nnx.cli.streams import mend
from linen_nnx.version import __version__

app = typer.Typer(
    name="linen-nnx",
    help="Convert, validate and compare Flax Linen and NNX train-state checkpoints.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS = (
    inspect,
    validate,
    plan,
    convert,
    diff,
    verify,
    seal,
    report,
    spec,
    map,
    schema,
    demo,
)
"""In the order in which the help lists them."""

for command in COMMANDS:
    app.command(name=command.NAME)(command.run)


def _version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line; no traceback reaches a user but for our own faults, and then on request."""
    # A plan is many small objects that live to the end: to look for garbage among them costs a
    # quarter of the time.
    gc.set_threshold(100_000_000)
    # Pydantic reads the metadata of every installed package in search of plugins, for which we have no use.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Numpy's linear algebra, of which we use nothing, else begins with a thread a core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A thread that digests or compresses needs the interpreter for microseconds, a thousand times a second;
    # beside one that plans it would wait 5 ms for it each time.
    sys.setswitchinterval(0.0002)
    mend()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)  # As typer ends a command.
    except Exception as error:
        sys.exit(_told(error))


def _told(error: Exception) -> int:
    """Say what ended the command; its exit code."""
    from linen_nnx.cli import render

    error = _missing_extra(error) or error
    render.error(error, as_json="--json" in sys.argv)
    code = exit_of(error)
    if code is Exit.OUR_FAULT:
        render.our_fault(error)
    return code


def process() -> NoReturn:
    """`main` as a whole process, which ends as soon as all is said.

    Every file is closed and every thread is done by then. To take the interpreter down object by object would
    cost a tenth of a second more, and after a large plan half a second.
    """
    code = 0
    try:
        main()
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        code = end.code or 0
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        # A reader that is gone: as Python itself ends then.
        sys.exit(code)
    os._exit(code)


def _missing_extra(error: Exception) -> Exception | None:
    """What to say where live objects were asked for, and there is no library for them."""
    from linen_nnx.schema.errors import MissingExtraError

    missing = isinstance(error, ModuleNotFoundError) and error.name in {"flax", "optax"}
    return MissingExtraError("flax") if missing else None


if __name__ == "__main__":
    process()
