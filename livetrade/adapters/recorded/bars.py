"""Bars as ticks: the path of last prices that each bar is taken for.

A bar tells four prices and how much was traded. When, in which order, and at what bid and ask, it cannot tell.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from livetrade.errors import FeedError, OrderError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Array = NDArray[Any]

OHLC = ("open", "high", "low", "close")
CLOSE_NS = 1_000
"""How long before a bar's right edge its close stands, in nanoseconds."""
SHORTEST_NS = 1_000_000


def length_of(bars: Any) -> int | None:
    """Nanoseconds of what a user gave for a bar's length. Raises `OrderError`."""
    import pandas as pd

    if bars is None:
        return None
    try:
        is_seconds = isinstance(bars, int | float) and not isinstance(bars, bool)
        length = int(pd.Timedelta(bars, unit="s").value if is_seconds else pd.Timedelta(bars).value)
    except (ValueError, TypeError, OverflowError):
        length = 0
    if length < SHORTEST_NS:
        raise OrderError(f"bars is the length of a bar, such as '1min', '15min' or '1D' (or seconds), not {bars!r}")
    return length


def path(
    frame: "pd.DataFrame", times: "pd.DatetimeIndex", name: str, length: int | None
) -> "tuple[pd.DataFrame, pd.DatetimeIndex]":
    """The ticks of bars: rows with a symbol, a last and, where the bars have one, a volume; and their times."""
    import numpy as np
    import pandas as pd

    _check_prices(frame, name)
    length = _checked_length(frame["symbol"], times, name, length)
    prices = {each: frame[each].to_numpy() for each in OHLC}
    opens, highs, lows = (_floats(frame[each]) for each in OHLC[:3])
    up_first = (opens - lows) - (highs - opens) > 1e-9 * opens  # more than floats round
    steps = (
        prices["open"],
        np.where(up_first, prices["high"], prices["low"]),
        np.where(up_first, prices["low"], prices["high"]),
        prices["close"],
    )
    rows = np.repeat(np.arange(len(frame)), 4)
    offsets = np.array([0, length // 3, 2 * (length // 3), length - CLOSE_NS], dtype="timedelta64[ns]")
    at = times.repeat(4) + pd.TimedeltaIndex(np.tile(offsets, len(frame)))
    ticks = {"symbol": frame["symbol"].array.take(rows), "last": np.stack(steps, axis=1).reshape(-1)}
    if "volume" in frame.columns and not frame["volume"].isna().all():
        ticks["volume"] = _session_volume(frame, times, name)
    order = np.argsort(at.asi8, kind="stable")
    return pd.DataFrame(ticks).iloc[order].reset_index(drop=True), at[order]


def _floats(column: "pd.Series[Any]") -> "Array":
    import numpy as np

    if getattr(column.dtype, "kind", "O") in "iuf":
        return column.to_numpy(dtype="float64", na_value=np.nan)
    return np.array([_float(value) for value in column])


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _check_prices(frame: "pd.DataFrame", name: str) -> None:
    import numpy as np

    values = {each: _floats(frame[each]) for each in OHLC}
    for each, prices in values.items():
        _none_where(~(np.isfinite(prices) & (prices > 0)), f"{name}: {each} is no price above zero", frame[each])
    highest, lowest = np.maximum(values["open"], values["close"]), np.minimum(values["open"], values["close"])
    _none_where(values["high"] < highest, f"{name}: high is below open or close", frame[[*OHLC]])
    _none_where(values["low"] > lowest, f"{name}: low is above open or close", frame[[*OHLC]])


def _none_where(bad: "Array", told: str, shown: Any) -> None:
    if bad.any():
        row = int(bad.argmax())
        found = shown.iloc[row].to_dict() if shown.ndim == 2 else shown.tolist()[row]
        raise FeedError(f"{told} in bar {row}: {found!r}")


def _checked_length(symbols: "pd.Series[Any]", times: "pd.DatetimeIndex", name: str, length: int | None) -> int:
    """The length of all bars, given or the smallest distance of two."""
    import numpy as np
    import pandas as pd

    apart = pd.Series(times.asi8).groupby(symbols.to_numpy()).diff().to_numpy()
    known = apart[~np.isnan(apart)]
    for row in np.flatnonzero(apart <= 0)[:1].tolist():
        what = "comes twice" if apart[row] == 0 else "is out of order; sort the bars by time"
        raise FeedError(f"{name}: the bar of {symbols.iloc[row]} at {times[row]} {what}")
    if length is None:
        if not len(known):
            raise FeedError(f"{name}: a single bar does not tell how long it is; give bars='1min' (or '1D', ...)")
        length = int(known.min())
    if len(known) and known.min() < length:
        row = int(np.nanargmin(apart))
        apart_by = pd.Timedelta(int(apart[row]), unit="ns")
        raise FeedError(
            f"{name}: bars of {pd.Timedelta(length, unit='ns')} overlap: that of {symbols.iloc[row]} at {times[row]} "
            f"begins {apart_by} after the one before"
        )
    if length < SHORTEST_NS:
        raise FeedError(f"{name}: its bars are closer than a millisecond")
    return length


def _session_volume(frame: "pd.DataFrame", times: "pd.DatetimeIndex", name: str) -> "Array":
    """The volume of the session so far at each tick: a bar's own is known at its close. A session is a day of the
    times' own zone."""
    import numpy as np
    import pandas as pd

    column = frame["volume"]
    volumes = _floats(column)
    _none_where(~(np.isfinite(volumes) & (volumes >= 0)), f"{name}: volume is no number from zero on", column)
    plain = bool((volumes == np.floor(volumes)).all() and volumes.sum() < 2.0**53)
    exact = pd.Series(volumes.astype(np.int64) if plain else [Decimal(str(volume)) for volume in column])
    days = times.normalize().asi8 if times.tz is None else times.tz_localize(None).normalize().asi8
    keys = [pd.factorize(frame["symbol"])[0], days]
    after = exact.groupby(keys).cumsum() if plain else _summed(exact, keys)
    before = after - exact
    return np.stack([before, before, before, after], axis=1).reshape(-1)


def _summed(volumes: "pd.Series[Any]", keys: "list[Array]") -> "pd.Series[Any]":
    """The running sums of exact volumes by symbol and day; floats would gather what they round."""
    import pandas as pd

    sums: dict[tuple[int, int], Decimal] = {}
    after = []
    for volume, symbol, day in zip(volumes, *keys, strict=True):
        sums[symbol, day] = sums.get((symbol, day), Decimal(0)) + volume
        after.append(sums[symbol, day])
    return pd.Series(after, dtype=object)
