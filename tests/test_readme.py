"""README and the pages in docs/ cannot go stale: their Python runs as it stands, and README's commands set all up."""

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
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SAID = {
    "README": ["Bought 100 NSE:SBIN-EQ at 549.00", "STOP_LOSS", "<ReplayResult ema_cross on ticks: "],
    "first-ten-minutes": ["Bought 100 NSE:SBIN-EQ at 54", "TRAILING_STOP", "<ReplayResult dip_buyer on my-ticks: "],
    "index": ["Bought 100 NSE:SBIN-EQ at 549.00", "STOP_LOSS"],
    "orders": ["False Insufficient balance: 54,916.47 needed, 10,000.00 free", "finer than its 2 decimals"],
    "prices": ["5 2026-11-20 09:15:04+05:30", "[100.0, 98.0, 103.0, 101.0, 101.0, 102.0, 96.0, 97.0]"],
    "restarts": ["10 True", "Bought 10 NSE:SBIN-EQ at 549.00 1"],
    "strategies": ["<strategy ema_cross RUNNING", "<ReplayResult ema_cross on the DataFrame: 5,000 ticks", "slow"],
}
"""What the comments of a page promise, or its text."""


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run_cell(source: str, namespace: dict[str, object]) -> None:
    """Runs code as a notebook does, with `await` at the top level."""
    code: CodeType = compile(source, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, namespace)
    if inspect.iscoroutine(result):
        asyncio.run(result)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIVETRADE_RUNTIME_DIR", str(tmp_path / "runtime"))
    namespace: dict[str, object] = {}
    for block in blocks(page):
        run_cell(block, namespace)
    said = capsys.readouterr().out
    assert [words for words in SAID.get(page.stem, []) if words not in said] == []


def test_every_file_that_the_readme_leads_to_is_there() -> None:
    led_to = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", README)
    assert [path for path in led_to if not (ROOT / path).exists()] == []


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
        run_cell(blocks(ROOT / "README.md")[0], {})
