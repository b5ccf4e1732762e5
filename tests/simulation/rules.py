"""What must be true of an engine whatever happens to it, watched from outside."""

import copy
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.exits import reached
from livetrade.core.kinds import ExitStatus, Product
from livetrade.core.numbers import MONEY_ONE
from livetrade.core.state import State
from livetrade.core.values import Fill, Order
from livetrade.surface import OrderHandle, OrderResult
from tests.core.kit import Oracle, check, same_state
from tests.simulation.disk import Disk
from tests.simulation.exchange import Exchange
from tests.simulation.market import Market
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.engine import SimulatedEngine

UNAVAILABLE = "Journal unavailable"


class Rules:
    def __init__(self, world: World) -> None:
        self.world = world
        self.disk = Disk(world, self._safe)
        self.market = Market(world)
        self.exchange = Exchange(world, self.market.price, self.handed)
        self._safe_books = Oracle()
        self._orphans: set[str] = set()
        self.begin()

    def begin(self) -> None:
        """A new life of the engine: it knows what is durable, and nothing else."""
        self._books = copy.deepcopy(self._safe_books)
        self._fired = {risk.risk_id for risk in self.disk.durable.risks.values() if risk.fired_ns}
        self._submitted: dict[str, Order] = {}
        self._refused: set[str] = set()
        self._fills: list[str] = []
        self._told_fills: list[str] = []
        self.handles: list[OrderHandle] = []

    @property
    def durable(self) -> State:
        return self.disk.durable

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _safe(self, event: ev.Event) -> None:
        _book(self._safe_books, event)

    def reopened(self, engine: "SimulatedEngine") -> None:
        same_state(engine.account, self.durable, marks=False)

    def happened(self, engine: "SimulatedEngine", events: Sequence[ev.Event]) -> None:
        faulty = engine._outbox.fault
        for event in events:
            _book(self._books, event)
            self.world.counts[type(event).__name__] += 1
            match event:
                case ev.Submit(order=order):
                    self._submitted[order.client_order_id] = order
                    self.world.expect(not (faulty and order.opening_raw), f"opened while faulty: {order!r}")
                    self.world.expect(not (order.is_protective and order.opening_raw), f"an exit opens: {order!r}")
                    self.world.counts["sent while faulty"] += bool(faulty)
                case ev.Modify():
                    self.world.expect(not (faulty and event.change.opening_raw), f"opened while faulty: {event!r}")
                case ev.Rejected() if event.reason.startswith(UNAVAILABLE):
                    self._refused.add(event.client_order_id)
                    self.world.counts["refused before it left"] += 1
                case ev.Filled(fill=fill):
                    self._fills.append(fill.execution_id)
                case ev.ExitFired():
                    self._check_firing(engine, event)

    def _check_firing(self, engine: "SimulatedEngine", event: ev.ExitFired) -> None:
        risk = engine.account.risks[event.risk_id]
        price = self.market.good[risk.symbol].watched(risk.long, engine.account.trigger_by)
        good = event.price_raw == price and reached(risk.kind, risk.long, risk.trigger_raw, price)
        self.world.expect(good, f"{risk!r} fired at {event.price_raw} and the price is {price}")
        self.world.expect(event.risk_id not in self._fired, f"{risk!r} fired twice")
        self._fired.add(event.risk_id)

    def jumped(self, engine: "SimulatedEngine", jump: ev.ClockJumped, retries: dict[str, int], events: Any) -> None:
        """retries: when what has fired was to be sent again, before the jump."""
        latency = engine.account.venue is not None and engine.account.venue.latency_ns  # a cancel may have arrived
        for event in events:
            if isinstance(event, ev.Submit) and not latency:
                due = retries.get(event.order.risk_id or "", jump.ts)
                self.world.expect(due <= jump.ts - jump.by_ns, f"a jump of the clock sent {event.order!r}")

    # ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────

    def taken(self, engine: "SimulatedEngine", command: ev.Command, handle: OrderHandle) -> None:
        needs = engine.account.seq
        before = len(engine.account.orders)

        def answered(future: Any) -> None:
            self._answered(command, future.result(), needs)
            if future.result().success and isinstance(command, ev.Flatten):
                later = list(engine.account.orders.values())[before:]
                self._check_flat(engine.account, command, later)

        handle._future.add_done_callback(answered)

    def _check_flat(self, account: Account, command: ev.Flatten, later: Sequence[Order]) -> None:
        for book in account.ledger.held():
            opened = any(order.book_key == book.key and order.opening_raw for order in later)
            asked = command.symbol in (None, book.symbol) and not opened
            self.world.expect(not asked, f"{command!r} was confirmed, and {book.quantity_raw} {book.symbol} are held")

    def _answered(self, command: ev.Command, answer: OrderResult, needs: int) -> None:
        self.world.counts[f"answered {answer.message.split(':')[0][:20] if not answer.success else 'success'}"] += 1
        if not answer.success:
            return
        self.world.expect(self.durable.seq >= needs, f"{command!r} was confirmed too early: {answer}")
        if answer.order is not None:
            self._check_durable(answer.order, f"{command!r} was confirmed too early: {answer}")

    def _check_durable(self, told: Order, what: str) -> None:
        kept = self.durable.orders.get(told.client_order_id)
        durable = kept is not None and kept.filled_raw >= told.filled_raw and told.is_final <= kept.is_final
        self.world.expect(durable, f"{what}, durable is {kept!r}")

    def on_fill(self, fill: Fill) -> None:
        self.world.expect(fill.execution_id not in self._told_fills, f"{fill!r} was told twice")
        self._told_fills.append(fill.execution_id)
        kept = self.durable.orders.get(fill.client_order_id)
        self.world.expect(kept and fill.execution_id in kept.executions, f"told before it is durable: {fill!r}")

    def on_order(self, order: Order) -> None:
        self._check_durable(order, f"told before it is durable: {order!r}")

    def handed(self, request: ev.Request) -> None:
        """A request leaves for the venue."""
        if isinstance(request, ev.Cancel):
            return
        change = request.order if isinstance(request, ev.Submit) else request.change
        key = request.order.client_order_id if isinstance(request, ev.Submit) else request.client_order_id
        kept = self.durable.orders.get(key)
        if isinstance(request, ev.Submit):
            self.world.expect(key not in self._refused, f"{key} was refused and sent")
        if kept is None:
            self.world.counts["sent before it was durable"] += 1
        if change.opening_raw:
            asked = kept is not None and (isinstance(request, ev.Submit) or kept.last_change == request.change)
            self.world.expect(asked, f"sent before it was durable: {request!r}")

    def note_orphans(self) -> None:
        """Orders that the venue has and a new engine does not know: they were sent while the disk failed."""
        self.exchange.end_orphans(self.durable.orders)
        self._orphans |= self.exchange.taken - set(self.durable.orders)
        self.world.counts["an order that only the venue knows"] = len(self._orphans)

    # ── after every step ─────────────────────────────────────────────────────────────────────────────────────────────

    def check(self, engine: "SimulatedEngine") -> None:
        check(engine.account, self._books)
        self._check_exits(engine)
        self._check_outbox(engine)
        for key, quantity in self.exchange.filled().items():
            short = quantity < 0 and not engine.account.limits.allow_short
            self.world.expect(not short, f"short at the venue without leave: {key} {quantity}")

    def _check_exits(self, engine: "SimulatedEngine") -> None:
        account = engine.account
        for bracket in account.brackets.values():
            for risk in bracket.values():
                price = self.market.good[risk.symbol].watched(risk.long, account.trigger_by)
                missed = risk.status is ExitStatus.ARMED and reached(risk.kind, risk.long, risk.trigger_raw, price)
                self.world.expect(not missed, f"{risk!r} has not fired at {price}")

    def _check_outbox(self, engine: "SimulatedEngine") -> None:
        outbox = engine._outbox
        if outbox.fault:
            self.world.counts["faulty steps"] += 1
            self.world.expect(not outbox._held, "something waits for a faulty journal")
            if engine.account.venue is None:
                sent_all = self.exchange.taken | _waiting(engine)
                for key, order in self._submitted.items():
                    sent = order.opening_raw or key in sent_all
                    self.world.expect(sent, f"a protective order waits for a faulty journal: {order!r}")
        elif not outbox:
            self.world.expect(self.durable.seq == engine.account.seq, "something durable is missing")

    def check_fold(self, engine: "SimulatedEngine") -> None:
        """Where everything is safe, the fold of the journal is the account."""
        if not engine._outbox:
            same_state(engine.account, self.durable, marks=False)

    def check_end(self, engine: "SimulatedEngine") -> None:
        """Everything has been said and written."""
        account = engine.account
        self.world.expect(not engine._outbox, f"not durable at the end: {len(engine._outbox)} steps")
        self.check_fold(engine)
        self.world.expect(self._told_fills == self._fills, f"told of {self._told_fills}, filled {self._fills}")
        for handle in self.handles:
            self.world.expect(handle.done(), f"never answered: {handle!r}")
        if account.venue is None:
            self._check_venue(account)

    def _check_venue(self, account: Any) -> None:
        ours: dict[Any, int] = {}
        for book in account.ledger.books.values():
            key = (book.symbol, book.product)
            ours[key] = ours.get(key, 0) + book.quantity_raw
        theirs = self.exchange.filled()
        for key in ours.keys() | theirs.keys():
            lost = sum(self._filled_of(orphan) for orphan in self._orphans if self._key_of(orphan) == key)
            same = ours.get(key, 0) + lost == theirs.get(key, 0)
            self.world.expect(same, f"{key}: {theirs.get(key, 0)} at the venue, {ours.get(key, 0)} here, {lost} lost")
        for key, entry in self.exchange.book.items():
            if key in self._orphans:
                continue
            order = account.orders.get(key)
            same = order is not None and (order.filled_raw, order.is_open) == (entry.filled, entry.is_open)
            self.world.expect(same, f"{order!r} at the end; at the venue {entry.filled} of {entry.quantity}")
        for key, order in account.open_orders.items():
            self.world.expect(key in self.exchange.book, f"{order!r} works, and the venue does not know it")

    def _filled_of(self, name: str) -> int:
        entry = self.exchange.book[name]
        return entry.order.side.sign * entry.filled

    def _key_of(self, name: str) -> tuple[str, Product]:
        order = self.exchange.book[name].order
        return order.symbol, order.product


def _waiting(engine: "SimulatedEngine") -> set[str]:
    """The orders that the broker is about to be handed."""
    return {request.order.client_order_id for request in engine._requests if isinstance(request, ev.Submit)}


def _book(books: Oracle, event: ev.Event) -> None:
    if isinstance(event, ev.AccountOpened):
        books.move(Fraction(event.cash_raw, MONEY_ONE))
    elif isinstance(event, ev.CashMoved):
        books.move(Fraction(event.amount_raw, MONEY_ONE))
    elif isinstance(event, ev.Filled):
        books.fill(event.fill)
