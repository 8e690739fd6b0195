"""Write a page: one HTML file that needs no network, script and style and data inside."""

import json
from pathlib import Path

from linen_nnx.cli.outfile import put
from linen_nnx.cli.page.model import Page, Tone
from linen_nnx.cli.page.treemap import boxes
from linen_nnx.schema.errors import MissingExtraError
from linen_nnx.version import __version__

MOST_LISTED = 500
"""Findings of one sort that a page lists; the commands it names list all."""


def html(page: Page) -> str:
    """The page as text. Raises `MissingExtraError` where its libraries are not installed."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtraError("report") from error
    # Autoescaping: names in a checkpoint are a stranger's text.
    environment = Environment(
        loader=PackageLoader("linen_nnx.cli.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        page=page,
        tones=_tones(page),
        data=Markup(_data(page)),
        most=MOST_LISTED,
        version=__version__,
        plotly=Markup(get_plotlyjs()),
    )


def write(page: Page, out: Path) -> None:
    """Put the page into the file `out`, whole or not at all. Raises `StorageError`."""
    put(out, html(page))


def is_page(text: str) -> bool:
    """Whether a file is a page of ours, of this version or another: its head names what made it."""
    return '<meta name="generator" content="linen-nnx ' in text[:1000]


def _tones(page: Page) -> tuple[Tone, ...]:
    """The legend: the tones that occur, in their fixed order."""
    there = {row.tone for row in page.rows}
    return tuple(tone for tone in Tone if tone in there)


def _data(page: Page) -> str:
    """What the script draws from. JSON in a script element must not end that element: no `<` stays bare."""
    drawn = {
        "rows": [
            [row.keys, row.spec, row.nbytes, row.tone.name.lower(), row.remark, row.digest]
            for row in page.rows
        ],
        "boxes": [[box.parent, box.keys, box.nbytes, box.tone] for box in boxes(page.rows)],
    }
    return json.dumps(drawn, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
