"""What a step causes outside waits here until its events are durable: requests to a broker, answers, callbacks.

While the journal cannot be written, protection comes first. Opening orders are refused, and so are those that wait
here: they never left. What reduces a position is sent all the same, with an alarm, and is written when that works
again. Answers do not wait either, and say that nothing is saved; callbacks wait.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from livetrade.answers import Answers
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.values import Order
from livetrade.journal import Journal
from livetrade.usercode import Callbacks, guarded

STALLED_BEATS = 40
"""A commit that is not done after so many beats of the engine (2 s) means that the disk does not answer. Beats and not
seconds: a process that was stopped for a while blames nobody."""
STRATEGY_FAILED = "strategy"
"""The kind of an alarm that is in the log already, with its traceback."""
UNAVAILABLE = "Journal unavailable"
MUTE = "its disk does not answer"

_log = logging.getLogger("livetrade")
Answer = Callable[[], None]
Listener = Callable[[int, Sequence[ev.Event]], None]
"""Hears of events that are durable now: the number of the first of them, and they."""


class _Step:
    """orders: those that its events are about, as it left them. answers: what may be said once it is durable."""

    __slots__ = ("answers", "events", "orders")

    def __init__(self, events: Sequence[ev.Event], orders: Sequence[Order]) -> None:
        self.events = events
        self.orders = orders
        self.answers: list[Answer] = []


class Outbox:
    """Lives on the engine's thread.

    take: hands the account an input, stamped with the engine's time. requests: where a broker finds what is asked of
    it; None where the venue is simulated, and the account asks it itself.
    """

    def __init__(
        self,
        account: Account,
        journal: Journal,
        answers: Answers,
        callbacks: tuple[Callbacks, Callbacks],
        take: Callable[[ev.News], object],
        requests: deque[ev.Request] | None,
    ) -> None:
        self._account = account
        self._journal = journal
        self._answers = answers
        self._on_fill, self._on_order = callbacks
        self._take = take
        self._requests = requests
        self._steps: deque[_Step] = deque()  # not durable yet
        self._held: deque[_Step] = deque()  # of these, the ones whose requests wait for that
        self._releasing = False
        self._oldest: _Step | None = None
        self._beats = 0
        self._empty: asyncio.Event | None = None
        self.durable_seq = account.seq
        """The number of the last event that is durable."""
        self._listeners: tuple[Listener, ...] = ()
        self.fault = ""
        """Why the journal cannot be written; empty while it can."""
        answers.when_safe = self.when_safe

    def __len__(self) -> int:
        """How many steps are not safe yet."""
        return len(self._steps)

    def put(self, events: Sequence[ev.Event], answer: Answer | None = None) -> None:
        """Takes the events of one step, just after it was taken; `answer` tells of the account as it then is."""
        if events:
            step = _Step(events, changed_orders(self._account, events))
            self._steps.append(step)
            self._held.append(step)
            self._journal.append(events, partial(self._durable, step))
            if self.fault:
                self._release_held()
            self._answers.orders_changed(step.orders)
        if answer is not None:
            answer()

    def when_safe(self, answer: Answer) -> None:
        """What an answer tells has happened by now: it waits until all of that is durable."""
        if self.fault or not self._steps:
            answer()
        else:
            self._steps[-1].answers.append(answer)

    async def emptied(self, seconds: float) -> None:
        """Returns when everything is safe, or cannot be for now, or after so many seconds; then all is answered."""
        self._empty = asyncio.Event()
        self._told_if_empty()
        try:
            await asyncio.wait_for(self._empty.wait(), seconds)
        except TimeoutError:
            self._answers.unsaved = f"{UNAVAILABLE}: {MUTE}"
            self._answer_all()

    def _told_if_empty(self) -> None:
        if self._empty is not None and (self.fault or not self._steps):
            self._empty.set()

    # ── the journal's state ──────────────────────────────────────────────────────────────────────────────────────────

    def look(self) -> None:
        """Can the journal be written? Acts when the answer is another than before."""
        fault = self._journal.fault() or self._stalled()
        if bool(fault) is bool(self.fault):
            return
        self.fault = fault
        if not fault:
            self._block("")
            return
        self._block(
            f"the journal cannot be written: {fault}; opening orders are refused, what reduces a position is sent"
        )
        self._release_held()
        self._answer_all()
        self._told_if_empty()

    def beat(self) -> None:
        """A regular look, counted."""
        oldest = self._steps[0] if self._steps else None
        self._beats = self._beats + 1 if oldest is not None and oldest is self._oldest else 0
        self._oldest = oldest
        if self.fault or oldest is not None:
            self.look()

    def _stalled(self) -> str:
        waits = self._beats >= STALLED_BEATS and self._steps and self._steps[0] is self._oldest
        return MUTE if waits else ""

    def _block(self, alarm: str) -> None:
        """Opening orders are refused while there is a fault, and no success is confirmed."""
        reason = self._answers.unsaved = f"{UNAVAILABLE}: {self.fault}" if self.fault else ""
        self._take(ev.BlockOpening(0, "journal", reason, alarm))

    # ── what a step causes ───────────────────────────────────────────────────────────────────────────────────────────

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tells `listener` of what becomes durable from now on, ahead of the answers that tell of it; gives back what
        ends that."""
        self._listeners = (*self._listeners, listener)

        def unlisten() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

        return unlisten

    def _durable(self, step: _Step) -> None:
        self._steps.popleft()  # they become durable in their order
        first, self.durable_seq = self.durable_seq + 1, self.durable_seq + len(step.events)
        for listener in self._listeners:
            guarded(listener, first, step.events)
        for event in step.events:
            if isinstance(event, ev.Filled):
                self._on_fill(event.fill)
        for order in step.orders:
            self._on_order(order)
        if self._held and self._held[0] is step:
            self._release(self._held.popleft())
        self._answer(step)
        self._told_if_empty()

    def _release_held(self) -> None:
        """In order: what a release leads to comes after what waits."""
        if self._releasing:
            return
        self._releasing = True
        try:
            while self._held:
                self._release(self._held.popleft())
        finally:
            self._releasing = False

    def _release(self, step: _Step) -> None:
        for event in step.events:
            if isinstance(event, ev.Submit | ev.Modify | ev.Cancel):
                self._request(event)
            elif isinstance(event, ev.Alarm) and event.kind != STRATEGY_FAILED:
                _log.warning("%s: %s", event.kind, event.message)

    def _answer_all(self) -> None:
        for step in tuple(self._steps):
            self._answer(step)

    def _answer(self, step: _Step) -> None:
        answers, step.answers = step.answers, []
        for answer in answers:
            answer()

    def _request(self, request: ev.Request) -> None:
        if self.fault and not isinstance(request, ev.Cancel) and _opens(request):
            self._refuse(request)
            return
        if self._requests is not None:
            self._requests.append(request)
        if self.fault and isinstance(request, ev.Submit):
            self._block(f"sent before it could be journaled: {request.order!r}")

    def _refuse(self, request: ev.Submit | ev.Modify) -> None:
        """It never left. A simulated order has been executed already: it stands, and is not confirmed."""
        reason = self._answers.unsaved
        if self._requests is None:
            return
        if isinstance(request, ev.Submit):
            self._take(ev.Rejected(0, request.order.client_order_id, reason, sent=False))
        else:
            self._take(ev.RequestRejected(0, request.client_order_id, reason))


def changed_orders(account: Account, events: Sequence[ev.Event]) -> list[Order]:
    """The orders that events are about, as they are now."""
    orders = account.orders
    return [orders[order_id] for order_id in dict.fromkeys(map(order_id_of, events)) if order_id in orders]


def _opens(request: ev.Submit | ev.Modify) -> bool:
    return bool(request.order.opening_raw if isinstance(request, ev.Submit) else request.change.opening_raw)


def order_id_of(event: ev.Event) -> str:
    """The order that an event is about; empty where there is none."""
    if isinstance(event, ev.Submit | ev.OrderDenied | ev.Settling):
        return event.order.client_order_id
    return event.fill.client_order_id if isinstance(event, ev.Filled) else getattr(event, "client_order_id", None) or ""
