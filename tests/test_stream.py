"""The stream: what is counted and what stands, who gets ticks and who misses some, and whose the stream is."""

import asyncio
import gc
import logging
import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

import livetrade as lt
from livetrade.core.ticks import Tick
from livetrade.readers import QUEUE_LENGTH
from tests.support import FREE, INFY, SBIN, quietly_close, quoted, soon, trading

KOLKATA = ZoneInfo("Asia/Kolkata")

QUARANTINED: list[tuple[str, dict[str, Any]]] = [
    ("not_a_number", {"bid": math.nan}),
    ("not_a_number", {"last": "NaN"}),
    ("not_a_number", {"ask": "dear"}),
    ("not_a_number", {"last": True}),
    ("not_a_number", {"last": pd.NA}),
    ("infinite", {"last": math.inf}),
    ("infinite", {"bid": "-Infinity"}),
    ("zero", {"bid": 0}),
    ("zero", {"ask": "0.00"}),
    ("zero", {"last": np.float64(-0.0)}),
    ("negative", {"last": -549}),
    ("negative", {"last": 549, "volume": -1}),
    ("off_scale", {"last": "549.001"}),
    ("off_scale", {"bid": Decimal("548.9500001")}),
    ("out_of_range", {"last": 10**20}),
    ("out_of_range", {"last": 549, "volume": 10**25}),
    ("crossed", {"bid": 550, "ask": 549}),
    ("empty", {}),
]


@pytest.mark.parametrize(("reason", "figures"), QUARANTINED)
@pytest.mark.parametrize("with_engine", [False, True])
def test_what_is_no_price_is_counted_and_the_last_good_quote_stands(
    reason: str, figures: dict[str, Any], with_engine: bool
) -> None:
    stream = quoted() if figures else lt.LivePriceStream()
    if with_engine:
        engine = lt.LiveTradingEngine(500_000, stream, fees=FREE)
    before = repr(stream.last(SBIN))
    stream.update(SBIN, **figures)
    if figures:
        stream.update(SBIN, **{"bid": "548.95", **figures, "last": figures.get("last", 549)})  # whole or not at all
        assert repr(stream.last(SBIN)) == before
    counted = engine.health()["quarantined"] if with_engine else dict(stream.quarantined)
    assert set(counted) == {reason}
    if with_engine:
        engine.close()


@pytest.mark.parametrize("with_engine", [False, True])
def test_times_that_run_backward_and_exact_copies_are_counted(with_engine: bool) -> None:
    stream = lt.LivePriceStream()
    if with_engine:
        engine = lt.LiveTradingEngine(500_000, stream)
    stream.update(SBIN, last=549, time="2026-03-02T09:15:02")
    stream.update(SBIN, last=549, time="2026-03-02T09:15:02")
    stream.update(SBIN, last=550, time="2026-03-02T09:15:01")
    stream.update(SBIN, last=551, time="2026-03-02T09:15:02")
    assert stream.last(SBIN).last == 551
    counted = engine.health()["quarantined"] if with_engine else dict(stream.quarantined)
    assert counted == {"duplicate": 1, "backward": 1}


def test_counts_of_many_threads_add_up() -> None:
    stream = lt.LivePriceStream()

    def post() -> None:
        for number in range(2000):
            stream.update(SBIN, last=-1 if number % 2 else 0)

    threads = [threading.Thread(target=post) for _ in range(8)]
    with trading(stream=stream) as engine:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            engine.health()
        assert engine.health()["quarantined"] == {"negative": 8000, "zero": 8000}


@pytest.mark.parametrize(
    ("time", "ns"),
    [
        ("2026-03-02T09:15:00", 1772423100_000000000),
        ("2026-03-02T03:45:00.000001+00:00", 1772423100_000001000),
        (datetime(2026, 3, 2, 9, 15), 1772423100_000000000),  # noqa: DTZ001  naive: meant in the stream's zone
        (datetime(2026, 3, 2, 3, 45, tzinfo=UTC), 1772423100_000000000),
        (pd.Timestamp("2026-03-02 09:15", tz=KOLKATA) + pd.Timedelta(nanoseconds=7), 1772423100_000000007),
        (1772423100_000000000, 1772423100_000000000),
    ],
)
@pytest.mark.parametrize("with_engine", [False, True])
def test_a_time_is_understood_in_the_zone_it_is_meant_in(time: Any, ns: int, with_engine: bool) -> None:
    stream = lt.LivePriceStream()
    if with_engine:
        engine = lt.LiveTradingEngine(500_000, stream)
        assert engine.is_open
    stream.update(SBIN, last=549, time=time)
    tick = stream.last(SBIN)
    assert tick.time_ns == ns
    assert tick.time.utcoffset() == timedelta(hours=5, minutes=30)


@pytest.mark.parametrize("time", ["yesterday", "", True, 1.5, None.__class__, pd.NaT, 10**30, b"2026", "09:15"])
def test_a_time_that_is_none_raises(time: Any) -> None:
    stream = quoted()
    before = repr(stream.last(SBIN))
    with pytest.raises(lt.OrderError):
        stream.update(SBIN, last=550, time=time)
    assert repr(stream.last(SBIN)) == before


def test_the_zone_is_the_engines_once_there_is_one() -> None:
    stream = lt.LivePriceStream(timezone="UTC")
    stream.update(SBIN, last=549, time="2026-03-02T03:45:00")
    with trading(stream=stream, timezone="America/New_York") as engine:
        assert engine.stream.last(SBIN).time.isoformat() == "2026-03-01T22:45:00-05:00"
        stream.update(SBIN, last=550, time="2026-03-01T22:46:00")
        assert stream.last(SBIN).last == 550
        assert str(stream.quotes()["time"].dtype).endswith("America/New_York]")


def test_huge_figures_leave_the_tables_whole() -> None:
    with trading() as engine:
        engine.stream.update(SBIN, last=550, volume=2**62)
        engine.stream.post(Tick(engine.stream.instrument(SBIN), 0, 0, 0, 55100, 0, 2**70))
        engine.stream.update(SBIN, last=552, volume=7)
        assert list(engine.ticks(SBIN)["last"]) == [549.0, 550.0, 552.0]


# ── whose the stream is ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stream_goes_from_hand_to_hand() -> None:
    stream = quoted()
    assert stream.last(SBIN).ask == 549
    assert list(stream.quotes().index) == [SBIN]
    first = lt.LiveTradingEngine(500_000, stream, name="first")
    stream.update(SBIN, ask=550)
    assert first.market_buy(SBIN, 1).result(5).order.avg_price == 550
    with pytest.raises(lt.LiveTradeError, match="already belongs to the engine 'first'"):
        lt.LiveTradingEngine(500_000, stream, name="second")
    assert first.market_sell(SBIN, 1).result(5).success
    first.close()
    stream.update(SBIN, bid=551, ask=552)
    assert stream.last(SBIN).bid == 551
    assert "no engine" in repr(stream)
    second = lt.LiveTradingEngine(500_000, stream, name="second")
    assert second.market_buy(SBIN, 1).result(5).order.avg_price == 552
    assert second.position(SBIN).last_price == 549
    quietly_close(second)


def test_instruments_given_to_an_engine_meet_the_prices_that_are_there() -> None:
    stream = quoted()
    with pytest.raises(lt.OrderError, match="already has prices with scale=2"):
        lt.LiveTradingEngine(500_000, stream, instruments=[lt.Instrument(SBIN, scale=4)])
    with trading(stream=stream, instruments=[lt.Instrument(SBIN, tick_size="0.05")]) as engine:
        with pytest.raises(lt.OrderError, match=r"off the tick of 0\.05"):
            engine.limit_buy(SBIN, 1, "540.01")
        with pytest.raises(lt.OrderError, match="already has prices"):
            stream.register(lt.Instrument(SBIN, scale=3))
        stream.register(lt.Instrument("EX:YY", scale=3))
        stream.update("EX:YY", last="1.234")
        assert stream.last("EX:YY").last == Decimal("1.234")


def test_a_thread_that_posts_goes_on_while_engines_come_and_go() -> None:
    stream = quoted()
    errors: list[BaseException] = []
    done = threading.Event()

    def post() -> None:
        price = 0
        while not done.is_set():
            price = price % 90000 + 1
            try:
                stream.update(SBIN, last=Decimal(price) / 100)
            except BaseException as error:  # noqa: BLE001  whatever it is, it is the finding
                errors.append(error)
                return

    threads = [threading.Thread(target=post) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(20):
        engine = lt.LiveTradingEngine(500_000, stream, name=f"e{number % 2}")
        assert engine.health()["feed"] == "NONE"
        engine.close()
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []


# ── readers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reader_gets_every_tick_from_now_on_until_the_engine_closes() -> None:
    stream = quoted()
    seen: list[Decimal] = []

    async def cell() -> None:
        engine = lt.LiveTradingEngine(500_000, stream)
        ticks = engine.stream.ticks(SBIN)
        everything = engine.stream.ticks()
        for price in range(1, 101):
            stream.update(SBIN, last=price)
            stream.update(INFY, last=price)
        seen.append((await anext(ticks)).last)
        asyncio.get_running_loop().call_later(0.02, engine.close)
        async for tick in ticks:
            assert tick.symbol == SBIN
            seen.append(tick.last)
        assert len([tick async for tick in everything]) == 200
        assert [tick async for tick in engine.stream.ticks(SBIN)] == []

    asyncio.run(cell())
    assert seen == list(range(1, 101))


def test_a_stream_without_an_engine_keeps_its_readers_waiting_for_one() -> None:
    async def cell() -> Decimal:
        stream = lt.LivePriceStream()
        first = asyncio.ensure_future(anext(stream.ticks(SBIN)))
        await asyncio.sleep(0)
        engine = lt.LiveTradingEngine(500_000, stream)
        stream.update(SBIN, last=549)
        tick = await asyncio.wait_for(first, 10)
        engine.close()
        return tick.last

    assert asyncio.run(cell()) == 549


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    async def cell() -> None:
        with trading() as engine:
            slow, quick = engine.stream.ticks(SBIN), engine.stream.ticks(SBIN)
            for price in range(1, QUEUE_LENGTH + 501):
                engine.stream.update(SBIN, last=price)
            assert engine.health()["subscribers"] == QUEUE_LENGTH
            first = await anext(slow)
            assert (first.missed, first.last) == (500, 501)
            assert (await anext(slow)).missed == 0
            await quick.aclose()
            rest = [first.last]
            engine.stream.update(SBIN, last=7)
            async for tick in slow:
                rest.append(tick.last)
                if tick.last == 7:
                    break
            assert rest[-2:] == [QUEUE_LENGTH + 500, 7]

    asyncio.run(cell())


def test_leaving_a_loop_forgets_the_reader() -> None:
    async def cell() -> None:
        with trading() as engine:
            hub = engine.stream.hub

            async def first() -> Tick | None:
                async for tick in engine.stream.ticks(SBIN):
                    return tick
                return None

            for price in range(1, 51):
                waiting = asyncio.ensure_future(first())
                await asyncio.sleep(0)
                engine.stream.update(SBIN, last=price)
                assert (await asyncio.wait_for(waiting, 10)).last == price
            del waiting
            gc.collect()
            assert hub.active is False
            assert hub._readers == ()
            assert engine.health()["subscribers"] == 0

            async def fails() -> None:
                async for _ in engine.stream.ticks(SBIN):
                    raise ZeroDivisionError

            failing = asyncio.ensure_future(fails())
            await asyncio.sleep(0)
            engine.stream.update(SBIN, last=99)
            with pytest.raises(ZeroDivisionError):
                await failing
            del failing
            gc.collect()
            assert hub.active is False

    asyncio.run(cell())


def test_a_cancelled_reader_may_go_on_reading() -> None:
    async def cell() -> None:
        with trading() as engine:
            ticks = engine.stream.ticks(SBIN)
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(ticks), 0.005)
            engine.stream.update(SBIN, last=1)
            engine.stream.update(SBIN, last=2)
            assert [(await asyncio.wait_for(anext(ticks), 10)).last for _ in range(2)] == [1, 2]

    asyncio.run(cell())


def test_a_reader_whose_loop_is_gone_hurts_nobody() -> None:
    with trading() as engine:
        loop = asyncio.new_event_loop()
        ticks = engine.stream.ticks(SBIN)
        task = loop.create_task(anext(ticks))  # type: ignore[arg-type]
        loop.run_until_complete(asyncio.sleep(0, result=None))
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
        for price in range(1, 3000):
            engine.stream.update(SBIN, last=price)
        assert engine.stream.last(SBIN).last == 2999
        assert engine.market_buy(SBIN, 1).result(5).success


def test_who_waits_for_a_symbol_that_was_hardly_meant_is_warned() -> None:
    with trading() as engine:
        for wait in (lambda: engine.stream.ticks("SBIN"), lambda: engine.stream.bars("SBIN", "1min")):
            with pytest.warns(
                RuntimeWarning, match=r"^nothing is known of SBIN: did you mean NSE:SBIN-EQ\?$"
            ) as warned:
                wait()
            assert warned[0].filename == __file__
        engine.stream.ticks("BTCUSDT")
        engine.stream.ticks(SBIN)


# ── callbacks ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_callback_that_raises_is_named_and_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def raises(_: Tick) -> None:
        seen.append("raises")
        raise ZeroDivisionError

    def leaves(_: Tick) -> None:
        seen.append("leaves")
        raise SystemExit

    with trading() as engine:
        engine.stream.on_tick(raises)
        engine.stream.on_tick(leaves)
        engine.stream.on_tick(lambda _: seen.append("works"))
        for price in (1, 2):
            engine.stream.update(SBIN, last=price)
        soon(lambda: seen.count("works") == 2)
        assert seen.count("raises") == seen.count("leaves") == 2
        assert "raises failed" in caplog.text


def test_a_callback_that_raises_on_every_tick_does_not_bury_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Tick] = []

    def raises(tick: Tick) -> None:
        seen.append(tick)
        raise ZeroDivisionError

    with trading() as engine:
        engine.stream.on_tick(raises)
        for price in range(1, 101):
            engine.stream.update(SBIN, last=price)
            soon(lambda price=price: len(seen) == price)  # type: ignore[misc]
    told = [record.getMessage().partition("raises ")[2] for record in caplog.records]
    assert told == ["failed", *(f"failed, {count} times by now" for count in (2, 4, 8, 16, 32, 64))]
    assert all(record.exc_info for record in caplog.records)


def test_a_slow_callback_is_named_told_what_it_missed_and_delays_no_stop(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    asleep, wake = threading.Event(), threading.Event()
    missed: list[int] = []

    def sleeper(tick: Tick) -> None:
        missed.append(tick.missed)
        asleep.set()
        wake.wait(30)
        if len(missed) == 1:
            threading.Event().wait(0.06)

    with trading() as engine:
        engine.market_buy(SBIN, 10, stop_loss_price=540).result(5)
        engine.stream.on_tick(sleeper)
        fills: list[lt.Fill] = []
        engine.on_fill(fills.append)
        engine.stream.update(SBIN, last=549)
        assert asleep.wait(30)
        for price in range(1, QUEUE_LENGTH + 101):
            engine.stream.update(SBIN, bid=549, ask="549.05", last=Decimal(54900 + price % 7) / 100)
        engine.stream.update(SBIN, bid=540, ask="540.05", last=540)
        assert not engine.position(SBIN)  # the stop has fired while the callback sleeps
        assert not fills
        assert len(engine._user._jobs) < 10
        assert engine.health()["subscribers"] == QUEUE_LENGTH
        wake.set()
        soon(lambda: len(missed) == QUEUE_LENGTH + 1)
        assert missed[:3] == [0, 101, 0]
        soon(lambda: fills)
        soon(lambda: "sleeper took" in caplog.text)


def test_a_callback_registered_again_under_its_name_replaces_itself() -> None:
    seen: list[str] = []

    def define(version: str) -> Callable[[Tick], None]:
        namespace: dict[str, Any] = {"seen": seen, "__name__": "cell"}
        exec(f"def strategy(tick): seen.append({version!r})", namespace)
        return namespace["strategy"]  # type: ignore[no-any-return]

    class Both:
        def on(self, _: Tick) -> None:
            seen.append("method")

    with trading() as engine:
        for version in ("first", "second"):
            engine.stream.on_tick(define(version))
        one, other = Both(), Both()
        for callback in (one.on, other.on, partial(seen.append), partial(seen.append)):
            engine.stream.on_tick(callback)
        engine.stream.update(SBIN, last=549)
        soon(lambda: len(seen) == 5)
        assert seen.count("second") == 1
        assert seen.count("method") == 2
        assert "first" not in seen


def test_a_callback_may_register_callbacks_trade_and_read() -> None:
    seen: list[str] = []
    with trading() as engine:

        @engine.stream.on_tick
        def outer(tick: Tick) -> None:
            seen.append("outer")
            assert engine.stream.last(SBIN) is not None
            assert engine.positions().empty or True
            engine.stream.on_tick(lambda _: seen.append("inner"))
            engine.stream.update(INFY, last=1500)
            if len(seen) > 4:
                engine.close()

        engine.stream.update(SBIN, last=549)
        soon(lambda: not engine.is_open)
        assert "inner" in seen


def test_callbacks_stay_with_the_stream_from_engine_to_engine() -> None:
    stream = quoted()
    seen: list[Decimal] = []
    stream.on_tick(lambda tick: seen.append(tick.last))
    for price in (1, 2):
        with trading(stream=stream):
            stream.update(SBIN, last=price)
            soon(lambda price=price: price in seen)
    assert seen[-1] == 2
