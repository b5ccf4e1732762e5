"""The nouns: orders, fills, exits and positions.

Inside the core a price or a quantity is a *raw* integer on its instrument's decimal scale, and money is a raw integer
in units of 10⁻³⁰ of the currency; such names end in `_raw`, times in integer nanoseconds UTC end in `_ns`. Everything
a user touches is a property that gives a `Decimal` or an aware `datetime`, built when asked for.
"""

from datetime import datetime
from decimal import Decimal

from livetrade.core import html
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import (
    ExitKind,
    ExitStatus,
    OrderSide,
    OrderStatus,
    OrderType,
    PriceSource,
    Product,
    Source,
    TimeInForce,
)
from livetrade.core.numbers import MONEY_SCALE, SHARE_QUANTUM, at, divide, money, short, to_decimal
from livetrade.core.records import record


@record
class ExitTerm:
    """One exit as it was asked for: a price, a percentage, or (trailing only) an amount; exactly one of them."""

    kind: ExitKind
    price_raw: int | None = None
    pct: Decimal | None = None
    amount_raw: int | None = None


Terms = tuple[int, int | None, int | None]
"""Quantity, limit and trigger of an order."""


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
    """The id it is known by: yours, or a generated one."""
    instrument: Instrument
    """What it is an order in."""
    side: OrderSide
    """BUY or SELL."""
    order_type: OrderType
    """MARKET, LIMIT, STOP or STOP_LIMIT."""
    quantity_raw: int
    limit_raw: int | None
    trigger_raw: int | None
    time_in_force: TimeInForce
    """DAY, IOC or GTC."""
    product: Product
    """CNC, INTRADAY or MARGIN."""
    strategy: str
    """Whose book it trades in: the strategy's name, `manual` for a person's."""
    tag: str
    """Your own word for it."""
    source: Source
    """Who asked for it: USER, STRATEGY, STOP_LOSS, TAKE_PROFIT, TRAILING_STOP, FLATTEN, REST or EXTERNAL."""
    exits: tuple[ExitTerm, ...] = ()
    risk_id: str | None = None
    """The exit that sent it, by its id in `risk_orders()`; None for all other orders."""
    created_ns: int = 0
    updated_ns: int = 0
    requested_ns: int = 0
    """When the request that is now on its way (submit, modify or cancel) left."""
    status: OrderStatus = OrderStatus.INITIALIZED
    """Where it stands in its life."""
    reason: str = ""
    """Why it was denied, rejected, canceled or expired; empty otherwise."""
    opening_raw: int = 0
    """How much of the quantity was approved as opening; the rest reduces."""
    margin_raw: int = 0
    """Money that the opening part blocks while it works."""
    asked_raw: Terms | None = None
    """The terms as first asked, once a modification changed them."""
    pending: "Change | None" = None
    """A modification that is on its way."""
    reference_raw: int = 0
    """The price on the order's side when it was submitted; 0 while unknown."""
    triggered: bool = False
    venue_order_id: str | None = None
    """The broker's id; None until the broker has taken it."""
    filled_raw: int = 0
    filled_value_raw: int = 0
    fees_raw: int = 0
    executions: frozenset[str] = frozenset()
    ended: OrderStatus | None = None
    """What the venue said ended it; its status is FILLED all the same when it is wholly filled."""
    last_change: "Change | None" = None
    """The last modification asked: it may be confirmed after it seemed to be turned down."""
    confirmed: tuple[Terms, ...] = ()
    """The terms of each modification that was confirmed; a confirmation counts once."""
    parent_id: str = ""
    """The id that it was asked by together with others, where one order was sent in slices."""
    ending: OrderStatus | None = None
    """What the venue said ended it, while executions from before that are still to come."""
    ends_at_raw: int = 0
    """How much will have filled when they have come."""

    @property
    def symbol(self) -> str:
        """The instrument's symbol."""
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
        """What was asked for, in units."""
        return self.instrument.quantity(self.quantity_raw)

    @property
    def filled_qty(self) -> Decimal:
        """How much has filled, in units."""
        return self.instrument.quantity(self.filled_raw)

    @property
    def leaves_raw(self) -> int:
        return self.quantity_raw - self.filled_raw

    @property
    def working_raw(self) -> int:
        """The most that may still fill, a modification that is on its way included."""
        if self.ending is not None:
            return self.ends_at_raw - self.filled_raw
        changed = self.pending.quantity_raw if self.pending else 0
        return max(self.quantity_raw, changed) - self.filled_raw

    @property
    def limit_price(self) -> Decimal | None:
        """The limit, per unit; None where the order has none."""
        return None if self.limit_raw is None else self.instrument.price(self.limit_raw)

    @property
    def trigger_price(self) -> Decimal | None:
        """What a stop order waits for, per unit; None for other orders."""
        return None if self.trigger_raw is None else self.instrument.price(self.trigger_raw)

    @property
    def avg_raw(self) -> int | None:
        """Average price as raw money per unit, half-even at 10⁻¹²; None before the first fill."""
        if not self.filled_raw:
            return None
        return average(self.instrument, self.filled_value_raw, self.filled_raw)

    @property
    def avg_price(self) -> Decimal | None:
        """The average price of what has filled, per unit; None before the first fill."""
        average_raw = self.avg_raw
        return None if average_raw is None else money(average_raw)

    @property
    def slippage_raw(self) -> int | None:
        average_raw = self.avg_raw
        if average_raw is None or not self.reference_raw:
            return None
        step: int = 10 ** (MONEY_SCALE - self.instrument.scale)
        return self.side.sign * (average_raw - self.reference_raw * step)

    @property
    def slippage(self) -> Decimal | None:
        """The average price against the quote at submission, per unit; positive is worse. None before a fill."""
        slippage_raw = self.slippage_raw
        return None if slippage_raw is None else money(slippage_raw)

    @property
    def fees(self) -> Decimal:
        """All charges of its fills so far, in the account's currency."""
        return money(self.fees_raw)

    @property
    def created_at(self) -> datetime:
        """When it was asked for: aware, in the engine's time zone."""
        return at(self.created_ns, self.instrument.zone)

    @property
    def updated_at(self) -> datetime:
        """When it last changed: aware, in the engine's time zone."""
        return at(self.updated_ns, self.instrument.zone)

    @property
    def is_open(self) -> bool:
        """True while it may still fill."""
        return self.status not in FINAL

    @property
    def is_final(self) -> bool:
        """True once nothing more can come of it."""
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

    def _repr_html_(self) -> str:
        filled = f"{self.filled_qty} at {short(self.avg_price)}" if self.filled_raw else None
        told = {
            "status": self.status,
            "reason": self.reason,
            "limit": self.limit_price,
            "trigger": self.trigger_price,
            "filled": filled,
            "fees": self.fees if self.filled_raw else None,
            "source": self.source,
            "strategy": self.strategy,
            "tag": self.tag,
            "id": self.client_order_id,
            "created": f"{self.created_at:%Y-%m-%d %H:%M:%S}" if self.created_ns else None,
        }
        title = f"{self.side} {self.quantity} {self.symbol} {self.order_type} {self.product}"
        return html.card(title, html.facts(row for row in told.items() if row[1] not in (None, "")))


def _blocked(terms: "Order | Change", filled_raw: int) -> int:
    left = min(terms.opening_raw, terms.quantity_raw - filled_raw)
    if left <= 0:
        return 0
    return terms.margin_raw if left == terms.opening_raw else divide(terms.margin_raw * left, terms.opening_raw)


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
    """The id of its order."""
    execution_id: str
    """Its own id; one that comes twice counts once."""
    instrument: Instrument
    """What was filled."""
    side: OrderSide
    """BUY or SELL."""
    product: Product
    """CNC, INTRADAY or MARGIN."""
    strategy: str
    """Whose book it is in."""
    tag: str
    """Its order's tag."""
    source: Source
    """Who asked for its order."""
    time_ns: int
    quantity_raw: int
    price_raw: int
    price_source: PriceSource
    """Which price it was made at: BID, ASK, LAST, LIMIT, or VENUE for a broker's own."""
    filled_before_raw: int = 0
    value_before_raw: int = 0
    fees_raw: int = 0
    charges: tuple[tuple[str, int], ...] = ()
    """Its fees by name, in raw money, where the schedule itemises them; `fills(charges=True)` shows them in columns."""
    realized_raw: int = 0
    low_raw: int = 0
    """The lowest and the highest mark (twice the price) of its book since the fill before; 0 when it was flat."""
    high_raw: int = 0
    reference_raw: int = 0
    """The price on its side when its order was sent, or of this moment where its order had to wait; 0 while unknown."""
    spread_raw: int = 0
    """How far bid and ask were apart when it was booked; 0 where one of them was unknown."""

    @property
    def symbol(self) -> str:
        """The instrument's symbol."""
        return self.instrument.symbol

    @property
    def time(self) -> datetime:
        """When it was filled: aware, in the engine's time zone."""
        return at(self.time_ns, self.instrument.zone)

    @property
    def quantity(self) -> Decimal:
        """How much, in units; always positive."""
        return self.instrument.quantity(self.quantity_raw)

    @property
    def price(self) -> Decimal:
        """Per unit."""
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
        """How much of its order had filled before it, in units."""
        return self.instrument.quantity(self.filled_before_raw)

    @property
    def order_value_before(self) -> Decimal:
        """The value of what its order had filled before it, in the account's currency."""
        return money(self.value_before_raw)

    @property
    def fees(self) -> Decimal:
        """What it was charged, in the account's currency."""
        return money(self.fees_raw)

    @property
    def realized_pnl(self) -> Decimal:
        """What it realized, gross of fees, in the account's currency; zero where it only opens."""
        return money(self.realized_raw)

    def __repr__(self) -> str:
        realized = f" realized={self.realized_pnl:+}" if self.realized_raw else ""
        return f"Fill({self.execution_id} {self._headline()} fees={self.fees}{realized} time={self.time.isoformat()})"

    def _repr_html_(self) -> str:
        told = {
            "value": f"{self.value:,}",
            "fees": f"{self.fees:,}",
            "realized P&L": f"{self.realized_pnl:+,}" if self.realized_raw else None,
            "source": self.source,
            "strategy": self.strategy,
            "tag": self.tag,
            "order": self.client_order_id,
            "time": f"{self.time:%Y-%m-%d %H:%M:%S}",
        }
        return html.card(self._headline(), html.facts(row for row in told.items() if row[1] not in (None, "")))

    def _headline(self) -> str:
        return f"{self.side} {self.quantity} {self.symbol} at {self.price} ({self.price_source})"


@record
class RiskOrder:
    """One exit that the engine watches: a stop-loss, take-profit or trailing stop of one book.

    Its trigger price is raw; a trailing stop also carries its distance and the best price seen. `order_id` is the
    order it last sent, `attempts` how often one of them came to nothing.
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

    instrument: Instrument
    """What is held."""
    quantity_raw: int = 0
    cost_raw: int = 0
    paid_raw: int = 0
    realized_raw: int = 0
    fees_raw: int = 0
    mark_raw: int = 0
    stop_raw: int | None = None
    target_raw: int | None = None
    opened_ns: int = 0

    @property
    def symbol(self) -> str:
        """The instrument's symbol."""
        return self.instrument.symbol

    @property
    def quantity(self) -> Decimal:
        """In units; negative for a short, zero when flat."""
        return self.instrument.quantity(self.quantity_raw)

    @property
    def avg_price(self) -> Decimal | None:
        """The average price of what is held, per unit; None when flat."""
        if not self.quantity_raw:
            return None
        return money(average(self.instrument, self.cost_raw, self.quantity_raw))

    @property
    def last_price(self) -> Decimal | None:
        """What it is marked at, per unit: the last price, or mid where there is none; None while unknown."""
        step: int = 10 ** (MONEY_SCALE - self.instrument.scale)
        return money(self.mark_raw * step // 2) if self.mark_raw else None

    @property
    def value_raw(self) -> int:
        return value_at(self.mark_raw, self.instrument, self.quantity_raw, self.cost_raw, self.paid_raw)

    @property
    def market_value(self) -> Decimal:
        """What it is worth at that price; of a future its gain so far."""
        return money(self.value_raw)

    @property
    def cost_basis(self) -> Decimal:
        """What it cost; negative for a short, zero for a future."""
        return money(self.paid_raw)

    @property
    def unrealized_pnl(self) -> Decimal:
        """Market value less cost."""
        return money(self.value_raw - self.paid_raw)

    @property
    def realized_pnl(self) -> Decimal:
        """What was realized in it so far, gross of fees."""
        return money(self.realized_raw)

    @property
    def fees(self) -> Decimal:
        """All that it was charged."""
        return money(self.fees_raw)

    @property
    def total_pnl(self) -> Decimal:
        """Realized and unrealized, less fees."""
        return money(self.realized_raw + self.value_raw - self.paid_raw - self.fees_raw)

    @property
    def unrealized_pnl_pct(self) -> Decimal | None:
        """Unrealized P&L in percent of the cost; None when flat."""
        if not self.cost_raw:
            return None
        return to_decimal(divide((self.value_raw - self.paid_raw) * 10**8, abs(self.cost_raw)), 6)

    @property
    def stop_loss_price(self) -> Decimal | None:
        """Where its stop-loss, or else its trailing stop, stands; None where none is armed."""
        return None if self.stop_raw is None else self.instrument.price(self.stop_raw)

    @property
    def take_profit_price(self) -> Decimal | None:
        """Where its take-profit stands; None where none is armed."""
        return None if self.target_raw is None else self.instrument.price(self.target_raw)

    @property
    def opened_at(self) -> datetime | None:
        """When it was opened last: aware, in the engine's time zone; None when flat."""
        return at(self.opened_ns, self.instrument.zone) if self.opened_ns else None

    def __bool__(self) -> bool:
        return self.quantity_raw != 0

    def __repr__(self) -> str:
        told = [self._headline()]
        if self:
            told.append(f"last {self.last_price}")
        told.append(f"P&L {self.total_pnl:+,}")
        exits = (("stop", self.stop_loss_price), ("target", self.take_profit_price))
        return f"Position({', '.join([*told, *(f'{name} {price}' for name, price in exits if price is not None)])})"

    def _repr_html_(self) -> str:
        opened = {
            "last price": self.last_price,
            "market value": f"{self.market_value:,}",
            "unrealized P&L": f"{self.unrealized_pnl:+,}",
            "unrealized %": None if self.unrealized_pnl_pct is None else f"{self.unrealized_pnl_pct:+.2f}",
            "stop-loss": self.stop_loss_price,
            "take-profit": self.take_profit_price,
            "opened": None if self.opened_at is None else f"{self.opened_at:%Y-%m-%d %H:%M:%S}",
        }
        told = {
            **(opened if self else {}),
            "realized P&L": f"{self.realized_pnl:+,}",
            "fees": f"{self.fees:,}",
            "total P&L": f"{self.total_pnl:+,}",
        }
        return html.card(self._headline(), html.facts(row for row in told.items() if row[1] is not None))

    def _headline(self) -> str:
        return f"{self.symbol} {self.quantity} at {short(self.avg_price)}" if self else f"{self.symbol} flat"


def value_at(mark_raw: int, instrument: Instrument, quantity_raw: int, cost_raw: int, paid_raw: int) -> int:
    """What a position adds to the portfolio at a mark (twice the price): its value, or its gain where it was not paid
    for. What was paid while there is no mark."""
    if not mark_raw:
        return paid_raw
    return quantity_raw * mark_raw * (instrument.unit // 2) - cost_raw + paid_raw


def average(instrument: Instrument, value_raw: int, quantity_raw: int) -> int:
    """Raw money per unit and multiplier, rounded half-even at 10⁻¹²: an average price for showing, never for adding."""
    steps = divide(value_raw * 10 ** (MONEY_SCALE - instrument.scale), quantity_raw * instrument.unit * SHARE_QUANTUM)
    return steps * SHARE_QUANTUM
