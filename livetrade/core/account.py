"""The account: an input goes in, events come out.

`handle` decides, `apply` (in `State`) only folds: every decision is emitted as an event that carries its figures and is
folded before the next decision is taken. One step is the quote, then due and resting fills of the simulated venue, then
exits, then requests and reports until none is left. This module sequences; quotes, limits, exits, the venue and the
ledger decide. It reads no clock: each input carries `ts`, and the shell asks `next_deadline()`.
"""

from collections import Counter, deque
from collections.abc import Callable
from decimal import Decimal
from heapq import heapify, heappop, heappush

from livetrade.core import events as ev
from livetrade.core.exits import entry_price, reached, trailed, trigger, watched
from livetrade.core.fees import DEFAULT_FEES, Fees, FeeSchedule, charge
from livetrade.core.ledger import Book, BookKey
from livetrade.core.limits import (
    Approved,
    Denied,
    Limits,
    Situation,
    approve,
    balance_denied,
    instrument_denied,
    reckoned_at,
)
from livetrade.core.numbers import EXACT, money, money_raw
from livetrade.core.orders import after
from livetrade.core.quotes import merge, touch
from livetrade.core.records import replaced
from livetrade.core.state import ENDED, SECOND_NS, Market, State, day_of
from livetrade.core.values import (
    Change,
    ExitKind,
    ExitStatus,
    ExitTerm,
    Fill,
    Instrument,
    Order,
    OrderSide,
    OrderStatus,
    OrderType,
    PriceSource,
    RiskOrder,
    Source,
    Tick,
    TimeInForce,
)
from livetrade.core.venue import Venue

MAX_RETRIES = 5
Margin = Callable[["Account", Order], Decimal]

_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FIRING_ORDER = (ExitKind.STOP_LOSS, ExitKind.TRAILING_STOP, ExitKind.TAKE_PROFIT)


def base36(value: int, width: int) -> str:
    digits = ""
    while value:
        value, digit = divmod(value, 36)
        digits = _BASE36[digit] + digits
    return digits.rjust(width, "0")


class Account(State):
    """One account. `venue` simulates the exchange; without one, requests are events that a broker answers by reports.

    limits: what opening orders may not exceed. fees: called once for each fill. margin: money that backs the opening
    part of an order; None means that it is paid in full. trigger_by: "quote" or "last", what exits and stops watch.
    """

    __slots__ = (
        "_deadline_ns",
        "_equity_due_ns",
        "_fees",
        "_margin",
        "_midnight_ns",
        "_out",
        "_reports",
        "_stale_before_ns",
        "_stale_reason",
        "_timers",
        "_to_venue",
        "_touched",
        "limits",
        "quarantined",
        "ticks",
        "trigger_by",
        "ts",
        "venue",
    )

    def __init__(
        self,
        *,
        venue: Venue | None = None,
        limits: Limits | None = None,
        fees: Fees = DEFAULT_FEES,
        margin: Margin | None = None,
        trigger_by: str = "quote",
    ) -> None:
        super().__init__()
        self.ts = 0
        self.venue = venue
        self.limits = limits or Limits()
        self.ticks = 0
        self.quarantined: Counter[str] = Counter()
        self._fees = fees
        self._margin = margin
        self.trigger_by = trigger_by
        self._out: list[ev.Event] = []
        self._reports: deque[ev.Report] = deque()
        self._to_venue: deque[str] = deque()
        self._touched: dict[str, Market] = {}
        self._timers: list[int] = []
        self._midnight_ns = 0
        self._deadline_ns = 0
        self._equity_due_ns = 0
        self._stale_before_ns = 0
        self._stale_reason = ""

    # ── the shell's side ─────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, ts: int, cash_raw: int, currency: str, timezone: str) -> list[ev.Event]:
        """The first input of a new account."""
        self._out = []
        self.ts = ts
        self._emit(ev.AccountOpened(ts, cash_raw, currency, timezone))
        self._roll_day(ts)
        return self._out

    def handle(self, message: ev.Input) -> list[ev.Event]:
        """Decides what follows from one input; its time may not lie before that of the one before."""
        out: list[ev.Event] = []
        self._out = out
        if type(message) is Tick:
            self._on_tick(message)
        else:
            self._advance(message.ts)  # type: ignore[union-attr]
            _HANDLERS[type(message)](self, message)
            self._settle()
        return out

    def next_deadline(self) -> int:
        """When `Wake` is due at the latest, in ns UTC: the day's end, a retry, a simulated request's arrival."""
        return self._deadline_ns

    def new_id(self, ts: int) -> str:
        """A client order id for the next order: 16 letters and digits, ordered by time. Each order makes the next id
        another; asked twice before an order, it is the same."""
        return base36(ts, 12) + base36(len(self.orders), 4)

    def _emit(self, event: ev.Event) -> None:
        self.apply(event)
        self._out.append(event)

    def _alarm(self, kind: str, message: str) -> None:
        self._emit(ev.Alarm(self.ts, kind, message))

    # ── ticks ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_tick(self, tick: Tick) -> None:
        ts = tick.received_ns
        if ts >= self._deadline_ns:
            self._advance(ts)
            self._settle()
        self.ts = ts
        market = self.markets.get(tick.instrument.symbol)
        if market is None or tick.instrument is not market.instrument:
            reason = self._misfit(tick, market)
            if reason:
                self.quarantined[reason] += 1
                return
            market = self._market(tick.instrument)
        quote = merge(market.quote, tick)
        if isinstance(quote, str):
            self.quarantined[quote] += 1
            return
        self.ticks += 1
        market.quote = quote
        bid, ask, last = quote.bid_raw, quote.ask_raw, quote.last_raw
        mark = 2 * last if last else bid + ask if bid and ask else 0
        if mark and mark != market.mark_raw:
            self.mark(market, mark)
        if market.alerts.active and market.alerts.crossed(bid, ask, last):
            self._react(market)
        if ts >= self._equity_due_ns and market.exposure_raw:
            self._equity_point()

    def _misfit(self, tick: Tick, market: Market | None) -> str | None:
        """Why a tick does not fit its symbol; a bad one may not fix the scales of a new symbol either."""
        if market is not None:
            return "scale" if instrument_denied(tick.instrument, market.instrument) else None
        first = merge(None, tick)
        return first if isinstance(first, str) else None

    def _react(self, market: Market) -> None:
        if self.venue is not None:
            self._to_venue.extend(market.working)
        self._touched[market.instrument.symbol] = market
        self._settle()

    def _market(self, instrument: Instrument) -> Market:
        """The symbol's market, added at its first sight."""
        market = self.markets.get(instrument.symbol)
        if market is None:
            self._emit(ev.InstrumentAdded(self.ts, instrument))
            market = self.markets[instrument.symbol]
        return market

    def _equity_point(self) -> None:
        self._equity_due_ns = self.ts + SECOND_NS
        ledger = self.ledger
        self._emit(
            ev.EquityPoint(
                self.ts,
                ledger.cash_raw,
                self.market_value_raw,
                ledger.realized_raw,
                self.unrealized_raw,
                ledger.fees_raw,
            )
        )

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _advance(self, ts: int) -> None:
        """Time moves to `ts`: the day may roll, retries and simulated requests may be due."""
        if ts >= self._midnight_ns:
            self._roll_day(ts)
        self.ts = ts
        if ts < self._deadline_ns:
            return
        while self._timers and self._timers[0] <= ts:
            heappop(self._timers)
        for bracket in self.brackets.values():
            for risk in bracket.values():
                if risk.status is ExitStatus.TRIGGERED:
                    self._touched[risk.symbol] = self.markets[risk.symbol]
        if self.venue is not None:
            self._to_venue.extend(self.open_orders)
        self._set_deadline()

    def _roll_day(self, ts: int) -> None:
        """The day of `ts` begins: at its first instant, or with the account."""
        day, first_ns, self._midnight_ns = day_of(ts, self.zone)
        if day != self.day:
            self.ts = first_ns if self.day else ts
            if self.venue is not None:
                for order in list(self.open_orders.values()):
                    self._reports.extend(self.venue.expire(order, self.ts))
                self._drain_reports()
            base = self.total_pnl_raw if self.is_flat() else None
            self._emit(ev.DayStarted(self.ts, day, self.total_pnl_raw, base))
            self._equity_due_ns = 0
        self._set_deadline()

    def _set_deadline(self) -> None:
        self._deadline_ns = min(self._midnight_ns, self._timers[0]) if self._timers else self._midnight_ns

    def _timer(self, ts: int) -> None:
        heappush(self._timers, ts)
        self._set_deadline()

    def resume_timers(self) -> None:
        """After folding a past: what was on its way is due again, and the next input looks at everything."""
        self._timers = [risk.retry_ns for bracket in self.brackets.values() for risk in bracket.values()]
        if self.venue is not None:
            sent = [ns for order in self.open_orders.values() for ns in (order.created_ns, order.requested_ns)]
            self._timers += [ns + self.venue.latency_ns for ns in sent]
        heapify(self._timers)
        self._touched.update(self.markets)
        self._midnight_ns = self._deadline_ns = 0

    def _on_wake(self, _: ev.Wake) -> None:
        """`_advance` did it."""

    # ── feed and quotes ──────────────────────────────────────────────────────────────────────────────────────────────

    def _on_feed(self, change: ev.FeedChanged) -> None:
        if (change.state, change.reason) != (self.feed.state, self.feed.reason):
            self._emit(change)

    def _on_age(self, message: ev.AgeQuotes) -> None:
        self._stale_before_ns = message.ts
        self._stale_reason = message.reason

    def _stale(self, quote: Tick | None) -> str | None:
        if quote is None:
            return None
        if quote.received_ns < self._stale_before_ns:
            return self._stale_reason
        limit = self.limits.max_tick_age_ns
        age = self.ts - quote.received_ns
        if limit is not None and age > limit:
            return f"{quote.symbol} is {age / 1e9:.1f} s old, max_tick_age is {limit / 1e9:g} s"
        return None

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_submit(self, command: ev.SubmitOrder) -> None:
        order = Order(
            client_order_id=command.client_order_id,
            instrument=command.instrument,
            side=command.side,
            order_type=command.order_type,
            quantity_raw=command.quantity_raw,
            limit_raw=command.limit_raw,
            trigger_raw=command.trigger_raw,
            time_in_force=command.time_in_force,
            product=command.product,
            strategy=command.strategy,
            tag=command.tag,
            source=command.source,
            exits=command.exits,
        )
        known = self.orders.get(order.client_order_id)
        if known is not None:
            if known.terms != order.terms:
                reason = f"Duplicate id: {order.client_order_id} was used for {known!r}"
                self._deny("order", reason, order.client_order_id)
            return
        market = self._market(order.instrument)
        misfit = instrument_denied(order.instrument, market.instrument)
        if misfit:
            self._deny("order", misfit, order.client_order_id)
        else:
            self._submit(replaced(order, instrument=market.instrument), market)

    def _submit(self, order: Order, market: Market) -> None:
        """Sends an order if the limits approve it, or records why not. The only way out for an order."""
        met = touch(market.quote, order.side)
        order = replaced(
            order,
            created_ns=self.ts,
            updated_ns=self.ts,
            requested_ns=self.ts,
            reference_raw=met[0] if met else 0,
        )
        verdict = self._approve(order, market)
        if isinstance(verdict, Denied):
            self._emit(ev.OrderDenied(self.ts, replaced(order, status=OrderStatus.DENIED, reason=verdict.reason)))
        else:
            self._send(verdict)

    def _send(self, approved: Approved) -> None:
        order = replaced(approved.order, status=OrderStatus.SUBMITTED, opening_raw=approved.opening_raw)
        self._emit(ev.Submit(self.ts, order))
        self._to_simulated(order)

    def _approve(self, order: Order, market: Market, instead_of: Order | None = None) -> Approved | Denied:
        """`instead_of` is the working order that this one would replace."""
        reason = self._through_market(order, market)
        if reason:
            return Denied(order, reason)
        verdict = approve(order, self.limits, self._situation(order, market, instead_of))
        if isinstance(verdict, Denied) or not verdict.opening_raw:
            return verdict
        order = replaced(order, opening_raw=verdict.opening_raw)
        margin = self._margin_of(order)
        if isinstance(margin, str):
            return Denied(order, margin)
        freed = instead_of.blocked_raw if instead_of else 0
        reason = balance_denied(margin + self._fees_estimate(order), self.ledger.free_raw - self.blocked_raw + freed)
        if reason:
            return Denied(order, reason)
        return Approved(replaced(order, margin_raw=margin), order.opening_raw)

    def _margin_of(self, order: Order) -> int | str:
        """Money that backs the opening part, or why it cannot be told."""
        if self._margin is None:
            return order.instrument.value_raw(reckoned_at(order, order.reference_raw), order.opening_raw)
        try:
            margin = money_raw(self._margin(self, order), "margin")
        except Exception as error:  # noqa: BLE001  a user's callable
            return f"Insufficient balance: the margin rule failed: {error!r}"
        return margin if margin >= 0 else f"Insufficient balance: the margin rule asked for {money(margin)}"

    def _situation(self, order: Order, market: Market, instead_of: Order | None) -> Situation:
        met = touch(market.quote, order.side)
        price = met[0] if met else 0
        same_side = sum(o.working_raw for o in market.working.values() if o.side is order.side and o is not instead_of)
        return Situation(
            halted=self.halted,
            feed=self.feed.state,
            feed_reason=self.feed.reason,
            stale=self._stale(market.quote),
            price_raw=reckoned_at(order, price),
            market_raw=price,
            closable_raw=self._closable(order, market, instead_of),
            position_raw=market.position_raw + order.side.sign * same_side,
            day_pnl_raw=self.day_pnl_raw,
            sent_last_second=sum(ns > self.ts - SECOND_NS for ns in self.sent_ns),
        )

    def _closable(self, order: Order, market: Market, instead_of: Order | None = None) -> int:
        """What an order's own book lets it close: the position less what already works to reduce it."""
        book = self.ledger.books.get(order.book_key)
        if book is None:
            return 0
        working = sum(
            other.working_raw
            for other in market.working.values()
            if other.side is order.side and other.book_key == order.book_key and other is not instead_of
        )
        return max(0, book.closes(order.side) - working)

    def _through_market(self, order: Order, market: Market) -> str | None:
        """An exit that would fire at once is refused before its entry is sent."""
        long = order.side is OrderSide.BUY
        price = entry_price(order, market.quote, self.trigger_by)
        for term in order.exits:
            if term.price_raw is not None and reached(term.kind, long, term.price_raw, price):
                item = order.instrument
                return f"{term.kind} {item.price(term.price_raw)} is already through the market at {item.price(price)}"
        return None

    def _fees_estimate(self, order: Order) -> int:
        """Only the built-in schedules are asked: another one is called once, for the fill."""
        price = reckoned_at(order, order.reference_raw)
        if not isinstance(self._fees, FeeSchedule) or not price:
            return 0
        return charge(self._fees, self._draft(order, order.opening_raw, price, PriceSource.VENUE, ""))[0]

    def _draft(self, order: Order, quantity_raw: int, price_raw: int, source: PriceSource, execution: str) -> Fill:
        return Fill(
            client_order_id=order.client_order_id,
            execution_id=execution,
            instrument=order.instrument,
            side=order.side,
            product=order.product,
            strategy=order.strategy,
            tag=order.tag,
            source=order.source,
            time_ns=self.ts,
            quantity_raw=quantity_raw,
            price_raw=price_raw,
            price_source=source,
            filled_before_raw=order.filled_raw,
            value_before_raw=order.filled_value_raw,
        )

    def _deny(self, command: str, reason: str, client_order_id: str | None = None) -> None:
        self._emit(ev.CommandDenied(self.ts, command, reason, client_order_id))

    def _open_order(self, command: str, client_order_id: str) -> Order | None:
        """The working order that a modify or cancel means; refuses the command when there is none."""
        order = self.orders.get(client_order_id)
        if order is None:
            self._deny(command, f"Unknown order: no order has the id {client_order_id}", client_order_id)
        elif order.is_final:
            self._deny(command, f"Nothing to {command}: {client_order_id} is {order.status}", client_order_id)
            return None
        return order

    def _on_modify(self, command: ev.ModifyOrder) -> None:
        order = self._open_order("modify", command.client_order_id)
        if order is None:
            return
        reason = _cannot_modify(order, command)
        market = self.markets[order.symbol]
        quantity = command.quantity_raw or order.quantity_raw
        wanted = replaced(
            order,
            quantity_raw=quantity - order.filled_raw,
            filled_raw=0,
            limit_raw=command.limit_raw or order.limit_raw,
            trigger_raw=command.trigger_raw or order.trigger_raw,
        )
        if reason is None:
            verdict = self._approve(wanted, market, instead_of=order)
            if isinstance(verdict, Approved):
                approved = verdict.order
                opening, margin = verdict.opening_raw, approved.margin_raw if verdict.opening_raw else 0
                change = Change(quantity, wanted.limit_raw, wanted.trigger_raw, opening, margin)
                self._emit(ev.Modify(self.ts, order.client_order_id, change))
                self._to_simulated(self.orders[order.client_order_id])
                return
            reason = verdict.reason
        self._deny("modify", reason, order.client_order_id)

    def _on_cancel(self, command: ev.CancelOrder) -> None:
        order = self._open_order("cancel", command.client_order_id)
        if order is not None:
            self._cancel(order)

    def _on_cancel_all(self, command: ev.CancelAll) -> None:
        for order in list(self.open_orders.values()):
            if command.symbol in (None, order.symbol) and command.strategy in (None, order.strategy):
                self._cancel(order)

    def _cancel(self, order: Order) -> None:
        if order.is_open and order.status is not OrderStatus.PENDING_CANCEL:
            self._emit(ev.Cancel(self.ts, order.client_order_id))
            self._to_simulated(self.orders[order.client_order_id])

    def _to_simulated(self, order: Order) -> None:
        """A request left for the simulated venue: it arrives now, or after its latency."""
        self._touched[order.symbol] = self.markets[order.symbol]
        if self.venue is None:
            return
        if self.venue.latency_ns:
            self._timer(self.ts + self.venue.latency_ns)
        self._to_venue.append(order.client_order_id)

    # ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _settle(self) -> None:
        """Requests and reports until none is left, then the alerts that the next tick is held against."""
        while True:
            if self._reports:
                self._drain_reports()
            elif self._to_venue:
                self._ask_venue(self._to_venue.popleft())
            elif not self._check_all_exits():
                break
        for market in self._touched.values():
            self._set_alerts(market)
        self._touched.clear()

    def _ask_venue(self, client_order_id: str) -> None:
        order = self.open_orders.get(client_order_id)
        if order is None or self.venue is None:
            return
        market = self.markets[order.symbol]
        reports = self.venue.advance(order, market.quote, self.ts)
        if reports:
            self._touched[order.symbol] = market
            self._reports.extend(reports)
            self._to_venue.append(client_order_id)  # until it says nothing more

    def _drain_reports(self) -> None:
        while self._reports:
            self._on_report(self._reports.popleft())

    def _on_report(self, report: ev.Report) -> None:
        order = self.orders.get(report.client_order_id)
        if order is None:
            self._alarm("foreign report", f"a report for {report.client_order_id}, which is no order of ours")
            return
        self._touched[order.symbol] = self.markets[order.symbol]
        if isinstance(report, ev.Executed):
            self._on_executed(order, report)
        elif after(order, report) is not None:
            self._emit(report)
        ended = self.orders[order.client_order_id]
        if order.is_open and ended.is_final and ended.risk_id is not None:
            self._exit_order_ended(ended)

    def _on_executed(self, order: Order, report: ev.Executed) -> None:
        """Books one execution, once."""
        if report.execution_id in order.executions:
            return
        if report.quantity_raw <= 0 or report.price_raw <= 0:
            self._alarm("odd execution", f"not booked, its quantity or price is not above zero: {report!r}")
            return
        market = self.markets[order.symbol]
        fill = self._draft(order, report.quantity_raw, report.price_raw, report.price_source, report.execution_id)
        book = self.ledger.book(order.strategy, order.instrument, order.product)
        held_before = book.quantity_raw
        fees, charges = self._charged(fill)
        low, high = book.saw(market.low_raw, market.high_raw)
        fill = replaced(
            fill,
            fees_raw=fees,
            charges=charges,
            realized_raw=book.realizes(fill.side, fill.quantity_raw, fill.price_raw),
            low_raw=low,
            high_raw=high,
        )
        self._emit(ev.Filled(self.ts, fill))
        self._equity_point()
        if report.quantity_raw > order.working_raw:
            self._alarm("overfilled", f"{order.client_order_id} filled more than its quantity of {order.quantity}")
        flipped = held_before * book.quantity_raw < 0
        if not book.quantity_raw or flipped:
            self._end_bracket(book)
        opens = book.quantity_raw * fill.side.sign > 0
        if opens and (not held_before or flipped or not order.filled_raw):
            self._arm_all(order, book, fill, market)

    def _charged(self, fill: Fill) -> tuple[int, tuple[tuple[str, int], ...]]:
        """A fill has happened whatever the fee schedule says: one that fails charges nothing and raises an alarm."""
        try:
            return charge(self._fees, fill)
        except Exception as error:  # noqa: BLE001  a user's callable
            self._alarm("fees", f"the fee schedule failed for {fill.execution_id}, nothing was charged: {error!r}")
            return 0, ()

    # ── exits ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _arm_all(self, order: Order, book: Book, fill: Fill, market: Market) -> None:
        """A new order's exits replace the old ones, except one that has fired: that stays responsible until flat."""
        if self._has_fired(book):
            return
        entry = Decimal(fill.price_raw)
        for term in order.exits:
            self._arm(term, book, entry, market, order.tag)

    def _has_fired(self, book: Book) -> bool:
        return any(risk.status is ExitStatus.TRIGGERED for risk in self.brackets.get(book.key, {}).values())

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
            order = self.orders.get(risk.order_id or "")
            status = ExitStatus.FILLED if order is not None and order.filled_raw else ExitStatus.CANCELED
            self._emit(ev.ExitEnded(self.ts, risk.risk_id, status))

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

    def _cancel_reducing(self, market: Market, book: Book) -> None:
        side = OrderSide.SELL if book.quantity_raw > 0 else OrderSide.BUY
        for order in list(market.working.values()):
            if order.side is side and order.book_key == book.key and order.order_type is not OrderType.MARKET:
                self._cancel(order)

    def _pursue(self, risk: RiskOrder, market: Market, book: Book) -> None:
        """A fired exit stays responsible until flat: what no order works to close is sent (again)."""
        if self.ts < risk.retry_ns:
            return
        order = self._closing_order(book, Source(risk.kind.value), risk.tag, risk.risk_id)
        self._submit_part(order, self._closable(order, market), market)

    def _submit_part(self, order: Order, quantity_raw: int, market: Market) -> None:
        if quantity_raw:
            self._submit(replaced(order, client_order_id=self.new_id(self.ts), quantity_raw=quantity_raw), market)

    def _closing_order(self, book: Book, source: Source, tag: str = "", risk_id: str | None = None) -> Order:
        return Order(
            client_order_id="",
            instrument=book.instrument,
            side=OrderSide.SELL if book.quantity_raw > 0 else OrderSide.BUY,
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
        )

    def _exit_order_ended(self, order: Order) -> None:
        """An exit's order is over; with something left it is tried again, five times, a second apart."""
        risk = self.risks[order.risk_id or ""]
        if order.status is OrderStatus.FILLED or risk.status in ENDED:
            return
        what = f"{risk.kind} of {order.symbol}: its order {order.client_order_id} ended {order.status}"
        if risk.attempts >= MAX_RETRIES:
            self._emit(ev.ExitEnded(self.ts, risk.risk_id, ExitStatus.FAILED))
            self._alarm("exit failed", f"{what}; gave up, the position is not protected. {order.reason}")
            return
        retry_ns = self.ts + SECOND_NS
        self._emit(ev.ExitRetry(self.ts, risk.risk_id, risk.attempts + 1, retry_ns))
        self._timer(retry_ns)
        self._alarm("exit order ended", f"{what}; the rest is sent again in a second. {order.reason}")

    def _on_set_exit(self, command: ev.SetExit) -> None:
        market = self.markets.get(command.symbol)
        books = [b for b in market.books if b.quantity_raw and b.strategy == command.strategy] if market else []
        if market is None or not books:
            self._deny("set_exit", f"No position to protect: {command.strategy} holds no {command.symbol}")
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

    def _entry(self, book: Book) -> Decimal:
        """The book's average price in raw steps, for percentages."""
        return EXACT.divide(Decimal(abs(book.cost_raw)), Decimal(abs(book.quantity_raw) * book.instrument.unit))

    # ── closing, halting, money ──────────────────────────────────────────────────────────────────────────────────────

    def _on_close(self, command: ev.ClosePosition) -> None:
        """Closes every book of a symbol, working orders canceled first, or a quantity of its position."""
        markets = [market for symbol, market in self.markets.items() if command.symbol in (None, symbol)]
        if command.quantity_raw is not None:
            wanted = self._parts_to_close(markets, command.quantity_raw)
        else:
            wanted = self._all_to_close(markets)
        if not wanted and command.symbol is not None:
            self._deny("close_position", f"No position to sell: {command.symbol} is flat")
        self._settle()
        for key, quantity_raw in wanted.items():
            self._close(key, quantity_raw)

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

    def _close(self, key: BookKey, quantity_raw: int) -> None:
        """Sends what can be closed of a book now; the rest waits while orders in its way are being canceled."""
        strategy, symbol, product = key
        market = self.markets[symbol]
        book = self.ledger.books.get(key) or Book(strategy, market.instrument, product)
        order = self._closing_order(book, Source.FLATTEN, book.tag)
        now = min(self._closable(order, market), quantity_raw)
        left = quantity_raw - now if self._awaits_answer(market, key) else 0
        if left != self.closing.get(key, 0):
            self._emit(ev.ClosePending(self.ts, strategy, symbol, product, left))
        self._submit_part(order, now, market)

    def _awaits_answer(self, market: Market, key: BookKey) -> bool:
        awaited = (OrderStatus.PENDING_CANCEL, OrderStatus.UNKNOWN)
        return any(order.book_key == key and order.status in awaited for order in market.working.values())

    def _on_halt(self, command: ev.Halt) -> None:
        """Opening orders are refused and working ones canceled; what reduces works on, and exits stay armed."""
        if self.halted is None or command.reason:
            self._emit(ev.Halted(self.ts, command.reason))
        for order in list(self.open_orders.values()):
            if order.opening_raw:
                self._cancel(order)

    def _on_resume(self, _: ev.Resume) -> None:
        if self.halted is not None:
            self._emit(ev.Resumed(self.ts))

    def _on_transfer(self, command: ev.Transfer) -> None:
        free = self.ledger.free_raw - self.blocked_raw
        if command.amount_raw < 0 and -command.amount_raw > free:
            self._deny("transfer", balance_denied(-command.amount_raw, free) or "")
        else:
            self._emit(ev.CashMoved(self.ts, command.amount_raw))

    # ── alerts ───────────────────────────────────────────────────────────────────────────────────────────────────────

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


def _cannot_modify(order: Order, command: ev.ModifyOrder) -> str | None:
    """Why an open order cannot take these terms, or None."""
    name = order.client_order_id
    if order.status in (OrderStatus.PENDING_UPDATE, OrderStatus.PENDING_CANCEL, OrderStatus.UNKNOWN):
        return f"Nothing to modify: a change of {name} is on its way ({order.status})"
    if order.is_protective:
        return f"Nothing to modify: {name} closes a position"
    if command.limit_raw and order.limit_raw is None:
        return f"Nothing to modify: {name} is a {order.order_type} order and has no limit price"
    if command.trigger_raw and (order.trigger_raw is None or order.triggered):
        return f"Nothing to modify: {name} has no trigger price that is still waiting"
    if command.quantity_raw is not None and command.quantity_raw <= order.filled_raw:
        return f"Nothing to modify: {name} has already filled {order.filled_qty}"
    return None


_HANDLERS: dict[type, Callable[..., None]] = {
    ev.SubmitOrder: Account._on_submit,
    ev.ModifyOrder: Account._on_modify,
    ev.CancelOrder: Account._on_cancel,
    ev.CancelAll: Account._on_cancel_all,
    ev.SetExit: Account._on_set_exit,
    ev.ClosePosition: Account._on_close,
    ev.Halt: Account._on_halt,
    ev.Resume: Account._on_resume,
    ev.Transfer: Account._on_transfer,
    ev.Wake: Account._on_wake,
    ev.AgeQuotes: Account._on_age,
    ev.FeedChanged: Account._on_feed,
    ev.Accepted: Account._on_report,
    ev.Rejected: Account._on_report,
    ev.Canceled: Account._on_report,
    ev.Expired: Account._on_report,
    ev.Modified: Account._on_report,
    ev.RequestRejected: Account._on_report,
    ev.Triggered: Account._on_report,
    ev.Unknown: Account._on_report,
    ev.Executed: Account._on_report,
}
