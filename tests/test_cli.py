"""The command line as a user meets it: real processes, on a pipe and on a terminal."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

import livetrade as lt
from livetrade import cli
from livetrade.demo import report, screen, session

LIVETRADE = [sys.executable, "-m", "livetrade.cli"]
QUICK = ["demo", "--seconds", "2", "--ticks-per-second", "200"]
LONG = ["demo", "--seconds", "600", "--ticks-per-second", "200"]
TABLES = ["Positions", "Orders", "Fills", "P&L"]
EXITS = ("stop-loss", "take-profit", "trailing stop")
TERMINAL = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LIVETRADE, *arguments], capture_output=True, text=True, check=False, timeout=120)


def tables(output: str) -> list[str]:
    """The first words of the lines that head a table, in their order."""
    heads = re.compile(rf"^({'|'.join(map(re.escape, TABLES))})(?:, the last \d+ of \d+)?\s*$", re.MULTILINE)
    return heads.findall(output)


def rows(output: str, title: str) -> list[str]:
    """The lines of a table, its heading first."""
    lines = iter(output.splitlines())
    next(line for line in lines if line.startswith(title))
    return list(iter(lambda: next(lines).rstrip(), ""))


# ── on a pipe ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def piped() -> subprocess.CompletedProcess[str]:
    return run(*QUICK)


def test_the_demo_ends_well(piped: subprocess.CompletedProcess[str]) -> None:
    assert (piped.returncode, piped.stderr) == (0, "")


def test_the_demo_ends_with_its_tables_and_what_to_try_next(piped: subprocess.CompletedProcess[str]) -> None:
    assert tables(piped.stdout) == TABLES
    assert "import livetrade as lt" in piped.stdout.splitlines()[-2]


def test_what_to_try_next_can_be_tried(piped: subprocess.CompletedProcess[str]) -> None:
    names: dict[str, lt.LiveTradingEngine] = {}
    exec(piped.stdout.splitlines()[-1].strip(), {"lt": lt}, names)
    with names["engine"] as engine:
        assert engine.cash == 500_000


def test_a_pipe_gets_plain_lines(piped: subprocess.CompletedProcess[str]) -> None:
    assert piped.stdout.isascii()
    assert "\x1b" not in piped.stdout


def test_the_default_seed_shows_a_stop_and_a_target(piped: subprocess.CompletedProcess[str]) -> None:
    events = [line.split("  ")[1] for line in piped.stdout.partition("\n\n")[0].splitlines()[1:]]
    assert {"stop-loss", "take-profit"} <= set(events)
    assert re.search(r"Exits that fired: stop-loss \d+, take-profit \d+", piped.stdout)


def test_the_demo_ends_flat(piped: subprocess.CompletedProcess[str]) -> None:
    held = [line.split()[1] for line in rows(piped.stdout, "Positions")[1:]]
    assert held == ["0"] * 3
    assert "the demo ended flat" in piped.stdout


def test_the_tables_agree_with_each_other(piped: subprocess.CompletedProcess[str]) -> None:
    totals = [line.split()[-1].replace(",", "") for line in rows(piped.stdout, "Positions")[1:]]
    pnl = rows(piped.stdout, "P&L")[-1].split()[-3].replace(",", "")
    assert sum(map(float, totals)) == pytest.approx(float(pnl), abs=0.005)


def test_other_symbols_and_seeds_work() -> None:
    done = run("demo", "--seconds", "0.5", "--seed", "-3", "--symbols", "BTCUSDT, NSE:NIFTY50-INDEX,NSE:TCS-EQ")
    assert (done.returncode, done.stderr) == (0, "")
    assert tables(done.stdout) == TABLES


@pytest.mark.skipif(sys.platform == "win32", reason="signals there are of another kind")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_demo_with_its_tables(number: signal.Signals, code: int) -> None:
    with subprocess.Popen([*LIVETRADE, *LONG], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = [process.stdout.readline(), process.stdout.readline()]
        process.send_signal(number)
        output, errors = process.communicate(timeout=120)
    # A price may run through the stop of an order while it is on its way.
    assert any(word in first[1] for word in ("bought", "limit order", "refused"))
    assert (process.returncode, errors) == (code, "")
    assert tables(output) == TABLES
    assert "the demo ended flat" in output


def test_what_is_left_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    stream = lt.LivePriceStream()
    stream.update("NSE:SBIN-EQ", bid="548.95", ask="549.00")
    with lt.LiveTradingEngine(500_000, stream, name="left-over") as engine:
        engine.market_buy("NSE:SBIN-EQ", 100).result(10)
        report.print_report(engine, screen.make_console())
        engine.flatten().result(10)
    output = capsys.readouterr().out
    assert tables(output) == TABLES
    assert "Still held: 100 NSE:SBIN-EQ\n" in output


@pytest.mark.parametrize("symbol", ["NSE:SBIN-EQ", "NSE:TCS-EQ", "BTCUSDT"])
def test_exits_stand_on_the_tick_grid_and_outside_the_spread(symbol: str) -> None:
    window = session.Window()
    for tick in lt.SimulatedFeed(symbol, seed=5).path(lambda instrument: instrument, 500):
        if window.add(tick) and tick.ask and tick.bid and tick.instrument.tick_size:
            swing = window.swing(tick)
            assert swing % tick.instrument.tick_size == 0
            assert swing >= 2 * (tick.ask - tick.bid)
            assert 0 < session.affordable(tick, 300_000) * tick.ask <= 301_000


# ── wrong use ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["demo", "--seconds", "0"], "above 0"),
        (["demo", "--seconds", "-1"], "above 0"),
        (["demo", "--seconds", "nan"], "above 0"),
        (["demo", "--seconds", "soon"], "--seconds"),
        (["demo", "--seed", "x"], "--seed"),
        (["demo", "--ticks-per-second", "0"], "ticks_per_second"),
        (["demo", "--symbols", "what is this"], "malformed symbol 'what is this'"),
        (["demo", "--symbols", "nse:sbin-eq"], "did you mean 'NSE:SBIN-EQ'"),
        (["demo", "--symbols", ""], "malformed symbol ''"),
        (["demo", "--symbols", "NSE:NIFTY50-INDEX"], "an index cannot be traded"),
        (["demo", "--sed", "1"], "--sed"),
        (["trade"], "trade"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_one_clear_line(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["livetrade", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    output, errors = capsys.readouterr()
    assert (ended.value.code, output) == (2, "")
    [line] = errors.splitlines()
    assert line.startswith("livetrade: ")
    assert told in line


def test_wrong_use_ends_the_process() -> None:
    done = run("demo", "--seconds", "0")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_an_error_is_one_line_and_no_traceback() -> None:
    code = """
import sys, livetrade as lt
from livetrade import cli

@cli.app.command()
def fail() -> int:
    raise lt.FeedError("the ticks are gone:\\nno such file")

sys.argv[1:] = ["fail"]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "livetrade: the ticks are gone: no such file\n"


# ── help ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("arguments", [["--help"], []], ids=["--help", "nothing"])
def test_help_names_commands_and_options(arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("Usage: livetrade", "--version", "--help", "demo"):
        assert name in done.stdout


def test_the_demo_s_help_names_its_options() -> None:
    done = run("demo", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("Usage: livetrade demo", "--seconds", "--seed", "--symbols", "--ticks-per-second", "NSE:SBIN-EQ"):
        assert name in done.stdout


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"livetrade {lt.__version__}\n")


def test_help_loads_neither_pandas_nor_rich() -> None:
    code = "import sys; from livetrade import cli; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert {"pandas", "numpy", "rich.console", "rich.live"} & set(loaded.stdout.splitlines()) == set()


# ── on a terminal ────────────────────────────────────────────────────────────────────────────────────────────────────

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


def on_terminal(*arguments: str, interrupt: bool = False, **environment: str) -> tuple[int, str]:
    """The exit code of a process on a terminal of 80 by 24, and all that it wrote there."""
    pty = pytest.importorskip("pty")
    terminal, inner = pty.openpty()
    command = [*LIVETRADE, *arguments]
    with subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env={**TERMINAL, **environment}) as process:
        os.close(inner)
        written = b""
        with suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as screen:  # an error is the end on some systems
            while part := screen.read(65_536):
                written += part
                if interrupt and b"EVENTS" in written:
                    interrupt = False
                    process.send_signal(signal.SIGINT)
        code = process.wait(timeout=120)
    return code, written.decode().replace("\r\n", "\n")


def test_a_terminal_shows_the_market_live_and_gets_its_screen_back() -> None:
    code, written = on_terminal(*QUICK)
    live, _, after = written.partition(LEAVE)
    assert code == 0
    assert live.count(ENTER) == 1
    for name in (
        "PAPER",
        "PRICES",
        "POSITIONS",
        "WORKING ORDERS",
        "EVENTS",
        "total P&L",
        "ticks/s",
        "feed LIVE",
        "lag",
    ):
        assert name in live
    assert any(name in live for name in EXITS)
    assert "\x1b[31m" in live
    text = re.sub(r"\x1b\[[0-9;]*m", "", after)
    assert tables(text) == TABLES
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_ctrl_c_gives_the_terminal_back_and_prints_the_tables() -> None:
    code, written = on_terminal(*LONG, interrupt=True)
    after = re.sub(r"\x1b\[[0-9;]*m", "", written.partition(LEAVE)[2])
    assert code == 130
    assert tables(after) == TABLES


def test_no_color_is_respected() -> None:
    code, written = on_terminal("demo", "--seconds", "0.5", NO_COLOR="1")
    assert code == 0
    assert re.findall(r"\x1b\[(?:[0-9;]*;)?(?:3[0-9]|9[0-7])[0-9;]*m", written) == []


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines() -> None:
    code, written = on_terminal("demo", "--seconds", "0.5", TERM="dumb")
    assert code == 0
    assert written.isascii()
    assert "\x1b" not in written
