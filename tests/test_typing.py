"""The public types, as a user's type checker sees them: mypy, strict, over the files of `tests/typing`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_types_are_what_a_user_expects() -> None:
    """What is right passes; what is wrong is an error, or its `type: ignore` would be reported as needless."""
    command = [sys.executable, "-m", "mypy", "tests/typing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
