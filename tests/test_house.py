"""The shape of the package: its floors hold, and its core touches neither a clock nor the outside world."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "livetrade"
PURE = [*sorted((PACKAGE / "core").rglob("*.py")), PACKAGE / "errors.py"]

PURE_LIBRARY = {
    "__future__",
    "array",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "heapq",
    "html",
    "itertools",
    "math",
    "operator",
    "re",
    "typing",
    "zoneinfo",
}
PURE_FLOORS = ("livetrade.core", "livetrade.errors")
IMPURE_BUILTINS = {"__import__", "breakpoint", "compile", "eval", "exec", "input", "open", "print"}
CLOCK_READS = {
    f"{owner}.{read}"
    for owner in ("date", "datetime", "datetime.date", "datetime.datetime")
    for read in ("now", "today", "utcnow")
}


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that the code imports, inside functions and under `TYPE_CHECKING` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def impurities(source: str) -> list[str]:
    """What the code imports or calls that the core may not."""
    tree = ast.parse(source)
    foreign = [
        f"import {name}"
        for name in imports(tree)
        if name not in PURE_LIBRARY and not any(name == floor or name.startswith(f"{floor}.") for floor in PURE_FLOORS)
    ]
    calls = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id in IMPURE_BUILTINS)
        or (isinstance(node, ast.Attribute) and ast.unparse(node) in CLOCK_READS)
    ]
    return foreign + calls


def test_the_floors_hold() -> None:
    """In a process of its own: import-linter sets up logging for the whole one it runs in."""
    check = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_the_core_is_pure(path: Path) -> None:
    made_here = ["exec", "exec"] if path.name == "records.py" else []  # it writes constructors, as dataclasses does
    assert impurities(path.read_text(encoding="utf-8")) == made_here


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from collections.abc import Iterator\nfrom livetrade.core.ticks import Tick", []),
        ("from datetime import datetime\nwhen = datetime.fromtimestamp(0)", []),
        ("def late():\n    import time", ["import time"]),
        ("import collections, pandas as pd", ["import pandas"]),
        ("from livetrade import replay", ["import livetrade"]),
        ("from livetrade.corely import anything", ["import livetrade.corely"]),
        ("from . import events", ["import ."]),
        ("import datetime\nwhen = datetime.datetime.now(None)", ["datetime.datetime.now"]),
        ("from datetime import date\nread = date.today", ["date.today"]),
        ("with open('x'):\n    print()", ["open", "print"]),
    ],
)
def test_an_impure_core_would_be_seen(source: str, found: list[str]) -> None:
    assert impurities(source) == found
