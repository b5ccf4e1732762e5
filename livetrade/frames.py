"""Columns -> pandas DataFrames with fixed schemas.

Every frame has the same columns, order and dtypes whether it is empty or holds a million rows; the schemas below are
the tables of the documentation. `exact` decides what a number is: False gives `float64` (NaN where unknown), True gives
`Decimal` objects (None where unknown), "arrow" gives Arrow decimals with 18 decimals (a column that those cannot hold
gets 30 decimals in 256 bits). pandas, NumPy and pyarrow load with the first frame, not with this module.
"""

import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from functools import cache, reduce
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import uuid4

from livetrade.core.history import Amounts, Money, Text, Texts
from livetrade.core.ledger import BookKey, share
from livetrade.core.numbers import EXACT, SHARE_QUANTUM, at, divide, money, to_decimal
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
    TimeInForce,
    average,
)
from livetrade.errors import OrderError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Codes: TypeAlias = NDArray[np.integer[Any]]

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
    view's time zone. They compare with `created_at` of orders, `armed_at` of risk orders, `exit_time` of round trips and
    the index of all else."""

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
_BARS: _Schema = {"open": "number", "high": "number", "low": "number", "close": "number", "volume": "number"}


# ── frames ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def orders(
    columns: Columns, view: View, where: Where = EVERYTHING, *, open: bool = False, exact: Exact = False  # noqa: A002
) -> "pd.DataFrame":
    """A row an order, from a copy of `OrderTable`; `open=True` leaves out those that can no longer fill."""
    import numpy as np

    make = _Maker(view, exact)
    make.keep("orders", columns, where, "created_at")
    if open:
        can_fill = np.array([status not in FINAL for status in OrderStatus])
        make.only(can_fill[make.picked(columns["status"])])
    quantity_scale, price_scale = columns["quantity_scale"], columns["price_scale"]
    numbers = {name: _Scaled(columns[name], quantity_scale) for name in ("quantity", "filled_qty")}
    prices = {name: _Scaled(columns[name], price_scale, unknown=0) for name in ("limit_price", "trigger_price")}
    return make.frame(_ORDERS, {**columns, **numbers, **prices}, make.text_index(columns, "client_order_id"))


def fills(columns: Columns, view: View, where: Where = EVERYTHING, *, exact: Exact = False) -> "pd.DataFrame":
    """A row a fill in the order they were booked, from a copy of `FillTable`."""
    make = _Maker(view, exact)
    make.keep("fills", columns, where, "time")
    numbers = {
        "quantity": _Scaled(columns["quantity"], columns["quantity_scale"]),
        "price": _Scaled(columns["price"], columns["price_scale"]),
    }
    return make.frame(_FILLS, {**columns, **numbers}, make.times(columns["time"]).rename("time"))


def equity(
    columns: Columns, view: View, where: Where = EVERYTHING, *, freq: Any = None, exact: Exact = False
) -> "pd.DataFrame":
    """The equity curve, from a copy of `EquityTable`; with `freq` (a pandas frequency) the last row of each bucket, and
    the one before it where a bucket is empty."""
    import numpy as np
    import pandas as pd

    make = _Maker(view, exact)
    make.keep("equity", columns, where, "time")
    times = make.times(columns["time"]).rename("time")
    if freq is not None:
        last = pd.Series(np.arange(len(times)), index=times).resample(_offset(freq)).last().ffill()
        make.only(last.to_numpy(dtype=np.intp))
        times = pd.DatetimeIndex(last.index, freq=None).as_unit("ns")
    return make.frame(_EQUITY, columns, times)


def positions(
    rows: Iterable[tuple[str, Product, Position]],
    view: View,
    *,
    by: Literal["symbol", "strategy", "product"] = "symbol",
    exact: Exact = False,
) -> "pd.DataFrame":
    """A row for each (strategy, product, position); `by` "strategy" or "product" puts a column of that name first."""
    first: dict[str, _Schema] = {"symbol": {}, "strategy": {"strategy": "text"}, "product": {"product": Product}}
    if by not in first:
        raise OrderError(f"positions are by 'symbol', 'strategy' or 'product', not {by!r}")
    make = _Maker(view, exact)
    rows = list(rows)
    held = [position for _, _, position in rows]
    columns: dict[str, Any] = {name: [getattr(position, name) for position in held] for name in _POSITIONS}
    columns["symbol"] = [position.symbol for position in held]
    columns["strategy"] = [strategy for strategy, _, _ in rows]
    columns["product"] = [product for _, product, _ in rows]
    columns["unrealized_pnl_pct"] = [_rounded(percent) for percent in columns["unrealized_pnl_pct"]]
    columns["opened_at"] = [0 if when is None else _instant(when, view, "opened_at") for when in columns["opened_at"]]
    return make.frame({**first[by], **_POSITIONS}, columns, make.text_index(columns, "symbol"))


def risk_orders(
    rows: Iterable[tuple[RiskOrder, int]], view: View, where: Where = EVERYTHING, *, exact: Exact = False
) -> "pd.DataFrame":
    """A row for each exit and the raw price it watches (0 while unknown).

    distance: how far that price is from the trigger, positive while not reached; distance_pct: in percent of the price;
    both unknown unless the exit is ARMED. client_order_id: the order it sent, or empty.
    """
    make = _Maker(view, exact)
    rows = list(rows)
    risks = [risk for risk, _ in rows]
    away = [_distance(risk, price) for risk, price in rows]
    columns = {
        "risk_id": [risk.risk_id for risk in risks],
        "symbol": [risk.symbol for risk in risks],
        "strategy": [risk.strategy for risk in risks],
        "tag": [risk.tag for risk in risks],
        "kind": [risk.kind for risk in risks],
        "trigger_price": [risk.trigger_price for risk in risks],
        "quantity": [risk.instrument.quantity(risk.quantity_raw) for risk in risks],
        "status": [risk.status for risk in risks],
        "distance": [distance for distance, _ in away],
        "distance_pct": [percent for _, percent in away],
        "client_order_id": [risk.order_id or "" for risk in risks],
        "armed_at": [risk.armed_ns for risk in risks],
        "fired_at": [risk.fired_ns for risk in risks],
    }
    make.keep("risk orders", columns, where, "armed_at")
    return make.frame(_RISK_ORDERS, columns, make.text_index(columns, "risk_id"))


def round_trips(
    fills: Iterable[Fill], view: View, where: Where = EVERYTHING, *, exact: Exact = False
) -> "pd.DataFrame":
    """A row each time a book (strategy, symbol, product) came back to flat, or went through zero, by time of exit.

    quantity: all that was entered; entry_price, exit_price: weighted averages; side: BUY for a long trip; gross_pnl: the
    P&L its fills realized, net_pnl: less fees; return_pct: net in percent of the entry's value; mae, mfe: the worst and
    the best gross P&L it showed on the way, in money, 0 at the start included; tag: of the first fill; exit_source: of
    the last. The fees of a fill through zero are split by quantity.
    """
    make = _Maker(view, exact)
    trips = [(trip, last) for trip, last in _closed(fills)]
    columns = {
        "symbol": [trip.first.symbol for trip, _ in trips],
        "strategy": [trip.first.strategy for trip, _ in trips],
        "tag": [trip.first.tag for trip, _ in trips],
        "side": [trip.first.side for trip, _ in trips],
        "quantity": _Scaled(
            array("q", [trip.quantity_raw for trip, _ in trips]),
            array("b", [trip.first.instrument.quantity_scale for trip, _ in trips]),
        ),
        "entry_time": [trip.first.time_ns for trip, _ in trips],
        "entry_price": _money(trip.price_raw(trip.entry_raw) for trip, _ in trips),
        "exit_time": [last.time_ns for _, last in trips],
        "exit_price": _money(trip.price_raw(trip.exit_raw) for trip, _ in trips),
        "gross_pnl": _money(trip.gross_raw for trip, _ in trips),
        "fees": _money(trip.fees_raw for trip, _ in trips),
        "net_pnl": _money(trip.gross_raw - trip.fees_raw for trip, _ in trips),
        "return_pct": _money(trip.return_raw for trip, _ in trips),
        "mae": _money(trip.worst_raw for trip, _ in trips),
        "mfe": _money(trip.best_raw for trip, _ in trips),
        "exit_source": [last.source for _, last in trips],
    }
    make.keep("round trips", columns, where, "exit_time")
    return make.frame(_ROUND_TRIPS, columns)


def ticks(
    columns: Columns, instrument: Instrument, view: View, where: Where = EVERYTHING, *, exact: Exact = False
) -> "pd.DataFrame":
    """The ticks of one instrument, from int64 columns `time`, `bid`, `ask`, `last` (0: unknown), `volume` (-1: unknown)."""
    make = _Maker(view, exact)
    symbol = Texts()
    shown = {
        "time": columns["time"],
        "symbol": symbol.column(array("i", [symbol[instrument.symbol]]) * len(columns["time"])),
        **{name: _Scaled(columns[name], instrument.scale, unknown=0) for name in ("bid", "ask", "last")},
        "volume": _Scaled(columns["volume"], instrument.quantity_scale, unknown=-1),
    }
    make.keep("ticks", shown, where, "time")
    return make.frame(_TICKS, shown, make.times(columns["time"]).rename("time"))


def bars(
    columns: Columns, instrument: Instrument, view: View, where: Where, freq: Any, *, exact: Exact = False
) -> "pd.DataFrame":
    """Open, high, low and close of the price (last, else mid) and the volume traded, from columns as `ticks` takes them.

    Labelled and closed on the left, aligned to midnight in the view's zone, empty ones skipped. volume: what the
    session's volume grew by; it starts again from 0 when that falls, and is NaN while nothing is known of it.
    """
    import numpy as np

    offset = _offset(freq)
    make = _Maker(view, exact)
    times, bid, ask, last, volume = (np.array(columns[name]) for name in ("time", "bid", "ask", "last", "volume"))
    if len(times) and max(part.max() for part in (bid, ask, last)) > _BIG:
        bid, ask, last = (part.astype(object) for part in (bid, ask, last))
    twice = np.where(last > 0, 2 * last, np.where((bid > 0) & (ask > 0), bid + ask, 0))
    order = np.argsort(times, kind="stable")
    order = order[twice[order] > 0]
    ...
