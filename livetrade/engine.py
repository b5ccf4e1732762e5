"""The live shell: one thread, one asyncio loop, one inbox around an `Account`.

The engine's thread owns the account. Ticks, commands and reads are posted to its inbox; events go to the journal, and
what they cause outside (requests to a broker, answers, callbacks) waits until they are durable. User code runs on one
more thread, so a callback that sleeps or a cell that computes delays no stop.
"""

import asyncio
import atexit
import contextlib
import logging
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta, tzinfo
from functools import partial
from threading import Event as ThreadEvent
from threading import Lock, Thread, get_ident, local
from time import monotonic_ns, perf_counter, time_ns
from typing import Any, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from livetrade.adapters.paper import PaperBroker
from livetrade.core import events as ev
from livetrade.core.account import Account, Margin
from livetrade.core.fees import DEFAULT_FEES, Fees
from livetrade.core.limits import Limits
from livetrade.core.numbers import Number, money, money_raw
from livetrade.core.values import (
    FINAL,
    FeedState,
    Fill,
    Instrument,
    Order,
    OrderStatus,
    OrderType,
    Tick,
    TimeInForce,
)
from livetrade.errors import EngineClosedError, FeedError, JournalError, LiveTradeError, OrderError
from livetrade.handle import Handle
from livetrade.journal import Journal, MemoryJournal
from livetrade.nested import refuse_broken_patch
from livetrade.ports import Broker, Feed
from livetrade.snapshot import Meter, panel_snapshot
from livetrade.stream import LivePriceStream, callback_key
from livetrade.surface import OrderHandle, OrderResult, Surface

T = TypeVar("T")

CLOSE_SECONDS = 1.5
ANSWER_NS = 5_000_000_000
"""An order command is answered after this much engine time at the latest."""
DRIFT_NS = 2_000_000_000
"""Wall and monotonic clock further apart than this: the machine slept, and every quote is stale until its next tick."""
BEAT = 0.05
SLICE = 0.003
"""How long the inbox may be worked on before the loop looks after feeds and timers again, in seconds."""
SLOW_CALLBACK = 0.05

_log = logging.getLogger("livetrade")
_engines: dict[str, "LiveTradingEngine"] = {}
_engines_lock = Lock()


class Waiting:
    """A handle that waits for its orders to come to rest."""

    __slots__ = ("deadline_ns", "handle", "ids", "settled", "success_message")

    def __init__(self, handle: OrderHandle, ids: Sequence[str], settled: Callable[[Order], bool], deadline_ns: int) -> None:
        self.handle = handle
        self.ids = tuple(ids)
        self.settled = settled
        self.deadline_ns = deadline_ns
        self.success_message = ""


class LiveTradingEngine(Surface):
    """A live engine: an account on its own thread, trading the prices of its stream.

    cash: the opening cash. stream: a `LivePriceStream` that you post to, made here when left out. feed: what fills the
    stream (`SimulatedFeed`, `RecordedFeed`, ...). broker: `PaperBroker()` unless named. fees, limits, margin: see
    `DEFAULT_FEES`, `Limits`. instruments: `Instrument`s to register. trigger_by: "quote" (stops watch the bid or ask) or
    "last". It starts by itself; use it as a context manager, or `close()` it. An engine of the same `name` is closed
    first, so that running a cell twice leaves one engine.

    Raises `OrderError` for wrong arguments, `FeedError`, `JournalError`.
    """

    def __init__(
        self,
        cash: Number | None = None,
        stream: LivePriceStream | None = None,
        *,
        feed: Feed | None = None,
        broker: Broker | None = None,
        journal: Journal | None = None,
        fees: Fees = DEFAULT_FEES,
        limits: Limits | None = None,
        margin: Margin | None = None,
        instruments: Sequence[Instrument] = (),
        name: str = "main",
        trigger_by: str = "quote",
        timezone: str = "Asia/Kolkata",
        currency: str = "INR",
    ) -> None:
        refuse_broken_patch()
        self.name = name
        self._zone = _zone(timezone)
        self._check_arguments(cash, feed, broker, fees, trigger_by, name)
        self._broker = broker if broker is not None else PaperBroker()
        self._journal = _journal(journal, self._broker)
        self._feed = feed
        venue = self._broker.venue
        if venue is not None:
            venue.trigger_by = trigger_by
        self.account = Account(venue=venue, limits=limits, fees=fees, margin=margin, trigger_by=trigger_by)
        self._cash_raw = money_raw(cash if cash is not None else 0, "cash")
        self._currency, self._timezone = currency, timezone

        self._lock = Lock()
        self._inbox: deque[tuple[int, Any]] = deque()
        self._reads: deque[tuple[int, Callable[[], None]]] = deque()
        self._posted = 0
        self._taken = 0
        self._signaled = False
        self._closing = False
        self._closed = ThreadEvent()
        self._mine = local()
        self._waiting: dict[str, list[Waiting]] = {}
        self._callbacks: dict[type, dict[object, Callable[[Any], object]]] = {Fill: {}, Order: {}}
        self._user = UserThread(f"livetrade-{name}-user")
        self._watchers: tuple[Callable[[], None], ...] = ()
        self._tasks: list[asyncio.Task[None]] = []
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._requests: deque[ev.Request] = deque()
        self._meter = Meter()
        self._recorded = feed is not None and feed.recorded
        self._feed_ended = False
        self._clock_offset = time_ns() - monotonic_ns()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

        _replace(self)
        self.stream = stream if stream is not None else LivePriceStream(timezone=timezone)
        self.stream.hub.open()
        self._opening_quotes = self.stream.attach(self, self._zone)
        self.stream.register(*instruments)
        self.stream.hub.dispatch = partial(self._user.soon, self._dispatch_ticks)
        self.stream.hub.on_idle = self._on_idle
        self._loop = asyncio.new_event_loop()
        started: Future[None] = Future()
        self._thread = Thread(target=self._run, args=(started,), name=f"livetrade-{name}", daemon=True)
        self._thread.start()
        started.result()

    @staticmethod
    def _check_arguments(
        cash: Number | None, feed: Feed | None, broker: Broker | None, fees: Fees, trigger_by: str, name: str
    ) -> None:
        if cash is None and (broker is None or not broker.real):
            raise OrderError("a paper engine needs opening cash: LiveTradingEngine(500_000)")
        if cash is not None and money_raw(cash, "cash") < 0:
            raise OrderError(f"cash must not be negative, not {cash}")
        if feed is not None and not isinstance(feed, Feed):
            raise OrderError(f"feed must be a feed such as SimulatedFeed(...), not {type(feed).__name__}")
        if broker is not None and not isinstance(broker, Broker):
            raise OrderError(f"broker must be a broker such as PaperBroker(), not {type(broker).__name__}")
        if not callable(fees):
            raise OrderError("fees must be a callable (fill) -> Decimal, such as NoFees() or PercentFee('0.03', cap=20)")
        if trigger_by not in ("quote", "last"):
            raise OrderError(f"trigger_by must be 'quote' or 'last', not {trigger_by!r}")
        if not isinstance(name, str) or not name:
            raise OrderError(f"name must be a text, not {name!r}")

    # ── the engine's thread ──────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, started: "Future[None]") -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._open()
        except BaseException as error:  # noqa: BLE001  handed to the thread that makes the engine
            started.set_exception(error)
            return
        started.set_result(None)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
            self._closed.set()

    def _open(self) -> None:
        account = self.account
        ts = self.now_ns()
        self._publish(account.open(ts, self._cash_raw, self._currency, self._timezone))
        for quote in self._opening_quotes:
            quote.received_ns = account.ts
            self._take_tick(quote)
        if self._feed is not None:
            self._change_feed(FeedState.CONNECTING, "")
            self._tasks.append(self._loop.create_task(self._run_feed(self._feed)))
        if not self._broker.venue:
            self._tasks.append(self._loop.create_task(self._run_broker()))
        self._beat(self._loop.time())

    async def _run_feed(self, feed: Feed) -> None:
        """A feed's end or failure is a state of the feed, never the end of the engine."""
        try:
            await feed.run(FeedSink(self))
            if account_feed(self.account) not in (FeedState.CLOSED, FeedState.FAILED):
                self._change_feed(FeedState.CLOSED, "the feed has ended")
        except Exception as error:
            _log.exception("the feed of engine %s failed", self.name)
            self._change_feed(FeedState.FAILED, str(error) or type(error).__name__)
        finally:
            self._feed_ended = True
            self._answer_overdue(everything=self._recorded)

    async def _run_broker(self) -> None:
        try:
            await self._broker.run(self._take_requests, self._take)
        except Exception as error:
            _log.exception("the broker of engine %s failed", self.name)
            self._take(ev.Halt(self.now_ns(), f"the broker connection failed: {error}"))

    def _take_requests(self) -> Sequence[ev.Request]:
        taken = list(self._requests)
        self._requests.clear()
        return taken

    def now_ns(self) -> int:
        """The engine's clock. On a recording it is the recording's time, and stands still between its ticks."""
        if self._recorded:
            return max(self.account.ts, getattr(self._feed, "start_ns", 0))
        return max(time_ns(), self.account.ts)

    def _drain(self) -> None:
        """Works the inbox off, in order, for a slice of time."""
        self._signaled = False
        until = perf_counter() + SLICE
        inbox = self._inbox
        if inbox and not self._recorded and type(inbox[0][1]) is Tick:
            first: Tick | None = inbox[0][1]
        else:
            first = None
        count = 0
        while inbox:
            self._serve_reads()
            number, item = inbox.popleft()
            if type(item) is Tick:
                self._take_posted_tick(item)
            else:
                item()
            self._taken = number
            if first is not None:
                self._meter.lag(time_ns() - first.received_ns)
                first = None
            count += 1
            if count & 63 == 0 and perf_counter() > until:
                break
        self._serve_reads()
        self._after_batch()
        if inbox:
            self._signal()

    def _signal(self) -> None:
        if not self._signaled:
            self._signaled = True
            self._loop.call_soon_threadsafe(self._drain)

    def _serve_reads(self) -> None:
        """Reads go ahead of others' posts, as soon as everything that their own thread posted was taken."""
        reads = self._reads
        for _ in range(len(reads)):
            after, answer = reads.popleft()
            if after <= self._taken:
                answer()
            else:
                reads.append((after, answer))

    def _take_posted_tick(self, tick: Tick) -> None:
        now = self.account.ts
        if self._recorded or tick.received_ns < now:
            tick.received_ns = now
        self._take_tick(tick)

    def _take_tick(self, tick: Tick) -> None:
        account = self.account
        while account.next_deadline() < tick.received_ns:
            self._publish(account.handle(ev.Wake(account.next_deadline())))
        before = account.ticks
        events = account.handle(tick)
        if account.ticks != before:
            self._meter.ticks += 1
            hub = self.stream.hub
            if hub.active:
                quote = account.markets[tick.instrument.symbol].quote
                if quote is not None:
                    hub.publish(quote)
        if events:
            self._publish(events)

    def _take(self, message: Any) -> list[ev.Event]:
        """One input other than a tick: handled, its events published."""
        events = self.account.handle(message)
        if events:
            self._publish(events)
            self._after_batch()
        return events

    def _publish(self, events: list[ev.Event]) -> None:
        """Events go to the journal; what they cause outside follows once they are durable."""
        if events:
            self._journal.append(events, partial(self._durable, events))

    def _durable(self, events: list[ev.Event]) -> None:
        changed: dict[str, Order] = {}
        for event in events:
            if isinstance(event, ev.Submit | ev.Modify | ev.Cancel) and self._broker.venue is None:
                self._requests.append(event)
            if isinstance(event, ev.Filled):
                self._call_back(Fill, event.fill)
                order_id: str | None = event.fill.client_order_id
            elif isinstance(event, ev.Submit | ev.OrderDenied):
                order_id = event.order.client_order_id
            else:
                order_id = getattr(event, "client_order_id", None)
            if isinstance(event, ev.Alarm):
                _log.warning("%s: %s", event.kind, event.message)
            order = self.account.orders.get(order_id) if order_id else None
            if order is not None:
                changed[order.client_order_id] = order
        for order in changed.values():
            self._call_back(Order, order)
            self._settle(order)

    def _after_batch(self) -> None:
        self._set_timer()
        for wake in self._watchers:
            wake()
        if self._idle_waiters:
            self._on_idle()

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _beat(self, due: float) -> None:
        """A regular look: how late the loop is, whether the machine slept, which handles are overdue."""
        now = self._loop.time()
        self._meter.stall(now - due)
        self._meter.sample()
        if not self._recorded:
            self._watch_clocks()
            self._wake()
        self._answer_overdue()
        self._loop.call_later(BEAT, self._beat, now + BEAT)

    def _watch_clocks(self) -> None:
        offset = time_ns() - monotonic_ns()
        drift = offset - self._clock_offset
        if abs(drift) > DRIFT_NS:
            self._clock_offset = offset
            reason = f"the clock jumped by {drift / 1e9:+.0f} s (the machine slept?), no tick since"
            _log.warning("%s", reason)
            self._take(ev.AgeQuotes(self.now_ns() + 1, reason))

    def _wake(self) -> None:
        now = self.now_ns()
        if now >= self.account.next_deadline():
            self._take(ev.Wake(now))

    def _set_timer(self) -> None:
        """A timer for the account's next deadline, where the next beat would be late for it."""
        deadline = self.account.next_deadline()
        if self._recorded or deadline == self._timer_ns:
            return
        self._timer_ns = deadline
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        delay = (deadline - self.now_ns()) / 1e9
        if delay < 1:
            self._timer = self._loop.call_later(max(delay, 0), self._wake)

    # ── feed ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _change_feed(self, state: FeedState, reason: str) -> None:
        self._take(ev.FeedChanged(self.now_ns(), state, reason))

    def _on_idle(self) -> None:
        """Somebody may have become idle; from any thread."""
        if self._idle_waiters:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._release_idle)

    def _is_idle(self) -> bool:
        return bool(self._waiting) or (not self._inbox and self.stream.hub.is_idle() and self._user.is_idle())

    def _release_idle(self) -> None:
        if self._idle_waiters and self._is_idle():
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def idle(self) -> None:
        while not self._is_idle():
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._idle_waiters.append(waiter)
            await waiter

    # ── posting ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _post(self, item: Any, ts: int = 0) -> None:
        """Puts something into the inbox, in order, from any thread."""
        with self._lock:
            if self._closing:
                raise EngineClosedError(f"the engine {self.name!r} is closed; make a new one")
            if ts:
                item.received_ns = ts
            self._posted = number = self._posted + 1
            self._inbox.append((number, item))
            signal = not self._signaled
            if signal:
                self._signaled = True
        self._mine.posted = number
        if signal:
            self._loop.call_soon_threadsafe(self._drain)

    def post_tick(self, tick: Tick) -> None:
        """Takes one update from any thread; the stream's door."""
        self._post(tick, time_ns())

    def last_quote(self, symbol: str) -> Tick | None:
        return self._read(lambda account: _quote(account, symbol))

    def all_quotes(self) -> list[Tick]:
        return self._read(lambda account: [m.quote for m in account.markets.values() if m.quote is not None])

    def _read(self, question: Callable[[Account], T]) -> T:
        if self._closed.is_set() or get_ident() == self._thread.ident:
            return question(self.account)
        answer: Future[T] = Future()

        def ask() -> None:
            try:
                answer.set_result(question(self.account))
            except BaseException as error:  # noqa: BLE001  handed to the caller
                answer.set_exception(error)

        self._reads.append((getattr(self._mine, "posted", 0), ask))
        try:
            self._loop.call_soon_threadsafe(self._serve_reads)
        except RuntimeError:  # it closed in between
            self._closed.wait()
            return question(self.account)
        while True:
            try:
                return answer.result(0.2)
            except TimeoutError:
                if answer.done():
                    raise
                if self._closed.is_set():
                    return question(self.account)

    def _send(self, command: ev.Command, what: str) -> OrderHandle:
        handle = OrderHandle(what, self._follow)
        handle.forbid(self._thread.ident)
        self._post(partial(self._take_command, command, handle))
        return handle

    def _take_command(self, command: ev.Command, handle: OrderHandle) -> None:
        account = self.account
        ts = self.now_ns()
        if isinstance(command, ev.SubmitOrder):
            handle.client_order_id = command.client_order_id or account.new_id(ts)
            command = replace(command, ts=ts, client_order_id=handle.client_order_id)
        else:
            command = replace(command, ts=ts)
            handle.client_order_id = getattr(command, "client_order_id", None)
        try:
            events = account.handle(command)
        except Exception as error:
            _log.exception("a command failed: %r", command)
            handle.fail(error)
            raise
        self._answer(command, events, handle)
        self._publish(events)
        self._after_batch()

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _answer(self, command: ev.Command, events: Sequence[ev.Event], handle: OrderHandle) -> None:
        """Answers a command, or waits for its orders. Called before its events are published."""
        denied = next((event for event in events if isinstance(event, ev.CommandDenied)), None)
        if denied is not None:
            known = self.account.orders.get(denied.client_order_id or "")
            self._answer_after(events, handle, OrderResult(False, denied.reason, known))
            return
        settled = _at_rest
        if isinstance(command, ev.SubmitOrder | ev.ModifyOrder):
            ids = [command.client_order_id]
        elif isinstance(command, ev.CancelOrder):
            ids, settled = [command.client_order_id], _is_final
        else:
            ids = [event.order.client_order_id for event in events if isinstance(event, ev.Submit)]
            ids += [event.client_order_id for event in events if isinstance(event, ev.Cancel)]
            settled = _is_final
        if ids:
            self._wait(Waiting(handle, ids, settled, self.now_ns() + ANSWER_NS), _success_text(command))
        else:
            self._answer_after(events, handle, OrderResult(True, _success_text(command), None))

    def _answer_after(self, events: Sequence[ev.Event], handle: OrderHandle, result: OrderResult) -> None:
        """An answer waits until the events it tells of are durable."""
        if events:
            self._journal.append([], partial(handle.resolve, result))
        else:
            handle.resolve(result)

    def _wait(self, waiting: Waiting, success: str) -> None:
        waiting.success_message = success
        if self._resolve(waiting):
            return
        for order_id in waiting.ids:
            self._waiting.setdefault(order_id, []).append(waiting)

    def _settle(self, order: Order) -> None:
        for waiting in list(self._waiting.get(order.client_order_id, ())):
            self._resolve(waiting)

    def _resolve(self, waiting: Waiting, *, overdue: str = "") -> bool:
        orders = [self.account.orders[order_id] for order_id in waiting.ids]
        if not overdue and not all(waiting.settled(order) for order in orders):
            return False
        for order_id in waiting.ids:
            rest = [other for other in self._waiting.get(order_id, ()) if other is not waiting]
            if rest:
                self._waiting[order_id] = rest
            else:
                self._waiting.pop(order_id, None)
        waiting.handle.resolve(_result(orders, waiting, overdue))
        return True

    def _answer_overdue(self, *, everything: bool = False) -> None:
        if not self._waiting:
            return
        now = self.now_ns()
        for waiting in {id(w): w for group in self._waiting.values() for w in group}.values():
            if everything or now >= waiting.deadline_ns:
                self._resolve(waiting, overdue="no answer yet")
        self._on_idle()

    def _follow(self, handle: OrderHandle, status: OrderStatus, timeout: float | None) -> Handle[OrderResult]:
        """`OrderHandle.wait_for`."""
        following = OrderHandle(f"{handle.client_order_id or 'order'} until {status}", self._follow)
        following.forbid(self._thread.ident)

        def follow() -> None:
            order_id = handle.client_order_id
            if order_id is None or order_id not in self.account.orders:
                following.resolve(OrderResult(False, "there is no order to wait for", None))
                return
            deadline = self.now_ns() + round(timeout * 1e9) if timeout is not None else 1 << 63
            reached = partial(_has_reached, status)
            self._wait(Waiting(following, [order_id], reached, deadline), f"{order_id} is {status}")

        self._post(follow)
        return following

    # ── callbacks ────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_fill(self, callback: Callable[[Fill], object]) -> Callable[[Fill], object]:
        """Calls `callback(fill)` after each fill is durable, on the thread for user code. Usable as a decorator."""
        self._callbacks[Fill][callback_key(callback)] = callback
        return callback

    def on_order(self, callback: Callable[[Order], object]) -> Callable[[Order], object]:
        """Calls `callback(order)` after each change of an order is durable. Usable as a decorator."""
        self._callbacks[Order][callback_key(callback)] = callback
        return callback

    def _call_back(self, kind: type, value: Any) -> None:
        for callback in tuple(self._callbacks[kind].values()):
            self._user.soon(partial(_guarded, callback, value))

    def _dispatch_ticks(self) -> None:
        """On the thread for user code: the ticks that wait for callbacks."""
        hub = self.stream.hub
        while hub.pending:
            tick = hub.pending.popleft()
            if hub.missed:
                tick, hub.missed = tick.conflated(hub.missed), 0
            for callback in hub.callbacks:
                _guarded(callback, tick)
        self._on_idle()

    # ── looking in ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def mode(self) -> str:
        return "REAL" if self._broker.real else "PAPER"

    @property
    def is_open(self) -> bool:
        """False once `close()` was called."""
        return not self._closing

    @property
    def journal(self) -> Journal:
        return self._journal

    def health(self) -> dict[str, Any]:
        """How the engine is: feed, ticks, ticks_per_second, tick_age (seconds by symbol), quarantined (count by reason),
        lag_ms (p50, p99, max), worst_stall_ms, journal, reconnects, subscribers (ticks behind), alarms."""
        facts = self._read(self._facts)
        lags = self._meter.lags_ms()
        return {**facts, "lag_ms": lags, "worst_stall_ms": self._meter.worst_stall_ms}

    def _facts(self, account: Account) -> dict[str, Any]:
        now = self.now_ns()
        quarantined = account.quarantined + self.stream.quarantined
        return {
            "feed": account.feed.state.value if self._feed is not None else FeedState.NONE.value,
            "ticks": account.ticks,
            "ticks_per_second": self._meter.rate(),
            "tick_age": {
                symbol: max(0.0, (now - market.quote.received_ns) / 1e9)
                for symbol, market in account.markets.items()
                if market.quote is not None
            },
            "quarantined": dict(quarantined),
            "journal": repr(self._journal),
            "reconnects": getattr(self._feed, "reconnects", 0),
            "subscribers": self.stream.hub.behind(),
            "alarms": [alarm.message for alarm in account.alarms],
        }

    def panel_snapshot(self, symbols: Sequence[str] | None) -> dict[str, object]:
        """What the panel shows; from any thread."""
        facts = self._read(lambda account: panel_snapshot(account, symbols, self.now_ns()))
        return {
            **facts,
            "name": self.name,
            "mode": self.mode,
            "ticks_per_second": self._meter.rate(),
            "closed": self._closing,
            "lag_ms": self._meter.lags_ms(),
            "worst_stall_ms": self._meter.worst_stall_ms,
        }

    def panel_watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake()` after each batch of ticks or events, on the engine's thread; gives back what ends it."""
        self._watchers = (*self._watchers, wake)

        def unwatch() -> None:
            self._watchers = tuple(other for other in self._watchers if other is not wake)

        return unwatch

    def panel_command(self, action: str) -> None:
        """Sends what a button of the panel means, without waiting."""
        with contextlib.suppress(EngineClosedError):
            {"halt": partial(self.halt, "panel"), "resume": self.resume, "flatten": self.flatten}[action]()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Stops the feed and the thread. Reads still answer; commands raise `EngineClosedError`. May be called again.

        Positions and stops that nothing saved are named in a `RuntimeWarning`: nobody watches them any more.
        """
        with self._lock:
            already, self._closing = self._closing, True
        if already:
            self._closed.wait(CLOSE_SECONDS)
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(lambda: self._tasks.append(self._loop.create_task(self._shut_down())))
        self._closed.wait(CLOSE_SECONDS)
        self.stream.detach([m.quote for m in self.account.markets.values() if m.quote is not None])
        self._user.stop()
        with _engines_lock:
            if _engines.get(self.name) is self:
                del _engines[self.name]
        self._warn_unwatched()

    async def _shut_down(self) -> None:
        while self._inbox:
            self._drain()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS / 2)
        if self._feed is not None:
            self._change_feed(FeedState.CLOSED, "the engine is closed")
        for waiting in {id(w): w for group in self._waiting.values() for w in group}.values():
            self._resolve(waiting, overdue="the engine was closed")
        self._serve_reads()
        self._after_batch()
        self._loop.stop()

    def _warn_unwatched(self) -> None:
        account = self.account
        if self._journal.saved:
            return
        held = [
            f"{item.instrument.quantity(item.quantity_raw)} {item.symbol}" for item in account.ledger.held()
        ]
        if held:
            exits = sum(len(bracket) for bracket in account.brackets.values())
            warnings.warn(
                f"the engine {self.name!r} was closed and nothing saved it: {', '.join(held)} "
                f"and {exits} exits are no longer watched",
                RuntimeWarning,
                stacklevel=3,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        figures = self._read(
            lambda a: (a.portfolio_value_raw, a.total_pnl_raw, sum(1 for _ in a.ledger.held()), len(a.open_orders), a.halted)
        )
        value, pnl, held, working, halted = figures
        state = "closed" if self._closing else "halted" if halted is not None else "open"
        return (
            f"<LiveTradingEngine {self.name} {self.mode} {state}: {money(value):,.2f} {self._currency}, "
            f"P&L {money(pnl):+,.2f}, {held} positions, {working} working orders>"
        )


class FeedSink:
    """What a feed sees of an engine (`ports.Sink`), on the engine's loop."""

    def __init__(self, engine: LiveTradingEngine) -> None:
        self._engine = engine
        self.zone: tzinfo = engine.account.zone

    def now(self) -> int:
        return self._engine.now_ns()

    def instrument(self, symbol: str) -> Instrument:
        return self._engine.stream.instrument(symbol)

    def register(self, instrument: Instrument) -> Instrument:
        return self._engine.stream.adopt(instrument)

    def tick(self, tick: Tick) -> None:
        engine = self._engine
        tick.received_ns = max(tick.received_ns, engine.account.ts)
        engine._take_tick(tick)
        engine._after_batch()

    def quarantine(self, reason: str) -> None:
        self._engine.account.quarantined[reason] += 1

    def state(self, state: FeedState, reason: str = "") -> None:
        self._engine._change_feed(state, reason)

    async def idle(self) -> None:
        await self._engine.idle()


class UserThread:
    """One thread for callbacks, started when the first is due."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: deque[Callable[[], None]] = deque()
        self._wake = ThreadEvent()
        self._stopped = False
        self._busy = False
        self._thread: Thread | None = None

    def soon(self, job: Callable[[], None]) -> None:
        self._jobs.append(job)
        if self._thread is None:
            self._thread = Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._wake.set()

    def is_idle(self) -> bool:
        return not self._jobs and not self._busy

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait()
            self._wake.clear()
            self._busy = True
            while self._jobs and not self._stopped:
                self._jobs.popleft()()
            self._busy = False

    def stop(self) -> None:
        """Lets the job that runs end; those that wait are done first where there is time."""
        deadline = perf_counter() + CLOSE_SECONDS / 3
        while self._jobs and self._thread is not None and perf_counter() < deadline and self._thread.ident != get_ident():
            ThreadEvent().wait(0.005)
        self._stopped = True
        self._wake.set()


def _guarded(callback: Callable[[Any], object], value: Any) -> None:
    """A callback that raises is logged and hurts nobody else; a slow one is named."""
    name = getattr(callback, "__qualname__", repr(callback))
    start = perf_counter()
    try:
        callback(value)
    except Exception:
        _log.exception("the callback %s failed", name)
    spent = perf_counter() - start
    if spent > SLOW_CALLBACK:
        _log.warning("the callback %s took %.0f ms; others wait for it", name, spent * 1000)


def _replace(engine: LiveTradingEngine) -> None:
    """A second engine of a name closes the first."""
    with _engines_lock:
        before, _engines[engine.name] = _engines.get(engine.name), engine
    if before is not None:
        before.close()
        with _engines_lock:
            _engines[engine.name] = engine


@atexit.register
def _close_all() -> None:
    for engine in list(_engines.values()):
        engine.close()


def engines() -> dict[str, LiveTradingEngine]:
    """The open engines of this process by name."""
    with _engines_lock:
        return dict(_engines)


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, TypeError):
        raise OrderError(f"timezone must be a name such as 'Asia/Kolkata', not {timezone!r}") from None


def _journal(journal: Journal | None, broker: Broker) -> Journal:
    if broker.real and (journal is None or not journal.saved):
        raise JournalError("a broker that moves real money needs a journal that outlives the process")
    if journal is None:
        return MemoryJournal()
    if isinstance(journal, MemoryJournal):
        return journal
    raise JournalError(f"journal must be a journal object such as MemoryJournal(), not {journal!r}")


def account_feed(account: Account) -> FeedState:
    return account.feed.state


def _quote(account: Account, symbol: str) -> Tick | None:
    market = account.markets.get(symbol)
    return market.quote if market is not None else None


def _is_final(order: Order) -> bool:
    return order.status in FINAL


def _at_rest(order: Order) -> bool:
    """Has an order come as far as its answer waits for?"""
    if order.status in FINAL:
        return True
    if order.order_type is OrderType.MARKET or order.time_in_force is TimeInForce.IOC:
        return False
    return order.status in (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED)


def _has_reached(status: OrderStatus, order: Order) -> bool:
    return order.status is status or order.status in FINAL


def _result(orders: Sequence[Order], waiting: Waiting, overdue: str) -> OrderResult:
    last = orders[-1]
    if overdue:
        return OrderResult(False, f"Not confirmed: {last.client_order_id} is {last.status}, {overdue}; do not send it again", last)
    failed = [order for order in orders if not _did_its_part(order, waiting)]
    if failed:
        order = failed[0]
        filled = f" after {order.filled_qty} of {order.quantity}" if order.filled_raw else ""
        return OrderResult(False, order.reason or f"{order.status}{filled}", order)
    return OrderResult(True, _told(last) if not waiting.success_message else waiting.success_message, last)


def _did_its_part(order: Order, waiting: Waiting) -> bool:
    if waiting.settled is _at_rest:
        return order.status in (OrderStatus.FILLED, OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED)
    if waiting.settled is _is_final:
        return order.status in (OrderStatus.FILLED, OrderStatus.CANCELED)
    return waiting.settled(order) and order.status not in (OrderStatus.DENIED, OrderStatus.REJECTED)


def _told(order: Order) -> str:
    if order.status is OrderStatus.FILLED:
        verb = "Bought" if order.side.sign > 0 else "Sold"
        return f"{verb} {order.filled_qty} {order.symbol} at {order.avg_price}"
    return f"Accepted: {order.side} {order.quantity} {order.symbol} {order.order_type}"


def _success_text(command: ev.Command) -> str:
    match command:
        case ev.SubmitOrder():
            return ""
        case ev.ModifyOrder():
            return f"Modified {command.client_order_id}"
        case ev.CancelOrder():
            return f"Canceled {command.client_order_id}"
        case ev.CancelAll():
            return "Canceled all working orders" + (f" of {command.symbol}" if command.symbol else "")
        case ev.SetExit():
            return f"{command.term.kind} of {command.symbol} {'disarmed' if command.disarms else 'armed'}"
        case ev.ClosePosition():
            return f"Closed {command.symbol or 'everything'}"
        case ev.Halt():
            return "Trading is halted: opening orders are refused, exits stay armed"
        case ev.Resume():
            return "Trading goes on"
        case ev.Transfer():
            return f"Transferred {money(command.amount_raw):,}"
