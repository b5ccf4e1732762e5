"""Statistics: by hand, beside empyrical on the same returns, and what must hold of any curve."""

from itertools import accumulate
from math import inf, isnan, nan, sqrt
from pathlib import Path
from typing import Any

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import livetrade as lt
from livetrade import stats
from tests.support import FREE, SBIN, recording, trading

ZONE = "Asia/Kolkata"
COLUMNS = ["cash", "market_value", "portfolio_value", "realized_pnl", "unrealized_pnl", "fees"]


def curve(rows: list[tuple[str, float, float]], held: bool = True) -> pd.DataFrame:
    """An equity curve of (time, money put in, P&L); `held`: all of it stands in a position."""
    times = pd.DatetimeIndex([pd.Timestamp(time, tz=ZONE) for time, _, _ in rows], tz=ZONE, name="time")
    table = [
        (put_in + pnl, 0.0, put_in + pnl, pnl, 0.0, 0.0) if not held else (0.0, put_in + pnl, put_in + pnl, 0, pnl, 0)
        for _, put_in, pnl in rows
    ]
    return pd.DataFrame(table, index=times, columns=COLUMNS, dtype="float64")


def empty(of: Any = None) -> dict[str, pd.DataFrame]:
    """The frames of an account in which nothing was traded."""
    with trading() as engine:
        names = ("equity", "fills", "round_trips", "orders")
        return {name: getattr(engine, name)() for name in names if name != of}


NOTHING = empty("equity")


def figures(equity: pd.DataFrame, **frames: Any) -> "pd.Series[Any]":
    return stats.of(equity, **{**NOTHING, **frames})


def days(count: int, start: str = "2026-03-02") -> list[str]:
    return [f"{day:%Y-%m-%d} 15:30" for day in pd.bdate_range(start, periods=count)]


def of_returns(made: list[float], put_in: float = 1000.0, held: bool = True) -> pd.DataFrame:
    """A curve of one row a weekday that has these returns."""
    wealth = accumulate(made, lambda before, each: before * (1 + each), initial=put_in)
    rows = zip(days(len(made) + 1, "2026-02-27"), wealth, strict=True)
    return curve([(day, put_in, value - put_in) for day, value in rows], held)


# ── by hand ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_returns_of_each_day() -> None:
    equity = curve(
        [
            ("2026-03-02 10:00", 1000, -10),  # Monday: fees
            ("2026-03-02 15:00", 1000, 100),
            ("2026-03-03 09:15", 1000, 45),
            ("2026-03-05 15:00", 1000, 254),  # nothing on Wednesday
            ("2026-03-07 15:00", 1000, 254),  # Saturday: nothing moved
            ("2026-03-09 15:00", 1000, 0),
        ]
    )
    made = stats.returns(equity)
    assert made.index.tz is None
    assert made.to_dict() == pytest.approx(
        {
            pd.Timestamp("2026-03-02"): 0.1,
            pd.Timestamp("2026-03-03"): -0.05,
            pd.Timestamp("2026-03-04"): 0.0,
            pd.Timestamp("2026-03-05"): 0.2,
            pd.Timestamp("2026-03-06"): 0.0,
            pd.Timestamp("2026-03-09"): -254 / 1254,
        }
    )
    found = figures(equity)
    assert found["max_drawdown"] == pytest.approx(-254 / 1254)
    assert found["total_pnl"] == 0
    assert found["total_return"] == pytest.approx(0)
    assert found["days"] == 6


def test_a_weekend_counts_where_the_pnl_moved() -> None:
    equity = curve([("2026-03-06 15:00", 1000, 0), ("2026-03-07 15:00", 1000, 10), ("2026-03-08 15:00", 1000, 10)])
    assert [f"{day:%a}" for day in stats.returns(equity).index] == ["Fri", "Sat"]


def test_transfers_are_no_returns() -> None:
    """10 % on 1,000, then 9,000 more come in, then 10 % on 10,100, and 5,000 are taken out."""
    equity = curve(
        [
            ("2026-03-02 15:00", 1000, 100),
            ("2026-03-03 15:00", 10_000, 100),
            ("2026-03-04 15:00", 10_000, 1110),
            ("2026-03-05 15:00", 5_000, 1110),
            ("2026-03-06 15:00", 5_000, 499),
        ]
    )
    assert stats.returns(equity).tolist() == pytest.approx([0.1, 0, 0.1, 0, -0.1])
    found = figures(equity)
    assert found["total_return"] == pytest.approx(1.1 * 1.1 * 0.9 - 1)
    assert found["max_drawdown"] == pytest.approx(-0.1)
    assert found["total_pnl"] == 499
    assert found["total_pnl_percent"] == pytest.approx(9.98)


def test_from_nothing_there_is_no_return_and_nothing_is_the_worst() -> None:
    ruined = curve([("2026-03-02 15:00", 1000, -1500), ("2026-03-03 15:00", 1000, -900), ("2026-03-04 15:00", 0, -900)])
    assert stats.returns(ruined).tolist() == [-1, 0, 0]
    assert figures(ruined)["max_drawdown"] == -1
    assert isnan(figures(ruined)["total_pnl_percent"])
    nothing = curve([("2026-03-02 15:00", 0, 0), ("2026-03-03 15:00", 1000, 0), ("2026-03-04 15:00", 1000, 10)])
    assert stats.returns(nothing).tolist() == pytest.approx([0, 0, 0.01])


def test_other_frequencies_and_zones() -> None:
    equity = curve(
        [
            ("2026-03-02 09:15:20", 1000, 10),
            ("2026-03-02 09:15:50", 1000, 20),
            ("2026-03-02 09:18:00", 1000, 71),
            ("2026-03-03 09:15:00", 1000, 0),
            ("2026-03-10 23:00:00", 1000, 100),
        ]
    )
    minutes = stats.returns(equity, "1min")
    assert [f"{time:%d %H:%M}" for time in minutes.index] == [
        *(f"02 09:{minute}" for minute in (15, 16, 17, 18)),
        "03 09:15",
        "10 23:00",
    ]
    assert minutes.tolist() == pytest.approx([0.02, 0, 0, 0.05, -71 / 1071, 0.1])
    assert stats.returns(equity, 60).tolist() == minutes.tolist()
    assert stats.returns(equity, "1W").tolist() == pytest.approx([0, 0.1])
    assert stats.returns(equity, "MS").tolist() == pytest.approx([0.1])
    assert stats.returns(equity, zone="Australia/Sydney").index[-1] == pd.Timestamp("2026-03-11")
    assert stats.returns(equity.tz_convert("UTC"), zone=ZONE).equals(stats.returns(equity))


@pytest.mark.parametrize(("arguments", "told"), [({"freq": "soon"}, "freq must be"), ({"freq": -1}, "freq must be")])
def test_wrong_use(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(lt.OrderError, match=told):
        stats.returns(curve([("2026-03-02 15:00", 1000, 100)]), **arguments)
    with pytest.raises(lt.OrderError, match="unknown time zone"):
        stats.returns(curve([("2026-03-02 15:00", 1000, 100)]), zone="Asia/Atlantis")


def test_round_trips_and_costs() -> None:
    trips = pd.DataFrame({"net_pnl": [30.0, -10.0, 0.0, 50.0, -30.0]})
    fills = (
        NOTHING["fills"]
        .reindex([0, 1, 2, 3])
        .set_axis(
            pd.DatetimeIndex(
                [f"2026-03-02 {time}" for time in ("09:15", "10:15", "11:15", "12:15")], tz=ZONE, name="time"
            )
        )
    )
    fills = fills.assign(
        symbol=["A", "B", "A", "B"],
        side=["BUY", "SELL", "SELL", "BUY"],
        strategy="manual",
        product="INTRADAY",
        quantity=[0.3, 2, 0.3, 2],
        price=[100.0, 50.0, 110.0, 40.0],
        fees=[1.0, 2.0, 3.0, 4.0],
    )
    orders = pd.DataFrame({"symbol": ["A", "B", "A"], "slippage": [0.5, -0.1, nan], "filled_qty": [2.0, 10.0, 0.0]})
    equity = curve([("2026-03-02 08:15", 1000, 0), ("2026-03-02 16:15", 1000, 500)])
    found = stats.of(equity, fills, trips, orders, multipliers={"B": 10.0})
    assert (found["orders"], found["fills"], found["round_trips"]) == (3, 4, 5)
    assert (found["win_rate"], found["profit_factor"]) == (0.4, 2.0)
    assert (found["average_win"], found["average_loss"]) == (40.0, -20.0)
    assert found["fees"] == 10
    assert found["slippage"] == pytest.approx(0.5 * 2 - 0.1 * 10 * 10)
    assert found["exposure"] == 3 / 8
    assert found["turnover"] == pytest.approx((30 + 1000 + 33 + 800) / 1500)
    only_wins = figures(equity, round_trips=trips[trips["net_pnl"] > 0])
    assert only_wins["profit_factor"] == inf
    assert isnan(only_wins["average_loss"])


def test_exposure_until_now_and_of_opposite_books() -> None:
    """Two strategies against each other hold positions; sums of floats that do not come back to zero hold none."""
    times = pd.DatetimeIndex(pd.date_range("2026-03-02 10:00", periods=5, freq="1h"), name="time").tz_localize(ZONE)
    fills = NOTHING["fills"].reindex(range(5)).set_axis(times).assign(symbol="A", product="CNC", price=1.0, fees=0.0)
    equity = curve([("2026-03-02 10:00", 1000, 0), ("2026-03-02 20:00", 1000, 0)])
    opposite = fills.assign(strategy=list("ababa"), side=["BUY", "SELL", "SELL", "BUY", "BUY"], quantity=1.0)
    assert figures(equity, fills=opposite)["exposure"] == (3 + 6) / 10
    dust = fills.assign(strategy="a", side=["BUY", "BUY", "SELL", "BUY", "SELL"], quantity=[0.1, 0.2, 0.3, 1e9, 1e9])
    assert 0.1 + 0.2 - 0.3 != 0
    assert figures(equity, fills=dust)["exposure"] == 3 / 10


def test_intraday_sharpe_by_hand() -> None:
    """Ten minutes on each of two days. A held night is left out, the first fees after a flat one are not."""
    made = [0.01, -0.02, 0.0, 0.03, 0.01, 0.0, -0.01, 0.02, 0.0, 0.01]
    minutes = [f"09:{15 + minute}" for minute in range(10)]
    value, rows = 1000.0, []
    for day in ("2026-03-02", "2026-03-03"):
        for minute, each in zip(minutes, made, strict=True):
            value *= 1 + each
            rows.append((f"{day} {minute}", 1000.0, value - 1000))
    flat, held = curve(rows, held=False), curve(rows)
    both = np.array([*made, *made])
    assert figures(flat)["sharpe_intraday"] == pytest.approx(both.mean() / both.std(ddof=1) * sqrt(252 * 10))
    both[10] = 0
    assert figures(held)["sharpe_intraday"] == pytest.approx(both.mean() / both.std(ddof=1) * sqrt(252 * 10))
    assert isnan(figures(held.iloc[:15])["sharpe_intraday"])


def test_an_empty_account_has_the_same_names() -> None:
    equity = empty()["equity"]
    found = figures(equity)
    assert tuple(found.index) == stats.NAMES
    assert found["start"] is pd.NaT
    assert found[["days", "orders", "fills", "round_trips", "fees", "slippage"]].tolist() == [0] * 6
    rest = found.drop(["start", "end", "days", "orders", "fills", "round_trips", "fees", "slippage"])
    assert rest.isna().all()
    for freq in ("1D", "1min", "1W"):
        made = stats.returns(equity, freq)
        assert made.empty
        assert made.dtype == "float64"
        assert isinstance(made.index, pd.DatetimeIndex)
    assert tuple(figures(curve([("2026-03-07 15:00", 1000, 0)])).index) == stats.NAMES  # a Saturday alone


# ── beside empyrical ─────────────────────────────────────────────────────────────────────────────────────────────────

daily = st.lists(st.floats(-0.2, 0.2), min_size=stats.FEWEST, max_size=60)


@settings(max_examples=60, deadline=None)
@given(daily)
def test_the_same_as_empyrical(made: list[float]) -> None:
    assume(np.std(made) > 1e-6 and min(made) < -1e-4)
    equity = of_returns(made)
    ours = figures(equity.iloc[1:])  # the first row is the money put in, which the curve knows
    theirs = pd.Series(made, index=stats.returns(equity).index[1:])
    assert stats.returns(equity)[1:].tolist() == pytest.approx(made, abs=1e-12)
    assert ours["sharpe"] == pytest.approx(empyrical.sharpe_ratio(theirs), rel=1e-9)
    assert ours["sortino"] == pytest.approx(empyrical.sortino_ratio(theirs), rel=1e-9)
    assert ours["volatility"] == pytest.approx(empyrical.annual_volatility(theirs), rel=1e-9)
    assert ours["max_drawdown"] == pytest.approx(empyrical.max_drawdown(theirs), rel=1e-9)
    assert ours["total_return"] == pytest.approx(empyrical.cum_returns_final(theirs), rel=1e-9, abs=1e-12)


def test_under_twenty_days_nothing_is_told_by_the_year() -> None:
    made = list(np.random.default_rng(7).normal(0, 0.01, 20))
    names = ["sharpe", "sortino", "volatility"]
    assert figures(of_returns(made).iloc[1:20])[names].isna().all()
    assert figures(of_returns(made).iloc[1:21])[names].notna().all()
    assert figures(of_returns([0.01] * 25).iloc[1:])[["sharpe", "sortino"]].isna().all()  # no deviation at all


# ── what holds of any curve ──────────────────────────────────────────────────────────────────────────────────────────

steps = st.lists(
    st.tuples(st.integers(1, 200_000), st.floats(-300, 300), st.floats(-400, 400)), min_size=1, max_size=80
)


def walked(path: list[tuple[int, float, float]], transfers: bool = True, scale: float = 1.0) -> pd.DataFrame:
    """A curve of (seconds until its row, P&L earned, money moved) from 1,000."""
    time, put_in, pnl, rows = pd.Timestamp("2026-03-02 09:15"), 1000.0, 0.0, []
    for seconds, earned, moved in path:
        time += pd.Timedelta(seconds=seconds)
        put_in += moved if transfers else 0.0
        pnl += earned
        rows.append((str(time), put_in * scale, pnl * scale))
    return curve(rows)


@settings(max_examples=80, deadline=None)
@given(steps)
def test_a_drawdown_is_between_nothing_and_everything(path: list[tuple[int, float, float]]) -> None:
    equity = walked(path)
    found = figures(equity)
    assert -1 <= found["max_drawdown"] <= 0
    assert found["total_return"] >= -1
    assert (stats.returns(equity) >= -1).all()
    assert np.prod(1 + stats.returns(equity)) == pytest.approx(1 + found["total_return"], abs=1e-9)
    assert np.prod(1 + stats.returns(equity, "1min")) == pytest.approx(1 + found["total_return"], abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(steps, st.sampled_from([0.001, 4.0, 1e6]))
def test_ratios_do_not_depend_on_the_size_of_the_account(path: list[tuple[int, float, float]], scale: float) -> None:
    small, large = (figures(walked(path, scale=each)) for each in (1.0, scale))
    for name in ("days", "total_return", "max_drawdown", "sharpe", "sortino", "volatility", "sharpe_intraday"):
        assert large[name] == pytest.approx(small[name], rel=1e-6, abs=1e-9, nan_ok=True), name
    assert large["total_pnl"] == pytest.approx(small["total_pnl"] * scale, abs=1e-6 * scale)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-0.1, 0.1), st.floats(-0.9, 5.0)), min_size=1, max_size=40))
def test_transfers_change_no_return(path: list[tuple[float, float]]) -> None:
    """The same returns with money moved in and out between the days, each time a part of what is there."""
    put_in, value, rows = 1000.0, 1000.0, []
    for day, (made, moved) in zip(days(len(path)), path, strict=True):
        put_in += moved * value
        value += moved * value
        value *= 1 + made
        rows.append((day, put_in, value - put_in))
    made_daily = [made for made, _ in path]
    assert stats.returns(curve(rows)).tolist() == pytest.approx(made_daily, abs=1e-6)
    assert figures(curve(rows))["max_drawdown"] == pytest.approx(
        figures(of_returns(made_daily).iloc[1:])["max_drawdown"], abs=1e-6
    )


@settings(max_examples=40, deadline=None)
@given(daily, st.integers(16, 23))
def test_flat_nights_change_nothing(made: list[float], hour: int) -> None:
    equity = of_returns(made, held=False)
    nights = equity.set_axis(equity.index.normalize() + pd.Timedelta(hours=hour))
    longer = pd.concat([equity, nights]).sort_index(kind="stable")
    before, after = figures(equity), figures(longer)
    for name in ("days", "sharpe", "sortino", "volatility", "max_drawdown", "total_return", "total_pnl"):
        assert after[name] == pytest.approx(before[name], nan_ok=True), name


# ── of an engine, and of its journal ─────────────────────────────────────────────────────────────────────────────────


def test_an_engine_and_its_journal_tell_the_same(tmp_path: Path) -> None:
    path = tmp_path / "account.journal"
    double = [lt.Instrument(SBIN, multiplier=2)]
    stream = lt.LivePriceStream()
    with trading(10_000, stream, journal=path, fees=lt.FlatFee(5), instruments=double) as engine:
        stream.update(SBIN, bid=549, ask=549, last=549)
        engine.market_buy(SBIN, 4).result(5)
        engine.stream.update(SBIN, bid=560, ask=561, last=560)
        engine.transfer(90_000).result(5)
        engine.market_sell(SBIN, 4).result(5)
        found, pnl = engine.stats(), engine.pnl()
        for name in ("total_pnl", "total_pnl_percent", "fees"):
            assert found[name] == pytest.approx(pnl[name], abs=1e-6)
        assert found["total_pnl"] == 2 * 4 * 11 - 10
        assert (found["orders"], found["fills"], found["round_trips"], found["win_rate"]) == (2, 2, 1, 1.0)
        assert found["total_return"] == pytest.approx((1 - 5 / 10_000) * (1 + 83 / 99_995) - 1)
        assert found["turnover"] == pytest.approx(8 * (549 + 560) / pnl["portfolio_value"])
        assert 0 < found["exposure"] < 1
        assert engine.returns.tolist() == pytest.approx([found["total_return"]])
        past = lt.open_journal(path)
        same = past.stats()
        assert found.drop(["end", "exposure"]).equals(same.drop(["end", "exposure"]))
    assert engine.stats()["total_pnl"] == found["total_pnl"]  # a closed one answers too


def test_statistics_reach_from_the_opening_to_now() -> None:
    """A position that moves less than a second after its row, and a day before it without a row."""
    ticks = recording([549.0, 549.0, 549.0, 560.0], seconds=0.2)
    ticks["time"] += pd.to_timedelta([0, 86_400, 86_400, 86_400], unit="s")
    feed = lt.RecordedFeed(ticks, speed=None, autoplay=False)
    with trading(10_000, feed=feed, fees=FREE) as engine:

        @engine.stream.on_tick
        def enter(tick: lt.Tick) -> None:
            if tick.time.day == 3 and not engine.position(SBIN):
                engine.market_buy(SBIN, 1, product="CNC").result(5)

        feed.play().result(30)
        found = engine.stats()
        assert found["total_pnl"] == engine.pnl()["total_pnl"] != engine.equity()["unrealized_pnl"].iloc[-1]
        assert (found["start"], found["end"]) == (ticks["time"].iloc[0].tz_localize(ZONE), engine.now())
        assert engine.returns.index.tolist() == [pd.Timestamp("2026-03-02"), pd.Timestamp("2026-03-03")]
        assert engine.returns.iloc[0] == 0
        assert len(stats.returns(engine.equity(), "1min")) == 1
