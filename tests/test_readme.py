"""README cannot go stale: its Python runs as it stands, and its commands are the ones that set everything up."""

import ast
import asyncio
import inspect
import re
import warnings
from pathlib import Path
from types import CodeType

import pytest

import livetrade

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def run_cell(source: str, namespace: dict[str, object]) -> None:
    """Runs code as a notebook does, with `await` at the top level."""
    code: CodeType = compile(source, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, namespace)
    if inspect.iscoroutine(result):
        asyncio.run(result)


def test_the_python_of_the_readme_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIVETRADE_RUNTIME_DIR", str(tmp_path / "runtime"))
    namespace: dict[str, object] = {}
    for block in BLOCKS:
        run_cell(block, namespace)
    said = capsys.readouterr().out
    assert "Bought 100 NSE:SBIN-EQ at 549.00" in said
    assert "STOP_LOSS" in said
    assert "5 2026-11-20 09:15:04+05:30" in said


@pytest.mark.parametrize("command", ["pip install uv && uv run livetrade demo", "uv run pytest"])
def test_the_two_commands_are_there(command: str) -> None:
    assert command in README


def test_the_map_names_every_module() -> None:
    package = Path(livetrade.__file__).parent
    modules = {path.stem for path in package.rglob("*.py") if not path.stem.startswith("__")}
    missing = {name for name in modules if not re.search(rf"\b{name}\b", README.split("## The house")[1])}
    assert not missing


def test_no_warning_is_needed_to_follow_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_cell(BLOCKS[0], {})
