"""Exits and closings: armed with a position, checked when its prices are touched, pursued until it is flat.

What fires, what closes and what is tried again becomes an order of `Ordering`, as a user's does.
"""

from collections.abc import Iterator
from decimal import Decimal
from itertools import takewhile

from livetrade.core import events as ev
from livetrade.core.examining import Examining
from livetrade.core.exits import reached, trailed, trigger, watched
from livetrade.core.kinds import ExitKind, ExitStatus, OrderSide, OrderStatus, OrderType, Product, Source, TimeInForce
from livetrade.core.ledger import Book, BookKey
from livetrade.core.limits import settle_it
from livetrade.core.numbers import EXACT
from livetrade.core.ordering import base36
from livetrade.core.quotes import touched_at
from livetrade.core.records import replaced
from livetrade.core.slices import slices_of
from livetrade.core.state import ENDED, SECOND_NS, Market
from livetrade.core.values import ExitTerm, Fill, Order, RiskOrder

MAX_RETRIES = 5

_FIRING_ORDER = (ExitKind.STOP_LOSS, ExitKind.TRAILING_STOP, ExitKind.TAKE_PROFIT)


class Protecting(Examining):
    """Keeps each book's exits, and closes what they or the user want closed."""

    __slots__ = ()

    # ── arming ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_set_exit(self, command: ev.SetExit) -> None:
        market = self.markets.get(command.symbol)
        books = [b for b in market.books if b.quantity_raw and b.strategy == command.strategy] if market else []
        if market is None or not books:
            doubt = self.doubt(command.symbol)
            self._deny("set_exit", f"No position to protect: {command.strategy} holds no {command.symbol}{doubt}")
            return
        for book in books:
            if self._has_fired(book):
                self._deny("set_exit", f"An exit of {book.symbol} has fired and is closing the position")
            elif command.disarms:
                risk = self.brackets.get(book.key, {}).get(command.term.kind)
                if risk is not None:
                    self._emit(ev.ExitEnded(self.ts, risk.risk_id, ExitStatus.CANCELED))
                    self._touched[book.symbol] = market
            else:
                self._arm(command.term, book, self._entry(book), market, book.tag)

    def _arm_all(self, order: Order, book: Book, fill: Fill, market: Market) -> None:
        """A new order's exits replace the old ones, except one that has fired: that stays responsible until flat."""
        if self._has_fired(book):
            return
        entry = Decimal(fill.price_raw)
        for term in order.exits:
            self._arm(term, book, entry, market, order.tag)

    def _has_fired(self, book: Book) -> bool:
        return any(risk.status is ExitStatus.TRIGGERED for risk in self.brackets.get(book.key, {}).values())

    def _entry(self, book: Book) -> Decimal:
        """The book's average price in raw steps, for percentages."""
        return EXACT.divide(Decimal(abs(book.cost_raw)), Decimal(abs(book.quantity_raw) * book.instrument.unit))

    def _arm(self, term: ExitTerm, book: Book, entry_raw: Decimal, market: Market, tag: str) -> None:
        long = book.quantity_raw > 0
        best = 0
        if term.kind is ExitKind.TRAILING_STOP:
            best = watched(market.quote, long, self.trigger_by) or int(entry_raw)
        replacing = self.brackets.get(book.key, {}).get(term.kind)
        if replacing is not None:
            self._emit(ev.ExitEnded(self.ts, replacing.risk_id, ExitStatus.CANCELED))
        risk = RiskOrder(
            risk_id="R" + base36(self.ts, 12) + base36(len(self.risks), 4),
            kind=term.kind,
            instrument=book.instrument,
            strategy=book.strategy,
            product=book.product,
            tag=tag,
            long=long,
            trigger_raw=trigger(term, book.instrument, long, entry_raw, best),
            armed_ns=self.ts,
            pct=term.pct,
            amount_raw=term.amount_raw,
            best_raw=best,
        )
        self._emit(ev.ExitArmed(self.ts, risk))
        self._touched[book.symbol] = market

    def _end_bracket(self, book: Book) -> None:
        """The position has ended, and its exits with it."""
        for risk in list(self.brackets.get(book.key, {}).values()):
            self._emit(ev.ExitEnded(self.ts, risk.risk_id, self._end_of(risk)))

    def _end_of(self, risk: RiskOrder) -> ExitStatus:
        """FILLED where any of its orders has filled: it may have sent slices, and what was left of them again."""
        closed = risk.fired_ns and any(o.risk_id == risk.risk_id and o.filled_raw for o in self._since(risk.fired_ns))
        return ExitStatus.FILLED if closed else ExitStatus.CANCELED

    def _since(self, ts: int) -> Iterator[Order]:
        """The orders from a time on, the newest first: an account may have had very many before."""
        return takewhile(lambda order: order.created_ns >= ts, reversed(self.orders.values()))

    # ── checking and firing ──────────────────────────────────────────────────────────────────────────────────────────

    def _check_all_exits(self) -> bool:
        """Checks the exits of the symbols that this step touched, and what waits there to be closed. True when that led
        to something."""
        before = len(self._out)
        for market in list(self._touched.values()):
            for book in market.books:
                bracket = self.brackets.get(book.key)
                if bracket:
                    self._check_bracket(market, book, bracket)
        for key, quantity_raw in list(self.closing.items()):
            if key[1] in self._touched:
                self._close(key, quantity_raw)
        return len(self._out) > before

    def _check_bracket(self, market: Market, book: Book, bracket: dict[ExitKind, RiskOrder]) -> None:
        if self._is_gone(market, book):
            self._end_what_is_gone(market, book, bracket)
            return
        fired = [risk for risk in bracket.values() if risk.status is ExitStatus.TRIGGERED]
        if fired:
            self._pursue(fired[0], market, book)
            return
        price = watched(market.quote, book.quantity_raw > 0, self.trigger_by)
        for kind in _FIRING_ORDER:
            risk = bracket.get(kind)
            if risk is None:
                continue
            moved = trailed(risk, price)
            if moved is not None:
                self._emit(ev.TrailMoved(self.ts, risk.risk_id, *moved))
                risk = self.risks[risk.risk_id]
            if reached(kind, risk.long, risk.trigger_raw, price):
                self._fire(risk, market, book, price)
                return

    def _fire(self, risk: RiskOrder, market: Market, book: Book, price_raw: int) -> None:
        """One exit fires: the others of its bracket and the orders resting in its way are canceled first."""
        self._emit(ev.ExitFired(self.ts, risk.risk_id, price_raw, abs(book.quantity_raw)))
        for other in list(self.brackets[book.key].values()):
            if other.status is ExitStatus.ARMED:
                self._emit(ev.ExitEnded(self.ts, other.risk_id, ExitStatus.CANCELED))
        self._cancel_reducing(market, book)

    def _pursue(self, risk: RiskOrder, market: Market, book: Book) -> None:
        """A fired exit stays responsible until flat: what no order works to close is sent (again)."""
        if self.ts < risk.retry_ns or any(
            order.risk_id == risk.risk_id and order.ending is not None for order in market.working.values()
        ):
            return
        self._cancel_reducing(market, book)
        order = self._closing_order(book, market, Source(risk.kind.value), risk.tag, risk.risk_id)
        self._submit_part(order, self._closable(order, market), market)

    def _exit_order_ended(self, order: Order, *, was_sent: bool) -> None:
        """An exit's order is over; with something left it is tried again."""
        risk = self.risks[order.risk_id or ""]
        if order.status is not OrderStatus.FILLED and risk.status not in ENDED:
            what = f"its order {order.client_order_id} ended {order.status}"
            # the slices of one try count once, and a try that filled something got closer
            counted = was_sent and not order.filled_raw and risk.retry_ns <= self.ts
            self._try_again(risk, "exit order ended", what, order.reason, counted=counted)

    def _cancel_refused(self, order: Order) -> None:
        """An order that stands in a fired exit's way could not be canceled: that is tried again, as the exit itself."""
        for risk in list(self.brackets.get(order.book_key, {}).values()):
            if risk.status is ExitStatus.TRIGGERED and (order.side is OrderSide.SELL) is risk.long:
                what = f"{order.client_order_id}, which is in its way, was not canceled"
                self._try_again(risk, "exit held up", what, order.reason)

    def _try_again(self, risk: RiskOrder, kind: str, what: str, reason: str, *, counted: bool = True) -> None:
        """A second apart, and five times where that leads nowhere."""
        told = f"{risk.kind} of {risk.symbol}: {what}"
        if counted and risk.attempts >= MAX_RETRIES:
            self._emit(ev.ExitEnded(self.ts, risk.risk_id, ExitStatus.FAILED))
            self._alarm("exit failed", f"{told}; gave up, the position is not protected. {reason}")
            return
        self._retry_in(SECOND_NS, risk, risk.attempts + counted)
        self._alarm(kind, f"{told}; the rest is sent again in a second. {reason}")

    def _retry_in(self, wait_ns: int, risk: RiskOrder, attempts: int) -> None:
        retry_ns = self.ts + wait_ns
        self._emit(ev.ExitRetry(self.ts, risk.risk_id, attempts, retry_ns))
        self._timer(retry_ns)

    def _keep_waiting(self, by_ns: int) -> None:
        """The clock went ahead by this much at once: a retry waits for as long as it had left, or for its whole second
        when it was decided in between, as the day rolled."""
        before = self.ts - by_ns
        waiting = [risk for bracket in self.brackets.values() for risk in bracket.values() if risk.retry_ns > before]
        for risk in waiting:
            self._retry_in(min(risk.retry_ns - before, SECOND_NS), risk, risk.attempts)

    def _set_alerts(self, market: Market) -> None:
        alerts = market.alerts
        alerts.clear()
        for book in market.books:
            for risk in self.brackets.get(book.key, {}).values():
                if risk.status is ExitStatus.ARMED:
                    alerts.watch_risk(risk, self.trigger_by)
        if self.venue is not None:
            for order in market.working.values():
                if order.venue_order_id:
                    alerts.watch_order(order, self.trigger_by)

    # ── what the broker itself holds ─────────────────────────────────────────────────────────────────────────────────

    def _compare_with_broker(self, market: Market, product: Product, quantity_raw: int) -> None:
        """The broker's own book holds less than ours after a sale made elsewhere: no exit closes more than that."""
        symbol, item = market.instrument.symbol, market.instrument
        ours = sum(book.quantity_raw for book in market.books if book.product is product)
        before, now = self._elsewhere.pop((symbol, product), 0), quantity_raw - ours
        if now:
            self._elsewhere[symbol, product] = now
        side = OrderSide.SELL if ours > 0 else OrderSide.BUY
        if now == before:
            return
        self._touched[symbol] = market
        if ours and now * side.sign > 0:
            left = item.quantity(self._left_at_broker(market, product, side))
            self._alarm(
                "position elsewhere",
                f"{symbol} {product}: the broker holds {item.quantity(quantity_raw)}, the books {item.quantity(ours)}: "
                f"something was closed elsewhere, and exits close no more than {left}; {settle_it(symbol)}",
            )

    def _closed_here_too(self, book: Book, part_raw: int, side: OrderSide) -> None:
        """What was closed elsewhere is no longer in the books either."""
        key = (book.symbol, book.product)
        now = self._elsewhere.pop(key) - side.sign * part_raw
        if now:
            self._elsewhere[key] = now

    def _is_gone(self, market: Market, book: Book) -> bool:
        """Whether nothing of a book is left at the broker, and nothing is on its way that could be why."""
        side = OrderSide.SELL if book.quantity_raw > 0 else OrderSide.BUY
        if not self._gone(book.symbol, book.product, side) or self._left_at_broker(market, book.product, side):
            return False
        return not any(order.book_key == book.key and order.side is side for order in market.working.values())

    def _end_what_is_gone(self, market: Market, book: Book, bracket: dict[ExitKind, RiskOrder]) -> None:
        for risk in list(bracket.values()):
            self._emit(ev.ExitEnded(self.ts, risk.risk_id, self._end_of(risk)))
            what = "closed" if self._end_of(risk) is ExitStatus.FILLED else "canceled"
            told = f"{risk.kind} of {risk.symbol} at {risk.trigger_price}"
            self._alarm(f"exit {what}", f"{told}: the broker holds nothing that it could close (any more)")
        self._touched[book.symbol] = market

    # ── closing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _all_to_close(self, markets: list[Market]) -> dict[BookKey, int]:
        """All that is held, and what may still be bought before the canceling of its order arrives."""
        wanted = {book.key: abs(book.quantity_raw) for market in markets for book in market.books if book.quantity_raw}
        for market in markets:
            for order in list(market.working.values()):
                wanted[order.book_key] = wanted.get(order.book_key, 0) + order.working_raw
                if order.opening_raw or order.order_type is not OrderType.MARKET:
                    self._cancel(order)
        return wanted

    def _parts_to_close(self, markets: list[Market], left_raw: int) -> dict[BookKey, int]:
        """A quantity of the symbol's position, from one book after the other."""
        wanted = {}
        for market in markets:
            long = market.position_raw > 0
            for book in market.books:
                part = min(left_raw, abs(book.quantity_raw)) if (book.quantity_raw > 0) is long else 0
                if part:
                    wanted[book.key] = part
                    left_raw -= part
                    self._cancel_reducing(market, book)
        return wanted

    def _cancel_reducing(self, market: Market, book: Book) -> None:
        side = OrderSide.SELL if book.quantity_raw > 0 else OrderSide.BUY
        for order in list(market.working.values()):
            if order.side is side and order.book_key == book.key and order.order_type is not OrderType.MARKET:
                self._cancel(order)

    def _close(self, key: BookKey, quantity_raw: int) -> None:
        """Sends what can be closed of a book now; the rest waits while orders in its way are being canceled."""
        strategy, symbol, product = key
        market = self.markets[symbol]
        book = self.ledger.books.get(key) or Book(strategy, market.instrument, product)
        order = self._closing_order(book, market, Source.FLATTEN, book.tag)
        now = min(self._closable(order, market), quantity_raw)
        left = quantity_raw - now if self.is_asked or self._awaits_answer(market, key) else 0
        if left != self.closing.get(key, 0):
            self._emit(ev.ClosePending(self.ts, strategy, symbol, product, left))
        self._submit_part(order, now, market)

    def _closing_order(self, book: Book, market: Market, source: Source, tag: str, risk_id: str | None = None) -> Order:
        side = OrderSide.SELL if book.quantity_raw > 0 else OrderSide.BUY
        return Order(
            client_order_id="",
            instrument=book.instrument,
            side=side,
            order_type=OrderType.MARKET,
            quantity_raw=abs(book.quantity_raw),
            limit_raw=None,
            trigger_raw=None,
            time_in_force=TimeInForce.DAY,
            product=book.product,
            strategy=book.strategy,
            tag=tag,
            source=source,
            risk_id=risk_id,
            created_ns=self.ts,
            updated_ns=self.ts,
            requested_ns=self.ts,
            reference_raw=touched_at(market.quote, side),
        )

    def _submit_part(self, order: Order, quantity_raw: int, market: Market) -> None:
        """Above the freeze quantity in as many orders as it takes: what closes is never held back by its size."""
        for part in slices_of(order.instrument, quantity_raw) if quantity_raw else ():
            self._submit(replaced(order, client_order_id=self.new_id(self.ts), quantity_raw=part), market)

    def _awaits_answer(self, market: Market, key: BookKey) -> bool:
        awaited = (OrderStatus.PENDING_CANCEL, OrderStatus.UNKNOWN)
        return any(order.book_key == key and order.status in awaited for order in market.working.values())
