"""Columns -> pandas DataFrames with fixed schemas.

Every frame has the same columns, order and dtypes whether it is empty or holds a million rows; the schemas below are
the tables of the documentation. `livetrade.columns` makes the columns and says what `exact` does.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeAlias

from livetrade.columns import (
    Columns,
    Exact,
    Maker,
    RawMoney,
    Scaled,
    Schema,
    View,
    frequency,
    money_column,
    repeated_text,
    text_column,
)
from livetrade.context import MANUAL, StrategyInfo
from livetrade.core.events import EquityPoint
from livetrade.core.history import Text
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import (
    ExitKind,
    ExitStatus,
    OrderSide,
    OrderStatus,
    OrderType,
    PriceSource,
    Process,
    Product,
    Source,
    StrategyState,
    TimeInForce,
)
from livetrade.core.numbers import at, money, percent_raw, to_decimal
from livetrade.core.records import record
from livetrade.core.ticks import Tick
from livetrade.core.trips import closed_trips
from livetrade.core.values import FINAL, Fill, Position, RiskOrder
from livetrade.errors import OrderError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]


@record
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

POSITIONS: Schema = {
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
ORDERS: Schema = {
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
_FILLS: Schema = {
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
CHARGES: Schema = dict.fromkeys(
    ("brokerage", "stt", "transaction", "sebi", "stamp_duty", "gst", "dp", "other_charges"), "number"
)
RISK_ORDERS: Schema = {
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
_EQUITY: Schema = {
    "cash": "number",
    "market_value": "number",
    "portfolio_value": "number",
    "realized_pnl": "number",
    "unrealized_pnl": "number",
    "fees": "number",
}
EXPLAINED: Schema = {
    "price_move": "number",
    "spread": "number",
    "slippage": "number",
    **CHARGES,
    "total_pnl": "number",
}
_ROUND_TRIPS: Schema = {
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
_STRATEGIES: Schema = {
    "where": Process,
    "state": StrategyState,
    "started_at": "time",
    "error": "text",
    "orders": "count",
    "total_pnl": "number",
}
_TICKS: Schema = {"symbol": "text", "bid": "number", "ask": "number", "last": "number", "volume": "number"}
_QUOTES: Schema = {
    "bid": "number",
    "ask": "number",
    "last": "number",
    "volume": "number",
    "bid_size": "number",
    "ask_size": "number",
    "time": "time",
    "received": "time",
}
_BARS: Schema = {"open": "number", "high": "number", "low": "number", "close": "number", "volume": "number"}


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
    return Maker(view, exact, rows).frame(ORDERS, shown, index="client_order_id")


def fills(
    columns: Columns, view: View, where: Where = EVERYTHING, *, charges: bool = False, exact: Exact = False
) -> "pd.DataFrame":
    """A row a fill in the order they were booked, from a copy of `FillTable`; with `charges`, its fees by name too."""
    rows = _rows("fills", columns, view, where)
    shown = {
        **columns,
        "quantity": Scaled(columns["quantity"], columns["quantity_scale"]),
        "price": Scaled(columns["price"], columns["price_scale"]),
    }
    if not charges:
        return Maker(view, exact, rows).frame(_FILLS, shown, index="time")
    charged = [itemised(fill) for fill in columns["fill"]]
    shown |= {name: money_column(each[name] for each in charged) for name in CHARGES}
    return Maker(view, exact, rows).frame({**_FILLS, **CHARGES}, shown, index="time")


def itemised(fill: Fill) -> dict[str, int]:
    """A fill's fees by the names of the columns, in raw money; what has another name, or none, is the last."""
    charged = dict.fromkeys(CHARGES, 0)
    for name, raw in fill.charges:
        if name in charged:
            charged[name] += raw
    charged["other_charges"] += fill.fees_raw - sum(charged.values())
    return charged


def equity(
    points: Sequence[EquityPoint], view: View, where: Where = EVERYTHING, *, freq: Any = None, exact: Exact = False
) -> "pd.DataFrame":
    """The equity curve.

    With `freq` (a pandas frequency, or seconds) the last row of each bucket; an empty bucket repeats the one before.
    """
    import numpy as np
    import pandas as pd

    times = array("q", [point.ts for point in points])
    columns: dict[str, Any] = {
        "time": times,
        "cash": RawMoney([point.cash_raw for point in points]),
        "market_value": RawMoney([point.market_value_raw for point in points]),
        "portfolio_value": RawMoney([point.cash_raw + point.market_value_raw for point in points]),
        "realized_pnl": RawMoney([point.realized_raw for point in points]),
        "unrealized_pnl": RawMoney([point.unrealized_raw for point in points]),
        "fees": RawMoney([point.fees_raw for point in points]),
    }
    rows = _rows("equity", columns, view, where)
    if freq is None:
        return Maker(view, exact, rows).frame(_EQUITY, columns, index="time")
    chosen = np.arange(len(times)) if rows is None else np.flatnonzero(rows)
    index = Maker(view, exact, chosen).times(times)
    last = pd.Series(chosen, index=index).resample(frequency(freq)).last().ffill()
    make = Maker(view, exact, last.to_numpy(dtype=np.int64))
    return make.frame(_EQUITY, columns, index=pd.DatetimeIndex(last.index.array, name="time").as_unit("ns"))


def positions(
    rows: Iterable[tuple[str, Product, Position]],
    view: View,
    *,
    by: str = "symbol",
    exact: Exact = False,
) -> "pd.DataFrame":
    """A row for each (strategy, product, position); `by` "strategy" or "product" puts a column of that name first."""
    first: dict[str, Schema] = {"symbol": {}, "strategy": {"strategy": "text"}, "product": {"product": Product}}
    if by not in first:
        raise OrderError(f"positions are by 'symbol', 'strategy' or 'product', not {by!r}")
    rows = list(rows)
    held = [position for _, _, position in rows]
    columns: dict[str, Any] = {name: [getattr(position, name) for position in held] for name in ("symbol", *POSITIONS)}
    columns["strategy"] = [strategy for strategy, _, _ in rows]
    columns["product"] = [product for _, product, _ in rows]
    columns["opened_at"] = [0 if when is None else instant(when, view) for when in columns["opened_at"]]
    return Maker(view, exact).frame({**first[by], **POSITIONS}, columns, index="symbol")


def risk_orders(
    rows: Iterable[tuple[RiskOrder, int]], view: View, where: Where = EVERYTHING, *, exact: Exact = False
) -> "pd.DataFrame":
    """A row for each exit and the raw price that it watches (0: unknown).

    distance: how far that price is from the trigger, positive while not reached; distance_pct: in percent of that
    price; both only while ARMED. quantity: the exit's `quantity_raw`. client_order_id: the order it sent, or empty.
    """
    rows = list(rows)
    risks = [risk for risk, _ in rows]
    distances = [distance_of(risk, watched_raw) for risk, watched_raw in rows]
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
    return Maker(view, exact, chosen).frame(RISK_ORDERS, columns, index="risk_id")


def distance_of(risk: RiskOrder, watched_raw: int) -> tuple[Decimal | None, Decimal | None]:
    if not watched_raw or risk.status is not ExitStatus.ARMED:
        return None, None
    leaves_below = risk.long is not (risk.kind is ExitKind.TAKE_PROFIT)
    away = watched_raw - risk.trigger_raw if leaves_below else risk.trigger_raw - watched_raw
    return risk.instrument.price(away), money(percent_raw(away, watched_raw))


def round_trips(
    fills: Iterable[Fill], view: View, where: Where = EVERYTHING, *, exact: Exact = False
) -> "pd.DataFrame":
    """A row each time a book (strategy, symbol, product) came back to flat or went through zero, by time of exit.

    quantity: all that was entered. entry_price, exit_price: weighted averages. side: BUY for a long trip. gross_pnl:
    what its fills realized; net_pnl: less fees; return_pct: net in percent of the entry's value. mae, mfe: the worst
    and the best gross P&L it showed on its way, in money, the 0 at its start included. tag: of its first fill;
    exit_source: of its last. A fill through zero ends one trip and begins the next; its fees are split by quantity.
    """
    trips = list(closed_trips(fills))
    columns = {
        "symbol": [trip.first.symbol for trip in trips],
        "strategy": [trip.first.strategy for trip in trips],
        "tag": [trip.first.tag for trip in trips],
        "side": [trip.first.side for trip in trips],
        "quantity": [trip.first.instrument.quantity(trip.quantity_raw) for trip in trips],
        "entry_time": [trip.first.time_ns for trip in trips],
        "entry_price": money_column(trip.average_raw(trip.entry_raw) for trip in trips),
        "exit_time": [trip.last.time_ns for trip in trips],
        "exit_price": money_column(trip.average_raw(trip.exit_raw) for trip in trips),
        "gross_pnl": money_column(trip.gross_raw for trip in trips),
        "fees": money_column(trip.fees_raw for trip in trips),
        "net_pnl": money_column(trip.gross_raw - trip.fees_raw for trip in trips),
        "return_pct": money_column(percent_raw(trip.gross_raw - trip.fees_raw, trip.entry_raw) for trip in trips),
        "mae": money_column(trip.worst_raw for trip in trips),
        "mfe": money_column(trip.best_raw for trip in trips),
        "exit_source": [trip.last.source for trip in trips],
    }
    rows = _rows("round trips", columns, view, where, time="exit_time")
    return Maker(view, exact, rows).frame(_ROUND_TRIPS, columns, index=None)


def strategies(
    infos: Iterable[StrategyInfo], orders: Text, pnl: Mapping[str, int], view: View, *, exact: Exact = False
) -> "pd.DataFrame":
    """A row for each strategy that was started, and for each other one that has orders or a book.

    orders: whose each order is; pnl: raw money by strategy.
    """
    import numpy as np

    started = {info.name: info for info in infos}
    counts = dict(zip(orders.distinct, np.bincount(orders.codes, minlength=orders.count).tolist(), strict=True))
    names = [name for name in {**started, **counts, **pnl} if name != MANUAL]
    columns = {
        "name": names,
        "where": [started[name].where if name in started else "" for name in names],
        "state": [started[name].state if name in started else "" for name in names],
        "started_at": [instant(started[name].started_at, view) if name in started else 0 for name in names],
        "error": [started[name].error if name in started else "" for name in names],
        "orders": [counts.get(name, 0) for name in names],
        "total_pnl": money_column(pnl.get(name, 0) for name in names),
    }
    return Maker(view, exact).frame(_STRATEGIES, columns, index="name")


def ticks(
    columns: Columns, instrument: Instrument, view: View, where: Where = EVERYTHING, *, exact: Exact = False
) -> "pd.DataFrame":
    """The ticks of one instrument, from int64 columns time, bid, ask, last (0: unknown) and volume (-1: unknown)."""
    shown = {
        "time": columns["time"],
        "symbol": repeated_text(instrument.symbol, len(columns["time"])),
        **{name: Scaled(columns[name], instrument.scale, unknown=0) for name in ("bid", "ask", "last")},
        "volume": Scaled(columns["volume"], instrument.quantity_scale, unknown=-1),
    }
    rows = _rows("ticks", shown, view, where)
    return Maker(view, exact, rows).frame(_TICKS, shown, index="time")


def quotes(ticks: Iterable[Tick], view: View, *, exact: Exact = False) -> "pd.DataFrame":
    """A row a symbol: its last quote. time: the source's own, else when it was received."""
    ticks = list(ticks)
    shown: dict[str, Any] = {
        name: [getattr(tick, name) for tick in ticks] for name, kind in _QUOTES.items() if kind == "number"
    }
    shown["symbol"] = [tick.symbol for tick in ticks]
    shown["time"] = [tick.time_ns or tick.received_ns for tick in ticks]
    shown["received"] = [tick.received_ns for tick in ticks]
    return Maker(view, exact).frame(_QUOTES, shown, "symbol")


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

    The rule is that of `core.bars`: labelled and closed on the left, aligned to each midnight in the view's zone, empty
    ones skipped. volume: what the session's volume grew by (a smaller one is another session, from 0); NaN while
    nothing is known of it. A tick with a time before that of an earlier one counts at the later time.
    """
    import numpy as np
    import pandas as pd

    times, twice, traded = _prices(columns)
    rows = _rows("bars", {"time": times}, view, where)
    if rows is not None:
        times, twice, traded = times[rows], twice[rows], traded[rows]
    labels = _labels(Maker(view, exact).times(times), frequency(freq))
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
    return Maker(view, exact).frame(_BARS, shown, index="time")


def _prices(columns: Columns) -> tuple[Any, Any, Any]:
    """Time, twice the price, and the volume traded since the tick before (-1: unknown) of the ticks with a price."""
    import numpy as np

    times, bid, ask, last, volume = (np.array(columns[name]) for name in ("time", "bid", "ask", "last", "volume"))
    if any((prices > _LARGE).any() for prices in (bid, ask, last)):
        bid, ask, last = (prices.astype(object) for prices in (bid, ask, last))
    twice = np.where(last > 0, 2 * last, np.where((bid > 0) & (ask > 0), bid + ask, 0))
    order = np.flatnonzero(twice > 0)
    volume = volume[order]
    known = np.flatnonzero(volume >= 0)
    before, now = volume[known[:-1]], volume[known[1:]]
    traded = np.full(len(order), -1)
    traded[known[1:]] = np.where(now < before, now, now - before)
    return np.maximum.accumulate(times[order]), twice[order], traded


def _labels(times: "pd.DatetimeIndex", offset: Any) -> "Array":
    """The start of the bucket that each time falls into, in nanoseconds."""
    import numpy as np
    import pandas as pd

    if isinstance(offset, pd.offsets.Tick) and offset.nanos <= _DAY:
        midnight = times.normalize().astype("int64").to_numpy()
        if offset.nanos == _DAY:
            return np.asarray(midnight)
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
            masks.append(_among(text_column(columns[name]), wanted, name))
    if where.since is not None:
        masks.append(np.asarray(columns[time]) >= instant(where.since, view, "since"))
    if where.until is not None:
        masks.append(np.asarray(columns[time]) < instant(where.until, view, "until"))
    return reduce(np.logical_and, masks) if masks else None


def _among(column: Text, wanted: Any, name: str) -> "Array":
    import numpy as np

    texts = [wanted] if isinstance(wanted, str) or not isinstance(wanted, Iterable) else list(wanted)
    if not all(isinstance(text, str) for text in texts):
        raise OrderError(f"{name} must be one text or several, not {wanted!r}")
    found = np.array([text in texts for text in column.distinct], dtype=bool)
    return np.asarray(found[np.asarray(column.codes)])


def instant(value: Any, view: View, what: str = "time") -> int:
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


def fixed_ns(freq: Any) -> int:
    """Nanoseconds of a frequency that is of one length, a day at the most. Raises `OrderError` for any other."""
    import pandas as pd

    offset = frequency(freq)
    if isinstance(offset, pd.offsets.Tick) and offset.nanos <= _DAY:
        return int(offset.nanos)
    if isinstance(offset, pd.offsets.Day) and offset.n == 1:
        return _DAY
    raise OrderError(f"bars of a stream are of a fixed length up to a day, such as '15min' or '1D', not {freq!r}")
