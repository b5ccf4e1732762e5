"""The account: an input goes in, events come out.

`handle` decides, `apply` (in `State`) only folds: every decision is emitted as an event that carries its figures and is
folded before the next decision is taken. One step is the quote, then due and resting fills of the simulated venue, then
exits, then requests and reports until none is left. This module sequences; quotes, limits, exits, the venue and the
ledger decide. It reads no clock: each input carries `ts`, and the shell asks `next_deadline()`.

It is built in floors, each of which needs only those before it: `State` folds, `Approving` judges an order, `Ordering`
sends it, `Examining` tells what one would do, `Protecting` keeps exits and closes, `Booking` books what was
executed or settled, `Account` takes inputs and settles what follows.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from heapq import heapify, heappop

from livetrade.core import events as ev
from livetrade.core.booking import Booking
from livetrade.core.fees import DEFAULT_FEES, described
from livetrade.core.kinds import ExitStatus
from livetrade.core.ledger import BookKey
from livetrade.core.limits import Limits, balance_denied, instrument_denied
from livetrade.core.orders import after
from livetrade.core.quotes import merge
from livetrade.core.schedules import Fees
from livetrade.core.state import Market, day_of
from livetrade.core.ticks import Tick
from livetrade.core.values import Order
from livetrade.core.venue import Venue

Margin = Callable[["Account", Order], Decimal]


class Account(Booking):
    """One account. `venue` simulates the exchange; without one, requests are events that a broker answers by reports.

    limits: what opening orders may not exceed. fees: called once for each fill. margin: money that backs the opening
    part of an order; None means that it is paid in full. trigger_by: "quote" or "last", what exits and stops watch.
    """

    __slots__ = ("_reports", "quarantined", "ticks")

    def __init__(
        self,
        *,
        venue: Venue | None = None,
        limits: Limits | None = None,
        fees: Fees = DEFAULT_FEES,
        margin: Margin | None = None,
        trigger_by: str = "quote",
    ) -> None:
        super().__init__(venue=venue, limits=limits, fees=fees, margin=margin, trigger_by=trigger_by)
        self.ticks = 0
        self.quarantined: Counter[str] = Counter()
        self._reports: deque[ev.Report] = deque()

    # ── the shell's side ─────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, ts: int, cash_raw: int, currency: str, timezone: str) -> list[ev.Event]:
        """The first input of a new account."""
        self._out = []
        self.ts = ts
        self._emit(ev.AccountOpened(ts, cash_raw, currency, timezone, ev.VARIATION))
        self._roll_day(ts)
        return self._out

    def start_session(self, ts: int, version: str, mode: str, notes: Sequence[str] = ()) -> list[ev.Event]:
        """An engine begins to work on the account, which is new or was folded from its past. `notes` become alarms."""
        self._out = []
        self.ts = ts
        margin = "" if self.margin is None else getattr(self.margin, "described", described(self.margin)[0])
        terms = self.limits.terms, described(self.fees), margin
        self._emit(ev.SessionStarted(ts, version, mode, self.trigger_by, *terms))
        for note in notes:
            self._alarm("session", note)
        self._resume_timers()
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

    def _resume_timers(self) -> None:
        """After folding a past: what was on its way is due again, and the next input looks at everything."""
        self._timers = [risk.retry_ns for bracket in self.brackets.values() for risk in bracket.values()]
        if self.venue is not None:
            sent = [ns for order in self.open_orders.values() for ns in (order.created_ns, order.requested_ns)]
            self._timers += [ns + self.venue.latency_ns for ns in sent]
        heapify(self._timers)
        self._touched.update(self.markets)
        self._midnight_ns = self._deadline_ns = 0

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
        if ts >= self.equity_due_ns and market.position_raw:
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
            self._note_marks()
            base = self.total_pnl_raw if self.is_flat() else None
            self._emit(ev.DayStarted(self.ts, day, self.total_pnl_raw, base))
            self.equity_due_ns = 0
            self._name_expired()
        self._set_deadline()

    def _note_marks(self) -> None:
        for symbol, market in self.markets.items():
            if market.books and market.mark_raw:
                seen = tuple(ev.Seen(b.strategy, b.product, b.low_raw, b.high_raw) for b in market.books)
                self._emit(ev.Marked(self.ts, symbol, market.mark_raw, market.low_raw, market.high_raw, seen))

    def _on_wake(self, _: ev.Wake) -> None:
        """`_advance` did it."""

    # ── requests and reports ─────────────────────────────────────────────────────────────────────────────────────────

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
        symbol = order.instrument.symbol
        market = self.markets[symbol]
        reports = self.venue.advance(order, market.quote, self.ts)
        if reports:
            self._touched[symbol] = market
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
        symbol = order.instrument.symbol
        self._touched[symbol] = self.markets[symbol]
        if isinstance(report, ev.Executed):
            self._on_executed(order, report)
        elif after(order, report) is not None:
            self._emit(report)
        ended = self.orders[order.client_order_id]
        if order.is_open and ended.is_final and ended.risk_id is not None:
            self._exit_order_ended(ended, was_sent=getattr(report, "sent", True))
        elif isinstance(report, ev.RequestRejected) and order.is_open:
            self._cancel_refused(ended)

    # ── the feed, closing, halting, money ────────────────────────────────────────────────────────────────────────────

    def _on_feed(self, change: ev.FeedChanged) -> None:
        if (change.state, change.reason) != (self.feed.state, self.feed.reason):
            self._emit(change)

    def _on_block(self, message: ev.BlockOpening) -> None:
        was_asked = self.is_asked
        self._blocks.pop((message.by, message.symbol), None)
        if message.reason:
            self._blocks[message.by, message.symbol] = message.reason
        if was_asked and not self.is_asked:
            self._touched.update(self.markets)  # what waited to be closed may be now
        if message.alarm:
            self._alarm(message.by, message.alarm)

    def _on_broker_position(self, message: ev.BrokerPosition) -> None:
        market = self.markets.get(message.symbol)
        if market is not None:
            quantity_raw = int(message.quantity.scaleb(market.instrument.quantity_scale))
            self._compare_with_broker(market, message.product, quantity_raw)

    def _on_accepted_difference(self, command: ev.DifferenceAccepted) -> None:
        if self.accepted.get((command.symbol, command.product), 0) != command.difference_raw:
            self._emit(command)

    def _on_end_session(self, _: ev.EndSession) -> None:
        self._note_marks()
        self._emit(ev.SessionEnded(self.ts))

    def _on_quote_lost(self, message: ev.QuoteLost) -> None:
        market = self.markets.get(message.symbol)
        if market is not None:
            market.lost = (message.ts, message.reason)

    def _on_jump(self, message: ev.ClockJumped) -> None:
        self._stale_before_ns = message.ts
        self._stale_reason = message.reason
        if message.by_ns > 0:
            self._keep_waiting(message.by_ns)

    def _on_close(self, command: ev.ClosePosition) -> None:
        """Closes every book of a symbol, working orders canceled first, or a quantity of its position."""
        markets = self._markets_of(command.symbol)
        if command.quantity_raw is not None:
            wanted = self._parts_to_close(markets, command.quantity_raw)
        else:
            wanted = self._all_to_close(markets)
        if not wanted and command.symbol is not None:
            self._deny("close_position", f"No position to sell: {command.symbol} is flat{self.doubt(command.symbol)}")
        self._close_wanted(wanted)

    def _on_flatten(self, command: ev.Flatten) -> None:
        self._close_wanted(self._all_to_close(self._markets_of(command.symbol)))

    def _markets_of(self, symbol: str | None) -> list[Market]:
        return [market for name, market in self.markets.items() if symbol in (None, name)]

    def _close_wanted(self, wanted: dict[BookKey, int]) -> None:
        self._settle()  # what was canceled first is gone before its place is taken
        for key, quantity_raw in wanted.items():
            self._close(key, quantity_raw)

    def _on_settle(self, command: ev.Settle) -> None:
        market = self.markets.get(command.symbol)
        reason = self._not_settled(command, market)
        if market is None or reason:
            self._deny("settle", f"Nothing to settle: {reason}")
            return
        if self.is_asked:
            self._deny("settle", self._asking)
            return
        self._touched[command.symbol] = market
        for order in list(market.working.values()):
            self._cancel(order)
        self._settle()
        if market.working:
            names = ", ".join(market.working)
            self._deny("settle", f"Not settled: {names} may fill until it is canceled; settle again once it is gone")
        else:
            self._close_settled(market, command.price_raw)

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
        free = self.free_raw
        if command.amount_raw < 0 and -command.amount_raw > free:
            self._deny("transfer", balance_denied(-command.amount_raw, free) or "")
        else:
            self._emit(ev.CashMoved(self.ts, command.amount_raw))


_HANDLERS: dict[type, Callable[..., None]] = {
    ev.SubmitOrder: Account._on_submit,
    ev.ModifyOrder: Account._on_modify,
    ev.CancelOrder: Account._on_cancel,
    ev.CancelAll: Account._on_cancel_all,
    ev.SetExit: Account._on_set_exit,
    ev.ClosePosition: Account._on_close,
    ev.Flatten: Account._on_flatten,
    ev.Settle: Account._on_settle,
    ev.Halt: Account._on_halt,
    ev.Resume: Account._on_resume,
    ev.Transfer: Account._on_transfer,
    ev.DifferenceAccepted: Account._on_accepted_difference,
    ev.Wake: Account._on_wake,
    ev.ClockJumped: Account._on_jump,
    ev.QuoteLost: Account._on_quote_lost,
    ev.BlockOpening: Account._on_block,
    ev.BrokerPosition: Account._on_broker_position,
    ev.EndSession: Account._on_end_session,
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
