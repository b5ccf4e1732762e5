"""What an order would do, before it is sent: asked on the way that a real one goes, and nothing is changed by it."""

from collections.abc import Callable

from livetrade.core import events as ev
from livetrade.core.kinds import OrderSide, PriceSource
from livetrade.core.limits import Check, Denied, instrument_denied
from livetrade.core.ordering import Ordering, duplicate, order_of
from livetrade.core.quotes import touched_at
from livetrade.core.records import record, replaced
from livetrade.core.schedules import FeeSchedule, charge
from livetrade.core.slices import slices_of
from livetrade.core.state import Market
from livetrade.core.values import Fill, Order
from livetrade.core.venue import Venue
from livetrade.errors import OrderError

_FARTHEST = 1 << 62  # ticks
_NO_VENUE = Venue()  # what a real market would do with an order at the quote of now

Charges = tuple[int, tuple[tuple[str, int], ...]]
"""Fees in raw money, and what they are made of."""


@record
class Examined:
    """An order as it would be judged now. Money is raw; price_raw is 0 where no price is known."""

    order: Order
    reason: str
    """Why it would be refused; empty where it would be sent."""
    checks: tuple[Check, ...]
    opening_raw: int
    margin_raw: int
    needed_raw: int
    """The margin and the fees that are reckoned with before it is sent: what has to be free."""
    free_raw: int
    """Money that may be spent."""
    price_raw: int
    price_source: PriceSource
    entry: Charges | None
    """What it would be charged; None where that is only known after a fill."""
    exit: Charges | None
    """What closing the part that it opens would be charged, at the same price."""
    break_even_raw: int | None
    """The nearest price on the tick grid at which closing what it opens would lose nothing."""
    realized_raw: int
    """Gross P&L of the part that closes."""
    orders: int
    """In how many it would be sent."""


class Examining(Ordering):
    """Says what a command would lead to."""

    __slots__ = ()

    def examine(self, command: ev.SubmitOrder, ts: int) -> Examined:
        """What would become of the order, were it sent at `ts`."""
        now, self.ts = self.ts, max(ts, self.ts)
        try:
            market = self.markets.get(command.instrument.symbol) or Market(command.instrument)
            order = order_of(command, self.ts, touched_at(market.quote, command.side))
            return self._examined(order, market, sliced=command.sliced)
        finally:
            self.ts = now

    def _examined(self, order: Order, market: Market, *, sliced: bool) -> Examined:
        refused = self._refused_at_sight(order, market)
        order = replaced(order, instrument=market.instrument)
        parts = self._parts(order, market, sliced=sliced)
        verdict = self._approve(order, market, parts=parts)
        opening, asked = self.tested(order, market, parts)
        order = replaced(verdict.order, opening_raw=opening)
        reason = refused.reason if refused else verdict.reason if isinstance(verdict, Denied) else ""
        price, source = self._expected(order, market)
        entry = self._charges(order, order.quantity_raw, price, order.side, sliced=bool(parts))
        leaving = OrderSide.SELL if order.side is OrderSide.BUY else OrderSide.BUY
        book = self.ledger.books.get(order.book_key)
        closing = order.quantity_raw - opening
        needed = self._needed(order, opening, parts) if opening else (0, 0)
        margin, total = (0, 0) if isinstance(needed, Check) else needed
        return Examined(
            order=order,
            reason=reason,
            checks=(*([refused] if refused else []), *asked),
            opening_raw=opening,
            margin_raw=margin,
            needed_raw=total,
            free_raw=self.free_raw,
            price_raw=price,
            price_source=source,
            entry=entry,
            exit=self._charges(order, opening, price, leaving, sliced=True),
            break_even_raw=self._break_even(order, price, entry, leaving) if opening else None,
            orders=max(len(parts), 1),
            realized_raw=book.realizes(order.side, closing, price) if book and closing and price else 0,
        )

    def _refused_at_sight(self, order: Order, market: Market) -> Check | None:
        """What is refused before any limit is asked."""
        known = self.order(order.client_order_id)
        if known is not None:
            again = duplicate(known) if known.terms != order.terms else f"{known.client_order_id} was sent already"
            return Check("client_order_id", None, order.client_order_id, again)
        misfit = instrument_denied(order.instrument, market.instrument)
        return Check("instrument", None, order.symbol, misfit) if misfit else None

    def _expected(self, order: Order, market: Market) -> tuple[int, PriceSource]:
        """The price that it would fill at: now, or at its own trigger or limit where it would wait for that."""
        venue = self.venue or _NO_VENUE
        waits = order.trigger_raw is not None and not venue.triggers(order, market.quote)
        if order.trigger_raw is not None and waits:
            return order.trigger_raw, PriceSource.VENUE
        return venue.price(order, market.quote) or (order.limit_raw or 0, PriceSource.LIMIT)

    def _charges(
        self, order: Order, quantity_raw: int, price_raw: int, side: OrderSide, *, sliced: bool
    ) -> Charges | None:
        """Only schedules without side effects are asked; (0, ()) for nothing."""
        if not quantity_raw:
            return 0, ()
        if not price_raw or not isinstance(self.fees, FeeSchedule):
            return None
        parts = slices_of(order.instrument, quantity_raw) if sliced else [quantity_raw]
        try:
            return _sum([charge(self.fees, self._as_filled(order, part, price_raw, side)) for part in parts])
        except OrderError:
            return None

    def _as_filled(self, order: Order, quantity_raw: int, price_raw: int, side: OrderSide) -> Fill:
        return replaced(self._draft(order, quantity_raw, price_raw, PriceSource.VENUE, ""), side=side)

    def _break_even(self, order: Order, price_raw: int, entry: Charges | None, leaving: OrderSide) -> int | None:
        if entry is None:
            return None
        item, sign = order.instrument, order.side.sign

        def loses(ticks: int) -> bool:
            at = price_raw + sign * ticks * item.tick_raw
            if at <= 0:
                return False  # beyond all prices: the search ends, and finds none
            left = self._charges(order, order.opening_raw, at, leaving, sliced=True)
            gained = item.value_raw(sign * (at - price_raw), order.opening_raw)
            return left is None or gained < entry[0] + left[0]

        ticks = _first(lambda ticks: not loses(ticks))
        found = None if ticks is None else price_raw + sign * ticks * item.tick_raw
        return found if found and found > 0 else None


def _sum(charged: list[Charges]) -> Charges:
    total, by_name = 0, dict[str, int]()
    for fees, parts in charged:
        total += fees
        for name, raw in parts:
            by_name[name] = by_name.get(name, 0) + raw
    return total, tuple(by_name.items())


def _first(true: Callable[[int], bool]) -> int | None:
    """The smallest number for which it is true; it must be so for all above as well."""
    above = 1
    if true(0):
        return 0
    while not true(above):
        above *= 2
        if above > _FARTHEST:
            return None
    below = above // 2
    while above - below > 1:
        middle = (above + below) // 2
        above, below = (middle, below) if true(middle) else (above, middle)
    return above
