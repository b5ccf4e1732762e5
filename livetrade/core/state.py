"""Everything an account knows, and how each event folds into it. Folding decides nothing.

A journal, a replica and a restart use only this half: `State.apply(event)` for what happened, `State.mark` for prices.
"""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from livetrade.core import events as ev
from livetrade.core.exits import NEVER_HIGH, Alerts
from livetrade.core.history import FillTable, OrderTable
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import ExitKind, ExitStatus, FeedState, Product
from livetrade.core.ledger import Book, BookKey, Ledger
from livetrade.core.limits import reckoned_at
from livetrade.core.orders import Said, after, with_fill, with_news
from livetrade.core.records import replaced
from livetrade.core.slices import together
from livetrade.core.ticks import Tick
from livetrade.core.values import Order, RiskOrder

SECOND_NS = 1_000_000_000
KEPT_ALARMS = 1000
ENDED = (ExitStatus.FILLED, ExitStatus.FAILED, ExitStatus.CANCELED)


class Drift:
    """What moving marks have changed in the value of all positions whose step of the mark is worth the same: a count of
    such steps. It is small, and so added to in a third of the time that raw money takes."""

    __slots__ = ("step_raw", "steps")

    def __init__(self, step_raw: int) -> None:
        self.step_raw = step_raw  # raw money that one unit gains for each step of the mark
        self.steps = 0


class Market:
    """What the account keeps for one symbol."""

    __slots__ = (
        "alerts",
        "books",
        "drift",
        "high_raw",
        "instrument",
        "lost",
        "low_raw",
        "mark_raw",
        "position_raw",
        "quote",
        "working",
    )

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.drift = Drift(instrument.unit // 2)
        self.quote: Tick | None = None
        self.lost: tuple[int, str] = (0, "")  # quotes from before this time are stale, and why
        self.mark_raw = 0  # twice the price that positions are valued at; 0 while unknown
        self.low_raw = NEVER_HIGH  # the extremes of the mark since the last fill of any of its books
        self.high_raw = 0
        self.books: list[Book] = []
        self.working: dict[str, Order] = {}
        self.alerts = Alerts()
        self.position_raw = 0  # the position over all books

    @property
    def value_raw(self) -> int:
        """What its position adds to the portfolio at the mark; what was paid for it while there is none."""
        value = self.mark_raw * self.position_raw * self.drift.step_raw
        for book in self.books:
            value += book.paid_raw
            if self.mark_raw:
                value -= book.cost_raw
        return value


class State:
    __slots__ = (
        "accepted",
        "alarms",
        "blocked_raw",
        "brackets",
        "cash_moves",
        "closing",
        "currency",
        "day",
        "day_base_raw",
        "day_bases",
        "drifts",
        "ended_well",
        "equity_history",
        "feed",
        "fill_history",
        "halted",
        "instruments",
        "ledger",
        "markets",
        "open_orders",
        "opened",
        "order_history",
        "orders",
        "risks",
        "sent_ns",
        "seq",
        "session",
        "slices",
        "timezone",
        "valued_raw",
        "zone",
    )

    def __init__(self) -> None:
        self.seq = 0
        self.opened: ev.AccountOpened | None = None
        self.session: ev.SessionStarted | None = None
        self.ended_well = True
        self.currency = "INR"
        self.timezone = "UTC"
        self.zone: tzinfo = UTC
        self.instruments: dict[str, Instrument] = {}
        self.markets: dict[str, Market] = {}
        self.ledger = Ledger()
        self.cash_moves: list[int] = []
        """Raw money put in or taken out, the opening cash first."""
        self.valued_raw = 0  # the value of all positions, apart from what their marks have drifted since
        self.drifts: dict[int, Drift] = {}
        self.orders: dict[str, Order] = {}
        self.open_orders: dict[str, Order] = {}
        self.slices: dict[str, list[str]] = {}
        self.blocked_raw = 0
        self.sent_ns: deque[int] = deque()
        self.risks: dict[str, RiskOrder] = {}
        self.brackets: dict[BookKey, dict[ExitKind, RiskOrder]] = {}
        self.closing: dict[BookKey, int] = {}
        self.accepted: dict[tuple[str, Product], int] = {}
        """By how much the broker's fills may differ from the books, as somebody accepted."""
        self.halted: str | None = None
        self.feed = ev.FeedChanged(0, FeedState.NONE)
        self.day = ""
        self.day_base_raw: int | None = 0
        self.day_bases: list[tuple[str, int]] = []
        self.alarms: deque[ev.Alarm] = deque(maxlen=KEPT_ALARMS)
        self.order_history = OrderTable()
        self.fill_history = FillTable()
        self.equity_history: list[ev.EquityPoint] = []
        """A point for each fill and at most one a second."""

    # ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def market_value_raw(self) -> int:
        """What all positions add to the portfolio."""
        value = self.valued_raw
        for drift in self.drifts.values():
            value += drift.steps * drift.step_raw
        return value

    @property
    def unrealized_raw(self) -> int:
        return self.market_value_raw - self.ledger.cost_raw

    @property
    def free_raw(self) -> int:
        """Money that may be spent: it backs no position and no working order, and no open future and no short has lost
        it. A loss counts before it is realized and a gain does not, so what is free pays for closing everything at the
        marks."""
        lost = sum(min(0, self._gain_raw(book)) for book in self.ledger.at_risk.values())
        return self.ledger.free_raw + lost - self.blocked_raw

    def _gain_raw(self, book: Book) -> int:
        """What a book would realize at the mark."""
        return book.market_value_raw(self.markets[book.symbol].mark_raw) - book.paid_raw

    @property
    def portfolio_value_raw(self) -> int:
        return self.ledger.cash_raw + self.market_value_raw

    @property
    def total_pnl_raw(self) -> int:
        return self.portfolio_value_raw - self.ledger.put_in_raw

    @property
    def day_pnl_raw(self) -> int:
        return 0 if self.day_base_raw is None else self.total_pnl_raw - self.day_base_raw

    def ids_of(self, client_order_id: str | None) -> list[str]:
        """The orders that an id stands for: itself, or the slices it was sent in; none where it is not known."""
        if client_order_id in self.orders:
            return [client_order_id or ""]
        return self.slices.get(client_order_id or "", [])

    def order(self, client_order_id: str | None) -> Order | None:
        """The order of an id as it stands, its slices taken together."""
        if client_order_id in self.slices:
            return together([self.orders[child] for child in self.slices[client_order_id or ""]])
        return self.orders.get(client_order_id or "")

    def is_flat(self) -> bool:
        return not any(self.ledger.held())

    # ── prices ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def mark(self, market: Market, mark_raw: int) -> None:
        """Values the symbol's position at a new mark. A mark by itself is no event."""
        if market.mark_raw:
            market.drift.steps += (mark_raw - market.mark_raw) * market.position_raw
        else:
            before, market.mark_raw = market.value_raw, mark_raw
            self.valued_raw += market.value_raw - before
        market.mark_raw = mark_raw
        if mark_raw < market.low_raw:  # noqa: PLR1730  min and max take three times as long, on every tick
            market.low_raw = mark_raw
        if mark_raw > market.high_raw:  # noqa: PLR1730
            market.high_raw = mark_raw

    def mark_between(self, market: Market, low_raw: int, high_raw: int, mark_raw: int) -> None:
        """What many ticks did to a mark, in one: it went as low and as high as this, and stands there."""
        for mark in (low_raw, high_raw, mark_raw):
            self.mark(market, mark)

    def _remember_extremes(self, market: Market) -> None:
        """Before a fill: what the marks reached is handed to the books, which keep it until a fill of their own."""
        for book in market.books:
            book.low_raw, book.high_raw = book.saw(market.low_raw, market.high_raw)
        market.low_raw, market.high_raw = market.mark_raw or NEVER_HIGH, market.mark_raw

    # ── folding ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, event: ev.Event) -> None:
        self.seq += 1
        _FOLD[type(event)](self, event)

    def _opened(self, event: ev.AccountOpened) -> None:
        from zoneinfo import ZoneInfo

        self.opened = event
        self.currency, self.timezone = event.currency, event.timezone
        self.zone = ZoneInfo(event.timezone)
        self.ledger.pays_for_futures = event.futures == ev.PAID
        self.ledger.move_cash(event.cash_raw)
        self.cash_moves.append(event.cash_raw)

    def _session_started(self, event: ev.SessionStarted) -> None:
        self.session, self.ended_well = event, False
        self.feed = ev.FeedChanged(event.ts, FeedState.NONE)

    def _session_ended(self, _: ev.SessionEnded) -> None:
        self.ended_well = True

    def _instrument(self, event: ev.InstrumentAdded) -> None:
        self.instruments[event.instrument.symbol] = event.instrument
        market = self.markets[event.instrument.symbol] = Market(event.instrument)
        market.drift = self.drifts.setdefault(market.drift.step_raw, market.drift)

    def _day(self, event: ev.DayStarted) -> None:
        self.day = event.day
        self.day_base_raw = event.base_raw
        if event.base_raw is not None:
            self.day_bases.append((event.day, event.base_raw))

    def _marked(self, event: ev.Marked) -> None:
        market = self.markets[event.symbol]
        self.mark(market, event.mark_raw)
        market.low_raw, market.high_raw = event.low_raw, event.high_raw
        for seen in event.books:
            book = self.ledger.books[seen.strategy, event.symbol, seen.product]
            book.low_raw, book.high_raw = seen.low_raw, seen.high_raw

    def _cash(self, event: ev.CashMoved) -> None:
        self.ledger.move_cash(event.amount_raw)
        self.cash_moves.append(event.amount_raw)

    def _denied(self, event: ev.OrderDenied) -> None:
        self._put(event.order)

    def _settling(self, event: ev.Settling) -> None:
        self._put(event.order)

    def _command_denied(self, event: ev.CommandDenied) -> None:
        """Kept for the record; it changed nothing."""

    def _sent(self, event: ev.Submit) -> None:
        self._put(event.order)
        self.sent_ns.append(event.ts)
        while self.sent_ns[0] <= event.ts - SECOND_NS:
            self.sent_ns.popleft()
        if event.order.risk_id is not None:
            self._risk(replaced(self.risks[event.order.risk_id], order_id=event.order.client_order_id))

    def _told(self, event: Said) -> None:
        order = self.orders[event.client_order_id]
        status = after(order, event)
        if status is not None:
            self._put(with_news(order, event, status))

    def _filled(self, event: ev.Filled) -> None:
        fill = event.fill
        order = self.orders[fill.client_order_id]
        market = self.markets[fill.symbol]
        opening_value = fill.instrument.value_raw(reckoned_at(order, order.reference_raw), order.opening_raw)
        self._remember_extremes(market)
        value_before = market.value_raw
        book = self.ledger.apply_fill(fill, order.margin_raw, opening_value)
        if book not in market.books:
            market.books.append(book)
        market.position_raw += fill.side.sign * fill.quantity_raw
        self.valued_raw += market.value_raw - value_before
        self._put(with_fill(order, fill))
        self.fill_history.add(fill)

    def _armed(self, event: ev.ExitArmed) -> None:
        self._risk(event.risk)

    def _trailed(self, event: ev.TrailMoved) -> None:
        self._risk(replaced(self.risks[event.risk_id], trigger_raw=event.trigger_raw, best_raw=event.best_raw))

    def _fired(self, event: ev.ExitFired) -> None:
        risk = self.risks[event.risk_id]
        self._risk(replaced(risk, status=ExitStatus.TRIGGERED, fired_ns=event.ts, quantity_raw=event.quantity_raw))

    def _retry(self, event: ev.ExitRetry) -> None:
        risk = self.risks[event.risk_id]
        self._risk(replaced(risk, attempts=event.attempts, retry_ns=event.retry_ns))

    def _ended(self, event: ev.ExitEnded) -> None:
        self._risk(replaced(self.risks[event.risk_id], status=event.status))

    def _feed(self, event: ev.FeedChanged) -> None:
        self.feed = event

    def _alarmed(self, event: ev.Alarm) -> None:
        self.alarms.append(event)

    def _close_pending(self, event: ev.ClosePending) -> None:
        key = (event.strategy, event.symbol, event.product)
        if event.quantity_raw:
            self.closing[key] = event.quantity_raw
        else:
            self.closing.pop(key, None)

    def _accepted_difference(self, event: ev.DifferenceAccepted) -> None:
        self.accepted[event.symbol, event.product] = event.difference_raw

    def _halted(self, event: ev.Halted) -> None:
        self.halted = event.reason

    def _resumed(self, event: ev.Resumed) -> None:
        self.halted = None

    def _equity(self, event: ev.EquityPoint) -> None:
        self.equity_history.append(event)
        if self.day_base_raw is None:
            self.day_base_raw = event.cash_raw + event.market_value_raw - self.ledger.put_in_raw
            self.day_bases.append((self.day, self.day_base_raw))

    def _put(self, order: Order) -> None:
        """The one place where an order's newest state is kept."""
        key = order.client_order_id
        before = self.orders.get(key)
        self.blocked_raw += order.blocked_raw - (before.blocked_raw if before else 0)
        self.orders[key] = order
        if before is None and order.parent_id:
            self.slices.setdefault(order.parent_id, []).append(key)
        working = self.markets[order.instrument.symbol].working
        if order.is_open:
            working[key] = self.open_orders[key] = order
        elif before is not None and before.is_open:
            del working[key], self.open_orders[key]
        self.order_history.put(order)

    def _risk(self, risk: RiskOrder) -> None:
        """The one place where an exit's newest state is kept."""
        self.risks[risk.risk_id] = risk
        key = (risk.strategy, risk.symbol, risk.product)
        bracket = self.brackets.setdefault(key, {})
        if risk.status in ENDED:
            bracket.pop(risk.kind, None)
        else:
            bracket[risk.kind] = risk
        if not bracket:
            del self.brackets[key]


_FOLD: dict[type, Callable[[Any, Any], None]] = {
    ev.AccountOpened: State._opened,
    ev.SessionStarted: State._session_started,
    ev.SessionEnded: State._session_ended,
    ev.InstrumentAdded: State._instrument,
    ev.DayStarted: State._day,
    ev.Marked: State._marked,
    ev.CashMoved: State._cash,
    ev.OrderDenied: State._denied,
    ev.Settling: State._settling,
    ev.CommandDenied: State._command_denied,
    ev.Submit: State._sent,
    ev.Modify: State._told,
    ev.Cancel: State._told,
    ev.Accepted: State._told,
    ev.Rejected: State._told,
    ev.Canceled: State._told,
    ev.Expired: State._told,
    ev.Modified: State._told,
    ev.RequestRejected: State._told,
    ev.Triggered: State._told,
    ev.Unknown: State._told,
    ev.Filled: State._filled,
    ev.ExitArmed: State._armed,
    ev.TrailMoved: State._trailed,
    ev.ExitFired: State._fired,
    ev.ExitRetry: State._retry,
    ev.ExitEnded: State._ended,
    ev.FeedChanged: State._feed,
    ev.Alarm: State._alarmed,
    ev.ClosePending: State._close_pending,
    ev.DifferenceAccepted: State._accepted_difference,
    ev.Halted: State._halted,
    ev.Resumed: State._resumed,
    ev.EquityPoint: State._equity,
}


def day_of(ts: int, zone: tzinfo) -> tuple[str, int, int]:
    """(ISO date, its first instant, the next day's first instant) of a time, in the zone; instants in ns UTC."""
    today = datetime.fromtimestamp(ts // SECOND_NS, zone).date()
    first = datetime(today.year, today.month, today.day, tzinfo=zone)
    following = today + timedelta(days=1)
    last = datetime(following.year, following.month, following.day, tzinfo=zone)
    return today.isoformat(), int(first.timestamp()) * SECOND_NS, int(last.timestamp()) * SECOND_NS
