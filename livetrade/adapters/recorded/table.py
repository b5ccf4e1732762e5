"""A source of ticks as a table: what rows, columns, symbols and times it has."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from livetrade.adapters.recorded import bars
from livetrade.adapters.recorded.times import in_utc, parsed
from livetrade.core.instruments import Instrument, check_symbol
from livetrade.errors import FeedError, OrderError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

PRICES = ("bid", "ask", "last")
SIZES = ("bid_size", "ask_size")
FIGURES = (*PRICES, "volume", *SIZES)


class Table(NamedTuple):
    """A source that was read and checked: its rows in their order."""

    name: str
    times: "pd.DatetimeIndex"
    """Naive, or UTC; nanoseconds. Of whole quotes: the source's own time, if it gave one."""
    frame: "pd.DataFrame"
    """The columns symbol, bid, ask, last, volume, and the sizes where they are given."""
    received: "pd.DatetimeIndex | None" = None
    """When an engine received each row, which is a whole quote then; None for a source that does not tell."""
    given: "Array | None" = None
    """Of whole quotes: where the source gave a time of its own."""
    sources: "Array | None" = None
    """Of whole quotes: who sent them."""
    instruments: Mapping[str, Instrument] | None = None
    """By symbol, where the figures are raw integers on their scales (prices 0, sizes and volume -1: unknown)."""

    def has(self, name: str) -> bool:
        if name not in self.frame.columns:
            return False
        column = self.frame[name]
        return bool((column > (0 if name in PRICES else -1)).any() if self.instruments else not column.isna().all())


def of_frame(
    frame: "pd.DataFrame", name: str, symbol: str | None, length: int | None, otherwise: str | None = None
) -> Table:
    """The table of what a user's DataFrame or file holds: ticks, quotes of an engine, or bars. otherwise: the symbol of
    one that names none. Raises `FeedError`."""
    nameless = frame.attrs.get("symbol", otherwise)
    if not frame.columns.is_unique:
        raise FeedError(f"{name} has a column twice: {listed(frame.columns[frame.columns.duplicated()])}")
    frame = _with_columns(frame, name)
    is_of_bars = _is_of_bars(frame, name, length)
    frame = _of_symbol(frame, symbol if symbol or "symbol" in frame.columns else nameless, name)
    times = parsed(frame["time"], name)
    if is_of_bars:
        frame, times = bars.path(frame, times, name, length)
    kept = frame.reindex(columns=["symbol", *FIGURES[:4], *(size for size in SIZES if size in frame.columns)])
    table = Table(name, in_utc(times), kept)
    return table if is_of_bars or "received" not in frame.columns else _of_quotes(table, frame)


def _of_quotes(table: Table, frame: "pd.DataFrame") -> Table:
    received = in_utc(parsed(frame["received"], f"{table.name}: its column received"))
    if (received.tz is None) is not (table.times.tz is None):
        raise FeedError(f"{table.name} has times with a zone and times without one in its columns time and received")
    sources = frame["source"].astype(object).to_numpy() if "source" in frame.columns else None
    return table._replace(received=received, given=received.asi8 != table.times.asi8, sources=sources)


def _is_of_bars(frame: "pd.DataFrame", name: str, length: int | None) -> bool:
    prices, ohlc = ([each for each in names if each in frame.columns] for names in (PRICES, bars.OHLC))
    if prices and ohlc:
        raise FeedError(f"{name} has columns of bars and of ticks ({listed([*ohlc, *prices])}); give one or the other")
    if prices and length is not None:
        raise FeedError(f"{name} has ticks ({listed(prices)}); bars=... is for open, high, low and close")
    if ohlc and len(ohlc) < len(bars.OHLC):
        missing = [each for each in bars.OHLC if each not in ohlc]
        raise FeedError(f"{name} has no {listed(missing)}: bars have open, high, low and close")
    if not (prices or ohlc):
        raise FeedError(
            f"{name} has no price: it needs a column bid, ask or last (or open, high, low and close), "
            f"and has {listed(frame.columns)}"
        )
    return bool(ohlc)


def _with_columns(frame: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """The frame with `time` as a column, and `symbol` too if it stands in the index."""
    import pandas as pd

    inside = [level for level in frame.index.names if level in ("time", "symbol") and level not in frame.columns]
    if inside:
        frame = frame.reset_index(level=inside)
    if "time" in frame.columns:
        return frame
    if isinstance(frame.index, pd.DatetimeIndex):
        return frame.rename_axis("time").reset_index()
    raise FeedError(f"{name} has no times: it needs a time index or a column time, and has {listed(frame.columns)}")


def _of_symbol(frame: "pd.DataFrame", symbol: str | None, name: str) -> "pd.DataFrame":
    if "symbol" not in frame.columns:
        if symbol is None:
            raise FeedError(f"{name} does not say what it is about: give symbol=..., or a column symbol")
        return frame.assign(symbol=symbol)
    column = frame["symbol"]
    if column.isna().any():
        raise FeedError(f"{name} has no symbol in row {int(column.isna().to_numpy().argmax())}")
    found = list(column.unique())
    for each in found:
        try:
            check_symbol(each)
        except OrderError as error:
            raise FeedError(f"{name}: {error}") from None
    if symbol is None:
        return frame
    if found and symbol not in found:
        raise FeedError(f"{name} has no ticks of {symbol!r}, but of {listed(found)}")
    return frame[column == symbol]


def is_numeric(column: "pd.Series[Any]") -> bool:
    return getattr(column.dtype, "kind", "O") in "iuf"


def listed(names: Iterable[object]) -> str:
    """Some names, for a message."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:8]) + (", …" if len(texts) > 8 else "") if texts else "none"
