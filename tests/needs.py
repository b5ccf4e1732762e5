"""Tools of the machine that some tests need: where one is missing they skip, and fail in the CI, which has them all."""

import os
import shutil
import subprocess
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {what}")
    raise AssertionError("either of them raises")


def require_strace() -> None:
    found = shutil.which("strace")
    if found is None or subprocess.run([found, "-o", os.devnull, "true"], check=False).returncode:
        missing("strace, and to be allowed to trace")
