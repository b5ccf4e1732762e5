"""`read_ticks`: a source of ticks as a DataFrame."""

from datetime import date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from livetrade.adapters.recorded.sources import Source, table_of
from livetrade.adapters.recorded.table import FIGURES, PRICES, Table, is_numeric
from livetrade.adapters.recorded.times import Period, localized, zone_named

if TYPE_CHECKING:
    import pandas as pd


def read_ticks(
    source: Source,
    symbol: str | None = None,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    *,
    timezone: str | tzinfo = "Asia/Kolkata",
    bars: str | float | timedelta | None = None,
) -> "pd.DataFrame":
    """Recorded ticks as a DataFrame: indexed by an aware `time` (nanoseconds, in `timezone`), with the columns symbol,
    bid, ask, last, volume, and bid_size and ask_size where the source has them. NaN is what a row does not tell.

    source: the path of a Parquet or CSV file (`.parquet`, `.csv`, `.csv.gz`), or a DataFrame. It has a time index or a
    `time` column (datetimes or ISO 8601 text, naive ones in `timezone`), a `symbol` column unless `symbol` is given,
    and one of bid, ask and last. Rows stay in their order. Numbers are float64; columns of text or `Decimal` stay as
    they are, and exact.
    symbol: only this one; or what a source without a `symbol` column is about.
    start, end: both included; a date without a time is the whole day.

    **What an engine kept**: the folder of `engine.record(folder)`, a file in it, or a journal (its path, or the
    `FileJournal`). Each row is the whole quote after a tick, and more columns tell of it: both sizes, `received` (the
    engine's time; `time` is the source's own, else the same) and, where there was one, `source`. Floats show up to 15
    digits; `RecordedFeed(folder)` has all of them.

    **Bars** (columns open, high, low, close, and volume where it is known; `lt.history(...)` as it is): each becomes
    four ticks of last prices, by this rule. The open stands at the bar's left edge; the extreme that is nearer to the
    open a third of the bar later (the low where both are as near), the other after two thirds; the close a microsecond
    before the right edge. `volume` is that of the day so far (a day in the bars' own zone), and a bar's own is in it
    from its close on.
    bars: how long a bar is ("1min", "1D", seconds or a `timedelta`); left out, the smallest distance of two bars.
    What a bar cannot tell: which extreme came first and how often each was seen, when within the bar, and any bid or
    ask. A stop and a target inside one bar are therefore decided by the rule and not by the market, stops fill at the
    extreme where the market may have traded through them, and orders pay no spread.

    Raises `FeedError` for a source that cannot be read, or holds nothing, or nothing of the symbol, and for bars that
    contradict themselves, overlap, come twice or out of order, or stand beside columns of ticks; `OrderError` for a
    malformed symbol, an unknown time zone or a `bars` that is no length.
    """
    zone = zone_named(timezone)
    period = Period(start, end, zone)
    table = table_of(source, symbol, bars, period)
    times = localized(table.times, zone, table.name)
    frame = _shown(table).set_axis(times.rename("time"), axis="index")
    if table.received is not None:
        frame["received"] = localized(table.received, zone, table.name)
        if table.sources is not None and (table.sources != "").any():
            frame["source"] = table.sources.astype("str")
    keep = period.has(times)
    return frame if keep is None else frame[keep]


def _shown(table: Table) -> "pd.DataFrame":
    """The figures as a user sees them."""
    frame = table.frame.copy(deep=False)
    for name in set(FIGURES) & set(frame.columns):
        if table.instruments is not None:
            frame[name] = _floats(table, name)
        elif is_numeric(frame[name]):
            frame[name] = frame[name].astype("float64")
    return frame


def _floats(table: Table, name: str) -> Any:
    import numpy as np
    import pandas as pd

    price = name in PRICES
    codes, symbols = pd.factorize(table.frame["symbol"])
    items = [(table.instruments or {})[symbol] for symbol in symbols]
    units = np.array([10.0 ** (item.scale if price else item.quantity_scale) for item in items])
    raw = table.frame[name].to_numpy()
    return np.where(raw > 0 if price else raw >= 0, raw / units[codes], np.nan)
