"""Where the tests find their browser."""

import os
import shutil

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


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
