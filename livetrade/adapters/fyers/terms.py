"""What is sent for an order: the terms of Fyers, and what Indian rules make of ours.

Facts: orders through an API need market protection, so a market order is a limit at the ask (or bid) plus a stated
protection, rounded to the tick so that it is never more than that; a stop is a stop-limit with the same protection
behind its trigger. What an exit or flatten sends is immediate or cancel: what is left of it is sent again at the next
quote, and does not rest where the market has left. `client_order_id` travels as the tag.
"""

from decimal import Decimal
from typing import Any

from livetrade.core.instruments import Instrument
from livetrade.core.kinds import OrderSide, OrderType, TimeInForce
from livetrade.core.numbers import EXACT
from livetrade.core.values import Change, Order, Terms

LIMIT, MARKET, STOP_LIMIT = 1, 2, 4
LONGEST_TAG = 30


class UnfitError(ValueError):
    """An order that Fyers does not take; the message says why."""


class Protection:
    """pct: how much worse than the quote a market order may fill, in percent of the quote."""

    def __init__(self, pct: Decimal) -> None:
        self.pct = pct

    def limit_raw(self, side: OrderSide, price_raw: int, tick_raw: int) -> int:
        """The limit behind a price. On the tick grid, no further away than the protection, no nearer than the price."""
        sign = side.sign
        away = EXACT.divide(EXACT.multiply(self.pct, Decimal(price_raw)), Decimal(100))
        worst = price_raw + sign * int(away)
        on_grid = worst - worst % tick_raw if sign > 0 else -(-worst // tick_raw) * tick_raw
        nearest = -(-price_raw // tick_raw) * tick_raw if sign > 0 else price_raw - price_raw % tick_raw
        return max(on_grid, nearest) if sign > 0 else max(min(on_grid, nearest), tick_raw)


def check(order: Order) -> None:
    """Raises `UnfitError`."""
    item = order.instrument
    if order.time_in_force is TimeInForce.GTC:
        raise UnfitError("Fyers takes DAY and IOC orders, no GTC")
    if item.quantity_scale and order.quantity_raw % 10**item.quantity_scale:
        raise UnfitError(f"Fyers takes whole quantities, not {order.quantity}")
    if len(order.client_order_id) > LONGEST_TAG or not (
        order.client_order_id.isascii() and order.client_order_id.isalnum()
    ):
        raise UnfitError(f"a tag at Fyers is 1 to {LONGEST_TAG} letters and digits, not {order.client_order_id!r}")


def place_body(order: Order, protection: Protection, tick_raw: int) -> dict[str, Any]:
    """The body of the call that places it."""
    kind, limit_raw, stop_raw = _prices(order, order_terms(order), protection, tick_raw)
    item = order.instrument
    immediate = order.is_protective or order.time_in_force is TimeInForce.IOC
    return {
        "symbol": item.symbol,
        "qty": units(item, order.quantity_raw),
        "type": kind,
        "side": order.side.sign,
        "productType": order.product.value,
        "limitPrice": _number(item, limit_raw),
        "stopPrice": _number(item, stop_raw),
        "disclosedQty": 0,
        "validity": "IOC" if immediate and kind != STOP_LIMIT else "DAY",
        "offlineOrder": False,
        "stopLoss": 0,
        "takeProfit": 0,
        "orderTag": order.client_order_id,
    }


def modify_body(order: Order, change: Change, venue_id: str, protection: Protection, tick_raw: int) -> dict[str, Any]:
    terms = change.quantity_raw, change.limit_raw, change.trigger_raw
    kind, limit_raw, stop_raw = _prices(order, terms, protection, tick_raw)
    body: dict[str, Any] = {"id": venue_id, "type": kind, "qty": units(order.instrument, change.quantity_raw)}
    if limit_raw:
        body["limitPrice"] = _number(order.instrument, limit_raw)
    if stop_raw:
        body["stopPrice"] = _number(order.instrument, stop_raw)
    return body


def order_terms(order: Order) -> Terms:
    return order.quantity_raw, order.limit_raw, order.trigger_raw


def _prices(order: Order, terms: Terms, protection: Protection, tick_raw: int) -> tuple[int, int, int]:
    """Type, limit and stop price at Fyers; 0 for no price."""
    _, limit_raw, trigger_raw = terms
    if trigger_raw is not None:
        behind = limit_raw if limit_raw is not None else protection.limit_raw(order.side, trigger_raw, tick_raw)
        return STOP_LIMIT, behind, trigger_raw
    if limit_raw is not None:
        return LIMIT, limit_raw, 0
    if not order.reference_raw:  # only what closes gets here without a price: Fyers puts its own protection
        return MARKET, 0, 0
    return LIMIT, protection.limit_raw(order.side, order.reference_raw, tick_raw), 0


def has_own_limit(order: Order) -> bool:
    """Whether its limit is the user's, and no protection of ours."""
    return order.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)


def units(item: Instrument, quantity_raw: int) -> int:
    return quantity_raw // int(10**item.quantity_scale)


def _number(item: Instrument, raw: int) -> float:
    """A price as JSON: its shortest text is the exact price."""
    return float(item.price(raw)) if raw else 0.0
