"""Pre-trade limits and halt: every order is `Approved` or `Denied` here, and only an `Approved` one can be sent.

The part of an order that *opens* passes everything; the part that *reduces* its own book is never denied by halt,
loss, value, band, staleness or balance. Working orders count as filled.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import timedelta
from decimal import Decimal
from typing import Any

from livetrade.core.instruments import Instrument
from livetrade.core.kinds import FeedState, OrderSide, OrderType, Product
from livetrade.core.numbers import EXACT, Number, divide, money, money_raw, positive
from livetrade.core.records import record
from livetrade.core.values import Order
from livetrade.errors import OrderError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What opening orders may not exceed; None means no limit.

    max_order_quantity in units; max_order_value, max_position_value and max_daily_loss in the account's currency;
    max_orders_per_second counts orders sent in the last second; price_band_pct is how far a limit or trigger price may
    stand from the market, in percent; max_tick_age is seconds or a `timedelta`.
    """

    allow_short: bool = False
    max_order_quantity: Number | None = None
    max_order_value: Number | None = None
    max_position_value: Number | None = None
    max_daily_loss: Number | None = None
    max_orders_per_second: int | None = None
    price_band_pct: Number | None = None
    max_tick_age: float | timedelta | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "allow_short":
                if not isinstance(value, bool):
                    raise OrderError(f"Limits: allow_short must be True or False, not {value!r}")
            elif value is not None:
                positive(value.total_seconds() if isinstance(value, timedelta) else value, f"Limits: {item.name}")

    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """What is limited, as names and texts: what a journal keeps, and `limits_of` reads."""
        given = ((item.name, getattr(self, item.name)) for item in fields(self))
        return tuple((name, _term(value)) for name, value in given if value not in (None, False))

    @property
    def max_tick_age_ns(self) -> int | None:
        if self.max_tick_age is None:
            return None
        age = self.max_tick_age
        return round((age.total_seconds() if isinstance(age, timedelta) else float(age)) * 1e9)


def _term(value: object) -> str:
    return str(value.total_seconds() if isinstance(value, timedelta) else value)


def limits_of(terms: Iterable[tuple[str, str]]) -> Limits:
    """The limits that have these `terms`."""
    given: dict[str, Any] = dict(terms)
    if "allow_short" in given:
        given["allow_short"] = True
    if "max_tick_age" in given:
        given["max_tick_age"] = float(given["max_tick_age"])
    if "max_orders_per_second" in given:
        given["max_orders_per_second"] = int(given["max_orders_per_second"])
    return Limits(**given)


@record
class Situation:
    """What the limits look at: the account as it stands when an order is asked for. Quantities and money are raw."""

    halted: str | None
    """Why, or None while not halted."""
    feed: FeedState
    feed_reason: str
    stale: str | None
    """Why the quote is too old to open on, or None."""
    price_raw: int
    """The price that the order is reckoned at; 0 while unknown."""
    market_raw: int
    """The price on the order's side now; 0 while unknown."""
    closable_raw: int
    """What the order's own book lets it close: the position less reducing orders that work."""
    position_raw: int
    """The symbol's position over all books, working orders counted as filled."""
    day_pnl_raw: int
    sent_last_second: int
    blocked: str | None = None
    """Why nothing may be opened for now, or None."""


@record
class Approved:
    """An order that passed, with how much of it opens."""

    order: Order
    opening_raw: int


@record
class Denied:
    order: Order
    reason: str


def reckoned_at(order: Order, market_raw: int) -> int:
    """The price an order's value is reckoned at: its limit, else its trigger, else the market."""
    return order.limit_raw or order.trigger_raw or market_raw


def approve(order: Order, limits: Limits, now: Situation) -> Approved | Denied:
    """Approves an order, or says in one sentence why not. Money is tested apart, once the opening part is known."""
    reducing = min(order.quantity_raw, now.closable_raw)
    opening = order.quantity_raw - reducing
    if order.order_type is OrderType.MARKET and not now.market_raw and not order.is_protective:
        side = "ask" if order.side is OrderSide.BUY else "bid"
        return Denied(order, f"Price feed unavailable: no {side} known for {order.symbol}")
    if not opening:
        return Approved(order, 0)
    reason = _opening_denied(order, opening, limits, now)
    return Denied(order, reason) if reason else Approved(order, opening)


def _opening_denied(order: Order, opening_raw: int, limits: Limits, now: Situation) -> str | None:
    item = order.instrument
    if order.side is OrderSide.SELL and not limits.allow_short:
        held = f"{item.quantity(now.closable_raw)} {item.symbol} can be sold" if now.closable_raw else "nothing is held"
        return (
            f"No position to sell: {order.quantity} {item.symbol} asked, {held} by {order.strategy} in {order.product}"
        )
    if order.side is OrderSide.SELL and order.product is Product.CNC:
        return f"No position to sell: CNC shares of {item.symbol} cannot be sold short"
    if now.halted is not None:
        return "Trading halted" + (f": {now.halted}" if now.halted else "")
    if now.blocked is not None:
        return now.blocked
    return (
        _feed_denied(now)
        or _stale(now)
        or _size_denied(order, opening_raw, limits, now)
        or _band_denied(order, limits, now)
        or _pace_denied(limits, now)
    )


def _feed_denied(now: Situation) -> str | None:
    if now.feed in (FeedState.RECONNECTING, FeedState.FAILED, FeedState.CLOSED, FeedState.CONNECTING):
        return f"Connection lost: the feed is {now.feed}" + (f" ({now.feed_reason})" if now.feed_reason else "")
    return None


def _stale(now: Situation) -> str | None:
    if now.feed is FeedState.STALE:
        return "Stale price: " + (now.feed_reason or "the feed sends no ticks")
    return f"Stale price: {now.stale}" if now.stale else None


def _size_denied(order: Order, opening_raw: int, limits: Limits, now: Situation) -> str | None:
    item = order.instrument
    if limits.max_order_quantity is not None:
        asked = item.quantity(opening_raw)
        if asked > positive(limits.max_order_quantity, "max_order_quantity"):
            return exceeded("max_order_quantity", limits.max_order_quantity, asked)
    value = item.value_raw(now.price_raw, opening_raw)
    if limits.max_order_value is not None and value > money_raw(limits.max_order_value, "max_order_value"):
        return exceeded("max_order_value", limits.max_order_value, money(value))
    if limits.max_position_value is not None:
        after = item.value_raw(now.price_raw, abs(now.position_raw + order.side.sign * order.quantity_raw))
        if after > money_raw(limits.max_position_value, "max_position_value"):
            return exceeded("max_position_value", limits.max_position_value, money(after))
    return None


def _band_denied(order: Order, limits: Limits, now: Situation) -> str | None:
    if limits.price_band_pct is None:
        return None
    for price_raw in (order.limit_raw, order.trigger_raw):
        if price_raw is None:
            continue
        if not now.market_raw:
            return f"Price feed unavailable: no price of {order.symbol} to test price_band_pct with"
        distance = abs(price_raw - now.market_raw)
        band = positive(limits.price_band_pct, "price_band_pct")
        if distance * 100 > EXACT.multiply(band, Decimal(now.market_raw)):
            away = Decimal(divide(distance * 10**6, now.market_raw)).scaleb(-4, EXACT)
            at = order.instrument.price(price_raw)
            return exceeded("price_band_pct", limits.price_band_pct, f"{away} % away at {at}")
    return None


def _pace_denied(limits: Limits, now: Situation) -> str | None:
    if limits.max_daily_loss is not None and -now.day_pnl_raw >= money_raw(limits.max_daily_loss, "max_daily_loss"):
        return exceeded("max_daily_loss", limits.max_daily_loss, f"{money(now.day_pnl_raw)} today")
    if limits.max_orders_per_second is not None and now.sent_last_second >= limits.max_orders_per_second:
        return exceeded("max_orders_per_second", limits.max_orders_per_second, now.sent_last_second + 1)
    return None


def exceeded(name: str, limit: object, asked: object) -> str:
    return f"Limit exceeded: {name} is {limit}, asked {asked}"


def balance_denied(needed_raw: int, free_raw: int) -> str | None:
    if needed_raw > free_raw:
        return f"Insufficient balance: {money(needed_raw):,} needed, {money(free_raw):,} free"
    return None


def instrument_denied(instrument: Instrument, known: Instrument) -> str | None:
    """A symbol's scales are fixed at its first tick or order."""
    if (instrument.scale, instrument.quantity_scale, instrument.multiplier) == (
        known.scale,
        known.quantity_scale,
        known.multiplier,
    ):
        return None
    return (
        f"{known.symbol} already trades with scale={known.scale}, quantity_scale={known.quantity_scale}, "
        f"multiplier={known.multiplier}; these are fixed at its first tick or order"
    )
