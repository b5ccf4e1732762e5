"""Bars of a stream: one builder, which makes of the ticks what `engine.bars` shows of them afterwards."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import livetrade as lt
from livetrade import frames
from livetrade.columns import View
from livetrade.core.bars import BarBuilder
from livetrade.core.instruments import Instrument
from livetrade.core.ticks import Tick
from livetrade.readers import QUEUE_LENGTH, BarReader
from livetrade.ticklog import TickLog
from tests.support import FREE, SBIN, quietly_close, recording, soon, trading

KOLKATA = ZoneInfo("Asia/Kolkata")
NEW_YORK = ZoneInfo("America/New_York")
SECOND = 10**9
ITEM = Instrument(SBIN).in_zone(KOLKATA)
MINUTE = 60 * SECOND


def nine_fifteen(seconds: float = 0, zone: ZoneInfo = KOLKATA) -> int:
    return round(datetime(2026, 3, 2, 9, 15, tzinfo=zone).timestamp()) * SECOND + round(seconds * SECOND)


def built(ticks: Sequence[Tick], every_ns: int = MINUTE, zone: ZoneInfo = KOLKATA) -> tuple[list[lt.Bar], BarBuilder]:
    builder = BarBuilder(ITEM, every_ns, zone)
    return [bar for bar in map(builder.add, ticks) if bar is not None], builder


def last(seconds: float, price: int, volume: int | None = None) -> Tick:
    return Tick(ITEM, nine_fifteen(seconds), last_raw=price, volume_raw=volume)


# ── the builder ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bar_is_labelled_and_closed_on_the_left() -> None:
    ticks = [last(0, 10000), last(20, 10300), last(59.999, 9900), last(60, 10100), last(200, 10200)]
    bars, builder = built(ticks)
    assert [bar.time.strftime("%H:%M:%S") for bar in bars] == ["09:15:00", "09:16:00"]
    first = bars[0]
    assert (first.open, first.high, first.low, first.close) == (100, 103, 99, 99)
    assert (first.symbol, first.volume, first.price, first.missed) == (SBIN, None, 99.0, 0)
    assert first.time == datetime(2026, 3, 2, 9, 15, tzinfo=KOLKATA)
    assert first.time.tzinfo is KOLKATA
    assert repr(first) == (
        "Bar(NSE:SBIN-EQ 2026-03-02T09:15:00+05:30 open=100.00 high=103.00 low=99.00 close=99.00 volume=None)"
    )
    assert builder.current.time.strftime("%H:%M") == "09:18"


def test_its_price_is_the_last_else_the_mid_exactly() -> None:
    quotes = [Tick(ITEM, nine_fifteen(n), 10000, 10005) for n in range(2)]
    no_price = [Tick(ITEM, nine_fifteen(2), bid_raw=1), Tick(ITEM, nine_fifteen(3), ask_raw=99999)]
    bars, _ = built([*no_price, *quotes, last(4, 10001), last(60, 1)])
    assert [(bar.open, bar.high, bar.low, bar.close) for bar in bars] == [
        (Decimal("100.025"), Decimal("100.025"), Decimal("100.01"), Decimal("100.01"))
    ]


def test_its_volume_is_what_the_sessions_volume_grew_by() -> None:
    ticks = [last(0, 1, 500), last(1, 1, 520), last(2, 1), last(3, 1, 530), last(60, 1, 531), last(61, 1, 9)]
    bars, _ = built([*ticks, last(120, 1), last(180, 1)])
    assert [bar.volume for bar in bars] == [30, 10, None]


def test_a_late_tick_counts_in_the_bar_that_is_open() -> None:
    bars, _ = built([last(30, 5), last(61, 7), last(59, 9), last(120, 8)])
    assert [(bar.open, bar.high) for bar in bars] == [(Decimal("0.05"),) * 2, (Decimal("0.07"), Decimal("0.09"))]


@pytest.mark.parametrize(
    ("every", "edges"),
    [
        (7 * 3600, ["00:00", "07:00", "14:00", "21:00", "00:00"]),
        (86_400, ["00:00", "00:00"]),
    ],
)
def test_bars_begin_anew_at_midnight_in_the_engines_zone(every: int, edges: list[str]) -> None:
    for zone, date in ((KOLKATA, (2026, 3, 2)), (NEW_YORK, (2026, 11, 1)), (NEW_YORK, (2026, 3, 8))):
        builder = BarBuilder(ITEM, every * SECOND, zone)
        start = round(datetime(*date, tzinfo=zone).timestamp()) * SECOND
        found = [start]
        while len(found) < len(edges):
            found.append(builder.edges(found[-1])[1])
        shown = [datetime.fromtimestamp(edge / SECOND, zone) for edge in found]
        assert [shown[0].strftime("%H:%M"), shown[-1].strftime("%H:%M")] == [edges[0], edges[-1]]
        assert shown[-1].date() - shown[0].date() == timedelta(days=1)
        if zone is KOLKATA:
            assert [time.strftime("%H:%M") for time in shown] == edges


# ── the same as engine.bars ──────────────────────────────────────────────────────────────────────────────────────────

rows = st.lists(
    st.tuples(
        st.integers(0, 40_000),  # seconds after the one before
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(-1, 30),
        st.sampled_from([0, 0, 0, 1, 5, 60, 4000]),  # seconds that it is late
    ),
    max_size=40,
)
small = rows.map(lambda found: [(gap % 50, *rest) for gap, *rest in found])


def ticks_of(found: Sequence[tuple[int, ...]], zone: ZoneInfo) -> list[Tick]:
    now, ticks = nine_fifteen(0, zone), []
    for gap, bid, ask, price, volume, late in found:
        now += gap * SECOND
        given = now - late * SECOND
        ticks.append(Tick(ITEM, now, bid, ask, price, given, None if volume < 0 else volume))
    return ticks


def shown(bar: lt.Bar) -> tuple[Any, ...]:
    return bar.time, bar.open, bar.high, bar.low, bar.close, bar.volume


def table(log: TickLog, zone: ZoneInfo, freq: Any) -> list[tuple[Any, ...]]:
    frame = frames.bars(log.copy(SBIN), ITEM, View(zone, 0, 0), frames.Where(), freq, exact=True)
    return [(time.to_pydatetime(), *row) for time, row in zip(frame.index, frame.to_numpy(), strict=True)]


@settings(max_examples=300, deadline=None)
@given(
    rows | small,
    st.sampled_from(["1s", "1min", "7min", "1h", "5h", "24h", "1D", 90]),
    st.sampled_from([KOLKATA, NEW_YORK]),
    st.integers(0, 40),
    st.integers(0, 5),
)
@example([(0, 1, 1, 1, -1, 0)], "1D", NEW_YORK, 0, 0)
def test_they_are_those_of_engine_bars(
    found: list[tuple[int, ...]], freq: Any, zone: ZoneInfo, joined: int, warmup: int
) -> None:
    """A reader that joins after so many ticks gets its warmup, and then every bar, as the table shows them."""
    ticks, log = ticks_of(found, zone), TickLog()
    early, later = ticks[:joined], ticks[joined:]
    for tick in early:
        log.add(tick)
    complete = table(log, zone, freq)[:-1]
    builder = BarBuilder(ITEM, frames.fixed_ns(freq), zone)
    bars = builder.seeded(log.copy(SBIN), warmup)
    assert [shown(bar) for bar in bars] == (complete[-warmup:] if warmup else [])
    for tick in later:
        log.add(tick)
        bar = builder.add(tick)
        if bar is not None:
            bars.append(bar)
    in_all = table(log, zone, freq)
    if builder.current is not None:
        bars.append(builder.current)
    assert [shown(bar) for bar in bars] == in_all[len(in_all) - len(bars) :]
    assert len(bars) == len(in_all) - len(complete) + min(warmup, len(complete))


# ── on an engine ─────────────────────────────────────────────────────────────────────────────────────────────────────


def post(stream: lt.LivePriceStream, seconds: float, price: Any) -> None:
    stream.update(SBIN, last=price, time=nine_fifteen(seconds))


def test_a_live_stream_gives_them_as_they_are_completed() -> None:
    got: list[lt.Bar] = []

    async def reads(engine: lt.LiveTradingEngine) -> None:
        async for bar in engine.stream.bars(SBIN, "1min", warmup=2):
            got.append(bar)  # noqa: PERF401  they are looked at while they come

    with trading(stream=lt.LivePriceStream()) as engine:
        for minute in range(4):
            post(engine.stream, 60 * minute + 30, 100 + minute)
        engine.start(reads)
        soon(lambda: len(got) == 2)
        post(engine.stream, 60 * 3 + 45, 200)
        post(engine.stream, 60 * 4, 300)
        soon(lambda: len(got) == 3)
        assert [bar.time.strftime("%H:%M") for bar in got] == ["09:16", "09:17", "09:18"]
        assert (got[-1].open, got[-1].close) == (103, 200)
        frame = engine.bars(SBIN, "1min", exact=True)
        assert [shown(bar)[1:5] for bar in got] == [tuple(row) for row in frame.to_numpy()[1:-1, :4]]


def test_it_begins_between_two_ticks_however_many_come() -> None:
    """Nothing is lost and nothing counted twice while the ticks from before are still looked at."""
    with trading(stream=lt.LivePriceStream()) as engine:
        reader: BarReader | None = None
        for number in range(3000):
            post(engine.stream, number * 0.01, 100 + number % 50)
            if number == 1500:
                reader = engine.stream.bars(SBIN, 1, warmup=99)
        assert engine.health()["ticks"] == 3000
        frame = engine.bars(SBIN, 1, exact=True)
        assert reader is not None

        async def take() -> list[lt.Bar]:
            return [await anext(reader) for _ in range(29)]

        assert [shown(bar)[:5] for bar in asyncio.run(take())] == [
            (time.to_pydatetime(), *row) for time, row in zip(frame.index[:-1], frame.to_numpy()[:-1, :4], strict=True)
        ]


def test_a_slow_reader_is_told_how_many_it_missed() -> None:
    with trading(stream=lt.LivePriceStream()) as engine:
        reader = engine.stream.bars(SBIN, "1s")
        for number in range(QUEUE_LENGTH + 11):
            post(engine.stream, number, 100)
        assert engine.health()["subscribers"] == QUEUE_LENGTH
        bar = asyncio.run(anext(reader))
        assert (bar.missed, bar.time) == (10, datetime(2026, 3, 2, 9, 15, 10, tzinfo=KOLKATA))
        assert asyncio.run(anext(reader)).missed == 0


def test_a_stream_without_an_engine_waits_for_one() -> None:
    stream = lt.LivePriceStream()
    reader = stream.bars(SBIN, "1min", warmup=3)
    with trading(stream=stream):
        post(stream, 0, 100)
        post(stream, 60, 101)
        assert asyncio.run(anext(reader)).close == 100


@pytest.mark.parametrize(
    ("freq", "warmup", "told"),
    [
        ("1W", 0, "of a fixed length up to a day"),
        ("MS", 0, "of a fixed length up to a day"),
        ("2D", 0, "of a fixed length up to a day"),
        ("no", 0, "freq must be a pandas frequency"),
        (0, 0, "freq must be a pandas frequency"),
        ("1min", -1, "warmup is a number of bars"),
        ("1min", "2", "warmup is a number of bars"),
        ("1min", True, "warmup is a number of bars"),
    ],
)
def test_wrong_use_raises(freq: Any, warmup: Any, told: str) -> None:
    with pytest.raises(lt.OrderError, match=told):
        lt.LivePriceStream().bars(SBIN, freq, warmup)
    with pytest.raises(lt.OrderError, match="symbol"):
        lt.LivePriceStream().bars("", "1min")


def test_in_lock_step_an_order_on_a_bar_fills_at_the_tick_that_ended_it() -> None:
    ticks = recording([550 + number % 9 * 0.25 for number in range(600)])
    seen: list[lt.Bar] = []

    async def trades(engine: lt.LiveTradingEngine) -> None:
        async for bar in engine.stream.bars(SBIN, "1min"):
            seen.append(bar)
            assert engine.now() == bar.time + timedelta(minutes=1)
            answer = await engine.market_buy(SBIN, 1)
            assert answer.order.created_at == engine.now()

    feed = lt.RecordedFeed(ticks, speed=None, autoplay=False)
    engine = lt.LiveTradingEngine(500_000, feed=feed, fees=FREE)
    task = engine.start(trades)
    feed.play().result(60)
    task.result(30)
    prices = ticks.set_index(pd.DatetimeIndex(ticks["time"]).tz_localize(KOLKATA))["last"]
    expected = prices.resample("1min").ohlc().iloc[:-1]
    assert [(bar.time, *map(float, shown(bar)[1:5])) for bar in seen] == list(expected.itertuples(name=None))
    assert len(engine.fills()) == len(seen) == 9
    quietly_close(engine)
