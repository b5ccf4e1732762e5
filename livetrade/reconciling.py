"""A broker's books beside ours: what it filled under our ids, and every order that it has.

Fills are compared under our own ids; what others placed is shown, and blocks nothing. A broker that knows all fills
tells their sum (`Statement.filled`); one that knows a day tells its orders, and each of ours is compared with its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from livetrade.columns import Exact, Maker, Schema, View
from livetrade.core.account import Account
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import OrderSide, OrderStatus, OrderType, Product, Source
from livetrade.core.records import record
from livetrade.core.state import day_of
from livetrade.core.values import Order
from livetrade.ports import BrokerOrder, Statement

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str, Product]
RECONCILE = "reconcile"
"""Who blocks opening where the broker's fills are not ours."""


@record
class Compared:
    """One symbol and product; quantities are raw and net. broker: what the books would hold by the broker's fills."""

    instrument: Instrument
    product: Product
    ours_raw: int
    broker_raw: int

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    @property
    def difference_raw(self) -> int:
        return self.broker_raw - self.ours_raw

    def __str__(self) -> str:
        item = self.instrument
        return f"{self.symbol} {self.product}: {item.quantity(self.broker_raw)} at the broker, " + (
            f"{item.quantity(self.ours_raw)} here"
        )


def compared(account: Account, statement: Statement) -> list[Compared]:
    """Every symbol and product of ours, equal or not; empty where the broker cannot tell."""
    ours: dict[Key, int] = {}
    for book in account.ledger.books.values():
        ours[book.symbol, book.product] = ours.get((book.symbol, book.product), 0) + book.quantity_raw
    if statement.filled is not None:
        theirs: Mapping[Key, int] = _with_settled(account, statement.filled)
    elif statement.orders is not None:
        differ = _by_orders(account, statement.orders)
        theirs = {key: ours.get(key, 0) + differ.get(key, 0) for key in ours.keys() | differ.keys()}
    else:
        return []
    return [
        Compared(account.instruments[symbol], product, ours.get((symbol, product), 0), theirs.get((symbol, product), 0))
        for symbol, product in sorted(ours.keys() | theirs.keys())
        if symbol in account.instruments
    ]


def _by_orders(account: Account, rows: Sequence[BrokerOrder]) -> dict[Key, int]:
    """What the broker filled of today's orders beyond what we know, signed."""
    told = {row.venue_order_id: row for row in rows}
    tagged = {row.client_order_id: row for row in rows if row.client_order_id}
    differ: dict[Key, int] = {}
    for order in _of_today(account):
        if order.source is Source.EXTERNAL:
            continue
        row = told.get(order.venue_order_id or "") or tagged.get(order.client_order_id)
        if row is not None and (row.symbol, row.side) != (order.symbol, order.side):
            row = None  # somebody else uses the same tag
        filled = int(row.filled_qty.scaleb(order.instrument.quantity_scale)) if row is not None else 0
        key = (order.symbol, order.product)
        differ[key] = differ.get(key, 0) + order.side.sign * (filled - order.filled_raw)
    return differ


def _with_settled(account: Account, filled: Mapping[Key, int]) -> dict[Key, int]:
    """What a person settled was no order at the broker, whose fills still stand."""
    told = dict(filled)
    for order in account.orders.values():
        if order.source is Source.EXTERNAL:
            key = (order.symbol, order.product)
            told[key] = told.get(key, 0) + order.side.sign * order.filled_raw
    return told


def blocks(account: Account, found: Iterable[Compared]) -> dict[str, str]:
    """By symbol, why nothing of it may be opened: differences that nobody accepted."""
    told: dict[str, str] = {}
    for each in found:
        if each.difference_raw not in (0, account.accepted.get((each.symbol, each.product), 0)):
            told[each.symbol] = (
                f"Trading halted: the broker's fills differ from the journal's, {each}; look at engine.reconcile(), "
                "then engine.reconcile(accept=True)"
            )
    return told


def _of_today(account: Account) -> Iterator[Order]:
    """The newest first: a broker's book is of a day, and an account may be of years."""
    first_ns = day_of(account.ts, account.zone)[1]
    return takewhile(lambda order: order.created_ns >= first_ns, reversed(account.orders.values()))


def foreign(account: Account, rows: Sequence[BrokerOrder]) -> list[bool]:
    """Of each order in the broker's book, whether it is none of ours."""
    known = {order.venue_order_id: order for order in _of_today(account) if order.venue_order_id}
    found = [known.get(row.venue_order_id) or account.orders.get(row.client_order_id) for row in rows]
    return [
        order is None or (order.symbol, order.side) != (row.symbol, row.side)
        for order, row in zip(found, rows, strict=True)
    ]


# ── frames ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_RECONCILED: Schema = {
    "symbol": "text",
    "product": Product,
    "ours": "number",
    "broker": "number",
    "difference": "number",
}
_BROKER_ORDERS: Schema = {
    "client_order_id": "text",
    "symbol": "text",
    "side": OrderSide,
    "order_type": OrderType,
    "product": Product,
    "quantity": "number",
    "filled_qty": "number",
    "avg_price": "number",
    "limit_price": "number",
    "trigger_price": "number",
    "status": OrderStatus,
    "message": "text",
    "placed_at": "time",
}


def reconciled_frame(found: Sequence[Compared], view: View, *, exact: Exact = False) -> "pd.DataFrame":
    """symbol, product, ours, broker, difference."""
    columns: dict[str, Any] = {
        "symbol": [each.symbol for each in found],
        "product": [each.product for each in found],
        "ours": [each.instrument.quantity(each.ours_raw) for each in found],
        "broker": [each.instrument.quantity(each.broker_raw) for each in found],
        "difference": [each.instrument.quantity(each.difference_raw) for each in found],
    }
    return Maker(view, exact).frame(_RECONCILED, columns, None)


def broker_orders_frame(
    rows: Sequence[BrokerOrder], foreign: Sequence[bool], view: View, *, exact: Exact = False
) -> "pd.DataFrame":
    """One row an order of the broker's book, indexed by `venue_order_id`; `foreign` is True for those of others."""
    columns: dict[str, Any] = {
        name: [getattr(row, name) for row in rows]
        for name in ("venue_order_id", "client_order_id", "symbol", "side", "order_type", "status", "message")
    }
    for name in ("quantity", "filled_qty", "avg_price", "limit_price", "trigger_price"):
        columns[name] = [getattr(row, name) for row in rows]
    columns["product"] = [row.product or "" for row in rows]
    columns["placed_at"] = [row.placed_ns for row in rows]
    frame = Maker(view, exact).frame(_BROKER_ORDERS, columns, "venue_order_id")
    frame.insert(1, "foreign", list(foreign))
    frame["foreign"] = frame["foreign"].astype(bool)
    return frame
