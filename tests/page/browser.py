"""A real Chromium for the tests of the page: the machine's own, else one that running this installs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

PATIENCE = 300_000
"""Milliseconds to wait for what must come, on a machine however busy; no test waits for time to pass."""


def executable() -> Path | None:
    """The machine's own Chromium, else the one that playwright has installed."""
    for name in _NAMES:
        if found := shutil.which(name):
            return Path(found)
    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return path if path.exists() else None


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window. Fails, and does not skip, where there is none."""
    path = executable()
    assert path is not None, "no Chromium: python -m tests.page.browser installs one"
    # Chromium's sandbox does not start for root; the page under test is our own.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments, timeout=PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield browser
        browser.close()


def install() -> int:
    """Install a Chromium where there is none. Exit code."""
    if executable() is not None:
        return 0
    if (
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False).returncode
        == 0
    ):
        return 0
    # Playwright's own builds cannot be had everywhere; distributions carry the browser too.
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", *arguments], env=environment, check=False, stdout=subprocess.DEVNULL)
    if executable() is not None:
        return 0
    sys.stderr.write("the tests of the page need Chromium: install it with your package manager\n")
    return 1


if __name__ == "__main__":
    sys.exit(install())
