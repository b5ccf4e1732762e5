"""Where the tests find their browser."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.needs import missing

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def require_browser() -> str:
    """The browser's path."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        path = None
    if path is None:
        missing("playwright and chromium")
    return path


@contextmanager
def headless() -> Iterator[Any]:
    """A browser that speaks to nobody by itself."""
    path = require_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()
