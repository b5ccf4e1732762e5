"""An engine in a real notebook kernel: it answers, and it goes on while a cell is busy, interrupted, re-run or gone.

The kernel's machinery counts no figure here. `benchmarks/busy_cell.py` measures how late a stop fires.
"""

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

EXAMPLE = """
import livetrade as lt
from decimal import Decimal

stream = lt.LivePriceStream()
stream.update("NSE:SBIN-EQ", bid="548.95", ask="549.00", last="549.00")          # or let a feed fill it
engine = lt.LiveTradingEngine(Decimal("500000"), stream)                          # paper venue, own thread

success, message, order = await engine.market_buy(                               # works; so does .result()
    "NSE:SBIN-EQ", 100, stop_loss_price=Decimal("545.00"), take_profit_price=Decimal("560.00"))
pnl = await engine.get_portfolio_pnl()        # dict of Decimals
engine.positions(); engine.orders(); engine.fills(); engine.risk_orders(); engine.equity()   # always current
engine.panel()                                # the live P&L widget
engine.close()
"""
WITHOUT_AWAIT = """
success, message, order = engine.market_buy(
    "NSE:SBIN-EQ", 100, stop_loss_price=Decimal("545.00"), take_profit_price=Decimal("560.00")).result()
pnl = engine.get_portfolio_pnl().result()
"""
ENGINE = """
import livetrade as lt
from decimal import Decimal
stream = lt.LivePriceStream()
stream.update("NSE:SBIN-EQ", bid="548.95", ask="549.00", last="549.00")
engine = lt.LiveTradingEngine(500_000, stream)
"""

# A market in a process of its own takes 200 symbols through their stops at random moments, amid other ticks.
MARKET = """
import random, sys, time
rng = random.Random(7)
crossings = [(rng.uniform(0.1, 2.5), number, "98.90") for number in range(200)]
others = [(rng.uniform(0.0, 3.0), rng.randrange(200), "99.90") for _ in range(1_000)]
sys.stdin.readline()
start, crossed = time.perf_counter(), set()
for moment, number, bid in sorted(crossings + others):
    time.sleep(max(0.0, start + moment - time.perf_counter()))
    if bid == "98.90":
        crossed.add(number)
    elif number in crossed:
        continue
    print(number, bid, time.time_ns(), flush=True)
"""
MANY_STOPS = """
import subprocess, sys, threading, time
import livetrade as lt

symbols = [f"NSE:S{number:03}-EQ" for number in range(200)]
stream = lt.LivePriceStream()
engine = lt.LiveTradingEngine(1_000_000, stream, fees=lt.NoFees())
sent, told = {}, []

@engine.on_fill
def note(fill):
    if fill.source == "STOP_LOSS":
        told.append((fill.symbol, time.time_ns()))

market = subprocess.Popen([sys.executable, "-c", MARKET], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

def read():
    for line in market.stdout:
        number, bid, moment = line.split()
        symbol = symbols[int(number)]
        if bid == "98.90":
            sent[symbol] = int(moment)
        stream.update(symbol, bid=bid, ask="100.05")

for symbol in symbols:
    stream.update(symbol, bid="100.00", ask="100.05")
handles = [engine.market_buy(symbol, 10, stop_loss_price="99.00") for symbol in symbols]
assert all(handle.result(10).success for handle in handles)
threading.Thread(target=read, daemon=True).start()
"""
SLEEPS = "time.sleep(4)"
LOOPS = "n, end = 0, time.perf_counter() + 4\nwhile time.perf_counter() < end:\n    n += 1"


def printed(kernel: Any, expression: str) -> Any:
    """The value of an expression in the kernel, as JSON brings it over."""
    return json.loads(kernel.run(f"import json; print(json.dumps({expression}, default=str))").stdout)


def test_the_example_runs_as_it_is_printed(kernel: Any) -> None:
    cell = kernel.run(EXAMPLE)
    assert "100 NSE:SBIN-EQ and 2 exits are no longer watched" in cell.stderr
    assert printed(kernel, "[success, message, order.is_open]") == [True, "Bought 100 NSE:SBIN-EQ at 549.00", False]
    assert printed(kernel, "pnl['total_pnl'] + pnl['fees']") == "0.00"
    assert printed(kernel, "[len(f()) for f in (engine.positions, engine.fills, engine.risk_orders)]") == [1, 1, 2]


def test_the_example_runs_without_await(kernel: Any) -> None:
    kernel.run(ENGINE + WITHOUT_AWAIT)
    assert printed(kernel, "[success, message]") == [True, "Bought 100 NSE:SBIN-EQ at 549.00"]
    assert printed(kernel, "pnl['cash'] + pnl['fees']") == "445100.00"


def test_a_command_that_nobody_awaits_was_sent(kernel: Any) -> None:
    cell = kernel.run(ENGINE + "engine.market_buy('NSE:SBIN-EQ', 7)")
    assert cell.value.startswith("<BUY 7 NSE:SBIN-EQ MARKET: ")
    assert printed(kernel, "engine.position('NSE:SBIN-EQ').quantity") == "7"


@pytest.mark.parametrize("work", [SLEEPS, LOOPS], ids=["sleep", "loop"])
def test_stops_fire_while_a_cell_is_busy(kernel: Any, work: str, capsys: pytest.CaptureFixture[str]) -> None:
    kernel.run(f"MARKET = {MARKET!r}\n{MANY_STOPS}")
    kernel.run(f"market.stdin.write('begin\\n'); market.stdin.flush()\n{work}\nended = time.time_ns()")
    kernel.run("market.communicate()")
    sent, told, ended = (printed(kernel, name) for name in ("sent", "told", "ended"))

    assert sorted(symbol for symbol, _ in told) == sorted(sent) == printed(kernel, "symbols")
    assert all(moment < ended for _, moment in told)
    fills = kernel.run("print(engine.fills().query('source == \"STOP_LOSS\"').symbol.value_counts().to_json())")
    assert json.loads(fills.stdout) == dict.fromkeys(sent, 1)

    late = sorted((moment - sent[symbol]) / 1e6 for symbol, moment in told)
    with capsys.disabled():
        print(f"\n  from tick to callback: p50 {late[99]:.1f}, p99 {late[197]:.1f}, max {late[-1]:.1f} ms", end=" ")  # noqa: T201


def test_the_panel_moves_while_a_cell_is_busy(kernel: Any) -> None:
    kernel.run(
        "import livetrade as lt, time\n"
        "engine = lt.LiveTradingEngine(500_000, feed=lt.SimulatedFeed('NSE:SBIN-EQ', ticks_per_second=100))\n"
        "panel = engine.panel()"
    )
    cell = kernel.finish(kernel.send("time.sleep(2)"))
    ticks = [snap["tick"] for snap in cell.panels]
    assert len(ticks) > 10
    assert ticks == sorted(set(ticks))
    assert all(snap["feed"] == "LIVE" for snap in cell.panels)
    kernel.run("engine.close()")


def test_interrupting_a_cell_cancels_no_order(kernel: Any) -> None:
    kernel.run(ENGINE.replace("stream)", "stream, broker=lt.PaperBroker(latency=2))"))
    for number, waiting in enumerate(["await handle", "handle.result()"]):
        order = f"handle = engine.market_buy('NSE:SBIN-EQ', 100, client_order_id='order{number}')"
        cell = kernel.send(f"{order}\nprint('sent', flush=True)\n{waiting}")
        kernel.follow(cell, lambda cell: "sent" in cell.stdout)
        kernel.interrupt()
        kernel.finish(cell)
        assert cell.error.split(":")[0] in ("KeyboardInterrupt", "CancelledError"), cell
    kernel.run(
        "answers = [engine.market_buy('NSE:SBIN-EQ', 100, client_order_id=f'order{n}').result(10) for n in (0, 1)]"
    )
    assert (
        printed(kernel, "[[a.success, a.order.status, a.order.filled_qty] for a in answers]")
        == [[True, "FILLED", "100"]] * 2
    )
    assert printed(kernel, "[engine.position('NSE:SBIN-EQ').quantity, len(engine.orders())]") == ["200", 2]
    kernel.run("engine.close()")


def test_running_the_engine_cell_again_leaves_one_engine(kernel: Any) -> None:
    cell = ENGINE + "answer = await engine.market_buy('NSE:SBIN-EQ', 100, stop_loss_price='545.00')"
    kernel.run(cell)
    kernel.run("from livetrade.registry import engines; first = engine")
    for _ in range(2):  # the warning comes each time, although it is the same one
        again = kernel.run(cell)
        assert "RuntimeWarning" in again.stderr
        assert "100 NSE:SBIN-EQ and 1 exit is no longer watched" in again.stderr
    assert printed(kernel, "[list(engines()), engines()['main'] is engine, first.is_open]") == [["main"], True, False]
    threads = "sorted(t.name for t in __import__('threading').enumerate() if t.name == 'livetrade-main')"
    assert printed(kernel, threads) == ["livetrade-main"]


def test_a_kernel_leaves_in_time_with_an_engine_open(fresh_kernel: Any, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    opened = (
        "import atexit\n"
        f"leave = lambda: open({str(note)!r}, 'w').write(repr(engine.is_open))\n"
        "atexit.register(leave)\n"  # registered before livetrade's own, so called after it
        "import livetrade as lt\n"
        "engine = lt.LiveTradingEngine(500_000, feed=lt.SimulatedFeed('NSE:SBIN-EQ', ticks_per_second=100))\n"
        "@engine.stream.on_tick\n"
        "def watch(tick): seen.append(tick)\n"
        "seen = []\n"
        "panel = engine.panel()\n"
        "ticks = engine.stream.ticks('NSE:SBIN-EQ')\n"
        "await anext(ticks)\n"
        "answer = await engine.market_buy('NSE:SBIN-EQ', 10, stop_loss_pct=5)\n"
        "print(answer.success)"
    )
    for leave in (fresh_kernel.restart, fresh_kernel.stop):
        assert fresh_kernel.run(opened).stdout == "True\n"
        process = fresh_kernel.process
        leave()
        assert process.returncode == 0  # it went by itself: nobody had to end it
        assert note.read_text() == "False"
        note.unlink()
    assert "Traceback" not in (tmp_path / "stderr.txt").read_text()


def test_asyncio_is_patched_only_on_request(fresh_kernel: Any) -> None:
    nested = "async def answer(): return 42\nasyncio.run(answer())"
    fresh_kernel.run("import asyncio\nbefore = asyncio.run, asyncio.Task, asyncio.Future, asyncio.get_event_loop")
    fresh_kernel.run(
        "import livetrade as lt\nassert before == (asyncio.run, asyncio.Task, asyncio.Future, asyncio.get_event_loop)"
    )
    fresh_kernel.run(ENGINE)
    refused = fresh_kernel.finish(fresh_kernel.send(nested))
    assert "cannot be called from a running event loop" in refused.error

    enabled = fresh_kernel.run("lt.enable_nested_asyncio()")
    assert "asyncio is now patched for the whole process" in enabled.stderr
    assert fresh_kernel.run(nested).value == "42"
    assert not fresh_kernel.run("lt.enable_nested_asyncio()").stderr

    # The engine from before the patch, one from after it, and an order sent from within a nested call.
    fresh_kernel.run("assert (await engine.market_buy('NSE:SBIN-EQ', 1)).success")
    fresh_kernel.run(ENGINE + "assert (await engine.market_buy('NSE:SBIN-EQ', 1)).success")
    fresh_kernel.run(
        "async def buy(): return await engine.market_buy('NSE:SBIN-EQ', 2)\nassert asyncio.run(buy()).success"
    )
    assert printed(fresh_kernel, "engine.position('NSE:SBIN-EQ').quantity") == "3"


KEPT_ENGINE = """
import livetrade as lt
engine = lt.LiveTradingEngine(journal={path!r}, cash={cash})
stream = engine.stream
"""
EVERYTHING = """
frames = (engine.positions, engine.orders, engine.fills, engine.risk_orders, engine.equity)
away = ["distance", "distance_pct"]  # there is no price yet to be away from
told = [frame(exact=True).drop(columns=away, errors="ignore").to_csv() for frame in frames]
told.append(engine.pnl(exact=True).to_csv())
"""


def test_a_killed_kernel_loses_nothing(fresh_kernel: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "kept.journal")
    fresh_kernel.run(KEPT_ENGINE.format(path=path, cash=500_000))
    fresh_kernel.run(
        "stream.update('NSE:SBIN-EQ', bid='548.95', ask='549.00', last='549.00')\n"
        "await engine.market_buy('NSE:SBIN-EQ', 100, stop_loss_price='545.00', take_profit_price='560.00')\n"
        "await engine.limit_buy('NSE:SBIN-EQ', 10, '540.00', time_in_force='GTC', client_order_id='rests')\n"
        "await engine.market_sell('NSE:SBIN-EQ', 30)\n"
        "stream.update('NSE:SBIN-EQ', bid='551.20', ask='551.25', last='551.20')\n"
        "await engine.transfer(1000)\n"
    )
    fresh_kernel.run(EVERYTHING)
    before = printed(fresh_kernel, "told")
    fresh_kernel.kill()

    fresh_kernel.run(KEPT_ENGINE.format(path=path, cash=None) + EVERYTHING)
    assert printed(fresh_kernel, "told") == before
    assert "did not end in good order" in printed(fresh_kernel, "engine.health()['alarms']")[0]
    fresh_kernel.run("stream.update('NSE:SBIN-EQ', bid='544.90', ask='545.00', last='544.90')")
    assert printed(fresh_kernel, "engine.fills()['source'].tolist()[-1]") == "STOP_LOSS"
    assert printed(fresh_kernel, "engine.orders(open=True).index.tolist()") == ["rests"]
    fresh_kernel.run("engine.close()")


STRATEGY = """
enough = False

async def buys(engine, symbol, every):
    count = 0
    async for tick in engine.stream.ticks(symbol):
        count += 1
        if count % every == 0:
            await engine.market_buy(symbol, 1)
        if enough:
            raise ValueError("enough")

task = engine.start(buys, "NSE:SBIN-EQ", every=5)
"""
UNTIL_IT_HAS_TRADED = """
before = len(engine.orders())
while len(engine.orders()) < before + 3:
    {work}
"""


def test_a_strategy_runs_while_other_cells_compute(kernel: Any) -> None:
    kernel.run(
        "import livetrade as lt, time\n"
        "engine = lt.LiveTradingEngine(500_000, feed=lt.SimulatedFeed('NSE:SBIN-EQ', ticks_per_second=25))"
    )
    kernel.run(STRATEGY)
    assert printed(kernel, "[task.name, task.state]") == ["buys", "RUNNING"]
    again = kernel.finish(kernel.send(STRATEGY))  # the cell is run again by mistake
    assert "OrderError: the strategy 'buys' is running; end it with engine.strategy('buys').cancel()" in again.error
    for work in ("time.sleep(0.01)", "sum(range(100_000))"):  # both have the kernel's own thread for themselves
        kernel.run(UNTIL_IT_HAS_TRADED.format(work=work))

    kernel.run("enough = True")
    failed = kernel.finish(kernel.send("await task"))
    assert failed.error == "ValueError: enough"
    assert kernel.run("task").value.startswith("<strategy buys FAILED: ValueError('enough'), started at 20")
    table = "engine.strategies().loc['buys', ['state', 'error', 'orders']].tolist()"
    assert printed(kernel, f"{table} == ['FAILED', repr(task.error), len(engine.orders())]")
    assert printed(kernel, "engine.orders()['strategy'].unique().tolist()") == ["buys"]
    assert printed(kernel, "engine.health()['alarms']") == ["the strategy buys failed: ValueError('enough')"]

    kernel.run("enough = False\ntask.restart()")
    assert printed(kernel, "[task.state, task.cancel()]") == ["RUNNING", True]
    ended = kernel.finish(kernel.send("await task"))
    assert ended.error == "CancelledError: the strategy buys was canceled"
    kernel.run("import warnings; warnings.simplefilter('ignore')\nengine.close()")


COMPLETED = {
    "engine.mar": {"market_buy", "market_sell"},
    "await engine.mar": {"market_buy", "market_sell"},
    "engine.position('NSE:SBIN-EQ').": {"quantity", "avg_price", "stop_loss_price", "total_pnl"},
    "engine.market_buy('NSE:SBIN-EQ', 1).": {"result", "done", "wait_for"},
    "(await engine.market_buy('NSE:SBIN-EQ', 1)).": {"success", "message", "order", "raise_if_failed"},
    "engine.market_buy(": {"symbol=", "quantity=", "stop_loss_price=", "trailing_stop_pct=", "client_order_id="},
    "await engine.limit_buy('NSE:SBIN-EQ', 1, ": {"limit_price=", "time_in_force="},
    "engine.orders(": {"open=", "symbol=", "since=", "exact="},
    "lt.Live": {"LivePriceStream", "LiveTradingEngine"},
    "lt.open_journal('a.journal').": {"positions", "explain"},
}


def test_completion_before_and_after_await(kernel: Any) -> None:
    """Nothing is sent by it, and what is not for users is not shown."""
    kernel.run(ENGINE)
    for code, wanted in COMPLETED.items():
        assert wanted <= set(kernel.completed(code)), code
    shown = set(kernel.completed("engine."))
    assert {"market_buy", "panel", "positions", "stream", "name"} <= shown
    assert not [name for name in shown if name.startswith("_") or name in ("post_tick", "listen", "abandon")]
    assert kernel.completed("engine._") == []
    assert set(kernel.completed("lt.")) <= set(printed(kernel, "[*lt.__all__, '__version__']"))
    assert printed(kernel, "len(engine.orders())") == 0


def test_a_cell_that_ends_with_an_engine_shows_it(kernel: Any) -> None:
    kernel.run(ENGINE)
    cell = kernel.run("engine")
    assert cell.value.startswith("<LiveTradingEngine main PAPER open: 500,000.00 INR")
    assert "main · PAPER · open" in cell.html
    assert "✓ Bought 1 NSE:SBIN-EQ" in kernel.run("await engine.market_buy('NSE:SBIN-EQ', 1)").html
