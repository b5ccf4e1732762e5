"""The nouns: instruments, ticks, orders, fills, exits and positions.

Inside the core a price or a quantity is a *raw* integer on its instrument's decimal scale, and money is a raw integer
in units of 10⁻³⁰ of the currency; such names end in `_raw`, times in integer nanoseconds UTC end in `_ns`. Everything
a user touches is a property that gives a `Decimal` or an aware `datetime`, built when asked for.
"""

import re
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from enum import StrEnum

from livetrade.core.numbers import (
    EXACT,
    MAX_RAW,
    MONEY_SCALE,
    SHARE_QUANTUM,
    Number,
    at,
    divide,
    money,
    positive,
    scaled,
    to_decimal,
)
from livetrade.core.records import record
from livetrade.errors import OrderError, PriceError


class OrderSide(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is OrderSide.BUY else -1


class OrderType(StrEnum):
    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    STOP_LIMIT = "STOP_LIMIT"


class TimeInForce(StrEnum):
    DAY = "DAY"
    IOC = "IOC"
    GTC = "GTC"


class Product(StrEnum):
    CNC = "CNC"
    INTRADAY = "INTRADAY"
    MARGIN = "MARGIN"


class OrderStatus(StrEnum):
    INITIALIZED = "INITIALIZED"
    DENIED = "DENIED"
    SUBMITTED = "SUBMITTED"
    ACCEPTED = "ACCEPTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    PENDING_UPDATE = "PENDING_UPDATE"
    PENDING_CANCEL = "PENDING_CANCEL"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"


class Source(StrEnum):
    """Who asked for an order."""

    USER = "USER"
    STRATEGY = "STRATEGY"
    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"
    TRAILING_STOP = "TRAILING_STOP"
    FLATTEN = "FLATTEN"
    REST = "REST"
    EXTERNAL = "EXTERNAL"


class PriceSource(StrEnum):
    """Which price a fill was made at."""

    BID = "BID"
    ASK = "ASK"
    LAST = "LAST"
    LIMIT = "LIMIT"
    VENUE = "VENUE"


class ExitKind(StrEnum):
    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"
    TRAILING_STOP = "TRAILING_STOP"


class ExitStatus(StrEnum):
    ARMED = "ARMED"
    TRIGGERED = "TRIGGERED"
    FILLED = "FILLED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class InstrumentKind(StrEnum):
    EQUITY = "EQUITY"
    FUTURE = "FUTURE"
    OPTION = "OPTION"
    INDEX = "INDEX"
    CURRENCY = "CURRENCY"
    CRYPTO = "CRYPTO"


class FeedState(StrEnum):
    NONE = "NONE"
    CONNECTING = "CONNECTING"
    LIVE = "LIVE"
    STALE = "STALE"
    RECONNECTING = "RECONNECTING"
    FAILED = "FAILED"
    CLOSED = "CLOSED"


# ── instruments ──────────────────────────────────────────────────────────────────────────────────────────────────────

_FLOAT32_EPSILON = Decimal(2) ** -24
_SYMBOL = re.compile(r"(?:[A-Z0-9_]{2,16}:)?[A-Za-z0-9][A-Za-z0-9&_.\-/^$]{0,47}")
_INDIAN = ("NSE:", "BSE:", "MCX:")


def check_symbol(symbol: object) -> str:
    """The symbol itself, or an `OrderError` that shows what one looks like."""
    if not isinstance(symbol, str):
        raise OrderError(f"a symbol is text such as 'NSE:SBIN-EQ', not {type(symbol).__name__}")
    if symbol.upper().startswith(_INDIAN) and symbol != symbol.upper():
        raise OrderError(f"malformed symbol {symbol!r}: did you mean {symbol.upper()!r}?")
    if not _SYMBOL.fullmatch(symbol):
        raise OrderError(f"malformed symbol {symbol!r}: write EXCHANGE:NAME such as 'NSE:SBIN-EQ', or 'BTCUSDT'")
    return symbol


@dataclass(frozen=True, slots=True, init=False)
class Instrument:
    """What is traded: its decimal scales, tick, lot and contract terms.

    scale, quantity_scale: decimals of a price and of a quantity. tick_size: the price grid; None means every price on
    the scale. lot_size: quantities are multiples of it. multiplier: value = price x quantity x multiplier.
    freeze_quantity: the exchange's largest single order. expiry, strike, option_type ("CE" or "PE"): derivatives.

    Raises `OrderError` for a malformed symbol and for terms that contradict each other.
    """

    symbol: str
    kind: InstrumentKind
    scale: int
    tick_size: Decimal | None
    lot_size: Decimal
    quantity_scale: int
    multiplier: Decimal
    freeze_quantity: Decimal | None
    expiry: date | None
    strike: Decimal | None
    option_type: str | None
    currency: str
    zone: tzinfo = field(repr=False, compare=False)
    unit: int = field(repr=False, compare=False)
    """Raw money of one raw price times one raw quantity; always even, so that a mid is exact too."""
    tick_raw: int = field(repr=False, compare=False)
    lot_raw: int = field(repr=False, compare=False)

    def __init__(
        self,
        symbol: str,
        *,
        kind: InstrumentKind | str = "EQUITY",
        scale: int = 2,
        tick_size: Number | None = None,
        lot_size: Number = 1,
        quantity_scale: int = 0,
        multiplier: Number = 1,
        freeze_quantity: Number | None = None,
        expiry: date | None = None,
        strike: Number | None = None,
        option_type: str | None = None,
        currency: str = "INR",
        zone: tzinfo = UTC,
    ) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("symbol", check_symbol(symbol))
        if kind not in InstrumentKind.__members__:
            raise OrderError(f"{symbol}: kind must be one of {', '.join(InstrumentKind)}, not {kind!r}")
        if not (0 <= scale <= 12 and 0 <= quantity_scale <= 12):
            raise OrderError(f"{symbol}: scale and quantity_scale must be 0 to 12, not {scale} and {quantity_scale}")
        factor = positive(multiplier, f"{symbol}: multiplier")
        unit = scaled(factor, MONEY_SCALE - 1 - scale - quantity_scale)
        if not unit:
            raise OrderError(f"{symbol}: multiplier {factor} has too many decimals for scale {scale}+{quantity_scale}")
        tick = None if tick_size is None else positive(tick_size, f"{symbol}: tick_size")
        lot = positive(lot_size, f"{symbol}: lot_size")
        tick_raw = 1 if tick is None else scaled(tick, scale)
        # a lot of one unit says nothing about fractions of a unit
        lot_raw = 1 if lot == 1 else scaled(lot, quantity_scale)
        if not tick_raw:
            raise OrderError(f"{symbol}: tick_size {tick} is finer than scale={scale}")
        if not lot_raw:
            raise OrderError(f"{symbol}: lot_size {lot} is finer than quantity_scale={quantity_scale}")
        put("kind", InstrumentKind(kind))
        put("scale", scale)
        put("tick_size", tick)
        put("lot_size", lot)
        put("quantity_scale", quantity_scale)
        put("multiplier", factor)
        freeze = None if freeze_quantity is None else positive(freeze_quantity, f"{symbol}: freeze_quantity")
        put("freeze_quantity", freeze)
        put("expiry", expiry)
        put("strike", None if strike is None else positive(strike, f"{symbol}: strike"))
        put("option_type", option_type)
        put("currency", currency)
        put("zone", zone)
        put("unit", unit * 10)
        put("tick_raw", tick_raw)
        put("lot_raw", lot_raw)

    def in_zone(self, zone: tzinfo) -> "Instrument":
        """The same instrument, whose times read in `zone`."""
        if zone is self.zone:
            return self
        terms = {f.name: getattr(self, f.name) for f in fields(self) if f.compare}
        return Instrument(**terms, zone=zone)

    def price(self, raw: int) -> Decimal:
        return to_decimal(raw, self.scale)

    def quantity(self, raw: int) -> Decimal:
        return to_decimal(raw, self.quantity_scale)

    def price_raw(self, value: Number, what: str = "price") -> int:
        """A price on this scale. A float, or a text that leaked from one, snaps to the price that explains it.

        Raises `PriceError` with the reason: zero, negative, not a number, infinite, off the scale, out of range.
        """
        given = positive(value, f"{self.symbol}: {what}")
        raw = scaled(given, self.scale)
        if raw is None and not isinstance(value, int | Decimal):
            nearest = int(EXACT.to_integral_value(EXACT.scaleb(given, self.scale)))
            if nearest and abs(to_decimal(nearest, self.scale) - given) <= given * _FLOAT32_EPSILON:
                raw = nearest
        if raw is None:
            raise PriceError(
                "off_scale",
                f"{self.symbol}: {what} {value} is finer than its {self.scale} decimals; "
                f"if that is right, register Instrument({self.symbol!r}, scale={-given.as_tuple().exponent})",  # type: ignore[operator]
            )
        if raw > MAX_RAW:
            raise PriceError("out_of_range", f"{self.symbol}: {what} {value} is out of range")
        return raw

    def order_price_raw(self, value: Number, what: str) -> int:
        """A price that may stand in an order: on the scale and on the tick grid. Raises `OrderError`."""
        raw = self.price_raw(value, what)
        below = raw - raw % self.tick_raw
        if raw != below:
            near = " or ".join(str(self.price(p)) for p in (below, below + self.tick_raw) if p)
            raise OrderError(
                f"{self.symbol}: {what} {value} is off the tick of {self.tick_size}; {near} would be on it"
            )
        return raw

    def quantity_raw(self, value: Number, what: str = "quantity") -> int:
        """A quantity that may stand in an order: above zero, on the scale, in whole lots. Raises `OrderError`."""
        given = positive(value, f"{self.symbol}: {what}")
        raw = scaled(given, self.quantity_scale)
        if raw is None:
            if not self.quantity_scale:
                raise OrderError(f"{self.symbol}: {what} must be a whole number, not {value}")
            raise OrderError(f"{self.symbol}: {what} {value} is finer than its {self.quantity_scale} decimals")
        below = raw - raw % self.lot_raw
        if raw != below:
            near = " or ".join(str(self.quantity(q)) for q in (below, below + self.lot_raw) if q)
            raise OrderError(
                f"{self.symbol}: {what} {value} is not a multiple of the lot of {self.lot_size}; use {near}"
            )
        if raw > MAX_RAW:
            raise OrderError(f"{self.symbol}: {what} {value} is out of range")
        return raw

    def value_raw(self, price_raw: int, quantity_raw: int) -> int:
        """Raw money: price x quantity x multiplier, exact."""
        return price_raw * quantity_raw * self.unit


def default_instrument(symbol: str, zone: tzinfo = UTC) -> Instrument:
    """What an unknown symbol is taken for: an Indian one in paise and whole shares, anything else with 8 decimals."""
    check_symbol(symbol)
    if symbol.startswith(_INDIAN):
        kind = InstrumentKind.INDEX if symbol.endswith("-INDEX") else InstrumentKind.EQUITY
        return Instrument(symbol, kind=kind, zone=zone)
    return Instrument(symbol, kind=InstrumentKind.CRYPTO, scale=8, quantity_scale=8, zone=zone)


# ── ticks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Tick:
    """A quote of one instrument: what is known after an update, or the update itself.

    bid, ask, last: exact `Decimal`, or None while unknown. mid, price: floats for indicator arithmetic (price is last,
    else mid; NaN where nothing is known). volume: of the session so far. time: the source's own time (else when it was
    received); received: the engine's time; both aware. missed: ticks that a slow reader did not see before this one.
    """

    __slots__ = (
        "ask_raw",
        "ask_size_raw",
        "bid_raw",
        "bid_size_raw",
        "instrument",
        "last_raw",
        "received_ns",
        "seen",
        "source",
        "time_ns",
        "volume_raw",
    )
    missed: int = 0

    def __init__(
        self,
        instrument: Instrument,
        received_ns: int,
        bid_raw: int = 0,
        ask_raw: int = 0,
        last_raw: int = 0,
        time_ns: int = 0,
        volume_raw: int | None = None,
        bid_size_raw: int | None = None,
        ask_size_raw: int | None = None,
        source: str = "",
    ) -> None:
        self.instrument = instrument
        self.received_ns = received_ns
        self.bid_raw = bid_raw  # 0 means unknown: no price is zero
        self.ask_raw = ask_raw
        self.last_raw = last_raw
        self.time_ns = time_ns  # 0 means that the source gave none
        self.volume_raw = volume_raw
        self.bid_size_raw = bid_size_raw
        self.ask_size_raw = ask_size_raw
        self.source = source
        self.seen: dict[str, int] | None = None  # the last given time of each other source

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    @property
    def time(self) -> datetime:
        return at(self.time_ns or self.received_ns, self.instrument.zone)

    @property
    def received(self) -> datetime:
        return at(self.received_ns, self.instrument.zone)

    @property
    def bid(self) -> Decimal | None:
        return to_decimal(self.bid_raw, self.instrument.scale) if self.bid_raw else None

    @property
    def ask(self) -> Decimal | None:
        return to_decimal(self.ask_raw, self.instrument.scale) if self.ask_raw else None

    @property
    def last(self) -> Decimal | None:
        return to_decimal(self.last_raw, self.instrument.scale) if self.last_raw else None

    @property
    def volume(self) -> Decimal | None:
        return self._size(self.volume_raw)

    @property
    def bid_size(self) -> Decimal | None:
        return self._size(self.bid_size_raw)

    @property
    def ask_size(self) -> Decimal | None:
        return self._size(self.ask_size_raw)

    def _size(self, raw: int | None) -> Decimal | None:
        return None if raw is None else to_decimal(raw, self.instrument.quantity_scale)

    @property
    def mid(self) -> float:
        if self.bid_raw and self.ask_raw:
            return float((self.bid_raw + self.ask_raw) / (2 * 10**self.instrument.scale))
        return float("nan")

    @property
    def price(self) -> float:
        return float(self.last_raw / 10**self.instrument.scale) if self.last_raw else self.mid

    @property
    def mark_raw(self) -> int:
        """Twice the price a position is valued at (last, else mid), so that a mid stays whole; 0 while unknown."""
        if self.last_raw:
            return 2 * self.last_raw
        return self.bid_raw + self.ask_raw if self.bid_raw and self.ask_raw else 0

    def conflated(self, missed: int) -> "Tick":
        """This tick as a slow reader gets it: `missed` others came before it."""
        copy = _ConflatedTick(*(getattr(self, name) for name in _TICK_FIELDS))
        copy.missed = missed
        return copy

    def __repr__(self) -> str:
        return f"Tick({self.symbol} bid={self.bid} ask={self.ask} last={self.last} time={self.time.isoformat()})"


class _ConflatedTick(Tick):
    __slots__ = ("missed",)


_TICK_FIELDS = (
    "instrument",
    "received_ns",
    "bid_raw",
    "ask_raw",
    "last_raw",
    "time_ns",
    "volume_raw",
    "bid_size_raw",
    "ask_size_raw",
    "source",
)


# ── orders, fills, exits, positions ──────────────────────────────────────────────────────────────────────────────────


@record
class ExitTerm:
    """One exit as it was asked for: a price, a percentage, or (trailing only) an amount; exactly one of them."""

    kind: ExitKind
    price_raw: int | None = None
    pct: Decimal | None = None
    amount_raw: int | None = None


@record
class Change:
    """The terms of an order after a modification."""

    quantity_raw: int
    limit_raw: int | None
    trigger_raw: int | None
    opening_raw: int
    margin_raw: int


@record
class Order:
    """One order and everything known of it. Never changes; a later state is another `Order`.

    Prices are `Decimal` or None, quantities `Decimal` in units, fees in the account's currency, times aware.
    slippage: average price against the quote at submission, per unit; positive is worse. None before the first fill.
    """

    client_order_id: str
    instrument: Instrument
    side: OrderSide
    order_type: OrderType
    quantity_raw: int
    limit_raw: int | None
    trigger_raw: int | None
    time_in_force: TimeInForce
    product: Product
    strategy: str
    tag: str
    source: Source
    exits: tuple[ExitTerm, ...] = ()
    risk_id: str | None = None
    created_ns: int = 0
    updated_ns: int = 0
    requested_ns: int = 0
    """When the request that is now on its way (submit, modify or cancel) left."""
    status: OrderStatus = OrderStatus.INITIALIZED
    reason: str = ""
    opening_raw: int = 0
    """How much of the quantity was approved as opening; the rest reduces."""
    margin_raw: int = 0
    """Money that the opening part blocks while it works."""
    asked_raw: tuple[int, int | None, int | None] | None = None
    """Quantity, limit and trigger as first asked, once a modification changed them."""
    pending: "Change | None" = None
    """A modification that is on its way."""
    reference_raw: int = 0
    """The price on the order's side when it was submitted; 0 while unknown."""
    triggered: bool = False
    venue_order_id: str | None = None
    filled_raw: int = 0
    filled_value_raw: int = 0
    fees_raw: int = 0
    executions: frozenset[str] = frozenset()

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    @property
    def is_protective(self) -> bool:
        """Sent by an exit or by flatten to close what is held; it never opens."""
        return self.risk_id is not None or self.source is Source.FLATTEN

    @property
    def book_key(self) -> tuple[str, str, Product]:
        return self.strategy, self.instrument.symbol, self.product

    @property
    def quantity(self) -> Decimal:
        return self.instrument.quantity(self.quantity_raw)

    @property
    def filled_qty(self) -> Decimal:
        return self.instrument.quantity(self.filled_raw)

    @property
    def leaves_raw(self) -> int:
        return self.quantity_raw - self.filled_raw

    @property
    def working_raw(self) -> int:
        """The most that may still fill, a modification that is on its way included."""
        changed = self.pending.quantity_raw if self.pending else 0
        return max(self.quantity_raw, changed) - self.filled_raw

    @property
    def limit_price(self) -> Decimal | None:
        return None if self.limit_raw is None else self.instrument.price(self.limit_raw)

    @property
    def trigger_price(self) -> Decimal | None:
        return None if self.trigger_raw is None else self.instrument.price(self.trigger_raw)

    @property
    def avg_raw(self) -> int | None:
        """Average price as raw money per unit, half-even at 10⁻¹²; None before the first fill."""
        if not self.filled_raw:
            return None
        return average(self.instrument, self.filled_value_raw, self.filled_raw)

    @property
    def avg_price(self) -> Decimal | None:
        return None if self.avg_raw is None else money(self.avg_raw)

    @property
    def slippage_raw(self) -> int | None:
        if self.avg_raw is None or not self.reference_raw:
            return None
        step: int = 10 ** (MONEY_SCALE - self.instrument.scale)
        return self.side.sign * (self.avg_raw - self.reference_raw * step)

    @property
    def slippage(self) -> Decimal | None:
        return None if self.slippage_raw is None else money(self.slippage_raw)

    @property
    def fees(self) -> Decimal:
        return money(self.fees_raw)

    @property
    def created_at(self) -> datetime:
        return at(self.created_ns, self.instrument.zone)

    @property
    def updated_at(self) -> datetime:
        return at(self.updated_ns, self.instrument.zone)

    @property
    def is_open(self) -> bool:
        """True while it may still fill."""
        return self.status not in FINAL

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def blocked_raw(self) -> int:
        """Money blocked for the opening part that has not filled yet; the larger while a modification is on its way."""
        if self.status in FINAL:
            return 0
        blocked = _blocked(self, self.filled_raw)
        return max(blocked, _blocked(self.pending, self.filled_raw)) if self.pending else blocked

    @property
    def terms(self) -> tuple[object, ...]:
        """What was asked for, by which a repeated command is known to be the same one."""
        return (
            self.symbol,
            self.side,
            self.order_type,
            self.asked_raw or (self.quantity_raw, self.limit_raw, self.trigger_raw),
            self.time_in_force,
            self.product,
            self.strategy,
            self.tag,
            self.exits,
        )

    def __repr__(self) -> str:
        at_price = "".join(f" {n}={v}" for n, v in (("limit", self.limit_price), ("trigger", self.trigger_price)) if v)
        filled = f" filled={self.filled_qty}@{self.avg_price}" if self.filled_raw else ""
        reason = f" reason={self.reason!r}" if self.reason else ""
        return (
            f"Order({self.client_order_id} {self.side} {self.quantity} {self.symbol} {self.order_type}{at_price} "
            f"{self.status}{filled}{reason})"
        )


def _blocked(terms: "Order | Change", filled_raw: int) -> int:
    left = min(terms.opening_raw, terms.quantity_raw - filled_raw)
    return divide(terms.margin_raw * left, terms.opening_raw) if left > 0 else 0


FINAL = frozenset(
    {OrderStatus.DENIED, OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.REJECTED, OrderStatus.EXPIRED}
)


@record
class Fill:
    """One execution, with the fees it was charged and the P&L it realized (gross).

    order_filled_before, order_value_before: what its order had filled before it, so that a cap per order can be charged
    right. charges: the fees by name where the schedule itemises them.
    """

    client_order_id: str
    execution_id: str
    instrument: Instrument
    side: OrderSide
    product: Product
    strategy: str
    tag: str
    source: Source
    time_ns: int
    quantity_raw: int
    price_raw: int
    price_source: PriceSource
    filled_before_raw: int = 0
    value_before_raw: int = 0
    fees_raw: int = 0
    charges: tuple[tuple[str, int], ...] = ()
    realized_raw: int = 0
    low_raw: int = 0
    """The lowest and the highest mark (twice the price) of its book since the fill before; 0 when it was flat."""
    high_raw: int = 0

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    @property
    def time(self) -> datetime:
        return at(self.time_ns, self.instrument.zone)

    @property
    def quantity(self) -> Decimal:
        return self.instrument.quantity(self.quantity_raw)

    @property
    def price(self) -> Decimal:
        return self.instrument.price(self.price_raw)

    @property
    def value_raw(self) -> int:
        return self.instrument.value_raw(self.price_raw, self.quantity_raw)

    @property
    def value(self) -> Decimal:
        """price x quantity x multiplier, always positive."""
        return money(self.value_raw)

    @property
    def order_filled_before(self) -> Decimal:
        return self.instrument.quantity(self.filled_before_raw)

    @property
    def order_value_before(self) -> Decimal:
        return money(self.value_before_raw)

    @property
    def fees(self) -> Decimal:
        return money(self.fees_raw)

    @property
    def realized_pnl(self) -> Decimal:
        return money(self.realized_raw)


@record
class RiskOrder:
    """One exit that the engine watches: a stop-loss, take-profit or trailing stop of one book.

    Its trigger price is raw; a trailing stop also carries its distance and the best price seen. `order_id` is the
    order it last sent, `attempts` how often it sent one.
    """

    risk_id: str
    kind: ExitKind
    instrument: Instrument
    strategy: str
    product: Product
    tag: str
    long: bool
    trigger_raw: int
    armed_ns: int
    pct: Decimal | None = None
    amount_raw: int | None = None
    best_raw: int = 0
    status: ExitStatus = ExitStatus.ARMED
    fired_ns: int = 0
    order_id: str | None = None
    attempts: int = 0
    retry_ns: int = 0
    quantity_raw: int = 0
    """What it was responsible for when it fired."""

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    @property
    def trigger_price(self) -> Decimal:
        return self.instrument.price(self.trigger_raw)


@record
class Position:
    """What is held in one symbol (or one book of it). Falsy when flat; a short's quantity and values are negative.

    Money is in the account's currency. last_price is the price it is marked at: last, or mid where there is none.
    """

    symbol: str
    quantity: Decimal
    avg_price: Decimal | None
    last_price: Decimal | None
    market_value: Decimal
    cost_basis: Decimal
    unrealized_pnl: Decimal
    realized_pnl: Decimal
    fees: Decimal
    total_pnl: Decimal
    unrealized_pnl_pct: Decimal | None
    stop_loss_price: Decimal | None
    take_profit_price: Decimal | None
    opened_at: datetime | None

    def __bool__(self) -> bool:
        return self.quantity != 0


def average(instrument: Instrument, value_raw: int, quantity_raw: int) -> int:
    """Raw money per unit and multiplier, rounded half-even at 10⁻¹²: an average price for showing, never for adding."""
    steps = divide(value_raw * 10 ** (MONEY_SCALE - instrument.scale), quantity_raw * instrument.unit * SHARE_QUANTUM)
    return steps * SHARE_QUANTUM
