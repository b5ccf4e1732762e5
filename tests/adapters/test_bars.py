"""Bars as a source of ticks: the path they are taken for, what is refused, and that the path makes the bars again."""

import asyncio
from datetime import UTC, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livetrade as lt
from livetrade import frames
from livetrade.adapters.recorded import RecordedFeed, read_ticks
from livetrade.columns import View
from livetrade.core.instruments import Instrument, default_instrument
from livetrade.core.ticks import Tick
from livetrade.errors import FeedError, OrderError
from tests.support import FREE, SBIN, trading

INDIA = ZoneInfo("Asia/Kolkata")
INFY = "NSE:INFY-EQ"


def bars(*rows: tuple[Any, ...], start: str = "2026-03-02 09:15", freq: str = "1min", **columns: Any) -> pd.DataFrame:
    """Bars of (open, high, low, close, volume), as `lt.history` gives them."""
    index = pd.date_range(start, periods=len(rows), freq=freq, tz=INDIA, name="time").as_unit("ns")
    frame = pd.DataFrame(rows, index, ["open", "high", "low", "close", "volume"][: len(rows[0])])
    frame.attrs = {"symbol": SBIN}
    return frame.assign(**columns)


UP_DOWN = bars((100.0, 103.0, 98.0, 101.0, 500.0), (101.0, 102.0, 96.0, 97.0, 700.0))


def test_a_bar_becomes_four_ticks() -> None:
    """In the first bar the low is nearer to the open, in the second the high."""
    ticks = read_ticks(UP_DOWN)
    assert ticks["last"].tolist() == [100, 98, 103, 101, 101, 102, 96, 97]
    assert ticks["volume"].tolist() == [0, 0, 0, 500, 500, 500, 500, 1200]
    assert [str(time.time()) for time in ticks.index] == [
        "09:15:00",
        "09:15:20",
        "09:15:40",
        "09:15:59.999999",
        "09:16:00",
        "09:16:20",
        "09:16:40",
        "09:16:59.999999",
    ]
    assert set(ticks["symbol"]) == {SBIN}
    assert ticks["bid"].isna().all()
    assert list(ticks.columns) == ["symbol", "bid", "ask", "last", "volume"]


def test_as_near_to_both_means_the_low_first() -> None:
    """Also where floats say otherwise by their last bits."""
    assert 100.3 - 100.2 < 100.2 - 100.1
    assert read_ticks(bars((100.2, 100.3, 100.1, 100.2)), bars="1min")["last"].tolist()[1] == 100.1
    assert read_ticks(bars((10.0, 10.0, 10.0, 10.0)), bars=60)["last"].tolist() == [10.0] * 4


def test_an_engine_plays_them() -> None:
    feed = lt.RecordedFeed(UP_DOWN, speed=None, autoplay=False)
    with trading(feed=feed, fees=FREE) as engine:
        assert feed.play().result(30) == len(feed) == 8
        pd.testing.assert_frame_equal(engine.bars(SBIN, "1min"), UP_DOWN, check_freq=False)
        assert engine.now() == UP_DOWN.index[1] + timedelta(minutes=1, microseconds=-1)


def test_how_long_a_bar_is() -> None:
    sparse = UP_DOWN.set_axis(UP_DOWN.index + pd.to_timedelta([0, 4], unit="min"))
    assert read_ticks(sparse).index[3] == sparse.index[0] + timedelta(minutes=5, microseconds=-1)
    for given_as in ("1min", 60, 60.0, timedelta(minutes=1), pd.Timedelta("60s")):
        assert read_ticks(sparse, bars=given_as).index[3] == sparse.index[0] + timedelta(seconds=60, microseconds=-1)
    days = bars((1.0, 2.0, 1.0, 2.0), (2.0, 2.0, 1.0, 1.0), start="2026-03-02", freq="1D")
    assert str(read_ticks(days).index[-1]) == "2026-03-03 23:59:59.999999+05:30"
    seconds = bars((1.0, 2.0, 1.0, 2.0), (2.0, 2.0, 1.0, 1.0), freq="5s")
    assert str(read_ticks(seconds).index[3]) == "2026-03-02 09:15:04.999999+05:30"


def test_the_volume_begins_again_each_day() -> None:
    rows = [(10.0, 10.0, 10.0, 10.0, volume) for volume in (5, 7, 2, 3)]
    frame = bars(*rows).set_axis(
        pd.DatetimeIndex(["2026-03-02 15:28", "2026-03-02 15:29", "2026-03-03 09:15", "2026-03-03 09:16"], tz=INDIA)
    )
    assert read_ticks(frame, bars="1min")["volume"].tolist()[3::4] == [5, 12, 2, 5]
    new_york = frame.tz_localize(None).tz_localize("America/New_York").tz_convert("UTC").tz_convert("America/New_York")
    assert read_ticks(new_york, bars="1min")["volume"].tolist()[3::4] == [5, 12, 2, 5]  # a day of its own zone
    assert read_ticks(frame.drop(columns="volume"), bars="1min")["volume"].isna().all()
    assert read_ticks(frame.assign(volume=np.nan), bars="1min")["volume"].isna().all()


def test_several_symbols_are_played_by_time() -> None:
    both = pd.concat([UP_DOWN.assign(symbol=SBIN), 10 * UP_DOWN.assign(symbol="").drop(columns="symbol")])
    both["symbol"] = [SBIN, SBIN, INFY, INFY]
    ticks = read_ticks(both)
    assert ticks.index.is_monotonic_increasing
    assert ticks["last"].tolist()[:4] == [100, 1000, 98, 980]
    assert read_ticks(both, INFY)["last"].tolist()[:4] == [1000, 980, 1030, 1010]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_bars_in_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bars.{suffix}"
    getattr(UP_DOWN, f"to_{suffix}")(path)
    pd.testing.assert_frame_equal(read_ticks(path, SBIN), read_ticks(UP_DOWN))
    assert [tick.last_raw for tick in ticks_of(RecordedFeed(path, symbol=SBIN))][:4] == [10000, 9800, 10300, 10100]


def test_exact_prices_stay_exact() -> None:
    text = "4210987.123456789012"
    frame = bars(*[(text, text, Decimal(text), text, "0.1")] * 30, symbol="BTCUSDT").astype(object)
    item = Instrument("BTCUSDT", scale=12, quantity_scale=8)
    ticks = ticks_of(RecordedFeed(frame, instruments=[item]), item)
    assert {tick.last for tick in ticks} == {Decimal(text)}
    assert ticks[-1].volume == Decimal("3.0")  # thirty times 0.1
    floats = frame.assign(volume=0.1)
    assert ticks_of(RecordedFeed(floats, instruments=[item]), item)[-1].volume == Decimal("3.0")


def ticks_of(feed: RecordedFeed, item: Instrument | None = None) -> list[Tick]:
    ticks = list(feed.rows(lambda symbol: item or default_instrument(symbol, INDIA), INDIA))
    assert all(isinstance(tick, Tick) for tick in ticks)
    return ticks  # type: ignore[return-value]


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────

NAN = float("nan")


def changed(**columns: Any) -> pd.DataFrame:
    return UP_DOWN.assign(**columns)


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (changed(high=[103.0, 100.5]), "high is below open or close in bar 1: .*'high': 100.5"),
        (changed(low=[98.0, 97.5]), "low is above open or close in bar 1"),
        (changed(open=[NAN, 101.0]), "open is no price above zero in bar 0: nan"),
        (changed(close=[101.0, float("inf")]), "close is no price above zero in bar 1: inf"),
        (changed(low=[98.0, 0.0]), "low is no price above zero in bar 1: 0.0"),
        (changed(low=[98.0, -1.0]), "low is no price above zero in bar 1: -1.0"),
        (changed(open=["100", "about 101"]), "open is no price above zero in bar 1: 'about 101'"),
        (changed(open=[100, None]).astype({"open": object}), "open is no price above zero in bar 1"),
        (changed(volume=[500.0, NAN]), "volume is no number from zero on in bar 1: nan"),
        (changed(volume=[500.0, -1.0]), "volume is no number from zero on in bar 1: -1.0"),
        (changed(last=100.0), "columns of bars and of ticks .open, high, low, close, last."),
        (changed(bid=100.0), "columns of bars and of ticks"),
        (UP_DOWN.drop(columns="high"), "has no high: bars have open, high, low and close"),
        (UP_DOWN[["close"]], "has no open, high, low"),
        (UP_DOWN.iloc[::-1], "the bar of NSE:SBIN-EQ at 2026-03-02 09:15:00.* is out of order"),
        (UP_DOWN.set_axis(UP_DOWN.index[[0, 0]]), "the bar of NSE:SBIN-EQ at 2026-03-02 09:15:00.* comes twice"),
        (UP_DOWN.iloc[:1], "a single bar does not tell how long it is; give bars='1min'"),
        (UP_DOWN.set_axis(UP_DOWN.index[0] + pd.to_timedelta([0, 1], unit="us")), "closer than a millisecond"),
    ],
)
def test_bars_that_cannot_be(frame: pd.DataFrame, told: str) -> None:
    frame.attrs = {"symbol": SBIN}
    for use in (read_ticks, RecordedFeed):
        with pytest.raises(FeedError, match=told):
            use(frame)


def test_a_length_that_does_not_fit() -> None:
    told = r"bars of 0 days 00:05:00 overlap: that of NSE:SBIN-EQ at .* begins 0 days 00:01:00 after"
    with pytest.raises(FeedError, match=told):
        read_ticks(UP_DOWN, bars="5min")
    with pytest.raises(FeedError, match=r"has ticks .last.; bars=... is for open, high, low and close"):
        read_ticks(UP_DOWN.rename(columns={"close": "last"})[["last"]], bars="1min")
    for wrong in ("soon", 0, -60, True, "1ME", object(), 1e-9):
        with pytest.raises(OrderError, match="bars is the length of a bar"):
            RecordedFeed(UP_DOWN, bars=wrong)  # type: ignore[arg-type]


# ── the path makes the bars again ────────────────────────────────────────────────────────────────────────────────────

prices = st.integers(1, 10**7)
lengths = st.sampled_from(["1s", "1min", "15min", "1h", "1D"])


@st.composite
def any_bars(draw: st.DrawFn) -> tuple[pd.DataFrame, str]:
    """Bars with holes between them, over several days, of any prices; at most what a day holds is traded."""
    freq = draw(lengths)
    places = sorted(draw(st.sets(st.integers(0, 200), min_size=1, max_size=30)))
    start = pd.Timestamp("2026-03-02", tz=INDIA)
    index = pd.DatetimeIndex([start + place * pd.Timedelta(freq) for place in places], name="time").as_unit("ns")
    rows = []
    for _ in index:
        low, *inside, high = sorted(draw(st.lists(prices, min_size=4, max_size=4)))
        first, last = draw(st.permutations(inside))
        rows.append((first / 100, high / 100, low / 100, last / 100, float(draw(st.integers(0, 10**9)))))
    frame = pd.DataFrame(rows, index, ["open", "high", "low", "close", "volume"])
    frame.attrs = {"symbol": SBIN}
    return frame, freq


@settings(max_examples=100, deadline=None)
@given(any_bars())
def test_bars_of_the_path_are_the_bars(case: tuple[pd.DataFrame, str]) -> None:
    given_bars, freq = case
    item = default_instrument(SBIN, INDIA)
    ticks = ticks_of(RecordedFeed(given_bars, bars=freq))
    columns = {
        "time": np.array([tick.time_ns for tick in ticks]),
        **{name: np.array([getattr(tick, f"{name}_raw") for tick in ticks]) for name in ("bid", "ask", "last")},
        "volume": np.array([tick.volume_raw for tick in ticks]),
    }
    made = frames.bars(columns, item, View(INDIA, 0, 0), frames.EVERYTHING, freq)
    pd.testing.assert_frame_equal(made, given_bars, check_freq=False)
    times = columns["time"]
    assert (np.diff(times) > 0).all()


@settings(max_examples=50, deadline=None)
@given(any_bars())
def test_the_nearer_extreme_comes_first(case: tuple[pd.DataFrame, str]) -> None:
    given_bars, freq = case
    lasts = (read_ticks(given_bars, bars=freq)["last"].to_numpy().reshape(-1, 4) * 100).round()
    for opened, first, second, _ in lasts:
        assert abs(first - opened) <= abs(second - opened)
        if abs(first - opened) == abs(second - opened):
            assert first <= second


def test_one_feed_for_engines_in_other_zones() -> None:
    """Naive bars are the engine's; the day of a volume is theirs."""
    naive = UP_DOWN.tz_localize(None)
    naive.attrs = {"symbol": SBIN}
    feed = RecordedFeed(naive)
    for zone in (INDIA, UTC):
        ticks = [tick for tick in feed.rows(default_instrument, zone) if isinstance(tick, Tick)]
        assert ticks[0].time_ns == naive.index[0].tz_localize(zone).value
        assert [tick.volume_raw for tick in ticks] == [0, 0, 0, 500, 500, 500, 500, 1200]
    assert asyncio.iscoroutinefunction(feed.run)
