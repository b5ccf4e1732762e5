"""An account as JSON: rows with the columns of the DataFrames, index first. Money, prices and quantities are texts, so
that they stay exact; times are ISO 8601 in the account's zone; what is unknown is null."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from livetrade import frames, portfolio
from livetrade.core.account import Account
from livetrade.core.numbers import at, money
from livetrade.core.ticks import Tick
from livetrade.core.values import Order, Position, RiskOrder
from livetrade.desk.auth import Refused

Row = dict[str, Any]


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, datetime) else value


def _row(index: str, key: str, columns: Mapping[str, Any], values: Mapping[str, Any]) -> Row:
    return {index: key, **{name: _plain(values[name]) for name in columns}}


def order_row(order: Order) -> Row:
    values = {name: getattr(order, name, None) for name in frames.ORDERS}
    return _row(
        "client_order_id",
        order.client_order_id,
        frames.ORDERS,
        {**values, "venue_order_id": order.venue_order_id or ""},
    )


def position_row(position: Position) -> Row:
    values = {name: getattr(position, name) for name in frames.POSITIONS}
    return _row("symbol", position.symbol, frames.POSITIONS, values)


def risk_row(account: Account, risk: RiskOrder, watched_raw: int) -> Row:
    distance, percent = frames.distance_of(risk, watched_raw)
    values = {
        "symbol": risk.symbol,
        "strategy": risk.strategy,
        "kind": risk.kind,
        "trigger_price": risk.trigger_price,
        "quantity": risk.instrument.quantity(risk.quantity_raw),
        "status": risk.status,
        "distance": distance,
        "distance_pct": percent,
        "client_order_id": risk.order_id or "",
        "armed_at": at(risk.armed_ns, account.zone),
        "fired_at": at(risk.fired_ns, account.zone) if risk.fired_ns else None,
    }
    return _row("risk_id", risk.risk_id, frames.RISK_ORDERS, values)


def portfolio_row(account: Account) -> Row:
    figures = portfolio.PortfolioPnl.of(account).as_dict()
    return {name: _plain(figure) for name, figure in figures.items()}


def quote_row(quote: Tick) -> Row:
    """A quote as the stream tells it: prices as texts, times in nanoseconds UTC (0: not known)."""
    item = quote.instrument
    sizes = {
        "volume": quote.volume_raw,
        "bid_size": quote.bid_size_raw,
        "ask_size": quote.ask_size_raw,
    }
    return {
        "symbol": item.symbol,
        **{name: _plain(getattr(quote, name)) for name in ("bid", "ask", "last")},
        **{name: None if raw is None else _plain(item.quantity(raw)) for name, raw in sizes.items()},
        "time_ns": quote.time_ns,
        "received_ns": quote.received_ns,
    }


# ── pages ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def orders_after(account: Account, after: str, limit: int | None, *, open_only: bool) -> list[Order]:
    """Orders by their first appearance, those after an id. They are not changed any more: an order that changes is
    another record."""
    if after and after not in account.orders:
        raise Refused(422, f"after: no order has the id {after[:40]!r}")
    row = account.order_history.row
    start = row(after) + 1 if after else 0
    if not open_only:
        return list(islice(account.orders.values(), start, None if limit is None else start + limit))
    following = [order for order in account.open_orders.values() if row(order.client_order_id) >= start]
    return sorted(following, key=lambda order: row(order.client_order_id))[:limit]


def positions_page(account: Account, after: str, limit: int, *, closed: bool, symbol: str) -> list[Row]:
    rows = portfolio.position_rows(account, portfolio.LABELS["symbol"])
    held = [p for _, _, p in rows if (closed or p.quantity) and symbol in ("", p.symbol) and p.symbol > after]
    return [position_row(position) for position in held[:limit]]


def risks_page(account: Account, after: str, limit: int, *, symbol: str) -> list[Row]:
    if after and after not in account.risks:
        raise Refused(422, f"after: no risk order has the id {after[:40]!r}")
    start = next((number for number, risk_id in enumerate(account.risks, 1) if risk_id == after), 0)
    following = (risk for risk in islice(account.risks.values(), start, None) if symbol in ("", risk.symbol))
    return [risk_row(account, *row) for row in portfolio.risk_rows(account, islice(following, limit))]


def working_exits(account: Account) -> list[RiskOrder]:
    return [risk for bracket in account.brackets.values() for risk in bracket.values()]


def summary(account: Account) -> Row:
    """The state that a stream begins with."""
    return {
        "currency": account.currency,
        "feed": account.feed.state.value,
        "halted": account.halted,
        "portfolio": portfolio_row(account),
        "positions": positions_page(account, "", 1 << 30, closed=False, symbol=""),
        "orders": [order_row(order) for order in account.open_orders.values()],
        "risk_orders": [risk_row(account, *row) for row in portfolio.risk_rows(account, working_exits(account))],
        "quotes": [quote_row(quote) for quote in portfolio.quotes(account)],
        "as_of": at(account.ts, account.zone).isoformat(),
        "cash_put_in": _plain(money(account.ledger.put_in_raw)),
    }
