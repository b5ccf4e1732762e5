"""The engine's thread: posted to, asked, closed, replaced, flooded and disturbed from all sides."""

import asyncio
import copy
import gc
import json
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any

import pytest

import livetrade as lt
from livetrade.core import events as ev
from livetrade.core.kinds import FeedState
from livetrade.core.ticks import Tick
from livetrade.ports import Sink
from livetrade.registry import engines
from livetrade.snapshot import FILLS_SHOWN, ORDERS_SHOWN
from tests.support import (
    FREE,
    INFY,
    SBIN,
    ScriptedFeed,
    events_of,
    folded,
    picture,
    picture_of,
    quietly_close,
    quoted,
    soon,
    trading,
)

HEALTH = [
    "feed",
    "feed_reason",
    "ticks",
    "ticks_per_second",
    "tick_age",
    "quarantined",
    "lag_ms",
    "worst_stall_ms",
    "journal",
    "reconnects",
    "subscribers",
    "alarms",
]


def threads_of_engines() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("livetrade")]


# ── posting ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_eight_threads_post_and_read_their_own_writes() -> None:
    each = 15_000
    with trading(stream=lt.LivePriceStream()) as engine:

        def post(number: int) -> None:
            symbol = f"NSE:S{number}-EQ"
            for price in range(1, each + 1):
                engine.stream.update(symbol, last=price)
                if price % 1000 == 0:
                    assert engine.stream.last(symbol).last == price

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(post, range(8)))
        health = engine.health()
        assert health["ticks"] == 8 * each
        assert health["quarantined"] == {}
        for number in range(8):
            lasts = engine.ticks(f"NSE:S{number}-EQ")["last"]
            assert list(lasts) == [float(price) for price in range(1, each + 1)]


def other_process(pipe: Connection) -> None:
    for price in range(1, 2001):
        pipe.send((SBIN, price))
    pipe.send(None)


def test_prices_come_from_another_process_through_a_pipe() -> None:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=other_process, args=(sender,))
    with trading(stream=lt.LivePriceStream()) as engine:

        def read() -> None:
            while (item := receiver.recv()) is not None:
                engine.stream.update(item[0], last=item[1])

        reader = threading.Thread(target=read)
        reader.start()
        process.start()
        reader.join(60)
        process.join(60)
        assert list(engine.ticks(SBIN)["last"]) == [float(price) for price in range(1, 2001)]
    process.close()
    receiver.close()
    sender.close()


def test_a_read_overtakes_the_backlog_of_others_and_a_stop_fires_in_it() -> None:
    stop_flood = threading.Event()
    with trading() as engine:
        engine.market_buy(SBIN, 10, stop_loss_price=540).result(5)

        def flood() -> None:
            price = 0
            while not stop_flood.is_set():
                price = price % 1000 + 1
                engine.stream.update(INFY, last=price)

        threads = [threading.Thread(target=flood) for _ in range(2)]
        for thread in threads:
            thread.start()
        soon(lambda: engine.health()["ticks"] > 2000)
        assert engine.position(SBIN).quantity == 10
        engine.stream.update(SBIN, bid=540, ask="540.05", last=540)
        assert not engine.position(SBIN)
        assert engine.market_buy(SBIN, 1).result(30).success
        stop_flood.set()
        for thread in threads:
            thread.join()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads here")
def test_a_signal_handler_may_flatten() -> None:
    answers: list[lt.OrderResult] = []
    with trading() as engine:
        engine.market_buy(SBIN, 10).result(5)
        before = signal.signal(signal.SIGUSR1, lambda *_: answers.append(engine.flatten().result(30)))
        main = threading.get_ident()
        sender = threading.Thread(target=lambda: signal.pthread_kill(main, signal.SIGUSR1))
        sender.start()
        while not answers:
            engine.stream.update(SBIN, last=549)
        sender.join()
        signal.signal(signal.SIGUSR1, before)
        assert answers[0].success
        assert not engine.position(SBIN)


def test_the_clock_never_turns_back() -> None:
    with trading() as engine:
        times = []
        for price in range(1, 300):
            engine.stream.update(SBIN, last=price)
            engine.market_buy(SBIN, 1)
            times.append(engine.now())
        assert times == sorted(times)
        stamps = [event.ts for event in events_of(engine)]
        assert stamps == sorted(stamps)


# ── one engine of a name ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_second_engine_of_a_name_closes_the_first() -> None:
    stream = quoted()
    first = lt.LiveTradingEngine(500_000, stream)
    first.market_buy(SBIN, 1, stop_loss_price=540).result(5)
    with pytest.warns(RuntimeWarning, match="1 NSE:SBIN-EQ and 1 exit is no longer watched"):
        second = lt.LiveTradingEngine(500_000, stream)
    assert not first.is_open
    assert second.is_open
    assert engines() == {"main": second}
    assert second.market_buy(SBIN, 2).result(5).success
    assert first.position(SBIN).quantity == 1
    with pytest.warns(RuntimeWarning):
        second.close()
    assert engines() == {}


def test_an_engine_that_could_not_be_made_leaves_nothing_behind() -> None:
    stream = quoted()
    with trading(stream=stream, name="owner"):
        for name in ("other", "another"):
            with pytest.raises(lt.LiveTradeError):
                lt.LiveTradingEngine(500_000, stream, name=name)
        assert set(engines()) == {"owner"}
        for terms in (
            {"cash": None},
            {"cash": -1},
            {"cash": "much"},
            {"cash": True},
            {"feed": object()},
            {"broker": object()},
            {"fees": 3},
            {"limits": {"allow_short": True}},
            {"margin": 1},
            {"instruments": [SBIN]},
            {"timezone": "Mars/Base"},
            {"trigger_by": "mid"},
            {"name": ""},
        ):
            with pytest.raises(lt.OrderError):
                lt.LiveTradingEngine(**{"cash": 1, "name": "bad", **terms})  # type: ignore[arg-type]
        with pytest.raises(lt.JournalError):
            lt.LiveTradingEngine(1, name="bad", journal=object())  # type: ignore[arg-type]
        assert set(engines()) == {"owner"}
    assert soon(lambda: not threads_of_engines())


def test_many_threads_that_make_one_engine_leave_one() -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: lt.LiveTradingEngine(1), range(12)))
    assert sum(engine.is_open for engine in made) == 1
    assert engines()["main"].is_open
    engines()["main"].close()


def test_fifty_engines_leave_no_thread_and_no_task() -> None:
    with trading() as warm_up:
        warm_up.health()
    before = threading.active_count()
    for number in range(50):
        with lt.LiveTradingEngine(1, feed=lt.SimulatedFeed(SBIN), name=f"e{number % 3}") as engine:
            engine.stream.on_tick(lambda _: None)
            engine.health()
    assert soon(lambda: threading.active_count() <= before)
    gc.collect()
    assert not [task for task in gc.get_objects() if isinstance(task, asyncio.Task) and not task.done()]


def test_an_engine_is_not_copied() -> None:
    with trading() as engine:
        for copied in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=r"the engine 'main' runs in this process .* lt.start_desk"):
                copied(engine)


# ── closing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_after_the_close_commands_raise_and_reads_answer() -> None:
    with trading() as engine:
        engine.market_buy(SBIN, 5, stop_loss_price=540).result(5)
        engine.limit_buy(SBIN, 1, 500, client_order_id="REST1").result(5)
        before = picture_of(engine)
        quietly_close(engine)
        engine.close()
        for command in (
            lambda: engine.market_buy(SBIN, 1),
            lambda: engine.limit_sell(SBIN, 1, 600),
            lambda: engine.stop_sell(SBIN, 1, 500),
            lambda: engine.submit({"symbol": SBIN, "side": "BUY", "quantity": 1}),
            lambda: engine.modify("REST1", quantity=2),
            lambda: engine.cancel("REST1"),
            engine.cancel_all,
            lambda: engine.set_stop_loss(SBIN, 541),
            lambda: engine.close_position(SBIN),
            engine.flatten,
            engine.halt,
            engine.resume,
            lambda: engine.transfer(1),
            lambda: engine.preview("BUY", SBIN, 1),
        ):
            with pytest.raises(lt.EngineClosedError, match="the engine 'main' is closed"):
                command()
        engine.panel_command("flatten")
        assert picture_of(engine) == before
        assert engine.position(SBIN).quantity == 5
        assert len(engine.orders()) == 2
        assert len(engine.fills()) == len(engine.positions()) == len(engine.risk_orders()) == 1
        assert list(engine.pnl().index)
        assert engine.get_portfolio_pnl().result(1)["fees"] == 0
        assert "closed" in repr(engine)
        assert engine.panel_snapshot(None)["closed"] is True
        assert engine.health()["ticks"] == len(engine.ticks(SBIN)) == 1
        assert engine.now() is not None


def test_many_threads_read_a_closed_engine_whole() -> None:
    with trading(10_000_000) as engine:
        for _ in range(100):
            engine.market_buy(SBIN, 1)
        quietly_close(engine)
        start = threading.Barrier(8)

        def look(_: int) -> tuple[int, int]:
            start.wait(10)
            return len(engine.orders()), len(engine.fills())

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                assert set(pool.map(look, range(8))) == {(100, 100)}
        finally:
            sys.setswitchinterval(interval)
        assert list(engine.orders()["filled_qty"]) == [1.0] * 100


def test_context_managers_close() -> None:
    with lt.LiveTradingEngine(1) as engine:
        assert engine.is_open
    assert not engine.is_open

    async def cell() -> None:
        async with lt.LiveTradingEngine(1) as inner:
            assert inner.is_open
        assert not inner.is_open
        with pytest.raises(ZeroDivisionError):
            async with lt.LiveTradingEngine(1) as inner:
                raise ZeroDivisionError
        assert not inner.is_open

    asyncio.run(cell())


def test_closed_from_anywhere_at_once() -> None:
    with trading() as engine:
        closed = threading.Event()

        @engine.on_order
        def end(_: lt.Order) -> None:
            quietly_close(engine)
            closed.set()

        engine.market_buy(SBIN, 1)
        assert closed.wait(10)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: quietly_close(engine), range(8)))
    assert soon(lambda: not threads_of_engines())


def test_closing_does_what_was_sent_before() -> None:
    for _ in range(5):
        with trading(stream=lt.LivePriceStream()) as engine:
            for price in range(1, 20_001):
                engine.stream.update(SBIN, last=price)
            bought, sold = engine.market_buy(SBIN, 1), engine.flatten()
            engine.close()
            assert bought.result(0).success, bought
            assert sold.result(0).success
            assert not engine.position(SBIN)


def test_a_close_amid_posts_and_reads_ends_and_answers_everybody() -> None:
    errors: list[BaseException] = []
    with trading() as engine:
        done = threading.Event()

        def disturb(work: Callable[[], Any]) -> None:
            while not done.is_set():
                try:
                    work()
                except lt.EngineClosedError:
                    return
                except BaseException as error:  # noqa: BLE001  whatever it is, it is the finding
                    errors.append(error)
                    return

        handles: list[Any] = []
        works: list[Callable[[], Any]] = [
            lambda: engine.stream.update(SBIN, last=549),
            lambda: engine.stream.update(SBIN, bid="548.95", ask=549),
            engine.positions,
            engine.health,
            lambda: engine.panel_snapshot(None),
            lambda: handles.append(engine.market_buy(SBIN, 1)),
            lambda: handles.append(engine.limit_buy(SBIN, 1, 1)),
            lambda: repr(engine),
        ]
        threads = [threading.Thread(target=disturb, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        soon(lambda: len(handles) > 50)
        quietly_close(engine)
        assert all(handle.result(10) for handle in handles)
        done.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert errors == []
        assert picture(folded(events_of(engine))) == picture_of(engine)


def run(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=False, timeout=60)


OPEN = """
import os, sys, threading, livetrade as lt
stream = lt.LivePriceStream()
stream.update("NSE:SBIN-EQ", bid=549, ask=550, last=550)
engine = lt.LiveTradingEngine(500_000, stream)
engine.market_buy("NSE:SBIN-EQ", 1, stop_loss_price=500).result(5)
other = lt.LiveTradingEngine(1, feed=lt.SimulatedFeed("NSE:SBIN-EQ"), name="other")
other.stream.on_tick(lambda _: threading.Event().wait(60))
"""


def test_an_interpreter_leaves_with_its_engines_open() -> None:
    done = run(OPEN)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "1 NSE:SBIN-EQ and 1 exit is no longer watched" in done.stderr
    strict = run(OPEN + "import atexit; atexit.register(lambda: print(other.is_open))", "-W", "error")
    assert strict.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_reads_its_copy_and_trades_nothing() -> None:
    done = run(
        OPEN
        + """
child = os.fork()
if child == 0:
    try:
        engine.market_buy("NSE:SBIN-EQ", 1)
    except lt.EngineClosedError as error:
        print(error, engine.position("NSE:SBIN-EQ").quantity, stream.last("NSE:SBIN-EQ").bid, flush=True)
    stream.update("NSE:SBIN-EQ", last=1)
    with lt.LiveTradingEngine(7, name="own") as own:
        print(own.cash, flush=True)
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
print(engine.market_sell("NSE:SBIN-EQ", 1).result(5).success, engine.is_open)
""",
        "-W",
        "ignore",
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines() == [
        "the engine 'main' runs in the process that was forked 1 549.00",
        "7.00",
        "True True",
    ]


def test_an_engine_in_a_thread_with_a_running_loop() -> None:
    async def cell() -> bool:
        stream = quoted()
        engine = lt.LiveTradingEngine(500_000, stream, name="inner", fees=FREE)
        bought = await engine.market_buy(SBIN, 1)
        sold = engine.flatten().result(5)
        engine.close()
        return bought.success and sold.success

    with ThreadPoolExecutor(2) as pool:
        assert pool.submit(asyncio.run, cell()).result(30)


# ── feeds ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def raises(_: Sink) -> None:
    raise ConnectionRefusedError("nobody is there")


async def ends(sink: Sink) -> None:
    sink.state(FeedState.LIVE)
    sink.tick(Tick(sink.instrument(SBIN), sink.now(), 54895, 54900, 54900))


async def posts_nothing_that_is_a_tick(sink: Sink) -> None:
    await ends(sink)
    sink.tick("549.00")  # type: ignore[arg-type]


async def exits_the_process(sink: Sink) -> None:
    await ends(sink)
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("script", "state", "words"),
    [
        (raises, "FAILED", "Connection lost: the feed is FAILED (nobody is there)"),
        (ends, "CLOSED", "Connection lost: the feed is CLOSED (the feed has ended)"),
        (posts_nothing_that_is_a_tick, "FAILED", "Connection lost: the feed is FAILED"),
    ],
)
def test_a_feed_that_is_gone_opens_nothing_and_closes_all(
    script: Callable[[Sink], Any], state: str, words: str
) -> None:
    stream = quoted()
    with trading(stream=stream, feed=ScriptedFeed(script)) as engine:
        soon(lambda: engine.health()["feed"] == state)
        answer = engine.market_buy(SBIN, 1).result(5)
        assert answer.message.startswith(words)
        stream.update(SBIN, last=550)
        assert stream.last(SBIN).last == 550


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (FeedState.CONNECTING, "Connection lost"),
        (FeedState.RECONNECTING, "Connection lost"),
        (FeedState.STALE, "Stale price: mute for 10 s"),
        (FeedState.LIVE, "Bought"),
    ],
)
def test_what_a_feeds_state_means_for_orders(state: FeedState, words: str) -> None:
    async def script(sink: Sink) -> None:
        sink.state(FeedState.LIVE)
        sink.tick(Tick(sink.instrument(SBIN), sink.now(), 54895, 54900, 54900))
        await asyncio.sleep(0.01)
        sink.state(state, "mute for 10 s")
        await asyncio.Event().wait()

    with trading(feed=ScriptedFeed(script), limits=lt.Limits(allow_short=True)) as engine:
        soon(lambda: engine._read(lambda account: account.feed.reason) == "mute for 10 s")
        answer = engine.market_buy(SBIN, 5).result(5)
        assert answer.message.startswith(words)
        assert answer.success is (state is FeedState.LIVE)
        assert engine.health()["feed"] == state.value


def test_positions_can_be_left_while_the_feed_is_gone() -> None:
    go = threading.Event()

    async def script(sink: Sink) -> None:
        await ends(sink)
        await asyncio.to_thread(go.wait, 60)
        raise OSError("cut")

    with trading(feed=ScriptedFeed(script)) as engine:
        soon(lambda: engine.health()["ticks"])
        engine.market_buy(SBIN, 10, stop_loss_price=540).result(5).raise_if_failed()
        go.set()
        soon(lambda: engine.health()["feed"] == "FAILED")
        assert engine.set_stop_loss(SBIN, 545).result(5).success
        assert engine.market_sell(SBIN, 4).result(5).success
        assert engine.flatten().result(5).success
        assert not engine.position(SBIN)


def test_garbage_of_a_feed_is_counted_and_nothing_stands_on_it() -> None:
    async def script(sink: Sink) -> None:
        sink.state(FeedState.LIVE)
        item = sink.instrument(SBIN)
        for received in (0, -5, sink.now(), 2**62, 2**63 - 1):
            sink.tick(Tick(item, received, 54895, 54900, 54900))
        sink.tick(Tick(item, sink.now(), 55000, 54900))
        sink.tick(Tick(item, sink.now(), -1, 54900))
        sink.tick(Tick(lt.Instrument(SBIN, scale=3), sink.now(), 1, 2, 3))
        sink.quarantine("garbled")
        sink.tick(Tick(item, sink.now(), 54890, 54905, 54900))
        await asyncio.Event().wait()

    with trading(feed=ScriptedFeed(script)) as engine:
        soon(lambda: engine.health()["ticks"] == 6)
        assert engine.health()["quarantined"] == {"crossed": 1, "negative": 1, "scale": 1, "garbled": 1}
        assert engine.health()["feed"] == "LIVE"
        assert engine.now().year < 2100
        assert engine.market_buy(SBIN, 1).result(5).order.avg_price == Decimal("549.05")


def test_aged_quotes_are_stale_until_their_next_tick() -> None:
    with trading() as engine:
        engine.market_buy(SBIN, 10, stop_loss_price=540).result(5)

        def age() -> None:
            engine.account.handle(ev.ClockJumped(engine.now_ns() + 1, 0, "the clock jumped by +60 s"))

        engine._read(lambda _: age())
        assert engine.market_buy(SBIN, 1).result(5).message == "Stale price: the clock jumped by +60 s"
        assert engine.market_sell(SBIN, 1).result(5).success
        engine.stream.update(SBIN, last=549)
        assert engine.market_buy(SBIN, 1).result(5).success


# ── what others break ────────────────────────────────────────────────────────────────────────────────────────────────


def test_fees_that_fail_charge_nothing_and_say_so() -> None:
    def fees(_: lt.Fill) -> Decimal:
        raise ZeroDivisionError("fees")

    with trading(fees=fees) as engine:
        assert engine.market_buy(SBIN, 1, stop_loss_price=540).result(5).success
        assert "fees" in engine.health()["alarms"][0]
        engine.stream.update(SBIN, bid=540, ask=541, last=540)
        assert not engine.position(SBIN)


def test_an_inner_fault_halts_in_the_open_and_the_stops_go_on(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(lt.Limits):
        @property
        def max_tick_age_ns(self) -> int | None:
            if armed:
                raise ZeroDivisionError("limits")
            return None

    armed: list[int] = []
    with trading(limits=Broken()) as engine:
        engine.market_buy(SBIN, 10, stop_loss_price=540).result(5).raise_if_failed()
        armed.append(1)
        with pytest.raises(ZeroDivisionError, match="limits"):
            engine.market_buy(SBIN, 1).result(5)
        armed.clear()
        assert engine.market_buy(SBIN, 1).result(5).message.startswith("Trading halted: internal error")
        assert [record.levelname for record in caplog.records] == ["CRITICAL"]
        engine.stream.update(SBIN, bid=540, ask=541, last=540)
        assert not engine.position(SBIN)
        assert engine.resume().result(5).success
        assert engine.market_buy(SBIN, 1).result(5).success


def test_a_watcher_that_raises_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    woken: list[int] = []

    def broken() -> None:
        raise ZeroDivisionError

    with trading() as engine:
        engine.panel_watch(broken)
        unwatch = engine.panel_watch(lambda: woken.append(1))
        engine.stream.update(SBIN, last=550)
        assert engine.stream.last(SBIN).last == 550
        soon(lambda: woken)
        unwatch()
        engine.market_buy(SBIN, 1).result(5)
        seen = len(woken)
        engine.stream.update(SBIN, last=551)
        assert engine.stream.last(SBIN).last == 551
        assert len(woken) == seen
        assert "failed" in caplog.text


# ── looking in ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_health_tells_what_it_promises() -> None:
    with trading() as engine:
        for price in range(1, 100):
            engine.stream.update(SBIN, last=price)
        engine.stream.update(SBIN, last=-1)
        health = engine.health()
        assert sorted(health) == sorted(HEALTH)
        assert health["ticks"] == 100
        assert health["quarantined"] == {"negative": 1}
        assert set(health["lag_ms"]) == {"p50", "p99", "max"}
        assert 0 < health["lag_ms"]["p50"] <= health["lag_ms"]["p99"] <= health["lag_ms"]["max"]
        assert list(health["tick_age"]) == [SBIN]
        json.dumps(health)


def test_the_panel_sees_and_commands() -> None:
    with trading(stream=quoted()) as engine:
        engine.market_buy(SBIN, 10, stop_loss_price=540, take_profit_price=560).result(5)
        engine.stream.update(SBIN, bid=550, ask="550.05", last=550)
        shown: Any = engine.panel_snapshot(None)
        json.dumps(shown)
        assert (shown["name"], shown["mode"], shown["feed"], shown["closed"]) == ("main", "PAPER", "NONE", False)
        assert shown["pnl"]["total_pnl"] == float(engine.get_portfolio_pnl().result()["total_pnl"]) == 10
        [row] = shown["positions"]
        assert (row["symbol"], row["quantity"], row["last_price"]) == (SBIN, 10, 550)
        assert (row["stop_loss_price"], row["take_profit_price"], row["avg_price"]) == (540, 560, 549)
        assert engine.panel_snapshot([INFY])["positions"] == []
        [fill] = shown["fills"]
        assert (fill["symbol"], fill["side"], fill["quantity"], fill["price"]) == (SBIN, "BUY", 10, 549)
        assert shown["orders"] == []
        for action, check in (
            ("halt", lambda: engine.panel_snapshot(None)["halt_reason"] == "panel"),
            ("flatten", lambda: not engine.position(SBIN)),
            ("resume", lambda: not engine.panel_snapshot(None)["halted"]),
        ):
            engine.panel_command(action)
            soon(check)
        engine.panel_command("no such button")
        assert engine.market_buy(SBIN, 1).result(5).success


def test_a_panel_of_one_symbol() -> None:
    with trading() as engine:
        assert engine.panel(SBIN) is engine.panel([SBIN])
        assert engine.panel(SBIN) is not engine.panel()
        for wrong in ({"symbols": "nse:sbin-eq"}, {"fps": "fast"}, {"fps": 0}):
            with pytest.raises(lt.LiveTradeError):
                engine.panel(**wrong)  # type: ignore[arg-type]


def test_the_panel_lists_the_newest_orders_and_fills() -> None:
    with trading(stream=quoted()) as engine:
        engine.stream.update(INFY, bid=1_600, ask=1_600, last=1_600)
        for number in range(FILLS_SHOWN + 2):
            engine.market_buy(SBIN, number + 1).result(5).raise_if_failed()
        resting = [engine.limit_buy(SBIN, 1, 500 - number).result(5) for number in range(ORDERS_SHOWN + 2)]
        engine.market_buy(INFY, 5).result(5).raise_if_failed()
        shown: Any = engine.panel_snapshot(None)
        assert [fill["quantity"] for fill in shown["fills"]] == [5, 8, 7, 6, 5, 4]
        assert len({fill["id"] for fill in shown["fills"]}) == FILLS_SHOWN
        assert [row["id"] for row in shown["orders"]] == [answer.order.client_order_id for answer in resting[2:]]
        assert (shown["orders"][0]["limit_price"], shown["orders"][0]["status"]) == (498, "ACCEPTED")
        assert (shown["working_orders"], shown["open_positions"]) == (ORDERS_SHOWN + 2, 2)
        one: Any = engine.panel_snapshot([INFY])
        assert [fill["symbol"] for fill in one["fills"]] == [INFY]
        assert (one["orders"], one["open_positions"]) == ([], 2)


# ── for a long time ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_three_hundred_thousand_ticks_keep_nothing() -> None:
    symbols = [f"NSE:S{number}-EQ" for number in range(5)]

    def post(ticks: int) -> tuple[int, int]:
        for number in range(ticks):
            engine.stream.update(symbols[number % 5], last=100 + number % 97)
        assert engine.health()["ticks"]
        soon(engine._user.is_idle)
        gc.collect()
        return sys.getallocatedblocks(), len(gc.get_objects())

    with trading(stream=lt.LivePriceStream()) as engine:
        engine.stream.on_tick(lambda tick: tick.mid)
        post(12_000)
        blocks, objects = post(12_000)
        blocks_after, objects_after = post(300_000)
        assert blocks_after - blocks < 5000
        assert objects_after - objects < 500
        assert len(events_of(engine)) < 10
        assert len(engine._inbox) == 0


def test_a_callback_that_sleeps_keeps_the_queues_bounded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    wake = threading.Event()
    with trading() as engine:
        engine.stream.on_tick(lambda _: wake.wait(60))
        for price in range(20_000):
            engine.stream.update(SBIN, last=1 + price % 7)
        assert engine.health()["ticks"] == 20_001
        assert engine.health()["subscribers"] == 1000
        assert len(engine._user._jobs) < 10
        wake.set()
