"""The page in a real Chromium: it renders, is searched and descended; on a desk, on a phone, in the dark."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Position,
    Request,
    ViewportSize,
    expect,
)

from linen_nnx import plan, report
from linen_nnx.cli.page.model import Fact, Finding, Findings, Row, Tone, Verdict
from linen_nnx.cli.page.model import Page as Shown
from linen_nnx.cli.page.write import html
from linen_nnx.schema.layout import LayerStacking
from linen_nnx.schema.options import ConversionOptions
from tests.page.browser import PATIENCE, chromium
from tests.support import golden
from tests.support.checkpoints import Cache

PHONE: ViewportSize = {"width": 360, "height": 740}
DESK: ViewportSize = {"width": 1200, "height": 900}

CORNER: Position = {"x": 12, "y": 8}
"""Of a box, where its own label is and no other box lies over it."""

Scheme = Literal["light", "dark"]


class Visit(Protocol):
    """Opens a page."""

    def __call__(self, path: Path, viewport: ViewportSize = DESK, scheme: Scheme = "light") -> Page: ...


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pages of a checkpoint and of the plan to take its layers apart."""
    folder = tmp_path_factory.mktemp("pages")
    source = cache.golden(golden.load("old-linen-scan-llama2-adamw"))
    report(source, out=folder / "checkpoint.html")
    made = plan(source, to="nnx", options=ConversionOptions(stacking=LayerStacking.UNSTACKED))
    (folder / "plan.json").write_text(made.model_dump_json(), encoding="utf-8")
    report(folder / "plan.json", out=folder / "plan.html")
    return folder


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open a page; in the end no error may have been printed, and nothing asked of a network."""
    wrong: list[str] = []
    contexts: list[BrowserContext] = []

    def said(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            wrong.append(message.text)

    def failed(error: Error) -> None:
        wrong.append(str(error))

    def asked(request: Request) -> None:
        if not request.url.startswith(("file:", "data:")):
            wrong.append(request.url)

    def opened(path: Path, viewport: ViewportSize = DESK, scheme: Scheme = "light") -> Page:
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", said)
        page.on("pageerror", failed)
        page.on("request", asked)
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_a_page_renders_without_an_error_and_fits_its_screen(
    pages: Path, visit: Visit, viewport: ViewportSize, scheme: Scheme
) -> None:
    page = visit(pages / "checkpoint.html", viewport, scheme)
    expect(page.locator(".saying")).to_have_text(re.compile("^valid"))
    expect(page.locator("#map .slice").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    red, green, blue = (int(x) for x in re.findall(r"\d+", _background(page))[:3])
    assert (red + green + blue < 3 * 64) == (scheme == "dark")


def test_the_search_finds_an_entry_and_opens_it_in_the_tree(pages: Path, visit: Visit) -> None:
    page = visit(pages / "checkpoint.html")
    page.fill("#search", "NU mlp wo kernel")
    expect(page.locator("#matches")).to_have_text(re.compile(r"^1 of \d+ entries$"))
    page.locator("#found .leaf").click()
    here = page.locator("#tree .leaf.here")
    expect(here).to_be_visible()
    expect(here).to_contain_text("kernel")
    expect(here).to_contain_text("float32[")


def test_the_map_descends_where_it_is_clicked_and_comes_back(pages: Path, visit: Visit) -> None:
    page = visit(pages / "checkpoint.html")
    elsewhere = page.locator("#map .slice", has_text="opt_state")
    expect(elsewhere.first).to_be_visible()
    _box(page, "decoder").click(position=CORNER)
    expect(elsewhere).to_have_count(0)
    page.locator("#map g.pathbar", has_text="all").locator("path.surface").click()
    expect(elsewhere.first).to_be_visible()


def test_a_leaf_of_the_map_opens_in_the_tree(pages: Path, visit: Visit) -> None:
    page = visit(pages / "checkpoint.html")
    _box(page, "token_embedder/embedding").click(position=CORNER)
    expect(page.locator("#tree .leaf.here")).to_contain_text("embedding")


def test_the_legend_shows_what_is_decoded_alone(pages: Path, visit: Visit) -> None:
    page = visit(pages / "plan.html")
    page.locator("button[data-tone=decode]").click()
    expect(page.locator("#found .leaf").first).to_contain_text("step as uint32")
    assert page.locator("#found .dot.kept").count() == 0
    page.locator("button[data-tone=decode]").click()
    expect(page.locator("#tree")).to_be_visible()


def test_names_that_look_like_markup_stay_names(tmp_path: Path, visit: Visit) -> None:
    name = "<img src=x onerror=console.error(1)></script><b>&amp;"
    shown = Shown(
        title=name,
        verdict=Verdict.BAD,
        saying=name,
        facts=(Fact(name=name, text=name),),
        findings=(Findings(heading=name, found=(Finding(kind=name, where=name, text=name, hint=name),)),),
        rows=(Row(keys=(name, name), spec=name, nbytes=8, tone=Tone.FAULTY, remark=name, digest=name),),
        commands=(name,),
    )
    (tmp_path / "page.html").write_text(html(shown), encoding="utf-8")
    page = visit(tmp_path / "page.html")
    expect(page.locator("h1")).to_have_text(name)
    expect(page.locator("#map .slice").first).to_be_visible()
    page.fill("#search", "onerror")
    expect(page.locator("#found .leaf .key")).to_have_text(f"{name}/{name}")
    assert page.locator("img").count() == 0


def _box(page: Page, name: str) -> Locator:
    """The box whose label is `name`."""
    label = page.locator(f"text[data-unformatted^='{name}']")
    return page.locator("#map .slice", has=label).locator("path.surface").first


def _background(page: Page) -> str:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert isinstance(colour, str)
    return colour
