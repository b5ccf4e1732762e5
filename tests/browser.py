"""Where the tests find their browser."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def require_browser() -> str:
    """The browser's path; where there is none the test is skipped, except in CI, where it must not pass unseen."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        path = None
    if path is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("needs playwright and chromium")
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
