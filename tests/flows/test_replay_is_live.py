"""The same recorded ticks give the same orders, fills, equity and events, byte for byte, live and replayed."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livetrade as lt
from tests.replays.kit import ROWS, Run, Strategy, assert_same, at_random, replayed, restless, ticks_of
from tests.support import FREE, INFY, SBIN, events_of, quietly_close, recording, soon


async def played(strategies: tuple[Strategy, ...], frame: pd.DataFrame, terms: dict[str, Any]) -> Run:
    feed = lt.RecordedFeed(frame, speed=None, autoplay=False)
    engine = lt.LiveTradingEngine(500_000, feed=feed, **terms)
    handles = [engine.start(strategy) for strategy in strategies]
    await asyncio.to_thread(soon, lambda: engine._read(lambda account: account.feed.reason) == "waiting for play()")
    await asyncio.wait_for(feed.play(), 60)
    for handle in handles:  # their last words come after the last tick
        await asyncio.to_thread(soon, handle.done)
    await asyncio.to_thread(quietly_close, engine)
    return Run(engine, events_of(engine), list(feed.symbols))


def live(*strategies: Strategy, frame: pd.DataFrame, **terms: Any) -> Run:
    return asyncio.run(played(strategies, frame, terms))


def check(*strategies: Strategy, frame: pd.DataFrame | None = None, make: Callable[[], dict[str, Any]] = dict) -> Run:
    """Live, replayed, and replayed again; `make` gives the terms of each run anew."""
    frame = walk() if frame is None else frame
    run = replayed(*strategies, frame=frame, **make())
    assert_same(run, replayed(*strategies, frame=frame, **make()))
    assert_same(live(*strategies, frame=frame, **make()), run)
    return run


def walk(count: int = 300, seed: int = 1, seconds: float = 1, symbol: str = SBIN) -> pd.DataFrame:
    dice, price, path = random.Random(seed), 549.0, []
    for _ in range(count):
        price += dice.choice((-0.5, -0.25, 0.0, 0.25, 0.5))
        path.append(round(price, 2))
    return recording(path, symbol, seconds=seconds)


def two_symbols(count: int = 200) -> pd.DataFrame:
    both = [walk(count, 1, 0.7), walk(count, 2, 1.1, INFY)]
    return pd.concat(both).sort_values("time", kind="stable", ignore_index=True)


async def crossing(engine: Any, fast: int = 4, slow: int = 12) -> None:
    """Market orders with exits."""
    seen: list[float] = []
    async for tick in engine.stream.ticks(SBIN):
        seen.append(tick.price)
        last = seen[-slow:]
        up = sum(last[-fast:]) / fast > sum(last) / slow
        held = engine.position(SBIN)
        if len(seen) > slow and up and not held:
            await engine.market_buy(SBIN, 10, stop_loss_pct="0.3", take_profit_price=tick.ask + 2, tag=str(len(seen)))
        elif held and not up:
            answer = await engine.market_sell(SBIN, abs(held.quantity), tag=engine.now().isoformat())
            engine.limit_sell(SBIN, 1, tick.ask, tag=f"{answer.success} {answer.message}")


async def resting(engine: Any) -> None:
    """Limit and stop orders, modified, canceled and waited for."""
    count = 0
    async for tick in engine.stream.ticks(SBIN):
        count += 1
        match count % 9:
            case 1:
                bid = engine.limit_buy(SBIN, 5, tick.bid - 1, time_in_force="GTC", take_profit_pct="0.2")
                await bid
            case 3:
                await engine.modify(bid.client_order_id, limit_price=tick.bid - 2, quantity=7)
            case 5:
                await engine.stop_buy(SBIN, 3, tick.ask + 1, trailing_stop="0.75")
                engine.stop_buy(SBIN, 2, tick.ask + 1, limit_price=tick.ask + 2)
            case 6:
                await engine.limit_buy(SBIN, 2, tick.ask, time_in_force="IOC")
            case 7:
                await engine.cancel(bid.client_order_id)
            case 8 if count > 50:
                await engine.limit_buy(SBIN, 4, tick.bid - 1).wait_for("FILLED", timedelta(seconds=20))
                await engine.cancel_all()


async def trailing(engine: Any) -> None:
    """Trailing stops, set and moved by hand; closings."""
    count = 0
    async for tick in engine.stream.ticks():
        count += 1
        if not engine.position(tick.symbol):
            await engine.market_buy(tick.symbol, 7, product="CNC")
            await engine.set_trailing_stop(tick.symbol, amount="1.5")
        elif count % 41 == 0:
            await engine.set_stop_loss(tick.symbol, pct="0.1")
            await engine.set_take_profit(tick.symbol, tick.ask + 1)
        elif count % 67 == 0:
            await engine.close_position(tick.symbol, 3)
        elif count % 89 == 0:
            await engine.flatten()
    await engine.flatten()


def test_market_orders_with_exits() -> None:
    run = check(crossing)
    assert len(run.frames["fills"]) > 20
    assert set(run.frames["orders"]["source"]) >= {"STRATEGY", "TAKE_PROFIT"}
    assert set(run.frames["orders"]["strategy"]) == {"crossing"}


def test_resting_orders() -> None:
    run = check(resting, frame=walk(400))
    assert {"CANCELED", "FILLED"} <= set(run.frames["orders"]["status"])


def test_trailing_stops_and_closings() -> None:
    run = check(trailing, frame=two_symbols())
    assert "TRAILING_STOP" in set(run.frames["orders"]["source"])


@pytest.mark.parametrize("latency", [0.4, 1.0, 2.5, 7.5])
@pytest.mark.parametrize("strategy", [crossing, resting, trailing])
def test_latency_slippage_and_fees(strategy: Strategy, latency: float) -> None:
    check(
        strategy,
        frame=two_symbols(150),
        make=lambda: {"broker": lt.PaperBroker(slippage="0.05", latency=latency), "fees": lt.DEFAULT_FEES},
    )


def test_limits_margin_and_stops_by_last() -> None:
    check(
        crossing,
        trailing,
        make=lambda: {
            "limits": lt.Limits(allow_short=True, max_order_quantity=9, max_orders_per_second=1, max_daily_loss=30),
            "margin": lambda account, order: order.quantity * 100,
            "trigger_by": "last",
            "fees": FREE,
            "timezone": "America/New_York",
            "instruments": [lt.Instrument(SBIN, tick_size="0.05")],
        },
    )


@pytest.mark.parametrize("seconds", [1800, 30_000])
@pytest.mark.parametrize("strategy", [crossing, resting, trailing])
def test_days_roll(strategy: Strategy, seconds: float) -> None:
    run = check(strategy, frame=walk(120, seconds=seconds), make=lambda: {"broker": lt.PaperBroker(latency=2)})
    assert sum(b"DayStarted" in event for event in run.events) > 2


def test_several_strategies_trade_on_one_account() -> None:
    run = check(crossing, resting, trailing, frame=two_symbols())
    assert set(run.frames["orders"]["strategy"]) == {"crossing", "resting", "trailing"}


def test_a_strategy_that_lags_takes_its_ticks_one_after_the_other() -> None:
    async def lagging(engine: Any) -> None:
        times = []
        async for tick in engine.stream.ticks(SBIN):
            times.append(tick.time)
            if len(times) % 10 == 0:
                await engine.market_buy(SBIN, 1, tag=str(tick.missed))

    run = check(lagging, frame=walk(200), make=lambda: {"broker": lt.PaperBroker(latency=4.5)})
    assert len(run.frames["orders"]) == 20


async def asleep(engine: Any) -> None:
    """Is woken by the time of a tick, and takes what has come meanwhile."""
    ticks = engine.stream.ticks(SBIN)
    await anext(ticks)
    await engine.limit_buy(SBIN, 1, 1).wait_for("FILLED", 1500)
    async for tick in ticks:
        await engine.market_buy(SBIN, 1, tag=f"{tick.missed} {tick.time:%X} {engine.now():%X}")
        break


def test_a_reader_far_behind_misses_ticks_and_is_told() -> None:
    run = replayed(asleep, frame=walk(2000))
    assert run.frames["orders"]["tag"].iloc[-1] == "500 09:23:21 09:40:00"


def test_who_is_woken_by_a_tick_sees_it() -> None:
    check(asleep, frame=walk(2000))


def test_several_readers_in_one_strategy() -> None:
    async def pairs(engine: Any) -> None:
        one, everything = engine.stream.ticks(SBIN), engine.stream.ticks()
        async for tick in one:
            other = await anext(everything)
            await engine.market_buy(other.symbol, 1, tag=tick.time.isoformat())
            async for _ in engine.stream.ticks(INFY):
                break

    check(pairs, frame=two_symbols(60))


def test_callbacks_hear_of_everything_in_order() -> None:
    heard: list[list[Any]] = []

    async def listened(engine: Any) -> None:
        heard.append(mine := [])
        engine.on_fill(lambda fill: mine.append(("fill", fill)))
        engine.on_order(lambda order: mine.append((order.client_order_id, order.status)))
        engine.stream.on_tick(lambda tick: mine.append(repr(tick)))
        await crossing(engine)

    check(listened)
    assert heard[0] == heard[1]
    ticks = [[entry for entry in mine if isinstance(entry, str)] for mine in heard]
    rest = [[entry for entry in mine if not isinstance(entry, str)] for mine in heard]
    assert ticks[2] == ticks[0]
    assert rest[2] == rest[0]
    assert len(ticks[0]) == 300


def test_what_is_known_already_is_awaited_within_the_tick() -> None:
    async def again(engine: Any) -> None:
        handle = None
        async for tick in engine.stream.ticks(SBIN):
            handle = handle or engine.limit_buy(SBIN, 1, tick.bid - 1)
            await handle
            await engine.get_portfolio_pnl()
            await engine.market_buy(SBIN, 1, tag=engine.now().isoformat())

    run = check(again, frame=walk(3))
    assert run.frames["orders"]["tag"].iloc[-1] == "2026-03-02T09:15:02+05:30"


def test_halting_money_and_ids() -> None:
    async def busy(engine: Any) -> None:
        count = 0
        async for _ in engine.stream.ticks(SBIN):
            count += 1
            await engine.market_buy(SBIN, 1, client_order_id=f"ID{count // 2}", lots=None)
            if count % 20 == 0:
                await engine.halt("enough")
                await engine.limit_buy(SBIN, 1, 500)
                await engine.transfer(1000 + count)
            if count % 20 == 10:
                await engine.resume()
            if count % 50 == 0:
                pnl = await engine.get_portfolio_pnl()
                await engine.transfer(-min(pnl["cash"], 5000))

    check(busy)


# ── at random ────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=100, deadline=None)
@given(
    rows=ROWS,
    columns=st.sampled_from([0b11, 0b111, 0b100, 0b11111, 0b1, 0b1111]),
    seed=st.integers(0, 1 << 30),
    latency=st.sampled_from([0, 0, 0.3, 2]),
    size=st.sampled_from(["unlimited", "quoted"]),
    short=st.booleans(),
    several=st.sampled_from([1, 1, 2, 3]),
    trader=st.sampled_from([at_random, restless]),
)
def test_at_random(
    rows: list[Any],
    columns: int,
    seed: int,
    latency: float,
    size: str,
    short: bool,
    several: int,
    trader: Callable[[int, str, str], Strategy],
) -> None:
    frame = ticks_of(rows, columns)
    check(
        *(trader(seed + number, rows[0][0], f"trader{number}") for number in range(several)),
        frame=frame,
        make=lambda: {
            "broker": lt.PaperBroker(slippage="0.01", latency=latency, size=size),
            "limits": lt.Limits(allow_short=short),
        },
    )
