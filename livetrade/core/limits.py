"""Pre-trade limits and halt: every order is `Approved` or `Denied` here, and only an `Approved` one can be sent.

The part of an order that *opens* passes everything; the part that *reduces* its own book is never denied by halt,
loss, value, band, staleness or balance. Working orders count as filled.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from decimal import Decimal
from typing import Any

from livetrade.core import html
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import FeedState, InstrumentKind, OrderSide, OrderType, Product
from livetrade.core.numbers import EXACT, Number, divide, money, money_raw, positive
from livetrade.core.records import record
from livetrade.core.slices import MOST_SLICES
from livetrade.core.values import Order
from livetrade.errors import OrderError


@dataclass(frozen=True, kw_only=True, repr=False)
class Limits:
    """What opening orders may not exceed; None means no limit.

    max_order_quantity in units; max_order_value, max_position_value and max_daily_loss in the account's currency;
    max_orders_per_second counts orders sent in the last second; price_band_pct is how far a limit or trigger price may
    stand from the market, in percent; max_tick_age is seconds or a `timedelta`.
    """

    allow_short: bool = False
    """Whether more may be sold than is held."""
    max_order_quantity: Number | None = None
    """The most units of one order."""
    max_order_value: Number | None = None
    """The most that one order may be worth, in the account's currency."""
    max_position_value: Number | None = None
    """The most that a symbol's position may be worth, working orders counted as filled."""
    max_daily_loss: Number | None = None
    """How much P&L may fall from the day's first mark, in the account's currency."""
    max_orders_per_second: int | None = None
    """How many orders may be sent within a second."""
    price_band_pct: Number | None = None
    """How far a limit or trigger price may stand from the market, in percent."""
    max_tick_age: float | timedelta | None = None
    """How old a quote may be: seconds or a `timedelta`. Hand-posted quotes do not age without it."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "allow_short":
                if not isinstance(value, bool):
                    raise OrderError(f"Limits: allow_short must be True or False, not {value!r}")
            elif value is not None:
                positive(value.total_seconds() if isinstance(value, timedelta) else value, f"Limits: {item.name}")
                if item.name == "max_orders_per_second" and not isinstance(value, int):
                    raise OrderError(f"Limits: max_orders_per_second must be a whole number such as 10, not {value!r}")

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

    def __repr__(self) -> str:
        given = ((item.name, getattr(self, item.name)) for item in fields(self))
        return f"Limits({', '.join(f'{name}={value!r}' for name, value in given if value not in (None, False))})"

    def _repr_html_(self) -> str:
        given = ((item.name, getattr(self, item.name)) for item in fields(self))
        rows = [(name, "no limit" if value is None else value) for name, value in given]
        return html.card("Limits of orders that open", html.facts(rows))


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
    parts: int = 1
    """In how many orders it would be sent."""
    day: str = ""
    """The account's, as an ISO date."""
    margined: bool = False
    """Whether a margin rule says what backs a position."""
    tick_age: float | None = None
    """Seconds since the quote came; None while there is none."""
    gone_raw: int = 0
    """How much of what it would close was closed elsewhere."""
    doubt: str = ""
    """What may be wrong with a symbol that has had neither a price nor a position, as the end of a sentence."""


@record
class Approved:
    """An order that passed, with how much of it opens and the money that backs this."""

    order: Order
    opening_raw: int
    margin_raw: int = 0


@record
class Denied:
    order: Order
    reason: str


@record
class Check:
    """One thing that an order is tested by: what is allowed (None where that is no figure) and what is asked, as a
    person reads them, and why that is refused (empty where it passes)."""

    name: str
    allowed: object
    asked: object
    reason: str = ""


def reckoned_at(order: Order, market_raw: int) -> int:
    """The price an order's value is reckoned at: its limit, else its trigger, else the market."""
    return order.limit_raw or order.trigger_raw or market_raw


def approve(order: Order, limits: Limits, now: Situation) -> Approved | Denied:
    """Approves an order, or says in one sentence why not. Money is tested apart, once the opening part is known."""
    opening = opening_part(order, now)
    for check in checks(order, opening, limits, now):
        if check.reason:
            return Denied(order, check.reason)
    return Approved(order, opening)


def opening_part(order: Order, now: Situation) -> int:
    """How much of an order is more than its own book lets it close."""
    return order.quantity_raw - min(order.quantity_raw, now.closable_raw)


def checks(order: Order, opening_raw: int, limits: Limits, now: Situation) -> Iterator[Check]:
    """Everything that an order is tested by, in turn; the first that refuses is the answer. What only reduces is asked
    for nothing but a price to be met at."""
    if order.order_type is OrderType.MARKET and not order.is_protective:
        yield _price_check(order, now)
    if opening_raw:
        yield from _standing_checks(order, limits, now)
        yield from _grid_checks(order, now)
        yield from _size_checks(order, opening_raw, limits, now)
        yield from _band_checks(order, limits, now)
        yield from _pace_checks(limits, now)
        yield from _expiry_check(order, now)


def _price_check(order: Order, now: Situation) -> Check:
    side = "ask" if order.side is OrderSide.BUY else "bid"
    if now.market_raw:
        return Check("price", None, f"{side} {order.instrument.price(now.market_raw)}")
    return Check("price", None, None, f"Price feed unavailable: no {side} known for {order.symbol}{now.doubt}")


def _standing_checks(order: Order, limits: Limits, now: Situation) -> Iterator[Check]:
    """Whether anything may be opened here and now."""
    if order.side is OrderSide.SELL:
        yield Check("allow_short", limits.allow_short, order.quantity, _short_denied(order, limits, now))
    halted = "" if now.halted is None else "Trading halted" + (f": {now.halted}" if now.halted else "")
    yield Check("halt", None, "not halted", halted)
    if now.blocked is not None:
        yield Check("blocked", None, None, now.blocked)
    yield Check("feed", None, now.feed, _feed_denied(now))
    if limits.max_tick_age is not None or now.stale:
        yield Check("max_tick_age", limits.max_tick_age, now.tick_age, f"Stale price: {now.stale}" if now.stale else "")


def _short_denied(order: Order, limits: Limits, now: Situation) -> str:
    item = order.instrument
    if not limits.allow_short and now.gone_raw:
        return (
            f"No position to sell: {order.quantity} {item.symbol} asked, {item.quantity(now.closable_raw)} can be sold "
            f"and {item.quantity(now.gone_raw)} was closed elsewhere: {settle_it(item.symbol)}"
        )
    if not limits.allow_short:
        held = f"{item.quantity(now.closable_raw)} {item.symbol} can be sold" if now.closable_raw else "nothing is held"
        asked = f"{order.quantity} {item.symbol} asked"
        return f"No position to sell: {asked}, {held} by {order.strategy} in {order.product}{now.doubt}"
    if order.product is Product.CNC:
        return f"No position to sell: CNC shares of {item.symbol} cannot be sold short"
    if not now.margined and item.kind in (InstrumentKind.FUTURE, InstrumentKind.OPTION):
        return (
            f"No position to sell: nothing says what backs a short {item.kind}; give the engine a margin rule, "
            f"such as margin=lt.RateMargin({{'{item.kind}': '0.15'}})"
        )
    return ""


def _feed_denied(now: Situation) -> str:
    if now.feed in (FeedState.RECONNECTING, FeedState.FAILED, FeedState.CLOSED, FeedState.CONNECTING):
        return f"Connection lost: the feed is {now.feed}" + (f" ({now.feed_reason})" if now.feed_reason else "")
    if now.feed is FeedState.STALE:
        return "Stale price: " + (now.feed_reason or "the feed sends no ticks")
    return ""


def _grid_checks(order: Order, now: Situation) -> Iterator[Check]:
    """What the exchange takes: whole lots, prices on the tick grid, and so many in one order."""
    item = order.instrument
    if item.lot_raw > 1:
        odd = order.quantity_raw % item.lot_raw
        yield _limit_check("lot_size", item.lot_size, order.quantity, beyond=bool(odd))
    for price_raw in (order.limit_raw, order.trigger_raw):
        if item.tick_raw > 1 and price_raw is not None:
            off = price_raw % item.tick_raw
            yield _limit_check("tick_size", item.tick_size, item.price(price_raw), beyond=bool(off))
    if item.freeze_raw:
        yield _freeze_check(order, min(now.parts, MOST_SLICES))


def _freeze_check(order: Order, parts: int) -> Check:
    item = order.instrument
    most = item.quantity(item.freeze_raw)
    if order.quantity_raw <= item.freeze_raw * parts:
        asked = f"{order.quantity} in {parts} orders" if parts > 1 else order.quantity
        return Check("freeze_quantity", most, asked)
    how = (
        f"{MOST_SLICES} slices are the most; send it in several orders" if parts > 1 else "slice=True sends it in parts"
    )
    return Check("freeze_quantity", most, order.quantity, f"{exceeded('freeze_quantity', most, order.quantity)}: {how}")


def _size_checks(order: Order, opening_raw: int, limits: Limits, now: Situation) -> Iterator[Check]:
    item = order.instrument
    if limits.max_order_quantity is not None:
        yield _at_most("max_order_quantity", limits.max_order_quantity, item.quantity(opening_raw))
    if limits.max_order_value is not None:
        yield _money_check("max_order_value", limits.max_order_value, item.value_raw(now.price_raw, opening_raw))
    if limits.max_position_value is not None:
        after = item.value_raw(now.price_raw, abs(now.position_raw + order.side.sign * order.quantity_raw))
        yield _money_check("max_position_value", limits.max_position_value, after)


def _band_checks(order: Order, limits: Limits, now: Situation) -> Iterator[Check]:
    for price_raw in (order.limit_raw, order.trigger_raw):
        if limits.price_band_pct is None or price_raw is None:
            continue
        if not now.market_raw:
            reason = f"Price feed unavailable: no price of {order.symbol} to test price_band_pct with"
            yield Check("price_band_pct", limits.price_band_pct, None, reason)
            continue
        distance = abs(price_raw - now.market_raw)
        band = positive(limits.price_band_pct, "price_band_pct")
        away = Decimal(divide(distance * 10**6, now.market_raw)).scaleb(-4, EXACT)
        asked = f"{away} % away at {order.instrument.price(price_raw)}"
        beyond = distance * 100 > EXACT.multiply(band, Decimal(now.market_raw))
        yield _limit_check("price_band_pct", limits.price_band_pct, asked, beyond=beyond)


def _pace_checks(limits: Limits, now: Situation) -> Iterator[Check]:
    loss = limits.max_daily_loss
    if loss is not None:
        beyond = -now.day_pnl_raw >= money_raw(loss, "max_daily_loss")
        yield _limit_check("max_daily_loss", loss, f"{money(now.day_pnl_raw)} today", beyond=beyond)
    if limits.max_orders_per_second is not None:
        asked = Decimal(now.sent_last_second + now.parts)
        yield _at_most("max_orders_per_second", limits.max_orders_per_second, asked)


def _expiry_check(order: Order, now: Situation) -> Iterator[Check]:
    item = order.instrument
    if item.expiry is not None:
        expiry = f"{item.expiry:%Y-%m-%d}"
        over = f"Trading halted: {item.symbol} expired on {expiry}" if item.expired(now.day) else ""
        yield Check("expiry", expiry, now.day, over)


def _at_most(name: str, limit: Number, asked: Decimal) -> Check:
    return _limit_check(name, limit, asked, beyond=asked > positive(limit, name))


def _money_check(name: str, limit: Number, asked_raw: int) -> Check:
    return _limit_check(name, limit, money(asked_raw), beyond=asked_raw > money_raw(limit, name))


def _limit_check(name: str, limit: Number | None, asked: object, *, beyond: bool) -> Check:
    return Check(name, limit, asked, exceeded(name, limit, asked) if beyond else "")


def exceeded(name: str, limit: object, asked: object) -> str:
    return f"Limit exceeded: {name} is {limit}, asked {asked}"


def balance_check(needed_raw: int, free_raw: int) -> Check:
    return Check("balance", money(free_raw), money(needed_raw), balance_denied(needed_raw, free_raw) or "")


def balance_denied(needed_raw: int, free_raw: int) -> str | None:
    if needed_raw > free_raw:
        return f"Insufficient balance: {money(needed_raw):,} needed, {money(free_raw):,} free"
    return None


def settle_it(symbol: str) -> str:
    """What a person does about a position that was closed elsewhere."""
    return f"engine.settle({symbol!r}, price) closes it here too, at the price that engine.broker_orders() shows"


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
