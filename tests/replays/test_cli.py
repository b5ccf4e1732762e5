"""`livetrade replay` as a user meets it: a real process, its output, its exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import INFY, SBIN, recording

STRATEGIES = """
async def once(engine, symbol="NSE:SBIN-EQ", quantity=10, note=None):
    async for tick in engine.stream.ticks(symbol):
        await engine.market_buy(symbol, quantity, tag=str(note))
        break
    async for tick in engine.stream.ticks(symbol):
        pass
    await engine.flatten()

async def fails(engine):
    await anext(engine.stream.ticks())
    1 / 0

async def hasty(engine):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recording([549.0, 550.0, 551.0]).to_csv(tmp_path / "day.csv", index=False)
    (tmp_path / "strategies.py").write_text(STRATEGIES)
    (tmp_path / "broken.py").write_text("import no_such_thing\n")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "livetrade.cli", "replay", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def test_a_table_of_figures(folder: Path) -> None:
    done = run(folder, "day.csv", "strategies:once")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["once", "on", "day.csv:", "3", "ticks"]
    assert ["orders", "2"] in lines
    assert ["win_rate", "1.0000"] in lines
    assert lines[5][0] == "total_pnl"


def test_json_parameters_and_symbols(folder: Path) -> None:
    done = run(
        folder, "day.csv", "strategies:once", "--json", "--cash", "100000", "--symbol", SBIN,
        "--param", "quantity=20", "--param", "note=x y",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["params"] == {"quantity": 20, "note": "x y", "symbol": SBIN}
    assert (told["ticks"], told["orders"], told["round_trips"]) == (3, 2, 1)
    assert told["total_pnl"] == pytest.approx(38 - told["fees"])
    assert -1 < told["max_drawdown"] < 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["day.csv", "strategies:fails"], 1, "fails raised ZeroDivisionError: division by zero at tick 1 (2026-03-02T"),
        (["day.csv", "strategies:nothing"], 2, "the module strategies has no nothing"),
        (["day.csv", "elsewhere:once"], 2, "there is no module elsewhere here"),
        (["day.csv", "broken:once"], 2, "the module broken needs no_such_thing, which is not installed"),
        (["day.csv", "strategies"], 2, "write MODULE:FUNCTION"),
        (["day.csv", "json:dumps"], 1, "a strategy is an async function"),
        (["none.csv", "strategies:once"], 1, "none.csv: no such file"),
        (["day.csv", "strategies:once", "--symbol", INFY], 1, "day.csv has no ticks of 'NSE:INFY-EQ'"),
        (["day.csv", "strategies:once", "--param", "speed=3"], 1, "cannot be called with what was given"),
        (["day.csv", "strategies:once", "--param", "speed"], 2, "write --param name=value"),
        (["day.csv", "strategies:once", "--cash", "much"], 1, "cash"),
    ],
)
def test_errors_are_one_clear_line(folder: Path, arguments: list[str], code: int, message: str) -> None:
    done = run(folder, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.startswith("livetrade: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_warning_is_told_too(folder: Path) -> None:
    done = run(folder, "day.csv", "strategies:hasty")
    assert done.returncode == 0
    assert done.stderr.startswith("livetrade: hasty ended before the first tick")
