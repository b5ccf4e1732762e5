"""Columns -> pandas DataFrames with fixed schemas.

Every frame has the same columns, order and dtypes whether it is empty or holds a million rows; the schemas below are
the tables of the documentation. `exact` decides what a number is: False gives `float64` (NaN where unknown), True gives
`Decimal` objects (None where unknown), "arrow" gives Arrow decimals with 18 decimals (a column that those cannot hold
gets 30 decimals in 256 bits). pandas, NumPy and pyarrow load with the first frame, not with this module.
"""

import math
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from functools import cache, reduce
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import uuid4

from livetrade.core.history import Amounts, Money, Text, Texts
from livetrade.core.ledger import BookKey, share
from livetrade.core.numbers import SHARE_QUANTUM, at, divide, money, to_decimal
from livetrade.core.values import (
    FINAL,
    ExitKind,
    ExitStatus,
    Fill,
    Instrument,
    OrderSide,
    OrderStatus,
    OrderType,
    Position,
    PriceSource,
    Product,
    RiskOrder,
    Source,
    Tick,
    TimeInForce,
    average,
)
from livetrade.errors import OrderError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]

Exact = bool | Literal["arrow"]
Columns = Mapping[str, Any]
"""Columns by name, of equal length: `Text`, `Money`, typed arrays, or plain lists."""


@dataclass(frozen=True, slots=True)
class View:
    """How a read looks at the account: its time zone, the last event it saw, and when (nanoseconds UTC)."""

    zone: tzinfo
    seq: int
    as_of: int


@dataclass(frozen=True, slots=True)
class Where:
    """Which rows a read returns. symbol, strategy, tag: one text or several. since (inclusive) and until (exclusive):
    "today" (its 00:00), "now", a date, a `datetime`, or anything `pandas.Timestamp` reads; naive ones are in the
    view's time zone. They compare with `created_at` of orders, `armed_at` of risk orders, `exit_time` of round trips
    and the index of all else."""

    symbol: str | Iterable[str] | None = None
    strategy: str | Iterable[str] | None = None
    tag: str | Iterable[str] | None = None
    since: Any = None
    until: Any = None


EVERYTHING = Where()


# ── schemas ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_Kind = Literal["text", "number", "time"] | type[StrEnum]
_Schema = dict[str, _Kind]

_POSITIONS: _Schema = {
    "quantity": "number",
    "avg_price": "number",
    "last_price": "number",
    "market_value": "number",
    "cost_basis": "number",
    "unrealized_pnl": "number",
    "realized_pnl": "number",
    "fees": "number",
    "total_pnl": "number",
    "unrealized_pnl_pct": "number",
    "stop_loss_price": "number",
    "take_profit_price": "number",
    "opened_at": "time",
}
_ORDERS: _Schema = {
    "symbol": "text",
    "side": OrderSide,
    "order_type": OrderType,
    "product": Product,
    "time_in_force": TimeInForce,
    "quantity": "number",
    "filled_qty": "number",
    "avg_price": "number",
    "limit_price": "number",
    "trigger_price": "number",
    "status": OrderStatus,
    "reason": "text",
    "source": Source,
    "strategy": "text",
    "tag": "text",
    "fees": "number",
    "slippage": "number",
    "venue_order_id": "text",
    "created_at": "time",
    "updated_at": "time",
}
_FILLS: _Schema = {
    "symbol": "text",
    "side": OrderSide,
    "product": Product,
    "quantity": "number",
    "price": "number",
    "price_source": PriceSource,
    "fees": "number",
    "realized_pnl": "number",
    "source": Source,
    "strategy": "text",
    "tag": "text",
    "client_order_id": "text",
    "execution_id": "text",
}
_RISK_ORDERS: _Schema = {
    "symbol": "text",
    "strategy": "text",
    "kind": ExitKind,
    "trigger_price": "number",
    "quantity": "number",
    "status": ExitStatus,
    "distance": "number",
    "distance_pct": "number",
    "client_order_id": "text",
    "armed_at": "time",
    "fired_at": "time",
}
_EQUITY: _Schema = {
    "cash": "number",
    "market_value": "number",
    "portfolio_value": "number",
    "realized_pnl": "number",
    "unrealized_pnl": "number",
    "fees": "number",
}
_ROUND_TRIPS: _Schema = {
    "symbol": "text",
    "strategy": "text",
    "tag": "text",
    "side": OrderSide,
    "quantity": "number",
    "entry_time": "time",
    "entry_price": "number",
    "exit_time": "time",
    "exit_price": "number",
    "gross_pnl": "number",
    "fees": "number",
    "net_pnl": "number",
    "return_pct": "number",
    "mae": "number",
    "mfe": "number",
    "exit_source": Source,
}
_TICKS: _Schema = {"symbol": "text", "bid": "number", "ask": "number", "last": "number", "volume": "number"}
_QUOTES: _Schema = {
    "bid": "number",
    "ask": "number",
    "last": "number",
    "volume": "number",
    "bid_size": "number",
    "ask_size": "number",
    "time": "time",
    "received": "time",
}
_BARS: _Schema = {"open": "number", "high": "number", "low": "number", "close": "number", "volume": "number"}


# ── frames ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def orders(
    columns: Columns,
    view: View,
    where: Where = EVERYTHING,
    *,
    open: bool = False,  # noqa: A002
    exact: Exact = False,
) -> "pd.DataFrame":
    """A row an order, from a copy of `OrderTable`; `open=True` leaves out those that can no longer fill."""
    import numpy as np

    rows = _rows("orders", columns, view, where, time="created_at")
    if open:
        may_fill = np.array([status not in FINAL for status in OrderStatus])[np.asarray(columns["status"])]
        rows = may_fill if rows is None else rows & may_fill
    shown = {
        **columns,
        "quantity": Scaled(columns["quantity"], columns["quantity_scale"]),
        "filled_qty": Scaled(columns["filled_qty"], columns["quantity_scale"]),
        "limit_price": Scaled(columns["limit_price"], columns["price_scale"], unknown=0),
        "trigger_price": Scaled(columns["trigger_price"], columns["price_scale"], unknown=0),
    }
    return _Maker(view, exact, rows).frame(_ORDERS, shown, index="client_order_id")


def fills(columns: Columns, view: View, where: Where = EVERYTHING, *, exact: Exact = False) -> "pd.DataFrame":
    """A row a fill in the order they were booked, from a copy of `FillTable`."""
    rows = _rows("fills", columns, view, where)
    shown = {
        **columns,
        "quantity": Scaled(columns["quantity"], columns["quantity_scale"]),
        "price": Scaled(columns["price"], columns["price_scale"]),
    }
    return _Maker(view, exact, rows).frame(_FILLS, shown, index="time")


def equity(
    columns: Columns, view: View, where: Where = EVERYTHING, *, freq: Any = None, exact: Exact = False
) -> "pd.DataFrame":
    """The equity curve, from a copy of `EquityTable`.

    With `freq` (a pandas frequency, or seconds) the last row of each bucket; an empty bucket repeats the one before.
    """
    import numpy as np
    import pandas as pd

    rows = _rows("equity", columns, view, where)
    if freq is None:
        return _Maker(view, exact, rows).frame(_EQUITY, columns, index="time")
    chosen = np.arange(len(columns["time"])) if rows is None else np.flatnonzero(rows)
    times = _Maker(view, exact, chosen).times(columns["time"])
    last = pd.Series(chosen, index=times).resample(_offset(freq)).last().ffill()
    make = _Maker(view, exact, last.to_numpy(dtype=np.int64))
    return make.frame(_EQUITY, columns, index=pd.DatetimeIndex(last.index.array, name="time").as_unit("ns"))


def positions(
    rows: Iterable[tuple[str, Product, Position]],
    view: View,
    *,
    by: str = "symbol",
    exact: Exact = False,
) -> "pd.DataFrame":
    """A row for each (strategy, product, position); `by` "strategy" or "product" puts a column of that name first."""
    first: dict[str, _Schema] = {"symbol": {}, "strategy": {"strategy": "text"}, "product": {"product": Product}}
    if by not in first:
        raise OrderError(f"positions are by 'symbol', 'strategy' or 'product', not {by!r}")
    rows = list(rows)
    held = [position for _, _, position in rows]
    columns: dict[str, Any] = {name: [getattr(position, name) for position in held] for name in ("symbol", *_POSITIONS)}
    columns["strategy"] = [strategy for strategy, _, _ in rows]
    columns["product"] = [product for _, product, _ in rows]
    columns["opened_at"] = [0 if when is None else _instant(when, view) for when in columns["opened_at"]]
    return _Maker(view, exact).frame({**first[by], **_POSITIONS}, columns, index="symbol")


def risk_orders(
    rows: Iterable[tuple[RiskOrder, int]], view: View, where: Where = EVERYTHING, *, exact: Exact = False
) -> "pd.DataFrame":
    """A row for each exit and the raw price that it watches (0: unknown).

    distance: how far that price is from the trigger, positive while not reached; distance_pct: in percent of that
    price; both only while ARMED. quantity: the exit's `quantity_raw`. client_order_id: the order it sent, or empty.
    """
    rows = list(rows)
    risks = [risk for risk, _ in rows]
    distances = [_distance(risk, watched_raw) for risk, watched_raw in rows]
    columns = {
        "risk_id": [risk.risk_id for risk in risks],
        "symbol": [risk.symbol for risk in risks],
        "strategy": [risk.strategy for risk in risks],
        "tag": [risk.tag for risk in risks],
        "kind": [risk.kind for risk in risks],
        "trigger_price": [risk.trigger_price for risk in risks],
        "quantity": [risk.instrument.quantity(risk.quantity_raw) for risk in risks],
        "status": [risk.status for risk in risks],
        "distance": [distance for distance, _ in distances],
        "distance_pct": [pct for _, pct in distances],
        "client_order_id": [risk.order_id or "" for risk in risks],
        "armed_at": [risk.armed_ns for risk in risks],
        "fired_at": [risk.fired_ns for risk in risks],
    }
    chosen = _rows("risk orders", columns, view, where, time="armed_at")
    return _Maker(view, exact, chosen).frame(_RISK_ORDERS, columns, index="risk_id")


def _distance(risk: RiskOrder, watched_raw: int) -> tuple[Decimal | None, Decimal | None]:
    if not watched_raw or risk.status is not ExitStatus.ARMED:
        return None, None
    leaves_below = risk.long is not (risk.kind is ExitKind.TAKE_PROFIT)
    away = watched_raw - risk.trigger_raw if leaves_below else risk.trigger_raw - watched_raw
    return risk.instrument.price(away), money(_percent(away, watched_raw))


def round_trips(
    fills: Iterable[Fill], view: View, where: Where = EVERYTHING, *, exact: Exact = False
) -> "pd.DataFrame":
    """A row each time a book (strategy, symbol, product) came back to flat or went through zero, by time of exit.

    quantity: all that was entered. entry_price, exit_price: weighted averages. side: BUY for a long trip. gross_pnl:
    what its fills realized; net_pnl: less fees; return_pct: net in percent of the entry's value. mae, mfe: the worst
    and the best gross P&L it showed on its way, in money, the 0 at its start included. tag: of its first fill;
    exit_source: of its last. A fill through zero ends one trip and begins the next; its fees are split by quantity.
    """
    trips = list(_closed(fills))
    columns = {
        "symbol": [trip.first.symbol for trip in trips],
        "strategy": [trip.first.strategy for trip in trips],
        "tag": [trip.first.tag for trip in trips],
        "side": [trip.first.side for trip in trips],
        "quantity": [trip.first.instrument.quantity(trip.quantity_raw) for trip in trips],
        "entry_time": [trip.first.time_ns for trip in trips],
        "entry_price": _money(trip.average_raw(trip.entry_raw) for trip in trips),
        "exit_time": [trip.last.time_ns for trip in trips],
        "exit_price": _money(trip.average_raw(trip.exit_raw) for trip in trips),
        "gross_pnl": _money(trip.gross_raw for trip in trips),
        "fees": _money(trip.fees_raw for trip in trips),
        "net_pnl": _money(trip.gross_raw - trip.fees_raw for trip in trips),
        "return_pct": _money(_percent(trip.gross_raw - trip.fees_raw, trip.entry_raw) for trip in trips),
        "mae": _money(trip.worst_raw for trip in trips),
        "mfe": _money(trip.best_raw for trip in trips),
        "exit_source": [trip.last.source for trip in trips],
    }
    rows = _rows("round trips", columns, view, where, time="exit_time")
    return _Maker(view, exact, rows).frame(_ROUND_TRIPS, columns, index=None)


@dataclass(slots=True)
class _Trip:
    """One book from flat to flat, so far."""

    first: Fill
    sign: int
    last: Fill
    held_raw: int = 0
    quantity_raw: int = 0
    entry_raw: int = 0
    exit_raw: int = 0
    cost_raw: int = 0
    fees_raw: int = 0
    gross_raw: int = 0
    worst_raw: int = 0
    best_raw: int = 0

    def enter(self, fill: Fill, quantity_raw: int, fees_raw: int) -> None:
        value = fill.instrument.value_raw(fill.price_raw, quantity_raw)
        self.held_raw += quantity_raw
        self.quantity_raw += quantity_raw
        self.entry_raw += value
        self.cost_raw += self.sign * value
        self.fees_raw += fees_raw

    def leave(self, fill: Fill, quantity_raw: int, fees_raw: int) -> None:
        value = fill.instrument.value_raw(fill.price_raw, quantity_raw)
        self.held_raw -= quantity_raw
        self.exit_raw += value
        self.cost_raw += fill.realized_raw - self.sign * value
        self.fees_raw += fees_raw
        self.gross_raw += fill.realized_raw
        self.last = fill
        if not self.held_raw:
            self.showed(self.gross_raw)

    def saw(self, mark_raw: int) -> None:
        """The book was marked at this (twice the price; 0: at nothing) while it held what it holds."""
        if mark_raw:
            value = self.sign * self.held_raw * mark_raw * (self.first.instrument.unit // 2)
            self.showed(self.gross_raw + value - self.cost_raw)

    def showed(self, gross_raw: int) -> None:
        self.worst_raw = min(self.worst_raw, gross_raw)
        self.best_raw = max(self.best_raw, gross_raw)

    def average_raw(self, value_raw: int) -> int:
        return average(self.first.instrument, value_raw, self.quantity_raw)


def _closed(fills: Iterable[Fill]) -> Iterator[_Trip]:
    trips: dict[BookKey, _Trip] = {}
    for fill in fills:
        key = (fill.strategy, fill.symbol, fill.product)
        trip = trips.get(key)
        closing, closing_fees = 0, 0
        if trip is not None:
            trip.saw(fill.low_raw)
            trip.saw(fill.high_raw)
            if trip.sign != fill.side.sign:
                closing = min(fill.quantity_raw, trip.held_raw)
                whole = closing == fill.quantity_raw
                closing_fees = fill.fees_raw if whole else share(fill.fees_raw, closing, fill.quantity_raw)
                trip.leave(fill, closing, closing_fees)
                if not trip.held_raw:
                    yield trips.pop(key)
        if closing < fill.quantity_raw:
            trip = trips.setdefault(key, _Trip(fill, fill.side.sign, fill))
            trip.enter(fill, fill.quantity_raw - closing, fill.fees_raw - closing_fees)


def ticks(
    columns: Columns, instrument: Instrument, view: View, where: Where = EVERYTHING, *, exact: Exact = False
) -> "pd.DataFrame":
    """The ticks of one instrument, from int64 columns time, bid, ask, last (0: unknown) and volume (-1: unknown)."""
    shown = {
        "time": columns["time"],
        "symbol": _repeated(instrument.symbol, len(columns["time"])),
        **{name: Scaled(columns[name], instrument.scale, unknown=0) for name in ("bid", "ask", "last")},
        "volume": Scaled(columns["volume"], instrument.quantity_scale, unknown=-1),
    }
    rows = _rows("ticks", shown, view, where)
    return _Maker(view, exact, rows).frame(_TICKS, shown, index="time")


def quotes(ticks: Iterable[Tick], view: View, *, exact: Exact = False) -> "pd.DataFrame":
    """A row a symbol: its last quote. time: the source's own, else when it was received."""
    ticks = list(ticks)
    shown: dict[str, Any] = {
        name: [getattr(tick, name) for tick in ticks] for name, kind in _QUOTES.items() if kind == "number"
    }
    shown["symbol"] = [tick.symbol for tick in ticks]
    shown["time"] = [tick.time_ns or tick.received_ns for tick in ticks]
    shown["received"] = [tick.received_ns for tick in ticks]
    return _Maker(view, exact).frame(_QUOTES, shown, "symbol")


def series(figures: Mapping[str, Decimal], name: str, *, index: str = "", exact: bool = False) -> "pd.Series[Any]":
    """Figures by their name, as float64 or as `Decimal` objects."""
    import pandas as pd

    labels = pd.Index(list(figures), dtype="str", name=index or None)
    if exact:
        return pd.Series(list(figures.values()), index=labels, name=name, dtype=object)
    return pd.Series([float(figure) for figure in figures.values()], index=labels, name=name, dtype="float64")


def bars(
    columns: Columns, instrument: Instrument, view: View, where: Where, freq: Any, *, exact: Exact = False
) -> "pd.DataFrame":
    """Open, high, low and close of the price (last, else mid), and the volume traded; columns as `ticks` takes them.

    Labelled and closed on the left, aligned to each midnight in the view's zone, empty ones skipped. volume: what the
    session's volume grew by (a smaller one is another session, from 0); NaN while nothing is known of it.
    """
    import numpy as np
    import pandas as pd

    times, twice, traded = _prices(columns)
    rows = _rows("bars", {"time": times}, view, where)
    if rows is not None:
        times, twice, traded = times[rows], twice[rows], traded[rows]
    labels = _labels(_Maker(view, exact).times(times), _offset(freq))
    price, known = pd.Series(twice).groupby(labels), traded >= 0
    volume = pd.Series(np.where(known, traded, 0)).groupby(labels).sum().to_numpy()
    shown = {
        "time": np.unique(labels),
        "open": _halved(price.first(), instrument.scale),
        "high": _halved(price.max(), instrument.scale),
        "low": _halved(price.min(), instrument.scale),
        "close": _halved(price.last(), instrument.scale),
        "volume": Scaled(
            np.where(pd.Series(known).groupby(labels).any(), volume, -1), instrument.quantity_scale, unknown=-1
        ),
    }
    return _Maker(view, exact).frame(_BARS, shown, index="time")


def _prices(columns: Columns) -> tuple[Any, Any, Any]:
    """Time, twice the price, and the volume traded since the tick before (-1: unknown) of the ticks with a price."""
    import numpy as np

    times, bid, ask, last, volume = (np.array(columns[name]) for name in ("time", "bid", "ask", "last", "volume"))
    if any((prices > _LARGE).any() for prices in (bid, ask, last)):
        bid, ask, last = (prices.astype(object) for prices in (bid, ask, last))
    twice = np.where(last > 0, 2 * last, np.where((bid > 0) & (ask > 0), bid + ask, 0))
    order = np.argsort(times, kind="stable")
    order = order[twice[order] > 0]
    volume = volume[order]
    known = np.flatnonzero(volume >= 0)
    before, now = volume[known[:-1]], volume[known[1:]]
    traded = np.full(len(order), -1)
    traded[known[1:]] = np.where(now < before, now, now - before)
    return times[order], twice[order], traded


def _labels(times: "pd.DatetimeIndex", offset: Any) -> "Array":
    """The start of the bucket that each time falls into, in nanoseconds."""
    import numpy as np
    import pandas as pd

    if isinstance(offset, pd.offsets.Tick) and offset.nanos <= _DAY:
        midnight = times.normalize().astype("int64").to_numpy()
        since = times.astype("int64").to_numpy() - midnight
        return np.asarray(midnight + since // offset.nanos * offset.nanos)
    sizes = pd.Series(0, index=times).resample(offset, closed="left", label="left").count()
    return np.repeat(pd.DatetimeIndex(sizes.index).as_unit("ns").astype("int64").to_numpy(), sizes)


def _halved(twice: "pd.Series[Any]", scale: int) -> "Scaled | list[Decimal]":
    """Numbers from twice their raw value; a half needs one more decimal."""
    raw = twice.to_numpy()
    if raw.dtype == object:
        return [to_decimal(5 * value, scale + 1) for value in raw]
    return Scaled(5 * raw, scale + 1) if (raw % 2).any() else Scaled(raw // 2, scale)


_LARGE = 1 << 59
"""Raw prices up to here can be doubled, added and shown with one more decimal in 64 bits."""
_DAY = 86_400 * 10**9


# ── filters ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _rows(what: str, columns: Columns, view: View, where: Where, time: str = "time") -> "Array | None":
    """A mask of the rows that `where` asks for; None for all."""
    import numpy as np

    masks = []
    for name in ("symbol", "strategy", "tag"):
        wanted = getattr(where, name)
        if wanted is not None:
            if name not in columns:
                raise OrderError(f"{what} have no {name} to choose by")
            masks.append(_among(_text(columns[name]), wanted, name))
    if where.since is not None:
        masks.append(np.asarray(columns[time]) >= _instant(where.since, view, "since"))
    if where.until is not None:
        masks.append(np.asarray(columns[time]) < _instant(where.until, view, "until"))
    return reduce(np.logical_and, masks) if masks else None


def _among(column: Text, wanted: Any, name: str) -> "Array":
    import numpy as np

    texts = [wanted] if isinstance(wanted, str) or not isinstance(wanted, Iterable) else list(wanted)
    if not all(isinstance(text, str) for text in texts):
        raise OrderError(f"{name} must be one text or several, not {wanted!r}")
    found = np.array([text in texts for text in column.distinct], dtype=bool)
    return np.asarray(found[np.asarray(column.codes)])


def _instant(value: Any, view: View, what: str = "time") -> int:
    """Nanoseconds UTC of what a user wrote for a time."""
    import pandas as pd

    if value == "now":
        return view.as_of
    try:
        stamp = pd.Timestamp(at(view.as_of, view.zone).date() if value == "today" else value)
        if pd.isna(stamp):
            raise ValueError(value)
        if stamp.tz is None:
            stamp = stamp.tz_localize(view.zone, ambiguous=True, nonexistent="shift_forward")
        return int(stamp.as_unit("ns").value)
    except (ValueError, TypeError, OverflowError):
        raise OrderError(
            f"{what} must be 'today', a date, a datetime or text such as '2025-01-31 09:15', not {value!r}"
        ) from None


def _offset(freq: Any) -> Any:
    from pandas.tseries.frequencies import to_offset

    is_seconds = isinstance(freq, int | float) and not isinstance(freq, bool)
    try:
        offset: Any = to_offset(timedelta(seconds=freq) if is_seconds else freq)
        if offset is not None and offset.n > 0:
            return offset
    except (ValueError, TypeError, OverflowError):
        pass
    raise OrderError(f"freq must be a pandas frequency such as '1min', '15min' or '1D', not {freq!r}")


# ── columns ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Scaled:
    """A column of raw integers on one decimal scale, or on one for each row; `unknown` stands for no number."""

    raws: Any
    scales: Any
    unknown: int | None = None


def _money(raws: Iterable[int]) -> Money:
    known = Amounts()
    return Money(array("i", [known[raw] for raw in raws]), known, len(known))


def _text(data: Text | list[str]) -> Text:
    if isinstance(data, Text):
        return data
    known = Texts()
    return Text(array("i", [known[text] for text in data]), known, len(known))


def _repeated(text: str, rows: int) -> Text:
    known = Texts()
    return Text(array("i", [known[text]]) * rows, known, 1)


def _percent(part_raw: int, whole_raw: int) -> int:
    """part/whole in percent, as raw money is, rounded half-even at 10⁻¹²."""
    return divide(part_raw * 100 * 10**12, whole_raw) * int(SHARE_QUANTUM)


@cache
def _categories(kind: type[StrEnum]) -> "pd.CategoricalDtype":
    import pandas as pd

    return pd.CategoricalDtype([member.value for member in kind])


class _Maker:
    """Makes the columns of one frame, of the chosen rows (None: all)."""

    def __init__(self, view: View, exact: Exact, rows: "Array | None" = None) -> None:
        if exact not in (False, True, "arrow"):
            raise OrderError(f'exact must be False, True or "arrow", not {exact!r}')
        self.view = view
        self.exact = exact
        self.rows = rows
        if exact == "arrow":
            _needs("pyarrow", 'exact="arrow"', "arrow")

    def frame(self, schema: _Schema, columns: Columns, index: "str | pd.DatetimeIndex | None") -> "pd.DataFrame":
        """The frame; its index is one of the columns (a time or a text), a ready one, or the number of the row."""
        import pandas as pd

        made = {name: self.column(kind, columns[name]) for name, kind in schema.items()}
        frame = pd.DataFrame(made, index=self.index(columns, index), copy=False)
        frame.attrs = {"seq": self.view.seq, "as_of": at(self.view.as_of, self.view.zone).isoformat()}
        return frame

    def index(self, columns: Columns, index: "str | pd.DatetimeIndex | None") -> "pd.Index[Any] | None":
        import pandas as pd

        if not isinstance(index, str):
            return index
        values = self.times(columns[index]) if index == "time" else self.text(columns[index])
        return pd.Index(values, name=index, copy=False)

    def column(self, kind: _Kind, data: Any) -> Any:
        if kind == "number":
            return self.number(data)
        if kind == "text":
            return self.text(data)
        if kind == "time":
            return self.times(data).array
        return self.category(kind, data)

    def pick(self, data: Any) -> Any:
        """The chosen rows of a column of numbers; it may be the column's own memory."""
        import numpy as np

        numbers = np.asarray(data, dtype=None if len(data) else getattr(data, "typecode", np.int64))
        return numbers if self.rows is None else numbers[self.rows]

    def times(self, data: Any) -> "pd.DatetimeIndex":
        import numpy as np
        import pandas as pd

        ns = self.pick(data).astype(np.int64)  # a copy
        if not ns.all():
            ns[ns == 0] = pd.NaT.value
        return pd.DatetimeIndex(ns, dtype=pd.DatetimeTZDtype("ns", self.view.zone), copy=False)

    def category(self, kind: type[StrEnum], data: Any) -> "pd.Categorical":
        import pandas as pd

        if isinstance(data, list):
            numbers = {member: number for number, member in enumerate(kind)}
            data = array("b", [numbers[member] for member in data])
        return pd.Categorical.from_codes(self.pick(data).copy(), dtype=_categories(kind), validate=False)

    def text(self, data: Text | list[str]) -> Any:
        import numpy as np
        import pandas as pd

        column = _text(data)
        codes = self.pick(column.codes)
        dtype = pd.StringDtype(na_value=np.nan)  # what "str" means; kept by pyarrow where that is installed
        if dtype.storage == "pyarrow":
            return dtype.__from_arrow__(_arrow_text(column, codes))  # type: ignore[attr-defined]
        texts = pd.array(np.array(column.distinct, dtype=object), dtype=dtype)
        return texts if _in_order(codes, column.count) else texts.take(codes)

    def number(self, data: "Scaled | Money | list[Decimal | None]") -> Any:
        import numpy as np

        if isinstance(data, Scaled):
            return self._scaled(data)
        if isinstance(data, Money):
            return self._money(data)
        values = data if self.rows is None else np.array(data, dtype=object)[self.rows].tolist()
        if self.exact:
            return self._exactly(values, np.arange(len(values)))
        return np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64)

    def _money(self, data: Money) -> Any:
        import numpy as np

        codes = self.pick(data.codes)
        if not self.exact:
            return np.asarray(data.floats)[codes]
        raws = data.distinct
        if len(codes) < len(raws):
            used, codes = np.unique(codes, return_inverse=True)
            raws = [raws[code] for code in used]
        return self._exactly([None if raw is None else money(raw) for raw in raws], codes)

    def _scaled(self, data: Scaled) -> Any:
        import numpy as np

        raws, scales = self.pick(data.raws), self._scales(data)
        if self.exact:
            return self._exactly(*_coded(raws, scales, data.unknown))
        numbers = raws / np.array([10.0**scale for scale in range(20)])[scales]
        if data.unknown is not None:
            numbers[raws == data.unknown] = np.nan
        return numbers

    def _scales(self, data: Scaled) -> Any:
        """The scale, when all chosen rows have the same one; else the scale of each."""
        if isinstance(data.scales, int):
            return data.scales
        scales = self.pick(data.scales)
        return int(scales[0]) if len(scales) and (scales == scales[0]).all() else scales

    def _exactly(self, values: list[Decimal | None], codes: "Array") -> Any:
        """The column that holds values[codes]."""
        import numpy as np
        import pandas as pd

        if self.exact == "arrow":
            return pd.arrays.ArrowExtensionArray(_arrow_decimals(values).take(codes))
        return np.full(len(codes), values[0], object) if len(values) == 1 else np.array(values, dtype=object)[codes]


def _coded(raws: "Array", scales: Any, unknown: int | None) -> "tuple[list[Decimal | None], Array]":
    """The distinct numbers of a column, and which of them stands in each row."""
    import numpy as np

    if isinstance(scales, int):
        distinct, codes = _distinct(raws)
        return [None if raw == unknown else to_decimal(raw, scales) for raw in distinct.tolist()], codes
    values: list[Decimal | None] = []
    codes = np.empty(len(raws), dtype=np.int64)
    for scale in np.unique(scales).tolist():
        there = scales == scale
        there_values, there_codes = _coded(raws[there], scale, unknown)
        codes[there] = there_codes + len(values)
        values += there_values
    return values, codes


def _distinct(raws: "Array") -> "tuple[Array, Array]":
    """The distinct integers, and the number of each row's."""
    import numpy as np
    import pandas as pd

    low, high = (int(raws.min()), int(raws.max())) if len(raws) else (0, 0)
    if high - low > 4 * len(raws):
        codes, distinct = pd.factorize(raws)
        return distinct, codes
    above = raws - low
    seen = np.zeros(high - low + 1, dtype=bool)
    seen[above] = True
    return np.flatnonzero(seen) + low, (np.cumsum(seen) - 1)[above]


def _in_order(codes: "Array", count: int) -> bool:
    import numpy as np

    return len(codes) == count and bool((codes == np.arange(count)).all())


def _arrow_text(column: Text, codes: "Array") -> Any:
    """An Arrow array of the texts; one text in every row, and every row its own text, need no looking up."""
    import numpy as np
    import pyarrow as pa

    def made(data: bytearray, ends: Any) -> Any:
        return pa.LargeStringArray.from_buffers(len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(data))

    data, ends = column.utf8
    rows = len(codes)
    if rows and (codes == codes[0]).all():
        text = data[ends[codes[0]] : ends[codes[0] + 1]]
        return made(text * rows, np.arange(rows + 1) * len(text))
    return made(data, ends) if _in_order(codes, column.count) else made(data, ends).take(pa.array(codes))


def _arrow_decimals(values: list[Decimal | None]) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values, pa.decimal128(38, 18))
    except pa.ArrowInvalid:
        return pa.array(values, pa.decimal256(76, 30))


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def export(path: str | os.PathLike[str], frames: Mapping[str, "pd.DataFrame"]) -> list[Path]:
    """Writes frames by the suffix of `path` and returns the files written; a file is whole or not there.

    `.xlsx`: a sheet for each frame, times without zone, their zone in the header. `.parquet` and `.csv`: a single frame
    into `path`, several into files beside each other that end in their names (`out_orders.csv`).

    Raises `OrderError` for any other suffix and a folder that is not there, `ImportError` naming what to install.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in _WRITERS:
        raise OrderError(f"export writes .xlsx, .parquet or .csv, not {target.name!r}")
    if not frames:
        raise OrderError("there is nothing to export")
    if not target.parent.is_dir():
        raise OrderError(f"there is no folder {str(target.parent)!r} to export to")
    parts = {target: frames}
    if suffix != ".xlsx" and len(frames) > 1:
        parts = {target.with_name(f"{target.stem}_{name}{target.suffix}"): {name: frames[name]} for name in frames}
    staged = {place.with_name(f".{place.name}.{uuid4().hex}.tmp"): place for place in parts}
    try:
        for draft, place in staged.items():
            _WRITERS[suffix](draft, parts[place])
        for draft, place in staged.items():
            draft.replace(place)
    finally:
        for draft in staged:
            draft.unlink(missing_ok=True)
    return list(parts)


def _write_csv(path: Path, frames: Mapping[str, "pd.DataFrame"]) -> None:
    for frame in frames.values():
        frame.to_csv(path, index=frame.index.name is not None)


def _write_parquet(path: Path, frames: Mapping[str, "pd.DataFrame"]) -> None:
    _needs("pyarrow", "a .parquet file", "arrow")
    for frame in frames.values():
        frame.to_parquet(path, engine="pyarrow")


def _write_excel(path: Path, frames: Mapping[str, "pd.DataFrame"]) -> None:
    _needs("openpyxl", "an .xlsx file", "excel")
    from openpyxl import Workbook
    from openpyxl.utils import get_column_letter

    book = Workbook(write_only=True)
    for name, frame in frames.items():
        if len(frame) >= _SHEET_ROWS:
            raise OrderError(f"{name}: {len(frame):,} rows do not fit in a sheet; export to .parquet or .csv")
        table = frame if frame.index.name is None else frame.reset_index()
        headers = [_header(table[column]) for column in table]
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "B2"
        for number, header in enumerate(headers, start=1):
            sheet.column_dimensions[get_column_letter(number)].width = max(14, len(header) + 2)
        sheet.append(headers)
        for row in zip(*(_cells(table[column], sheet) for column in table), strict=True):
            sheet.append(row)
    book.save(path)


_SHEET_ROWS = 1_048_576


def _header(column: "pd.Series[Any]") -> str:
    zone = getattr(column.dtype, "tz", None)
    return str(column.name) if zone is None else f"{column.name} ({zone})"


def _cells(column: "pd.Series[Any]", sheet: Any) -> list[Any]:
    """What openpyxl writes for a column: nothing where nothing is known, times without zone, text as text."""
    import pandas as pd

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        naive = column.dt.tz_localize(None).dt.floor("us")
        return [None if when is pd.NaT else _timed(when.to_pydatetime(), sheet) for when in naive]
    values = [None if missing else value for value, missing in zip(column, column.isna(), strict=True)]
    return [_guarded(value, sheet) if isinstance(value, str) else value for value in values]


def _timed(when: datetime, sheet: Any) -> Any:
    from openpyxl.cell import WriteOnlyCell

    cell = WriteOnlyCell(sheet, when)
    cell.number_format = "yyyy-mm-dd hh:mm:ss.000"
    return cell


def _guarded(text: str, sheet: Any) -> Any:
    """Text that a spreadsheet would take for a formula or an error stays text."""
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    text = ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", text)
    if not text.startswith(("=", "+", "-", "@", "#", "\t", "\r")):
        return text
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"
    cell.quotePrefix = True
    return cell


_WRITERS: dict[str, Callable[[Path, Mapping[str, "pd.DataFrame"]], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".xlsx": _write_excel,
}


def _needs(package: str, what: str, extra: str) -> None:
    try:
        import_module(package)
    except ImportError:
        raise ImportError(f'{what} needs {package}: pip install "livetrade[{extra}]"') from None
