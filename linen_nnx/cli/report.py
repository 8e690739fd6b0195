"""`linen-nnx report`: one self-contained HTML page of a checkpoint, a conversion or a comparison."""

from pathlib import Path
from typing import Annotated

import typer

from linen_nnx.cli.exits import Exit
from linen_nnx.cli.options import Item, Step
from linen_nnx.cli.outfile import Overwrite, check

NAME = "report"


def run(
    path: Annotated[
        Path,
        typer.Argument(help="A checkpoint, or JSON of a receipt, plan or difference.", show_default=False),
    ],
    other: Annotated[
        Path | None, typer.Argument(help="A second checkpoint, to compare with.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("linen-nnx-report.html"),
    overwrite: Overwrite = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="First hold every stored byte against the receipt.")
    ] = False,
    step: Step = None,
    item: Item = None,
) -> None:
    """Write one HTML page: verdict, tree map, tree, what is lost.

    The page needs no network. An earlier page at --out is replaced, any other file only with --overwrite.
    """
    from linen_nnx.cli import render
    from linen_nnx.cli.page.model import Verdict
    from linen_nnx.cli.page.report import report
    from linen_nnx.cli.page.write import is_page

    if verify and other is not None:
        raise typer.BadParameter("one checkpoint is verified, two are compared", param_hint="--verify")
    check(out, is_page, overwrite=overwrite)
    page = report(path, other, out=out, verify=verify, step=step, item=item)
    render.say(page.saying)
    render.verdict(str(out))
    raise typer.Exit(Exit.REFUSED if page.verdict is Verdict.BAD else Exit.DONE)
