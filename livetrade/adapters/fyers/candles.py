"""Candles of the past, and quotes of now, over REST.

Facts: `history` gives at most 100 days a call of bars within a day (from 2017-07-03 on), 366 days of daily and longer
ones, and bars of seconds for the last 30 trading days; `date_format` 0 means epoch seconds, 1 dates; a bar is
`[epoch, open, high, low, close, volume]`. `quotes` takes 50 symbols a call, and marks each that it does not know.
"""

import warnings
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from livetrade.adapters.fyers.credentials import Secret, find_token
from livetrade.adapters.fyers.rest import UNKNOWN_SYMBOL, FyersRest, RestError
from livetrade.columns import Maker, Schema, View
from livetrade.core.instruments import check_symbol
from livetrade.core.records import record
from livetrade.errors import FeedError, OrderError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

ZONE = "Asia/Kolkata"
QUOTES_A_CALL = 50

SECONDS = (5, 10, 15, 30, 45)
MINUTES = (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 240)
_NAMES = {
    **{name: f"{n}S" for n in SECONDS for name in (f"{n}S", f"{n}s")},
    **{name: f"{n}" for n in MINUTES for name in (f"{n}", f"{n}min")},
    **{f"{n // 60}h": f"{n}" for n in MINUTES if n >= 60},
    **{name: f"1{unit}" for unit in "DWM" for name in (f"1{unit}", unit)},
}
_INTRADAY_FROM = date(2017, 7, 3)
_COLUMNS = ("open", "high", "low", "close", "volume")
_DAY = timedelta(days=1)
_SHOWN = "%Y-%m-%d %H:%M:%S"


_LOOK_UP = 'lt.instruments("NSE_CM"), "NSE_FO" and so on list what it knows'


def _check(symbol: str) -> str:
    if ":" not in check_symbol(symbol):
        raise OrderError(f"a symbol of Fyers begins with its exchange, such as 'NSE:SBIN-EQ', not {symbol!r}")
    return symbol


# ── candles ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def history(
    symbol: str,
    start: date | str,
    end: date | str | None = None,
    resolution: str = "1D",
    *,
    access_token: str | Secret | None = None,
    data_url: str | None = None,
    progress: bool = True,
) -> "pd.DataFrame":
    """The candles of a symbol at Fyers from `start` to `end` (None: now), both included; a date means its whole day.

    start, end: what pandas reads as a time, or "today"; naive ones are in Asia/Kolkata. resolution: seconds "5S" "10S"
    "15S" "30S" "45S" (Fyers keeps 30 trading days of these); minutes "1" "2" "3" "5" "10" "15" "20" "30" "60" "120"
    "240" ("5min" and "1h" are understood too; kept from 2017-07-03 on); "1D", "1W", "1M". Days, weeks and months begin
    with the one that holds `start`, and are labelled with the midnight of their first day; the last bar may still be
    forming. Index: time (Asia/Kolkata). Columns: open, high, low, close, volume; float64, also when there are none.

    Longer spans take several calls, paced to what Fyers allows, with a progress bar unless `progress=False`. The token
    is found as everywhere: `access_token`, FYERS_AUTH_TOKEN, or the keyring after `livetrade login fyers`.

    Raises `OrderError` for a symbol, a span or a resolution that cannot be, and a symbol that Fyers does not know;
    `FeedError` where there is no valid token, or Fyers does not answer as it should.
    """
    name = resolution_of(resolution)
    _check(symbol)
    span = span_of(start, end, name, datetime.now(UTC))
    calls = list(calls_for(span, name))
    with FyersRest(find_token(access_token), data_url=data_url) as rest:
        asked = {"symbol": symbol, "resolution": name, "cont_flag": "0"}
        parts = [_candles(rest, {**asked, **call}) for call in _shown(calls, symbol, progress)]
    return _frame(parts, span, name, symbol)


@record
class Span:
    """What is asked for, both ends included, in epoch seconds UTC; for days and longer they are whole."""

    first: int
    last: int


def resolution_of(text: object) -> str:
    """Fyers's name of a resolution."""
    name = _NAMES.get(str(text))
    if name is None:
        raise OrderError(
            f"resolution must be one of {', '.join(f'{n}S' for n in SECONDS)} (seconds), "
            f"{', '.join(map(str, MINUTES))} (minutes), 1D, 1W or 1M, not {text!r}"
        )
    return name


def span_of(start: Any, end: Any, resolution: str, now: datetime) -> Span:
    """The span of what a user wrote, up to now. Raises `OrderError` for one that is empty or in the future."""
    now = now.astimezone(ZoneInfo(ZONE))
    first = _moment(start, "start", now)
    last = now if end is None else _moment(end, "end", now)
    if end is not None and _is_day(end):
        last += _DAY - timedelta(seconds=1)
    if first > now:
        raise OrderError(f"start must not lie in the future: {first:{_SHOWN}}, and now it is {now:{_SHOWN}}")
    if first > last:
        raise OrderError(f"start must not be after end: {first:{_SHOWN}} is after {last:{_SHOWN}}")
    if resolution[-1] in "DWM":
        first = _at(_begin(first.date(), resolution))
    return Span(int(first.timestamp()), int(min(last, now).timestamp()))


def calls_for(span: Span, resolution: str) -> Iterator[dict[str, str]]:
    """The parameters of each call, in order. One ends where a bar does, so that no bar comes in two parts."""
    by_day = resolution[-1] in "DWM"
    # by epoch a day less than allowed: a day of India lies in two of UTC, and how Fyers counts them is not documented
    days = timedelta(days=366 if by_day else 29 if resolution[-1] == "S" else 99)
    day, last_day = _day(span.first), _day(span.last)
    if not by_day:
        day = max(day, _INTRADAY_FROM)
    while day <= last_day:
        after = _begin(day + days, resolution)
        if by_day:
            ends = day.isoformat(), min(after - _DAY, last_day).isoformat()
        else:
            ends = str(max(span.first, _epoch(day))), str(min(_epoch(after) - 1, span.last))
        yield {"date_format": "1" if by_day else "0", "range_from": ends[0], "range_to": ends[1]}
        day = after


def _begin(day: date, resolution: str) -> date:
    """The first day of the week or month."""
    if resolution == "1W":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if resolution == "1M" else day


def _moment(value: Any, what: str, now: datetime) -> datetime:
    from livetrade.frames import instant

    nanoseconds = instant(value, View(ZoneInfo(ZONE), 0, int(now.timestamp()) * 10**9), what)
    return datetime.fromtimestamp(nanoseconds // 10**9, ZoneInfo(ZONE))


def _is_day(value: Any) -> bool:
    if isinstance(value, str):
        return value != "now" and ":" not in value
    return isinstance(value, date) and not isinstance(value, datetime)


def _day(seconds: int) -> date:
    return datetime.fromtimestamp(seconds, ZoneInfo(ZONE)).date()


def _at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(ZONE))


def _epoch(day: date) -> int:
    return int(_at(day).timestamp())


def _shown(calls: list[dict[str, str]], symbol: str, progress: bool) -> Iterable[dict[str, str]]:
    if not progress or len(calls) < 2:
        return calls
    from tqdm.auto import tqdm

    return tqdm(calls, desc=symbol, unit="call", leave=False)


def _candles(rest: FyersRest, params: dict[str, str]) -> "NDArray[Any]":
    """A row a bar: epoch seconds, open, high, low, close, volume."""
    import numpy as np

    symbol = params["symbol"]
    try:
        candles = rest.data("GET", "history", params=params).get("candles") or []
    except RestError as error:
        if error.code != UNKNOWN_SYMBOL:
            raise
        raise OrderError(f"Fyers does not know {symbol!r} ({error}); {_LOOK_UP}") from None
    try:
        rows = np.array([candle[:6] for candle in candles], dtype=np.float64).reshape(len(candles), 6)
    except (ValueError, TypeError, KeyError):
        rows = np.full((1, 6), np.nan)
    if not np.isfinite(rows[:, 0]).all():
        raise FeedError(f"Fyers sent candles of {symbol} that cannot be read: try again")
    return rows


def _frame(parts: "list[NDArray[Any]]", span: Span, resolution: str, symbol: str) -> "pd.DataFrame":
    import numpy as np
    import pandas as pd

    rows = np.concatenate([np.empty((0, 6)), *parts])
    nanoseconds = rows[:, 0].astype(np.int64) * 10**9
    index = pd.DatetimeIndex(nanoseconds, dtype=pd.DatetimeTZDtype("ns", ZoneInfo(ZONE)), name="time")
    if resolution[-1] in "DWM":
        index = index.normalize()
    frame = pd.DataFrame({name: rows[:, at].copy() for at, name in enumerate(_COLUMNS, start=1)}, index=index)
    frame = frame[(index >= _stamp(span.first)) & (index <= _stamp(span.last))].sort_index(kind="stable")
    frame = frame[~frame.index.duplicated(keep="last")]
    frame.attrs = {"symbol": symbol, "resolution": resolution}
    return frame


def _stamp(seconds: int) -> "pd.Timestamp":
    import pandas as pd

    return pd.Timestamp(seconds, unit="s", tz=ZoneInfo(ZONE))


# ── quotes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_QUOTES: Schema = {
    "bid": "number",
    "ask": "number",
    "last": "number",
    "volume": "number",
    "open": "number",
    "high": "number",
    "low": "number",
    "prev_close": "number",
    "time": "time",
}
_FIELDS = {
    "bid": "bid",
    "ask": "ask",
    "last": "lp",
    "volume": "volume",
    "open": "open_price",
    "high": "high_price",
    "low": "low_price",
    "prev_close": "prev_close_price",
}


def quotes(
    symbols: str | Iterable[str], *, access_token: str | Secret | None = None, data_url: str | None = None
) -> "pd.DataFrame":
    """The quotes of symbols at Fyers as they are now, in the order asked, over as many calls as they take.

    Index: symbol. Columns: bid, ask, last, volume (of the session), open, high, low, prev_close, time (Asia/Kolkata; of
    the quote). A price of 0 means that there is none, such as an index's bid, and is NaN.

    A symbol that Fyers does not know is left out with a `RuntimeWarning` that names it. Raises `FeedError` where it
    knows none of them, there is no valid token, or it does not answer as it should; `OrderError` for a malformed
    symbol.
    """
    wanted = list(dict.fromkeys(map(_check, [symbols] if isinstance(symbols, str) else symbols)))
    found: dict[str, dict[str, Any]] = {}
    if wanted:
        with FyersRest(find_token(access_token), data_url=data_url) as rest:
            for at in range(0, len(wanted), QUOTES_A_CALL):
                found |= _quotes(rest, wanted[at : at + QUOTES_A_CALL])
    unknown = [symbol for symbol in wanted if symbol not in found]
    if unknown:
        told = f"Fyers does not know {', '.join(unknown)}; {_LOOK_UP}"
        if not found:
            raise FeedError(told)
        warnings.warn(told, RuntimeWarning, stacklevel=2)
    rows = [found[symbol] for symbol in wanted if symbol in found]
    columns: dict[str, Any] = {name: [_number(row.get(field), name) for row in rows] for name, field in _FIELDS.items()}
    columns["symbol"] = [symbol for symbol in wanted if symbol in found]
    columns["time"] = [_nanoseconds(row.get("tt")) for row in rows]
    view = View(ZoneInfo(ZONE), 0, int(datetime.now(UTC).timestamp()) * 10**9)
    frame = Maker(view, exact=False).frame(_QUOTES, columns, index="symbol")
    frame.attrs = {}
    return frame


def _quotes(rest: FyersRest, symbols: list[str]) -> dict[str, dict[str, Any]]:
    """The fields of each symbol that the server knows, by the name it gives them."""
    try:
        answer = rest.data("GET", "quotes", params={"symbols": ",".join(symbols)})
    except RestError as error:
        if error.code != UNKNOWN_SYMBOL:
            raise
        return {}
    items = answer.get("d")
    if not isinstance(items, list):
        raise FeedError("Fyers sent quotes that cannot be read: try again")
    return {
        item["n"]: item["v"]
        for item in items
        if isinstance(item, dict)
        and item.get("s") == "ok"
        and item.get("n") in symbols
        and isinstance(item.get("v"), dict)
    }


def _number(value: Any, name: str) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return None
    return number if number.is_finite() and (number > 0 or (name == "volume" and number == 0)) else None


def _nanoseconds(seconds: Any) -> int:
    try:
        return max(0, int(float(seconds))) * 10**9
    except (TypeError, ValueError, OverflowError):
        return 0
