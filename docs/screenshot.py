"""Make `docs/report.png`, the page of the demo's converted checkpoint: `python -m docs.screenshot`."""

import tempfile
from pathlib import Path

from playwright.sync_api import ViewportSize

from linen_nnx import report
from linen_nnx.demo import demo
from tests.page.browser import chromium

SIZE: ViewportSize = {"width": 1100, "height": 1250}


def main() -> None:
    """Convert, report, look."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        made = Path(folder) / "demo"
        demo(made, print)
        report(made / "nnx", out=made / "page.html", verify=True)
        page = browser.new_page(viewport=SIZE)
        page.goto((made / "page.html").as_uri())
        page.wait_for_selector("#map .slice")
        page.evaluate(
            "root => { for (const node of document.querySelectorAll('h1, dd, pre, footer'))"
            " node.textContent = node.textContent.replaceAll(root, 'run'); }",
            str(made),
        )
        page.screenshot(path="docs/report.png")


if __name__ == "__main__":
    main()
