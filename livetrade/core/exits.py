"""Stop-loss, take-profit and trailing stop: what they watch, when they fire, where they move.

A long position leaves at the bid and a short one at the ask, so that is the side an exit watches; `trigger_by="last"`
watches the last price instead, which also serves when it is all there is. Computed prices are rounded to the tick
grid in the position's favour: a stop toward the entry, a target away from it.
"""

from collections.abc import Iterable
from decimal import Decimal

from livetrade.core.instruments import Instrument
from livetrade.core.kinds import ExitKind, OrderSide, OrderType
from livetrade.core.numbers import EXACT
from livetrade.core.ticks import Tick
from livetrade.core.values import ExitTerm, Order, RiskOrder
from livetrade.errors import OrderError

NEVER_LOW = -1
NEVER_HIGH = 1 << 64
_HUNDRED = Decimal(100)


def watched(quote: Tick | None, long: bool, trigger_by: str) -> int:
    """The price that an exit of a long (short) position watches; 0 while it is unknown."""
    if quote is None:
        return 0
    if trigger_by == "last" and quote.last_raw:
        return quote.last_raw
    if quote.bid_raw or quote.ask_raw:
        return quote.bid_raw if long else quote.ask_raw
    return quote.last_raw


def on_grid(instrument: Instrument, price: Decimal, long: bool) -> int:
    """A raw price on the tick grid, rounded up for a long position and down for a short one; at least one tick."""
    ticks = EXACT.divide(price, Decimal(instrument.tick_raw))
    whole = int(ticks)
    if long and ticks != whole:
        whole += 1
    return max(whole, 1) * instrument.tick_raw


def trigger(term: ExitTerm, instrument: Instrument, long: bool, entry_raw: Decimal, best_raw: int) -> int:
    """Where a term fires: a percentage counts from the entry, a trailing distance from the best price seen."""
    if term.price_raw is not None:
        return term.price_raw
    start = Decimal(best_raw) if term.kind is ExitKind.TRAILING_STOP else entry_raw
    if term.amount_raw is not None:
        distance = Decimal(term.amount_raw)
    else:
        distance = EXACT.divide(EXACT.multiply(start, term.pct or Decimal(0)), _HUNDRED)
    below = long is not (term.kind is ExitKind.TAKE_PROFIT)
    return on_grid(instrument, EXACT.subtract(start, distance) if below else EXACT.add(start, distance), long)


def reached(kind: ExitKind, long: bool, trigger_raw: int, price_raw: int) -> bool:
    """Does an exit fire at this price? Touching is enough; an unknown price (0) fires nothing."""
    if not price_raw:
        return False
    if long is (kind is ExitKind.TAKE_PROFIT):
        return price_raw >= trigger_raw
    return price_raw <= trigger_raw


def trailed(risk: RiskOrder, price_raw: int) -> tuple[int, int] | None:
    """(trigger, best price) after a better price, or None when it is not better. A trail never moves back."""
    if risk.kind is not ExitKind.TRAILING_STOP or not price_raw:
        return None
    if (price_raw <= risk.best_raw) if risk.long else (price_raw >= risk.best_raw):
        return None
    term = ExitTerm(risk.kind, pct=risk.pct, amount_raw=risk.amount_raw)
    moved = trigger(term, risk.instrument, risk.long, Decimal(0), price_raw)
    return (max(moved, risk.trigger_raw) if risk.long else min(moved, risk.trigger_raw)), price_raw


def entry_price(order: Order, quote: Tick | None, trigger_by: str) -> int:
    """The price that the exits of an entry are held against before it is sent; 0 while unknown.

    It is the one they would watch now, unless the entry waits for a trigger or a limit: then it stands there.
    """
    long = order.side is OrderSide.BUY
    price = watched(quote, long, trigger_by)
    if order.trigger_raw is not None:
        price = (max if long else min)(price or order.trigger_raw, order.trigger_raw)
    if order.limit_raw is not None:
        price = (min if long else max)(price or order.limit_raw, order.limit_raw)
    return price


def check_terms(instrument: Instrument, side: OrderSide, terms: Iterable[ExitTerm]) -> None:
    """Raises `OrderError` for exits that contradict each other or can never be right."""
    long = side is OrderSide.BUY
    prices = {term.kind: term.price_raw for term in terms if term.price_raw is not None}
    stop, target = prices.get(ExitKind.STOP_LOSS), prices.get(ExitKind.TAKE_PROFIT)
    if stop and target and (stop >= target if long else stop <= target):
        where = "below" if long else "above"
        raise OrderError(
            f"{instrument.symbol}: after a {side} the stop-loss must be {where} the take-profit, "
            f"not {instrument.price(stop)} and {instrument.price(target)}"
        )
    for term in terms:
        falls = long is not (term.kind is ExitKind.TAKE_PROFIT)
        if term.pct is not None and falls and term.pct >= _HUNDRED:
            raise OrderError(f"{instrument.symbol}: {term.kind} of {term.pct} % is at or below zero; use less than 100")


class Alerts:
    """The prices of one symbol between which a tick can change nothing: nothing fires, fills or trails inside them.

    One comparison a side decides whether a tick needs more than marking.
    """

    __slots__ = ("active", "ask_high", "ask_low", "bid_high", "bid_low", "last_high", "last_low")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.active = False
        self.bid_low = self.ask_low = self.last_low = NEVER_LOW
        self.bid_high = self.ask_high = self.last_high = NEVER_HIGH

    def crossed(self, bid: int, ask: int, last: int) -> bool:
        if not (bid or ask):
            bid = ask = last
        return not (
            self.bid_low < bid < self.bid_high
            and self.ask_low < ask < self.ask_high
            and self.last_low < last < self.last_high
        )

    def below(self, side: str, price_raw: int) -> None:
        name = side + "_low"
        setattr(self, name, max(getattr(self, name), price_raw))
        self.active = True

    def above(self, side: str, price_raw: int) -> None:
        name = side + "_high"
        setattr(self, name, min(getattr(self, name), price_raw))
        self.active = True

    def every_tick(self) -> None:
        self.below("bid", NEVER_HIGH)

    def watch_risk(self, risk: RiskOrder, trigger_by: str) -> None:
        side = "bid" if risk.long else "ask"
        sides = ("last", side) if trigger_by == "last" else (side,)  # without a last price the side serves
        for name in sides:
            if risk.long is (risk.kind is ExitKind.TAKE_PROFIT):
                self.above(name, risk.trigger_raw)
            else:
                self.below(name, risk.trigger_raw)
            if risk.kind is ExitKind.TRAILING_STOP:
                if risk.long:
                    self.above(name, risk.best_raw + 1)
                else:
                    self.below(name, risk.best_raw - 1)

    def watch_order(self, order: Order, trigger_by: str) -> None:
        """For a simulated venue: where a working order might do something."""
        buy = order.side is OrderSide.BUY
        if order.trigger_raw is not None and not order.triggered:
            side = "ask" if buy else "bid"
            for name in ("last", side) if trigger_by == "last" else (side,):
                if buy:
                    self.above(name, order.trigger_raw)
                else:
                    self.below(name, order.trigger_raw)
        elif order.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT) and order.limit_raw is not None:
            if buy:
                self.below("ask", order.limit_raw)
            else:
                self.above("bid", order.limit_raw)
        else:
            self.every_tick()
