"""Statistics of an equity curve, its fills and its round trips.

Everything begins with the returns from one row of the curve to the next. The curve itself knows how much money was put
in: by the ledger's identity it is cash + market value - realized - unrealized + fees. What that changed by between two
rows is money that was moved, not earned: it is taken out of the numerator, and stands in the denominator from the
earlier row on. Linked, such returns are the time-weighted rate of return (CFA Institute, Global Investment Performance
Standards), which neither a deposit nor a withdrawal changes.

An account that is worth nothing, or owes, has lost 100 %: a return is never below -1, and from nothing there is none.
"""

from collections.abc import Mapping
from datetime import tzinfo
from math import inf, nan, sqrt
from typing import TYPE_CHECKING, Any, TypeAlias

from livetrade.columns import frequency
from livetrade.core.records import record
from livetrade.errors import OrderError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]

DAYS_A_YEAR = 252
FEWEST = 20
"""With fewer returns than these no figure that is told by the year is given."""
DAY, MINUTE = 86_400 * 10**9, 60 * 10**9

NAMES = (
    "start",
    "end",
    "days",
    "total_pnl",
    "total_pnl_percent",
    "total_return",
    "max_drawdown",
    "sharpe",
    "sharpe_intraday",
    "sortino",
    "volatility",
    "exposure",
    "turnover",
    "orders",
    "fills",
    "round_trips",
    "win_rate",
    "profit_factor",
    "average_win",
    "average_loss",
    "fees",
    "slippage",
)


def of(
    equity: "pd.DataFrame",
    fills: "pd.DataFrame",
    round_trips: "pd.DataFrame",
    orders: "pd.DataFrame",
    *,
    zone: tzinfo | str | None = None,
    multipliers: Mapping[str, float] | None = None,
) -> "pd.Series[Any]":
    """The statistics of one account, by name, in the order of `NAMES`; NaN (NaT) where one is not defined.

    equity, fills, round_trips, orders: an engine's frames, in floats and whole, for the curve begins with the money put
    in. zone: where days begin; the frames' own when left out. multipliers: by symbol, the contract multiplier of those
    where it is not 1 (no frame tells it, and turnover and slippage need it).

    - start, end: the first and the last time of the curve. days: how many daily returns there are (see `returns`).
    - total_pnl: realized + unrealized - fees. total_pnl_percent: of the money put in, as `engine.pnl()` has it.
    - total_return: the row-to-row returns, linked: 0.10 is 10 %. It counts what each unit of money did, so beside
      transfers it differs from `total_pnl_percent`.
    - max_drawdown: the deepest fall of the linked returns from their highest point so far, 0 to -1 (-0.10: 10 % below),
      seen at every row and not at the days' ends only (Magdon-Ismail and Atiya, "Maximum Drawdown", 2004).
    - sharpe: mean / standard deviation (n - 1) of the daily net returns x √252, without a risk-free rate (Sharpe, "The
      Sharpe Ratio", 1994). volatility: that deviation x √252. sortino: the mean / √(mean of min(return, 0)²) x √252,
      all days counted (Sortino and Price, 1994). All three need 20 days.
    - sharpe_intraday: the same ratio of the returns of each minute between the first and the last row of a day, x √(252
      x minutes a day); it needs 20 minutes. What a position did over night is left out. Minutes without a position
      hardly change it: they lower mean, variance and the square of the factor alike.
    - exposure: the share of the time from start to end in which some book (strategy, symbol, product) held a position.
      turnover: the value of all fills, bought and sold, over the mean of the days' last portfolio values.
    - orders, fills, round_trips: how many, refused orders included. win_rate: the share of round trips with a net P&L
      above zero. profit_factor: what the winners made over what the losers lost, both net; infinite without a loser.
      average_win, average_loss: money, the second below zero.
    - fees: of all fills. slippage: what orders cost against the quotes at their submission; above zero is worse.
    """
    import pandas as pd

    curve = _Curve.of(equity, zone)
    daily = _daily(curve)
    times = equity.index
    figures = {
        "start": times[0] if len(times) else pd.NaT,
        "end": times[-1] if len(times) else pd.NaT,
        "days": len(daily),
        **_made(curve),
        **_by_the_year(daily.to_numpy()),
        "sharpe_intraday": _sharpe_intraday(curve),
        "exposure": _exposure(fills, times),
        "turnover": _turnover(curve, fills, daily, multipliers or {}),
        "orders": len(orders),
        "fills": len(fills),
        "round_trips": len(round_trips),
        **_trips(round_trips["net_pnl"].to_numpy()),
        "fees": float(fills["fees"].sum()),
        "slippage": _slippage(orders, multipliers or {}),
    }
    return pd.Series([figures[name] for name in NAMES], index=pd.Index(NAMES, dtype="str"), name="stats", dtype=object)


def returns(equity: "pd.DataFrame", freq: Any = "1D", zone: tzinfo | str | None = None) -> "pd.Series[float]":
    """The net returns of an equity curve (a fraction: 0.01 is 1 %), by day, or by any other pandas frequency.

    The index is naive, in `zone` (the curve's own when left out); a day is labelled with its midnight. Monday to Friday
    count from the first row to the last, those without a row as 0; Saturdays and Sundays count where the P&L moved. A
    frequency below a day gives the buckets from each day's first row to its last, aligned to midnight; what happened
    over night is in the day's first. Time-weighted: transfers of cash are not returns (see this module).

    The daily ones are what quantstats, empyrical-reloaded and pyfolio-reloaded take as they are. Tried with quantstats
    0.0.86 (`quantstats.reports.html(engine.returns, output="report.html")`, and its `stats`) and pyfolio-reloaded
    0.10.1 (`pyfolio.timeseries.perf_stats(engine.returns)`).

    Raises `OrderError` for a frequency or a zone that is none.
    """
    import pandas as pd

    curve = _Curve.of(equity, zone)
    offset = frequency(freq)
    size = offset.nanos if isinstance(offset, pd.offsets.Tick) else DAY if offset == pd.offsets.Day(1) else 0
    if not len(curve.growth):
        return _series([], [])
    if 0 < size < DAY:
        return _within_days(curve, size)
    daily = _daily(curve)
    if size == DAY:
        return daily
    linked: pd.Series[float] = (1 + daily).resample(offset).prod() - 1
    return linked.rename("returns").rename_axis("time")


def drawdown(equity: "pd.DataFrame", zone: tzinfo | str | None = None) -> "pd.Series[float]":
    """How far the linked returns stand below their highest point so far, at each row of an equity curve: 0 to -1
    (-0.10: 10 % below). Transfers are no returns (see this module)."""
    import pandas as pd

    return pd.Series(_fallen(_Curve.of(equity, zone)), equity.index, name="drawdown")


# ── the curve ────────────────────────────────────────────────────────────────────────────────────────────────────────


@record
class _Curve:
    """The rows of an equity curve as arrays. local: naive nanoseconds. growth: 1 + the return from the row before."""

    local: "Array"
    days: "Array"
    growth: "Array"
    value: "Array"
    market_value: "Array"
    pnl: "Array"
    put_in: "Array"

    @classmethod
    def of(cls, equity: "pd.DataFrame", zone: tzinfo | str | None) -> "_Curve":
        import numpy as np

        value, market_value, realized, unrealized, fees = (
            equity[name].to_numpy(dtype=np.float64)
            for name in ("portfolio_value", "market_value", "realized_pnl", "unrealized_pnl", "fees")
        )
        local = _local(equity.index, zone)
        pnl = realized + unrealized - fees
        put_in = value - pnl
        # the money of the row before, and what was moved since
        base = put_in + np.concatenate([np.zeros(min(1, len(pnl))), pnl[:-1]])
        earned = np.diff(pnl, prepend=0.0)
        worth = base > 1e-9 * np.abs(put_in)
        growth = np.where(worth, np.maximum(0.0, 1 + earned / np.where(worth, base, 1.0)), 1.0)
        return cls(local, local - local % DAY, growth, value, market_value, pnl, put_in)


def _local(times: Any, zone: tzinfo | str | None) -> "Array":
    """Naive nanoseconds of the times, as the clocks of their zone (or of another) showed them."""
    if times.tz is not None:
        try:
            times = (times if zone is None else times.tz_convert(zone)).tz_localize(None)
        except (ValueError, TypeError, KeyError, OSError):
            raise OrderError(f"unknown time zone {zone!r}; write one such as 'Asia/Kolkata'") from None
    return _nanoseconds(times)


def _nanoseconds(times: Any) -> "Array":
    import numpy as np

    return np.asarray(times.as_unit("ns").asi8)


def _series(values: Any, local: Any) -> "pd.Series[float]":
    import numpy as np
    import pandas as pd

    index = pd.DatetimeIndex(np.asarray(local, dtype="int64").view("datetime64[ns]"), name="time")
    return pd.Series(values, index=index, name="returns", dtype="float64")


def _linked(curve: _Curve, labels: "Array") -> "tuple[Array, Array]":
    """The labels that differ from the one before, and the return of the rows under each."""
    import numpy as np

    first = np.flatnonzero(np.diff(labels, prepend=labels[0] - 1))
    return labels[first], np.multiply.reduceat(curve.growth, first) - 1


def _daily(curve: _Curve) -> "pd.Series[float]":
    import numpy as np
    import pandas as pd

    if not len(curve.growth):
        return _series([], [])
    days, made = _linked(curve, curve.days)
    known = _series(made, days)
    first, last = (np.datetime64(int(day), "ns") for day in (days[0], days[-1]))
    weekdays = pd.bdate_range(first, last).as_unit("ns").asi8
    counted = np.union1d(weekdays, days[made != 0])
    return known.reindex(_series(0.0, counted).index, fill_value=0.0)


def _within_days(curve: _Curve, size: int) -> "pd.Series[float]":
    import numpy as np

    labels, made = _linked(curve, curve.days + (curve.local - curve.days) // size * size)
    days = labels - labels % DAY
    last = np.flatnonzero(np.diff(days, append=days[-1] + DAY))
    first = np.concatenate([[0], last[:-1] + 1])
    spans = [np.arange(labels[begin], labels[end] + 1, size) for begin, end in zip(first, last, strict=True)]
    return _series(made, labels).reindex(_series(0.0, np.concatenate(spans)).index, fill_value=0.0)


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _made(curve: _Curve) -> dict[str, float]:
    import numpy as np

    if not len(curve.growth):
        return dict.fromkeys(("total_pnl", "total_pnl_percent", "total_return", "max_drawdown"), nan)
    pnl, put_in = float(curve.pnl[-1]), float(curve.put_in[-1])
    wealth = np.cumprod(curve.growth)
    return {
        "total_pnl": pnl,
        "total_pnl_percent": 100 * pnl / put_in if put_in > 0 else nan,
        "total_return": float(wealth[-1]) - 1,
        "max_drawdown": float(min(0.0, _fallen(curve).min())),
    }


def _fallen(curve: _Curve) -> "Array":
    import numpy as np

    wealth = np.cumprod(curve.growth)
    return np.asarray(wealth / np.maximum(1.0, np.maximum.accumulate(wealth)) - 1)


def _by_the_year(daily: "Array") -> dict[str, float]:
    import numpy as np

    if len(daily) < FEWEST:
        return dict.fromkeys(("sharpe", "sortino", "volatility"), nan)
    mean, spread = float(daily.mean()), _spread(daily)
    below = sqrt(float((np.minimum(daily, 0.0) ** 2).mean()))
    year = sqrt(DAYS_A_YEAR)
    return {
        "sharpe": mean / spread * year if spread else nan,
        "sortino": mean / below * year if below else nan,
        "volatility": spread * year,
    }


def _spread(made: "Array") -> float:
    """The standard deviation; 0 where returns differ by no more than the last bits of their arithmetic."""
    spread = float(made.std(ddof=1))
    return spread if spread > 1e-14 else 0.0


def _sharpe_intraday(curve: _Curve) -> float:
    import numpy as np

    if not len(curve.growth):
        return nan
    new_day = np.diff(curve.days, prepend=curve.days[0]) != 0
    over_night = new_day & (np.concatenate([[0.0], curve.market_value[:-1]]) != 0)
    minutes = curve.local // MINUTE
    first = np.flatnonzero(np.diff(minutes, prepend=minutes[0] - 1))
    made = np.multiply.reduceat(np.where(over_night, 1.0, curve.growth), first) - 1
    begins = np.flatnonzero(new_day | (np.arange(len(minutes)) == 0))
    ends = np.concatenate([begins[1:] - 1, [len(minutes) - 1]])
    count = int((minutes[ends] - minutes[begins] + 1).sum())
    if count < FEWEST:
        return nan
    mean = float(made.sum()) / count
    # the minutes without a row are zeros, and need not be made
    variance = (float(((made - mean) ** 2).sum()) + (count - len(made)) * mean**2) / (count - 1)
    return mean / sqrt(variance) * sqrt(DAYS_A_YEAR * count / len(begins)) if variance > 1e-28 else nan


def _exposure(fills: "pd.DataFrame", times: Any) -> float:
    import numpy as np

    span = _nanoseconds(times)
    begin, end = (span[0], span[-1]) if len(span) else (0, 0)
    if end <= begin:
        return nan
    held = _held(fills)
    at = _nanoseconds(fills.index)
    if not len(at):
        return 0.0
    edges = np.clip(np.concatenate([at, [end]]), begin, end)
    return float(np.diff(edges)[held].sum()) / (end - begin)


def _held(fills: "pd.DataFrame") -> "Array":
    """Whether any book holds something after each fill."""
    import numpy as np

    keys = [fills["strategy"].to_numpy(), fills["symbol"].to_numpy(), fills["product"].astype("str").to_numpy()]
    quantity = fills["quantity"].reset_index(drop=True)
    signed = quantity.where((fills["side"] == "BUY").to_numpy(), -quantity)
    position = signed.groupby(keys).cumsum()
    dust = 1e-9 * quantity.groupby(keys).cumsum()  # sums of floats do not always come back to zero
    holds = (position.abs() > dust).astype(np.int64)
    before = holds.groupby(keys).shift(fill_value=0)
    held: Array = (holds - before).cumsum().to_numpy() > 0
    return held


def _turnover(
    curve: _Curve, fills: "pd.DataFrame", daily: "pd.Series[float]", multipliers: Mapping[str, float]
) -> float:
    import numpy as np

    if not len(curve.growth):
        return nan
    last = np.flatnonzero(np.diff(curve.days, append=curve.days[-1] + DAY))
    closes = _series(curve.value[last], curve.days[last]).reindex(daily.index, method="ffill")
    mean = float((closes if len(closes) else curve.value[last]).mean())
    traded = float((fills["price"] * fills["quantity"] * _factors(fills["symbol"], multipliers)).sum())
    return traded / mean if mean > 0 else nan


def _slippage(orders: "pd.DataFrame", multipliers: Mapping[str, float]) -> float:
    return float((orders["slippage"] * orders["filled_qty"] * _factors(orders["symbol"], multipliers)).sum())


def _factors(symbols: "pd.Series[Any]", multipliers: Mapping[str, float]) -> "Array":
    import numpy as np

    return np.array([multipliers.get(symbol, 1.0) for symbol in symbols] if multipliers else 1.0)


def _trips(net: "Array") -> dict[str, float]:
    won, lost = net[net > 0], net[net < 0]
    return {
        "win_rate": len(won) / len(net) if len(net) else nan,
        "profit_factor": float(won.sum() / -lost.sum()) if len(lost) else inf if len(won) else nan,
        "average_win": float(won.mean()) if len(won) else nan,
        "average_loss": float(lost.mean()) if len(lost) else nan,
    }
