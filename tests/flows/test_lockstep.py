"""Lock-step: a recording played as fast as the strategies keep up, one tick at a time, in plain asyncio."""

import asyncio
import gc
import random
import threading
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

import livetrade as lt
from livetrade.core import events as ev
from tests.support import FREE, SBIN, events_of, folded, picture, picture_of, quietly_close, recording, soon

Strategy = Callable[[lt.LiveTradingEngine], Awaitable[Any]]
TICKS = 300


def prices(count: int = TICKS, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    price, path = 549.0, []
    for _ in range(count):
        price += rng.choice((-0.5, -0.25, 0.25, 0.5))
        path.append(round(price, 2))
    return path


async def played(*strategies: Strategy, frame: Any = None, **terms: Any) -> tuple[lt.LiveTradingEngine, list[Any]]:
    """Starts the strategies, plays the recording to its end, and gives the closed engine and what they returned."""
    feed = lt.RecordedFeed(recording(prices()) if frame is None else frame, speed=None, autoplay=False)
    engine = lt.LiveTradingEngine(500_000, feed=feed, **{"fees": FREE, **terms})
    tasks = [asyncio.ensure_future(strategy(engine)) for strategy in strategies]
    await asyncio.sleep(0)  # until each asks for its first tick
    await asyncio.to_thread(soon, lambda: engine._read(lambda account: account.feed.reason) == "waiting for play()")
    await asyncio.wait_for(feed.play(), 60)
    await asyncio.to_thread(quietly_close, engine)
    return engine, await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)


async def crossing(engine: lt.LiveTradingEngine, fast: int = 5, slow: int = 20) -> list[lt.Tick]:
    """Two averages; each order must fill at the quote of the tick it was placed on."""
    seen: list[lt.Tick] = []
    held = False
    async for tick in engine.stream.ticks(SBIN):
        seen.append(tick)
        assert engine.now() == tick.time == tick.received
        assert engine.stream.last(SBIN).last == tick.last
        last = [t.price for t in seen[-slow:]]
        up = sum(last[-fast:]) / fast > sum(last) / slow
        if len(seen) >= slow and up != held:
            held = up
            order = engine.market_buy if up else engine.market_sell
            answer = await order(SBIN, 10, tag=str(len(seen)))
            assert answer.success, answer.message
            assert answer.order.avg_price == (tick.ask if up else tick.bid)
            assert answer.order.created_at == tick.time
    return seen


def test_a_strategy_sees_every_tick_and_trades_on_it() -> None:
    engine, [seen] = asyncio.run(played(crossing))
    assert [tick.price for tick in seen] == prices()
    assert not any(tick.missed for tick in seen)
    assert len(engine.fills()) > 10


def test_two_runs_give_the_same_events() -> None:
    async def exits(engine: lt.LiveTradingEngine) -> None:
        async for tick in engine.stream.ticks(SBIN):
            if not engine.position(SBIN):
                await engine.market_buy(SBIN, 7, trailing_stop="1.5", take_profit_pct="0.3")
            engine.limit_buy(SBIN, 1, tick.bid - 1)
            if tick.time.second % 30 == 0:
                await engine.cancel_all()

    def run() -> tuple[list[ev.Event], lt.LiveTradingEngine]:
        broker = lt.PaperBroker(slippage="0.05", latency=0.4)
        engine, [_, failed] = asyncio.run(played(crossing_or_not, exits, broker=broker, fees=lt.DEFAULT_FEES))
        assert failed is None, failed
        return [event for event in events_of(engine) if not isinstance(event, ev.AccountOpened)], engine

    async def crossing_or_not(engine: lt.LiveTradingEngine) -> None:
        async for tick in engine.stream.ticks(SBIN):
            if tick.time.second % 7 == 0:
                await engine.market_buy(SBIN, 2, product="CNC")

    first, engine = run()
    second, _ = run()
    assert len(first) > 500
    assert first == second
    assert picture(folded(events_of(engine))) == picture_of(engine)


def test_waiting_for_what_a_later_tick_brings_stalls_nothing() -> None:
    async def patient(engine: lt.LiveTradingEngine) -> int:
        ticks = 0
        async for tick in engine.stream.ticks(SBIN):
            ticks += 1
            if ticks == 10:
                handle = engine.limit_buy(SBIN, 10, tick.bid - 1)
                filled = await handle.wait_for("FILLED")
                assert filled.order.updated_at > tick.time
                a, b = engine.limit_sell(SBIN, 5, tick.bid), engine.limit_sell(SBIN, 5, tick.bid + 1)
                await asyncio.gather(a.wait_for("FILLED", 600), b.wait_for("FILLED", timeout=600))
        return ticks

    async def other(engine: lt.LiveTradingEngine) -> list[float]:
        seen = []
        async for tick in engine.stream.ticks(SBIN):
            await asyncio.sleep(0)
            assert engine.now() == tick.time  # nobody runs ahead while this one works
            seen.append(tick.price)
        return seen

    _, [ticks, seen] = asyncio.run(played(patient, other))
    assert isinstance(ticks, int), ticks
    assert 10 < ticks <= TICKS
    assert seen == prices()


def test_latency_is_waited_for_in_the_recordings_time() -> None:
    async def late(engine: lt.LiveTradingEngine) -> list[float]:
        spent = []
        async for _ in engine.stream.ticks(SBIN):
            before = engine.now()
            answer = await engine.market_buy(SBIN, 1)
            spent.append((engine.now() - before).total_seconds())
            assert answer.success is (spent[-1] == 3)
            if len(spent) == 3:
                break
        return spent

    _, [three] = asyncio.run(played(late, broker=lt.PaperBroker(latency=2.5)))
    assert three == [3, 3, 3]
    _, [too_long] = asyncio.run(played(late, broker=lt.PaperBroker(latency=30)))
    assert too_long == [5, 5, 5]


def test_a_reader_that_leaves_fails_or_is_cancelled_stalls_nothing() -> None:
    kept: list[Any] = []

    async def leaves(engine: lt.LiveTradingEngine) -> None:
        async for _ in engine.stream.ticks(SBIN):
            break

    async def fails(engine: lt.LiveTradingEngine) -> None:
        reader = engine.stream.ticks(SBIN)
        kept.append(reader)  # as a traceback would keep it
        async for _ in reader:
            raise ZeroDivisionError

    async def is_cancelled(engine: lt.LiveTradingEngine) -> None:
        reader = engine.stream.ticks(SBIN)
        kept.append(reader)
        async for _ in reader:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            await asyncio.sleep(0)

    async def stays(engine: lt.LiveTradingEngine) -> int:
        return len([tick async for tick in engine.stream.ticks(SBIN)])

    _, answers = asyncio.run(played(leaves, fails, is_cancelled, stays))
    assert answers[0] is None
    assert isinstance(answers[1], ZeroDivisionError)
    assert isinstance(answers[2], asyncio.CancelledError)
    assert answers[3] == TICKS
    gc.collect()


def test_one_task_may_hold_several_readers() -> None:
    async def pairs(engine: lt.LiveTradingEngine) -> int:
        one, all_of_them = engine.stream.ticks(SBIN), engine.stream.ticks()
        count = 0
        async for tick in one:
            assert (await anext(all_of_them)).time == tick.time
            count += 1
        return count

    async def nested(engine: lt.LiveTradingEngine) -> int:
        count = 0
        async for _ in engine.stream.ticks(SBIN):
            async for _ in engine.stream.ticks(SBIN):
                count += 1
                if count % 3 == 0:
                    break
        return count

    async def patient(engine: lt.LiveTradingEngine) -> list[float]:
        ticks = engine.stream.ticks(SBIN)
        seen = []
        while True:
            try:
                seen.append((await asyncio.wait_for(anext(ticks), 30)).price)
            except StopAsyncIteration:
                return seen

    _, [count, others, seen] = asyncio.run(played(pairs, nested, patient))
    assert count == TICKS
    assert others > 0
    assert seen == prices()


def test_many_readers_move_in_one_step() -> None:
    meeting: dict[Any, int] = {}

    async def walks(engine: lt.LiveTradingEngine) -> int:
        count = 0
        async for tick in engine.stream.ticks(SBIN):
            meeting[tick.time] = meeting.get(tick.time, 0) + 1
            for _ in range(count % 3):
                await asyncio.sleep(0)
            assert engine.now() == tick.time
            count += 1
        return count

    _, counts = asyncio.run(played(*[walks] * 8))
    assert counts == [TICKS] * 8
    assert set(meeting.values()) == {8}


def test_readers_in_loops_of_other_threads_keep_step_too() -> None:
    feed = lt.RecordedFeed(recording(prices()), speed=None, autoplay=False)
    engine = lt.LiveTradingEngine(500_000, feed=feed, fees=FREE)
    ready = threading.Barrier(4)
    seen: list[list[lt.Tick]] = []

    async def strategy() -> None:
        task = asyncio.ensure_future(crossing(engine))
        await asyncio.sleep(0)
        ready.wait(30)
        seen.append(await task)

    async def once() -> None:
        ticks = engine.stream.ticks(SBIN)
        waiting = asyncio.ensure_future(anext(ticks))
        await asyncio.sleep(0)
        ready.wait(30)
        await waiting  # and then its loop is gone, with the reader kept

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for work in (once, once, strategy)]
    for thread in threads:
        thread.start()
    ready.wait(30)
    assert feed.play().result(60) == TICKS
    engine.close()
    for thread in threads:
        thread.join(30)
    assert len(seen[0]) == TICKS


def test_callbacks_keep_step() -> None:
    feed = lt.RecordedFeed(recording(prices()), speed=None, autoplay=False)
    engine = lt.LiveTradingEngine(500_000, feed=feed, fees=FREE)
    seen: list[float] = []
    filled: list[Decimal] = []

    @engine.stream.on_tick
    def trade(tick: lt.Tick) -> None:
        assert engine.now() == tick.time
        seen.append(tick.price)
        if len(seen) % 50 == 0:
            answer = engine.market_buy(SBIN, 1).result(30)
            assert answer.order.avg_price == tick.ask
            filled.append(tick.ask)

    assert feed.play().result(60) == TICKS
    assert seen == prices()
    assert [fill.price for fill in engine._read(lambda a: a.fill_history.copy()["fill"])] == filled
    with pytest.warns(RuntimeWarning, match="no longer watched"):
        engine.close()


def test_a_new_recording_plays_again_for_the_next_engine() -> None:
    frame = recording(prices(20))
    feed = lt.RecordedFeed(frame, speed=None, autoplay=False)
    for _ in range(2):
        with lt.LiveTradingEngine(500_000, feed=feed) as engine:
            assert engine.now().isoformat() == "2026-03-02T09:15:00+05:30"
            assert feed.play().result(30) == 20
            assert engine.now().isoformat() == "2026-03-02T09:15:19+05:30"
            assert engine.health()["ticks"] == 20
