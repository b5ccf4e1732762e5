"""Rows of the order side, from the REST books and from the order socket, as one kind of record each.

The two name their fields differently; what is read here is all that anything else needs. Numbers come as `Decimal`
(`loads`), so that a price is exactly what was sent. A tag comes back as `1:TAG` from a user, as `2:Untagged` where
there was none.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from livetrade.core.kinds import OrderSide, OrderStatus, OrderType, Product
from livetrade.ports import BrokerOrder

KOLKATA = ZoneInfo("Asia/Kolkata")
CANCELED, TRADED, TRANSIT, REJECTED, PENDING, EXPIRED = 1, 2, 4, 5, 6, 7
KNOWN = (CANCELED, TRADED, TRANSIT, REJECTED, PENDING, EXPIRED)
ENDS = (CANCELED, TRADED, REJECTED, EXPIRED)
UNTAGGED = "Untagged"


class OddRowError(ValueError):
    """A row without what every row has."""


class OrderRow(NamedTuple):
    """quantity, filled: units as Fyers counts them. limit, stop, average: 0 where there is none."""

    id: str
    tag: str
    symbol: str
    side: int
    type: int
    product: str
    quantity: int
    filled: int
    limit: Decimal
    stop: Decimal
    average: Decimal
    status: int
    message: str
    placed_ns: int = 0


class TradeRow(NamedTuple):
    number: str
    order_id: str
    tag: str
    symbol: str
    side: int
    product: str
    quantity: int
    price: Decimal


def loads(text: str | bytes) -> Any:
    """JSON with exact numbers. Raises `ValueError`."""
    try:
        return json.loads(text, parse_float=Decimal)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def order_of_book(row: Mapping[str, Any]) -> OrderRow:
    return _order(
        row,
        ("id", "orderTag", "symbol", "side", "type", "productType", "qty", "filledQty"),
        ("limitPrice", "stopPrice", "tradedPrice", "status", "message", "orderDateTime"),
    )


def order_of_socket(row: Mapping[str, Any]) -> OrderRow:
    """`org_ord_status` is the status; `ord_status` is the back office's own number."""
    return _order(
        row,
        ("id", "ordertag", "symbol", "tran_side", "ord_type", "product_type", "qty", "qty_filled"),
        ("price_limit", "price_stop", "price_traded", "org_ord_status", "oms_msg", "time_oms"),
    )


def _order(row: Mapping[str, Any], terms: tuple[str, ...], state: tuple[str, ...]) -> OrderRow:
    number, tag, symbol, side, kind, product, quantity, filled = (row.get(name) for name in terms)
    limit, stop, average, status, message, when = (row.get(name) for name in state)
    if not number or not symbol:
        raise OddRowError("an order without an id or a symbol")
    return OrderRow(
        str(number),
        _tag(tag),
        str(symbol),
        _whole(side, "side"),
        _whole(kind, "type"),
        str(product or ""),
        _whole(quantity, "quantity"),
        _whole(filled or 0, "filled quantity"),
        _price(limit),
        _price(stop),
        _price(average),
        _whole(status, "status"),
        str(message or ""),
        _time_ns(when),
    )


def trade_of_book(row: Mapping[str, Any]) -> TradeRow:
    names = ("tradeNumber", "orderNumber", "orderTag", "symbol", "side", "productType", "tradedQty", "tradePrice")
    return _trade(row, names)


def trade_of_socket(row: Mapping[str, Any]) -> TradeRow:
    names = ("id_fill", "id", "ordertag", "symbol", "tran_side", "product_type", "qty_traded", "price_traded")
    return _trade(row, names)


def _trade(row: Mapping[str, Any], names: tuple[str, ...]) -> TradeRow:
    number, order_id, tag, symbol, side, product, quantity, price = (row.get(name) for name in names)
    if not (number and order_id and symbol):
        raise OddRowError("a trade without its number, its order or its symbol")
    units, paid = _whole(quantity, "quantity"), _price(price)
    if units <= 0 or paid <= 0:
        raise OddRowError(f"a trade of {units} at {paid}")
    return TradeRow(
        str(number),
        str(order_id),
        _tag(tag),
        str(symbol),
        _whole(side, "side"),
        str(product or ""),
        units,
        paid,
    )


def net_position(row: Mapping[str, Any]) -> tuple[str, str, int]:
    """Symbol, product and net quantity of a row of `/positions`."""
    symbol, product = row.get("symbol"), row.get("productType")
    if not symbol:
        raise OddRowError("a position without a symbol")
    return str(symbol), str(product or ""), _whole(row.get("netQty"), "net quantity")


def holding(row: Mapping[str, Any]) -> tuple[str, int]:
    """Symbol and quantity of a row of `/holdings`: what was delivered on earlier days."""
    if not row.get("symbol"):
        raise OddRowError("a holding without a symbol")
    return str(row["symbol"]), _whole(row.get("quantity") or 0, "quantity")


def _whole(value: Any, what: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError, InvalidOperation):
        raise OddRowError(f"{what} {value!r}") from None
    if number != value and str(number) != str(value):
        raise OddRowError(f"{what} {value!r}")
    return number


def _price(value: Any) -> Decimal:
    try:
        price = Decimal(str(value or 0))
    except InvalidOperation:
        raise OddRowError(f"price {value!r}") from None
    if not price.is_finite():
        raise OddRowError(f"price {value!r}")
    return price


def _tag(value: Any) -> str:
    tag = str(value or "")
    tag = tag.partition(":")[2] if tag[1:2] == ":" else tag
    return "" if tag == UNTAGGED else tag


def _time_ns(value: Any) -> int:
    try:
        return int(datetime.strptime(str(value), "%d-%b-%Y %H:%M:%S").replace(tzinfo=KOLKATA).timestamp()) * 10**9
    except (ValueError, OverflowError):
        return 0


# ── for people ───────────────────────────────────────────────────────────────────────────────────────────────────────

_STATUSES = {
    CANCELED: OrderStatus.CANCELED,
    TRADED: OrderStatus.FILLED,
    TRANSIT: OrderStatus.SUBMITTED,
    REJECTED: OrderStatus.REJECTED,
    PENDING: OrderStatus.ACCEPTED,
    EXPIRED: OrderStatus.EXPIRED,
}
_TYPES = {1: OrderType.LIMIT, 2: OrderType.MARKET, 3: OrderType.STOP, 4: OrderType.STOP_LIMIT}


def shown(row: OrderRow) -> BrokerOrder:
    """The row as `engine.broker_orders()` shows it."""
    status = _STATUSES.get(row.status, OrderStatus.UNKNOWN)
    if status is OrderStatus.ACCEPTED and row.filled:
        status = OrderStatus.PARTIALLY_FILLED
    return BrokerOrder(
        row.id,
        row.tag,
        row.symbol,
        OrderSide.BUY if row.side > 0 else OrderSide.SELL,
        _TYPES.get(row.type, OrderType.LIMIT),
        Product(row.product) if row.product in Product.__members__ else None,
        Decimal(row.quantity),
        Decimal(row.filled),
        row.average or None,
        row.limit or None,
        row.stop or None,
        status,
        row.message,
        row.placed_ns,
    )
