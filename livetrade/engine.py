"""The live shell: one thread, one asyncio loop, one inbox around an `Account`.

The engine's thread owns the account. Ticks, commands and reads are posted to its inbox; events go to the journal, and
what they cause outside (requests to a broker, answers, callbacks) waits until they are durable. User code runs on one
more thread, so a callback that sleeps or a cell that computes delays no stop.
"""

import asyncio
import contextlib
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, tzinfo
from functools import partial
from os import PathLike
from threading import Event, Lock, Thread, get_ident
from typing import TYPE_CHECKING, Any, Self, TypeVar

from livetrade import portfolio, registry
from livetrade.adapters.paper import PaperBroker
from livetrade.answers import Answers
from livetrade.brokerbooks import BrokerBooks
from livetrade.clock import Clock
from livetrade.columns import View
from livetrade.core import events as ev
from livetrade.core.account import Account, Margin
from livetrade.core.fees import DEFAULT_FEES
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import FeedState, OrderStatus, Product
from livetrade.core.limits import Limits
from livetrade.core.numbers import Number, at, counted, money_raw, zone_named
from livetrade.core.records import replaced
from livetrade.core.schedules import Fees
from livetrade.core.ticks import Tick
from livetrade.errors import BrokerError, EngineClosedError
from livetrade.handle import Handle
from livetrade.inbox import Inbox
from livetrade.journal import Journal
from livetrade.lookup import ASKING, Unsettled, look_up
from livetrade.nested import refuse_broken_patch
from livetrade.options import (
    changed_rules,
    check_currency,
    check_money,
    check_name,
    check_parts,
    check_rules,
    check_same_account,
    check_same_cash,
    check_stream,
    fees_for,
    journal_for,
    limits_for,
    margin_for,
    opening_cash,
)
from livetrade.outbox import STRATEGY_FAILED, Listener, Outbox
from livetrade.ports import Broker, BrokerOrder, Feed, Statement
from livetrade.preview import Preview, preview_of
from livetrade.readers import Reader
from livetrade.reads import view_of
from livetrade.reconciling import (
    RECONCILE,
    Compared,
    blocks,
    compared,
    foreign,
)
from livetrade.requests import RequestQueue
from livetrade.sleepers import Sleepers
from livetrade.snapshot import Meter, panel_snapshot
from livetrade.stream import LivePriceStream
from livetrade.summary import headline
from livetrade.surface import OrderHandle, OrderResult, Surface, taken_at
from livetrade.ticklog import TickLog
from livetrade.usercode import Callbacks, UserThread, guarded
from livetrade.version import __version__

if TYPE_CHECKING:
    from livetrade.levels import Level
    from livetrade.lockstep import LockStep
    from livetrade.recorder import Recording
    from livetrade.why import Why

T = TypeVar("T")

CLOSE_SECONDS = 1.5
BEAT = 0.05
HELD_UP = 100
"""Beats (5 s) that a tick waits for user code before that is named in the log."""
RECORDING_SECONDS = 10.0
"""How long an engine's end waits for recordings to be closed."""
BROKER_SECONDS = 30.0
GLANCE_SECONDS = 2.0
"""How long what only shows the engine waits for its thread."""
SECOND_LOOKS = (0.3, 1.0)
"""Seconds until a broker is asked again whose fills are not ours: a report may be on its way."""
RECORD_EVERY = 5
"""Ticks are handed to the journal on every fifth beat, and with every event."""

_log = logging.getLogger("livetrade")


class LiveTradingEngine(BrokerBooks, Surface):
    """A live engine: an account on its own thread, trading the prices of its stream.

    It starts by itself; use it as a context manager, or `close()` it. An engine of the same `name` in this process is
    closed first, so that running a cell twice leaves one engine.

    cash: the opening cash; an account that goes on from its journal needs none, and a new one takes what a real broker
    says may be spent. stream: a `LivePriceStream` that you post to, made here when left out. feed: what fills it
    (`SimulatedFeed`, `RecordedFeed`, ...). broker: `PaperBroker()` unless named. journal: a path (or a `FileJournal`)
    where everything is kept, and from where the next engine goes on; in memory unless named. fees, limits: see
    `DEFAULT_FEES`, `Limits`; left out, an account that goes on keeps its own. margin: `RateMargin(...)`, or a callable
    `(account, order) -> Decimal`; positions are paid in full without. instruments: `Instrument`s to register.
    trigger_by: "quote" (stops watch the bid or ask) or "last". timezone: how naive times are meant and how times read;
    the day rolls at its midnight. currency: what money is in.

    Every command raises `OrderError` for wrong use, in the caller, and `EngineClosedError` once it is closed. What the
    market, the limits or the account refuse is an answer: `success=False`, and a message that says why.

    Raises `OrderError` for wrong arguments, `FeedError` for a feed that cannot begin, `JournalError` for a journal that
    is in use, damaged, or of another account.
    """

    # What it runs on; a simulation puts its own time and no threads in their place.
    _new_loop = staticmethod(asyncio.new_event_loop)
    _new_clock = Clock
    _new_thread = Thread
    _new_user_thread = UserThread

    def __init__(
        self,
        cash: Number | None = None,
        stream: LivePriceStream | None = None,
        *,
        feed: Feed | None = None,
        broker: Broker | None = None,
        journal: Journal | str | PathLike[str] | None = None,
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
        super().__init__()
        self.name = name
        check_name(name)
        check_stream(stream)
        check_parts(feed, broker, instruments)
        check_rules(fees, limits, margin, trigger_by)
        check_currency(currency)
        self._zone, self._timezone, self._currency = zone_named(timezone), timezone, currency
        self._broker = broker if broker is not None else PaperBroker()
        self._journal = journal_for(self._broker, journal, name)
        cash = opening_cash(cash, self._broker, self._journal)
        check_money(cash, self._journal)
        self._feed = feed
        venue = self._broker.venue
        if venue is not None:
            venue.trigger_by = trigger_by
        self.account = Account(venue=venue, limits=limits, fees=fees, margin=margin, trigger_by=trigger_by)
        self._make_parts()

        self.stream = stream if stream is not None else LivePriceStream(timezone=timezone)
        succeeds = False
        try:
            succeeds = registry.close_namesake(name)
            self.stream.register(*instruments)
            self._journal.open()  # which lets go of it by itself where that fails
        except BaseException as error:
            self._give_up(error, succeeds=succeeds)
            raise
        try:
            self._reopen(cash, fees, limits, margin)
            self._opening_quotes = self.stream.attach(self, self._zone)
            self._steps = self._new_lock_step()
        except BaseException as error:
            self._give_up(error, succeeds=succeeds)
            self._journal.close(0)
            raise
        self._start()
        registry.close_namesake(name, successor=self)

    def _give_up(self, error: BaseException, *, succeeds: bool) -> None:
        """It cannot begin; and the one that it was to succeed has ended."""
        self._loop.close()
        if succeeds:
            error.add_note(f"The engine {self.name!r} from before is closed, and no other one watches its exits.")

    def _make_parts(self) -> None:
        self._closing = False
        self._close_lock = Lock()
        self._closed = Event()
        self._answers = Answers(self.account)
        self._lock_step = bool(getattr(self._feed, "lock_step", False))
        self._users: tuple[UserThread, ...] = ()
        self._user = self._make_user_thread("user")
        self._sleepers = Sleepers(self._on_idle)
        self._on_fill = Callbacks(self._user)
        self._on_order = Callbacks(self._user)
        self._watchers: tuple[Callable[[], None], ...] = ()
        self._tasks: list[asyncio.Task[None]] = []
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._held_up = 0
        self._requests = RequestQueue()
        callbacks = self._on_fill, self._on_order
        requests = None if self._broker.venue else self._requests
        self._outbox = Outbox(self.account, self._journal, self._answers, callbacks, self._take_now, requests)
        self._recordings: list[Recording] = []
        self._ticklog = TickLog(record=self._journal.record if self._journal.keeps_ticks else None)
        start_ns = None if self._feed is None else self._feed.start_ns(self._zone)
        self._recorded = start_ns is not None
        self._start_ns = start_ns or 0
        self._feed_ended = False
        self._clock = self._new_clock()
        self._meter = Meter(self._clock.now_ns)
        self._beats = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._loop = self._new_loop()
        self._inbox = Inbox(self._loop, self._take_posted_tick, self._after_batch, self._clock.now_ns)
        self._thread = self._new_thread(target=self._run, name=f"livetrade-{self.name}", daemon=True)
        self._started: Future[None] = Future()

    def _reopen(self, cash: Number | None, fees: Fees, limits: Limits | None, margin: Margin | None) -> None:
        """Folds what happened before, if anything did; then it is known what goes on."""
        account = self.account
        account.ts = self._journal.restore(account)
        if not self._recorded:
            self._clock.go_on_from(account.ts)
        check_same_cash(account, cash)
        check_same_account(account, self._currency, self._timezone, self.mode)
        self._cash_raw = money_raw(cash if cash is not None else 0, "cash")
        self._outbox.durable_seq = account.seq
        account.limits = limits_for(account, limits)
        account.fees = fees_for(account, fees)
        account.margin = margin_for(account, margin)
        self._notes = [*self._journal.notes, *changed_rules(account, account.margin, account.trigger_by)]
        for instrument in account.instruments.values():
            self.stream.restore(instrument)

    def _start(self) -> None:
        """Runs the thread; what goes wrong there is raised here."""
        hub = self.stream.hub
        hub.open()
        hub.dispatch = partial(self._user.soon, self._dispatch_ticks)
        hub.on_idle = self._on_idle
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self.close()
            raise

    # ── the engine's thread ──────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._inbox.belong_here()
        try:
            self._open()
        except BaseException as error:  # noqa: BLE001  handed to the thread that makes the engine
            self._started.set_exception(error)
        else:
            self._started.set_result(None)
            self._loop.run_forever()
        finally:
            self._inbox.end()
            self._loop.close()

    def _open(self) -> None:
        account = self.account
        ts = self.now_ns()
        self._journal.start(self._post_here, self._outbox.look)
        if account.opened is None:
            self._publish(account.open(ts, self._cash_raw, self._currency, self._timezone))
        self._publish(account.start_session(ts, __version__, self.mode, self._notes))
        if not self._broker.venue and account.orders:
            self._take_now(ASKING)
        self._publish(account.handle(ev.Wake(account.ts)))
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
            if self.account.feed.state not in (FeedState.CLOSED, FeedState.FAILED):
                self._change_feed(FeedState.CLOSED, "the feed has ended")
        except Exception as error:  # noqa: BLE001  a task's edge: whatever it is, the engine lives on
            _log.exception("the feed of engine %s failed", self.name)
            self._change_feed(FeedState.FAILED, str(error) or type(error).__name__)
        finally:
            self._feed_ended = True
            if self._recorded:
                self._answers.end("the recording has ended")
                self.stream.hub.end_readers()
                self._sleepers.end()
                self._after_batch()

    async def _run_broker(self) -> None:
        try:
            unsettled = await look_up(self._broker, self.account, self._take_news, self._requests.append)
            await self._broker.run(self._requests, partial(self._take_broker_news, unsettled))
        except Exception as error:  # noqa: BLE001  a task's edge: whatever it is, the engine lives on
            _log.exception("the broker of engine %s failed", self.name)
            self._take(ev.Halt(self.now_ns(), f"the broker connection failed: {error}"))

    def _take_broker_news(self, unsettled: Unsettled, news: ev.News) -> None:
        self._take_news(news)
        if not isinstance(news, ev.BrokerPosition | ev.BlockOpening):
            unsettled.heard(news.client_order_id)

    def now_ns(self) -> int:
        """The engine's clock. On a recording it is the recording's time, and stands still between its ticks."""
        if self._recorded:
            return max(self.account.ts, self._start_ns)
        return max(self._clock.now_ns(), self.account.ts)

    def now(self) -> datetime:
        """The engine's time, in its time zone; on a recording it stands still between ticks."""
        return self._read(lambda account: at(self.now_ns(), account.zone))

    def _take_posted_tick(self, tick: Tick) -> None:
        posted_ns = tick.received_ns
        if self._recorded or posted_ns < self.account.ts:
            tick.received_ns = self.now_ns()
        self._take_tick(tick)
        self._meter.count_lag(posted_ns)

    def _take_tick(self, tick: Tick) -> None:
        account = self.account
        try:
            while account.next_deadline() <= tick.received_ns:
                self._recorded_time(account.next_deadline())
                self._publish(account.handle(ev.Wake(account.next_deadline())))
            self._recorded_time(tick.received_ns)
            before = account.ticks
            events = account.handle(tick)
        except Exception as error:  # noqa: BLE001  one tick costs itself, never the thread that watches the stops
            self._fault(error)
            return
        if self._sleepers:
            self._sleepers.wake(account.ts)
        if account.ticks != before:
            self._meter.ticks += 1
            quote = account.markets[tick.instrument.symbol].quote
            if quote is not None:
                self._ticklog.add(quote)
                if self.stream.hub.active:
                    self.stream.hub.publish(quote)
        if events:
            self._publish(events)

    def _recorded_time(self, ts: int) -> None:
        """A recording's time passes with its ticks; what is overdue then is answered before the tick that is next."""
        if self._recorded and self._answers:
            self._answers.overdue(ts)

    def _fault(self, error: Exception) -> None:
        """Something that has no right to happen: said loudly, and no new position is opened on it."""
        _log.critical("engine %s: %r; trading is halted, exits stay armed", self.name, error, exc_info=error)
        if self.account.halted is None:
            self._take(ev.Halt(self.now_ns(), f"internal error: {error!r}"))

    def _take(self, message: Any) -> list[ev.Event]:
        """One input other than a tick: handled, its events published."""
        events = self.account.handle(message)
        if events:
            self._publish(events)
            self._after_batch()
        return events

    def _take_now(self, message: ev.News) -> None:
        self._take(replaced(message, ts=self.now_ns()))

    def _take_news(self, news: ev.News) -> None:
        try:
            self._take_now(news)
        except Exception as error:  # noqa: BLE001  one report costs itself, never the connection to the broker
            self._fault(error)

    # ── events, and what they cause ──────────────────────────────────────────────────────────────────────────────────

    def _publish(self, events: list[ev.Event], answer: Callable[[], None] | None = None) -> None:
        """Events go to the journal, behind the ticks before them; what they cause outside, the answer included, follows
        once they are durable."""
        if events:
            self._ticklog.hand_over()
        if events or answer:
            self._outbox.put(events, answer)

    def _post_here(self, job: Callable[[], None]) -> None:
        """From the journal's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(job)
            self._on_idle()

    def _after_batch(self) -> None:
        self._set_timer()
        self._wake_watchers()
        self._let_users_in()
        if self._idle_waiters:
            self._on_idle()

    def _wake_watchers(self) -> None:
        for wake in self._watchers:
            guarded(wake)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _beat(self, due: float) -> None:
        """A regular look: how late the loop is, whether the machine slept, which handles are overdue."""
        now = self._loop.time()
        self._loop.call_later(BEAT, self._beat, now + BEAT)
        self._meter.stall(now - due)
        self._meter.sample()
        self._beats += 1
        if self._beats % RECORD_EVERY == 0:
            self._ticklog.hand_over()
        self._outbox.beat()
        if not self._recorded:
            self._watch_clocks()
            self._wake()
        if self._recorded and self._feed_ended:
            self._answers.end("the recording has ended")
        elif self._answers:
            self._answers.overdue(self.now_ns())
        if self._inbox:
            self._inbox.work()
        self._release_idle()
        self._name_who_holds_up()

    def _name_who_holds_up(self) -> None:
        self._held_up = self._held_up + 1 if self._idle_waiters else 0
        if self._held_up == HELD_UP:
            _log.warning("the recording waits for %s", self._steps.who_works(self._users) or "answers on their way")

    def _watch_clocks(self) -> None:
        """A machine that slept, or whose time was set. Set back, the engine's own clock goes on regardless."""
        jump = self._clock.watch()
        if jump is not None:
            reason = f"the clock jumped by {jump.wall_ns / 1e9:+.0f} s (the machine slept?), no tick since"
            _log.warning("%s", reason)
            self._take(ev.ClockJumped(self.now_ns() + 1, jump.moved_ns, reason))

    def _wake(self) -> None:
        now = self.now_ns()
        if now >= self.account.next_deadline():
            self._take(ev.Wake(now))

    def _on_timer(self) -> None:
        """It may come a little early, while the engine's clock waits for the wall clock."""
        self._timer_ns = 0
        self._wake()
        self._set_timer()

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
            self._timer = self._loop.call_later(max(delay, 0), self._on_timer)

    # ── feed ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _change_feed(self, state: FeedState, reason: str) -> None:
        self._take(ev.FeedChanged(self.now_ns(), state, reason))

    def _on_idle(self) -> None:
        """Somebody may have become idle; from any thread."""
        if self._idle_waiters or self._lock_step:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._release_idle)

    def _new_lock_step(self) -> "LockStep":
        from livetrade.lockstep import LockStep

        return LockStep(self.stream.hub, self._answers, self._sleepers, self._strategies)

    def _let_users_in(self) -> None:
        """In lock-step: the turn of user code, once nothing is left to do here."""
        if not self._lock_step:
            return
        ready = [user for user in self._users if user.is_ready()]
        if ready and not self._inbox and (not self._outbox or self._outbox.fault):  # in this order, as in `_is_idle`
            for user in ready:
                user.let_in()

    def _is_idle(self) -> bool:
        """Lock-step may go on."""
        if not self._steps.is_idle(self._users):
            return False
        return not (self._inbox or self._outbox)  # looked at last: who posts and then asks is seen to have posted

    def _release_idle(self) -> None:
        self._let_users_in()
        if self._idle_waiters and self._is_idle():
            waiters, self._idle_waiters = self._idle_waiters, []
            self._held_up = 0
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def idle(self) -> None:
        while True:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._idle_waiters.append(waiter)  # before the look, so that nobody becomes idle unheard
            if self._is_idle():
                self._idle_waiters.remove(waiter)
                return
            await waiter

    # ── posting ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def post_tick(self, tick: Tick) -> None:
        """Takes one update from any thread; the stream's door."""
        self._inbox.post(tick)

    def join(self, reader: Reader[Any]) -> dict[str, Any]:
        """Offers a reader of bars the ticks from now on; gives those of its symbol from before."""

        def join(_: Account) -> dict[str, Any]:
            self.stream.hub.join(reader)
            return self._ticklog.copy(reader.symbol or "")

        return self._read(join)

    def _read(self, question: Callable[[Account], T]) -> T:
        return self._inbox.ask(partial(question, self.account))

    def _glance(self, question: Callable[[Account], T]) -> T | None:
        try:
            return self._inbox.ask(partial(question, self.account), GLANCE_SECONDS)
        except TimeoutError:
            return None

    def _preview(self, command: ev.SubmitOrder) -> Preview:
        if self._closing:
            raise self._ended()
        return self._read(lambda account: preview_of(account, command, self.now_ns()))

    def _why(self, order_id: str) -> "Why | None":
        from livetrade.why import why_of

        return why_of(self._journal.past(), order_id)

    def _levels(self, symbol: str) -> "Sequence[Level]":
        from livetrade.levels import levels_of

        return levels_of(self._journal.past(), symbol)

    def _read_ticks(self, symbol: str) -> tuple[dict[str, Any], View]:
        return self._read(lambda account: (self._ticklog.copy(symbol), view_of(account)))

    def _send(self, command: ev.Command, what: str) -> OrderHandle:
        handle = OrderHandle(what, self._follow)
        handle.bind(self._thread.ident, self._on_idle)
        handle.until_taken = partial(self._read, _nothing)
        self._inbox.post(partial(self._take_command, command, handle))
        return handle

    def _take_command(self, command: ev.Command, handle: OrderHandle) -> None:
        account = self.account
        self._outbox.look()
        ts = self.now_ns()
        command = taken_at(ts, command, handle, account)
        try:
            events = account.handle(command)
            self._publish(events, partial(self._answers.take, command, events, handle, ts))
        except Exception as error:  # noqa: BLE001  handed to the caller; the thread lives on
            handle.fail(error)
            self._fault(error)
        self._after_batch()

    def _follow(self, handle: OrderHandle, status: OrderStatus, timeout: float | None) -> Handle[OrderResult]:
        """`OrderHandle.wait_for`."""
        following = OrderHandle(f"{handle._order_id or 'order'} until {status}", self._follow)
        following.bind(self._thread.ident, self._on_idle)

        def follow() -> None:
            deadline = 1 << 63 if timeout is None else self.now_ns() + round(timeout * 1e9)
            self._answers.follow(following, handle.client_order_id, status, deadline)

        self._inbox.post(follow)
        return following

    # ── user code ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _make_user_thread(self, name: str) -> UserThread:
        user = self._new_user_thread(f"livetrade-{self.name}-{name}", self._on_idle)
        if self._lock_step:
            user.hold()
        self._users = (*(other for other in self._users if not other.has_stopped), user)
        return user

    def _own_user_thread(self, name: str) -> UserThread:
        return self._make_user_thread(name)

    def _strategy_failed(self, name: str, error: BaseException) -> None:
        with contextlib.suppress(EngineClosedError):
            message = f"the strategy {name} failed: {error!r}"
            self._inbox.post(partial(self._alarm, STRATEGY_FAILED, message))

    def _alarm(self, kind: str, message: str) -> None:
        self._take(ev.BlockOpening(self.now_ns(), kind, alarm=message))

    async def _sleep(self, seconds: float) -> None:
        due_ns = self.now_ns() + round(seconds * 1e9)
        if self._recorded:
            await self._sleepers.until(due_ns)
            return
        await asyncio.sleep(seconds)
        left_ns = due_ns - self.now_ns()
        if left_ns > 0:  # the engine's clock waits for the wall clock now and then
            await self._sleep(left_ns / 1e9)

    def record(self, folder: str | PathLike[str]) -> "Recording":
        """Writes every tick into a folder of Parquet files, until the handle's `stop()` or the engine's end.

        A file for each day, and for each million ticks of one; `read_ticks(folder)` and `RecordedFeed(folder)` take the
        folder, while it is written too. A killed process loses the ticks of about its last quarter of a second.
        Needs pyarrow: raises `ImportError` without it, `OrderError` for a folder that cannot be written to or that
        another engine records into, `EngineClosedError`.
        """
        from livetrade.recorder import Recording

        if self._closing:
            raise EngineClosedError(f"the engine {self.name!r} is closed; nothing comes that could be recorded")
        recording = Recording(folder, self._zone)
        self._read(lambda _: self._ticklog.join(recording.take))
        recording.attached(lambda: self._read(lambda _: self._ticklog.leave(recording.take)))
        self._recordings.append(recording)
        if not self.is_open:  # meanwhile, and perhaps past those that it knew of
            recording.stop()
        return recording

    # ── the broker's books ───────────────────────────────────────────────────────────────────────────────────────────

    def broker_rows(self) -> list[tuple[BrokerOrder, bool]]:
        rows = self._ask_broker().orders or ()
        return self._read(lambda account: list(zip(rows, foreign(account, rows), strict=True)))

    def compared(self, accept: bool) -> list[Compared]:
        found = self._compare_with_broker()
        for wait in SECOND_LOOKS:
            if not any(each.difference_raw for each in found):
                break
            self._closed.wait(wait)
            found = self._compare_with_broker()
        self._read(lambda account: self._settle_differences(account, found, accept=accept))
        return found

    def _compare_with_broker(self) -> list[Compared]:
        statement = self._ask_broker()
        return self._read(lambda account: _found(account, statement, self._broker))

    def _ask_broker(self) -> Statement:
        if self._closing:
            raise self._ended()
        asked = asyncio.run_coroutine_threadsafe(self._broker.statement(()), self._loop)
        try:
            return asked.result(BROKER_SECONDS)
        except TimeoutError:
            asked.cancel()
            failure = f"the broker did not answer within {BROKER_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001  a port's edge
            failure = f"the broker cannot be asked: {error}"
        raise BrokerError(failure)

    def _settle_differences(self, account: Account, found: Sequence[Compared], *, accept: bool) -> None:
        if accept:
            for each in found:
                self._take(ev.DifferenceAccepted(self.now_ns(), each.symbol, each.product, each.difference_raw))
        told = blocks(account, found)
        for symbol in {each.symbol for each in found}:
            self._take(ev.BlockOpening(self.now_ns(), RECONCILE, told.get(symbol, ""), symbol=symbol))

    # ── looking in ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def mode(self) -> str:
        """PAPER, or REAL where orders go to a broker with real money."""
        return "REAL" if self._broker.real else "PAPER"

    def _state(self) -> str:
        return "closed" if self._closing else "halted" if self.account.halted is not None else "open"

    @property
    def registered_as(self) -> str:
        return self.name

    @property
    def is_open(self) -> bool:
        """False once `close()` was called."""
        return not self._closing

    @property
    def journal(self) -> Journal:
        """Where its events are kept."""
        return self._journal

    @property
    def feed(self) -> Feed | None:
        """What fills the stream; None where prices are posted by hand."""
        return self._feed

    def health(self) -> dict[str, Any]:
        """How the engine is: feed, feed_reason, ticks, ticks_per_second, tick_age (seconds by symbol), quarantined
        (count by reason), lag_ms (p50, p99, max), worst_stall_ms, journal, reconnects, subscribers (ticks behind),
        alarms."""
        facts = self._read(self._facts)
        lags = self._meter.lags_ms()
        return {**facts, "lag_ms": lags, "worst_stall_ms": self._meter.worst_stall_ms}

    def _facts(self, account: Account) -> dict[str, Any]:
        now = self.now_ns()
        quarantined = account.quarantined + Counter(dict(self.stream.quarantined))
        return {
            "feed": account.feed.state.value if self._feed is not None else FeedState.NONE.value,
            "feed_reason": account.feed.reason,
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

    def _panel_source(self) -> Self:
        return self

    def panel_snapshot(self, symbols: Sequence[str] | None) -> dict[str, object]:
        """What the panel shows; from any thread."""
        facts = self._read(lambda account: panel_snapshot(account, symbols, self.now_ns()))
        return {
            **facts,
            "name": self.name,
            "mode": self.mode,
            "ticks_per_second": self._meter.rate(),
            "closed": self._closed.is_set(),
            "lag_ms": self._meter.lags_ms(),
            "worst_stall_ms": self._meter.worst_stall_ms,
        }

    def listen(self, listener: Listener) -> tuple[int, Callable[[], None]]:
        """Tells `listener` of events that become durable from now on, on the engine's thread. Gives back the number of
        the last one before them, and what ends it."""
        return self._read(lambda _: (self._outbox.durable_seq, self._outbox.listen(listener)))

    def panel_watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake()` after each batch of ticks or events, on the engine's thread; gives back what ends it."""
        self._watchers = (*self._watchers, wake)

        def unwatch() -> None:
            self._watchers = tuple(other for other in self._watchers if other is not wake)

        return unwatch

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Cancels the strategies, which get a moment to clean up, and stops the feed and the thread. Reads still
        answer; commands raise `EngineClosedError`. May be called again.

        Positions and stops that nothing saved are named in a `RuntimeWarning`: nobody watches them any more.
        """
        with self._close_lock:
            already, self._closing = self._closing, True
        if already:
            self._closed.wait(CLOSE_SECONDS)
            return
        try:
            self._end_strategies()
            self._inbox.close(self._ended())
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(lambda: self._tasks.append(self._loop.create_task(self._shut_down())))
            self._inbox.wait_for_end(CLOSE_SECONDS)
        finally:  # an interrupt too leaves the stream and the name free
            self.stream.detach(self, portfolio.quotes(self.account))
            registry.forget(self)
            self._closed.set()
        self._wake_watchers()  # only now are the numbers the last ones
        self._end_panels()
        for user in self._users:
            user.stop(CLOSE_SECONDS / 3)
        if get_ident() != self._thread.ident:
            self._thread.join(CLOSE_SECONDS / 3)
        self._let_go()

    def _end_strategies(self) -> None:
        for user in self._users:
            user.free()
        seconds = CLOSE_SECONDS / 3 if get_ident() != self._thread.ident else 0
        stubborn = self._strategies.close(seconds)
        if stubborn:
            _log.warning(
                "engine %s was closed while %s ran on: canceled, and not ended", self.name, ", ".join(stubborn)
            )

    async def _shut_down(self) -> None:
        try:
            left_out = self._inbox.drain_all(CLOSE_SECONDS / 3)
            if left_out:
                _log.warning("engine %s was closed with %d ticks still waiting; they were dropped", self.name, left_out)
            tasks = [task for task in self._tasks if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=CLOSE_SECONDS / 3)
            if self._feed is not None:
                self._change_feed(FeedState.CLOSED, "the engine is closed")
            self._take(ev.EndSession(self.now_ns()))
            await self._outbox.emptied(CLOSE_SECONDS / 3)
            self._answers.end("the engine was closed")
            self._after_batch()
        finally:
            self._loop.stop()

    def abandon(self) -> None:
        """In a forked child: the engine's thread stayed behind in the parent."""
        self._closing = True
        self._journal.abandon()
        for recording in self._recordings:
            recording.abandon()
        self._inbox.abandon(EngineClosedError(f"the engine {self.name!r} runs in the process that was forked"))
        self._closed.set()

    def _let_go(self) -> None:
        saved = self._journal.close(CLOSE_SECONDS / 3)
        for recording in self._recordings:
            recording.stop(RECORDING_SECONDS)
        if not saved:
            warnings.warn(
                f"the engine {self.name!r} was closed and its last events are not saved: {self._journal!r}",
                RuntimeWarning,
                stacklevel=registry.levels_outside(),
            )
        self._warn_unwatched()

    def _ended(self) -> EngineClosedError:
        return EngineClosedError(f"the engine {self.name!r} is closed; make a new one")

    def _warn_unwatched(self) -> None:
        account = self.account
        held = [f"{book.instrument.quantity(book.quantity_raw)} {book.symbol}" for book in account.ledger.held()]
        if not held or self._journal.saved:
            return
        exits = sum(len(bracket) for bracket in account.brackets.values())
        warnings.warn(
            f"the engine {self.name!r} was closed and nothing saved it: {', '.join(held)} and "
            f"{counted(exits, 'exit is', 'exits are')} no longer watched",
            RuntimeWarning,
            stacklevel=registry.levels_outside(),
        )

    def __repr__(self) -> str:
        figures = self._glance(headline) or "its thread is busy and does not answer"
        return f"<LiveTradingEngine {self.name} {self.mode} {self._state()}: {figures}>"


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
        now = tick.received_ns if engine._recorded else engine.now_ns()
        if not engine.account.ts <= tick.received_ns <= now:
            tick.received_ns = max(now, engine.account.ts)
        received_ns = tick.received_ns
        engine._take_tick(tick)
        if not engine._recorded:
            engine._meter.count_lag(received_ns)
        engine._after_batch()

    def quarantine(self, reason: str) -> None:
        self._engine.account.quarantined[reason] += 1

    def state(self, state: FeedState, reason: str = "") -> None:
        self._engine._change_feed(state, reason)

    def lost(self, symbol: str, reason: str) -> None:
        self._engine._take(ev.QuoteLost(self._engine.now_ns() + 1, symbol, reason))

    def alarm(self, message: str) -> None:
        self._engine._alarm("feed", message)

    async def idle(self) -> None:
        await self._engine.idle()


def _found(account: Account, statement: Statement, broker: Broker) -> list[Compared]:
    """A simulated venue fills nothing that the account does not know."""
    if broker.venue is None:
        return compared(account, statement)
    held: dict[tuple[str, Product], int] = {}
    for book in account.ledger.books.values():
        held[book.symbol, book.product] = held.get((book.symbol, book.product), 0) + book.quantity_raw
    return compared(account, Statement({}, held))


def _nothing(_: Account) -> None:
    """A question whose answer tells that all that was posted before was taken."""
