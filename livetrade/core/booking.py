"""What was executed becomes a fill with all its figures; what expired or was closed elsewhere is settled at a price
that a person tells."""

from typing import Any

from livetrade.core import events as ev
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import InstrumentKind, OrderSide, OrderStatus, OrderType, PriceSource, Source, TimeInForce
from livetrade.core.ledger import Book
from livetrade.core.protecting import Protecting
from livetrade.core.quotes import touched_at
from livetrade.core.records import replaced
from livetrade.core.schedules import charge
from livetrade.core.state import SECOND_NS, Market
from livetrade.core.values import Fill, Order


class Booking(Protecting):
    """Books fills, each once."""

    __slots__ = ("equity_due_ns",)

    def __init__(self, **rules: Any) -> None:
        super().__init__(**rules)
        self.equity_due_ns = 0

    def _on_executed(self, order: Order, report: ev.Executed) -> None:
        """What a venue says was executed counts once, and only where it can be."""
        if report.execution_id in order.executions:
            return
        if report.quantity_raw <= 0 or report.price_raw <= 0:
            self._alarm("odd execution", f"not booked, its quantity or price is not above zero: {report!r}")
            return
        self._book(order, report)
        if report.quantity_raw > order.working_raw:
            self._alarm("overfilled", f"{order.client_order_id} filled more than its quantity of {order.quantity}")

    def _book(self, order: Order, report: ev.Executed, *, traded: bool = True) -> None:
        market = self.markets[order.symbol]
        book = self.ledger.book(order.strategy, order.instrument, order.product)
        held_before = book.quantity_raw
        reference, spread = _quoted(order, market) if traded else (0, 0)
        low, high = book.saw(market.low_raw, market.high_raw)
        fill = self._draft(
            order,
            report.quantity_raw,
            report.price_raw,
            report.price_source,
            report.execution_id,
            realized_raw=book.realizes(order.side, report.quantity_raw, report.price_raw),
            low_raw=low,
            high_raw=high,
            reference_raw=reference,
            spread_raw=spread,
        )
        fees, charges = self._charged(fill) if traded else (0, ())
        if fees or charges:
            fill = replaced(fill, fees_raw=fees, charges=charges)
        self._emit(ev.Filled(self.ts, fill))
        self._equity_point()
        flipped = held_before * book.quantity_raw < 0
        if not book.quantity_raw or flipped:
            self._end_bracket(book)
        opens = book.quantity_raw * fill.side.sign > 0
        if opens and (not held_before or flipped or not self._has_filled_before(order)):
            self._arm_all(order, book, fill, market)

    def _has_filled_before(self, order: Order) -> bool:
        """`order` as it was before its fill; slices of one order arm its exits once."""
        siblings = self.slices.get(order.parent_id, [])
        return bool(order.filled_raw) or any(
            self.orders[key].filled_raw for key in siblings if key != order.client_order_id
        )

    def _charged(self, fill: Fill) -> tuple[int, tuple[tuple[str, int], ...]]:
        """A fill has happened whatever the fee schedule says: one that fails charges nothing and raises an alarm."""
        try:
            return charge(self.fees, fill)
        except Exception as error:  # noqa: BLE001  a user's callable
            self._alarm("fees", f"the fee schedule failed for {fill.execution_id}, nothing was charged: {error!r}")
            return 0, ()

    def equity_point(self) -> list[ev.Event]:
        """What `handle` gives for a tick of a held symbol that changes nothing else, once `equity_due_ns` is reached;
        its quote and its mark are set."""
        self._out = []
        self._equity_point()
        return self._out

    def _equity_point(self) -> None:
        self.equity_due_ns = self.ts + SECOND_NS
        ledger, value = self.ledger, self.market_value_raw
        realized, fees = ledger.realized_raw, ledger.fees_raw
        self._emit(ev.EquityPoint(self.ts, ledger.cash_raw, value, realized, value - ledger.cost_raw, fees))

    # ── what no order closes ─────────────────────────────────────────────────────────────────────────────────────────

    def _not_settled(self, command: ev.Settle, market: Market | None) -> str:
        """Why nothing of a symbol is to be settled, or nothing."""
        expired = not_expired(command.symbol, market, self.day)
        if not expired or market is None or not self._gone_parts(market):
            return expired
        return "" if command.price_raw else f"{command.symbol} was not closed elsewhere at a price of 0"

    def _close_settled(self, market: Market, price_raw: int) -> None:
        """Closes every book of what has expired, else what was closed elsewhere. No fee schedule is asked: what was
        charged there is not what an order from here is charged."""
        if not not_expired(market.instrument.symbol, market, self.day):
            for book in market.books:
                if book.quantity_raw:
                    self._close_book(book, abs(book.quantity_raw), price_raw)
            return
        for book, part_raw in self._gone_parts(market):
            self._closed_here_too(book, part_raw, OrderSide.SELL if book.quantity_raw > 0 else OrderSide.BUY)
            self._close_book(book, part_raw, price_raw)

    def _close_book(self, book: Book, quantity_raw: int, price_raw: int) -> None:
        order = replaced(
            self._closing_order(book, self.markets[book.symbol], Source.EXTERNAL, book.tag),
            client_order_id=self.new_id(self.ts),
            quantity_raw=quantity_raw,
            status=OrderStatus.ACCEPTED,
            reference_raw=0,
        )
        self._emit(ev.Settling(self.ts, order))
        key = order.client_order_id
        fill = ev.Executed(self.ts, key, f"{key}-1", order.quantity_raw, price_raw, PriceSource.VENUE)
        self._book(order, fill, traded=False)
        if book.key in self.closing:
            self._emit(ev.ClosePending(self.ts, *book.key, 0))

    def _name_expired(self) -> None:
        """At a day's begin: what is held past its expiry trades no more, and nobody but a person knows its price."""
        for symbol, market in self.markets.items():
            item, held = market.instrument, market.position_raw
            if any(book.quantity_raw for book in market.books) and item.expired(self.day):
                self._alarm(
                    "expired",
                    f"{symbol} expired on {item.expiry:%Y-%m-%d} and {item.quantity(held)} is still held: "
                    f"engine.settle({symbol!r}, price) closes it at the exchange's price",
                )


def _quoted(order: Order, market: Market) -> tuple[int, int]:
    """What a fill is held against: the price on its order's side, of now where the order had to wait, and how wide the
    quote is now; 0 where it is unknown."""
    quote = market.quote
    waits = order.order_type is not OrderType.MARKET and order.time_in_force is not TimeInForce.IOC
    reference = touched_at(quote, order.side) if waits else order.reference_raw
    spread = quote.ask_raw - quote.bid_raw if quote is not None and quote.bid_raw and quote.ask_raw else 0
    return reference, spread


def not_expired(symbol: str, market: Market | None, day: str) -> str:
    """Why a symbol is not to be settled at its expiry on a day, or nothing."""
    if market is None:
        return f"nothing was ever held of {symbol}"
    item: Instrument = market.instrument
    if item.kind not in (InstrumentKind.FUTURE, InstrumentKind.OPTION):
        return f"{symbol} is of kind {item.kind}; only futures and options expire"
    if item.expiry is not None and f"{item.expiry:%Y-%m-%d}" > day:
        return f"{symbol} expires on {item.expiry:%Y-%m-%d}, and today is {day}"
    return "" if any(book.quantity_raw for book in market.books) else f"{symbol} is flat"
