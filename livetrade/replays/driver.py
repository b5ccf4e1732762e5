"""The driver of a replay: rows in, an account stepped, strategies run, in virtual time and on one thread.

It does what a live engine does in lock-step, in the same order: deadlines that lie before a tick, answers that are
overdue by it, the tick, its readers, its events and what they cause; then the strategies, until each of them awaits
what only a later tick can bring.

Nearly every row is plain (`source`), and falls into a stretch of time where nothing is due and between the prices where
nothing fires: it only marks its symbol and goes to its readers. `_play` takes those by themselves, as `Account.handle`
would; all others go through `_take_row`.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from operator import length_hint
from typing import Any, cast

from livetrade.answers import Answers
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.kinds import FeedState, OrderStatus
from livetrade.core.state import Market
from livetrade.core.ticks import PriceTick, Tick
from livetrade.journal import MemoryJournal
from livetrade.outbox import changed_orders
from livetrade.replays.source import Recording, Row, Rows
from livetrade.replays.stream import ReplayStream, ReplayTicks, Subscription
from livetrade.replays.tasks import Awaited, Call, Job, ReplayOrderHandle, Task, Turns
from livetrade.surface import taken_at
from livetrade.usercode import Callbacks, UserThread, guarded

NEVER = 1 << 63
ENDED = "the recording has ended"


class Driver:
    """Plays one recording to one account and its strategies, once.

    failed: hears of a strategy that raised.
    """

    def __init__(self, account: Account, stream: ReplayStream, failed: Callable[[Task], None]) -> None:
        self.account = account
        self.turns = Turns()
        self.journal = MemoryJournal()
        self.answers = Answers(account)
        user = cast("UserThread", _UserJobs(self.turns))
        self.on_fill, self.on_order = Callbacks(user), Callbacks(user)
        self._stream = stream
        self._failed = failed
        self._naps = Naps(self.turns)
        self.tasks: list[Task] = []
        self._rows = 0  # taken before the part that plays now
        self._in_part = 0  # how many it has
        self._left: Iterator[int] = iter(())  # the codes of its rows that are still to be taken
        self._due_ns = 0  # up to here a row can be taken by itself; 0 where somebody has to look first
        self._asked = False  # for something, since the only reader was given its last tick
        self._markets: list[Market | None] = []
        self._readers: list[tuple[Subscription[Any], ...]] = []  # of each symbol
        self._part: Rows
        self._rest: Iterator[Row] = iter(())  # of its rows
        self._is_read: list[bool] = []  # each symbol
        self._callbacks: tuple[Callable[[Tick], object], ...] = ()
        self._alone: Subscription[Any] | None = None  # the only one of the only strategy, where that is so
        self._symbols: Sequence[str] = ()
        stream.changed = self._readers_changed
        stream.follow = self.follow_alone

    # ── the beginning and the end ────────────────────────────────────────────────────────────────────────────────────

    def open(self, recording: Recording, cash_raw: int, currency: str, timezone: str, version: str) -> None:
        account = self.account
        account.ts = recording.start_ns
        self._symbols = recording.symbols
        self._markets = [None] * (len(recording.symbols) + 1)  # the last one, for rows that are not plain, stays None
        self._readers_changed()
        self._publish(account.open(account.ts, cash_raw, currency, timezone))
        self._publish(account.start_session(account.ts, version, "PAPER"))
        self._publish(account.handle(ev.Wake(account.ts)))
        self._change_feed(FeedState.CONNECTING, "")

    def start(self, name: str, coroutine: Coroutine[Any, Any, Any], context: Context | None) -> Task:
        """Runs a strategy up to the first thing that it awaits."""
        task = Task(name, coroutine, self._over, context)
        self.tasks.append(task)
        self._readers_changed()
        task.run()
        self.turns.run()
        return task

    def _over(self, task: Task) -> None:
        if task.error is not None:
            self._failed(task)

    def play(self, recording: Recording, progress: Callable[[int], object]) -> None:
        """Plays all rows, and then ends what still waits."""
        self._change_feed(FeedState.LIVE, "")
        self.turns.run()
        for rows in recording.parts():
            self._in_part = rows.count
            self._play(rows)
            self._rows, self._in_part = self._rows + rows.count, 0
            progress(rows.count)
        self._change_feed(FeedState.CLOSED, ENDED)
        self._end()

    def _end(self) -> None:
        """There are no more ticks: readers end, who sleeps is woken for the last time, what was asked is answered."""
        self._end_answers()
        self.turns.arrivals.extend(task.run for task in self._stream.end())
        self.turns.arrivals.extend(self._naps.end())
        self.turns.run()
        while self.answers:
            self._end_answers()
            self.turns.run()
        for task in self.tasks:
            task.cancel()
            self.turns.run()

    def _end_answers(self) -> None:
        self.answers.end(ENDED)

    def close(self) -> None:
        """Ends the session, and with it whoever still runs."""
        for task in self.tasks:
            task.close()
        self.turns.clear()
        self._change_feed(FeedState.CLOSED, "the engine is closed")
        self._take(ev.EndSession(self.account.ts))
        self.answers.end("the engine was closed")
        self.turns.clear()

    @property
    def played(self) -> int:
        """How many rows were taken."""
        return self._rows + self._in_part - length_hint(self._left)

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _play(self, rows: Rows) -> None:
        """Takes some rows: the plain ones, where nothing is due, by themselves."""
        self._part, self._left = rows, iter(rows.codes)
        self._rest = rows.columns(self._left)
        for code, ts, bid, ask, last, mid, made in self._rest:
            quote = self._quote(code, ts, bid, ask, last, mid, made)
            if quote is None:
                self._take_row()
                continue
            self._hand_out(code, quote)
            if self.turns.now or not self._due_ns:  # somebody goes on at once, or asked for something
                self._go_on()

    def _quote(self, code: int, ts: int, bid: int, ask: int, last: int, mid: float, made: Tick | None) -> Tick | None:
        """Takes a plain row by itself and gives its quote; None where it must be taken in full."""
        market = self._markets[code]
        if market is None or ts >= self._due_ns:
            return None
        if market.alerts.active and market.alerts.crossed(bid, ask, last):
            return None
        account = self.account
        account.ts = ts
        account.mark(market, 2 * last if last else bid + ask)
        quote = made
        if quote is None:
            quote = PriceTick()
            quote.instrument, quote.symbol = market.instrument, self._symbols[code]
            quote.received_ns = ts
            quote.bid_raw, quote.ask_raw, quote.last_raw, quote.mid = bid, ask, last, mid
        market.quote = quote
        if ts >= account.equity_due_ns and market.position_raw:
            self._publish(account.equity_point())
        return quote

    async def follow_alone(self, reader: ReplayTicks) -> AsyncIterator[Tick]:  # noqa: C901, PLR0912, PLR0915
        """The ticks of a reader. While it is the only one that anybody has, the strategy that iterates it takes row
        after row here, as `_play` and `_quote` do it, without a way back to the driver in between.

        Everything stands in one place and nothing is called, for here a call takes a tenth of what a tick may.
        """
        account, markets, symbols, is_read = self.account, self._markets, self._symbols, self._is_read
        subscription = reader.subscription
        while True:
            try:
                yield await anext(reader)
            except StopAsyncIteration:
                return
            if not self._is_alone(subscription):
                continue
            self._go_on()
            if not self._is_alone(subscription):
                continue
            self._asked, due_ns = False, self._due_ns
            for code, ts, bid, ask, last, mid, made in self._rest:
                market = markets[code]
                if market is None or ts >= due_ns or (market.alerts.active and market.alerts.crossed(bid, ask, last)):
                    self._take_in_full()
                    self.turns.turn()  # callbacks; the strategy's tick comes next, and then what they have asked for
                    if not self._is_alone(subscription):
                        break
                    self._go_on()
                    if not self._is_alone(subscription):
                        break
                    due_ns = self._due_ns
                    continue
                mark = 2 * last if last else bid + ask
                marked = market.mark_raw
                if not marked:
                    account.mark(market, mark)
                elif mark != marked:
                    if market.position_raw:
                        market.drift.steps += (mark - marked) * market.position_raw
                    market.mark_raw = mark
                    if mark < market.low_raw:  # noqa: PLR1730  min and max take three times as long
                        market.low_raw = mark
                    if mark > market.high_raw:  # noqa: PLR1730
                        market.high_raw = mark
                quote = made
                if quote is None:
                    quote = PriceTick()
                    quote.instrument = market.instrument
                    quote.symbol = symbols[code]
                    quote.received_ns = ts
                    quote.bid_raw = bid
                    quote.ask_raw = ask
                    quote.last_raw = last
                    quote.mid = mid
                account.ts = ts
                market.quote = quote
                if ts >= account.equity_due_ns and market.position_raw:
                    self._publish(account.equity_point())
                if is_read[code]:
                    yield quote
                    if self._asked:
                        if not self._is_alone(subscription):
                            break
                        self._go_on()
                        if not self._is_alone(subscription):
                            break
                        self._asked, due_ns = False, self._due_ns

    def _is_alone(self, subscription: Subscription[Any]) -> bool:
        """Nobody else reads or runs, and nothing is left to be taken before the next row."""
        return self._alone is subscription and subscription.backlog is None

    def _hand_out(self, code: int, quote: Tick) -> None:
        """To all readers and callbacks: each reader has the tick before anybody goes on with it, callbacks first."""
        going_on = []
        for reader in self._readers[code]:
            if reader.task is None:
                reader.offer(quote)
            else:
                going_on.append(reader.woken(quote))
        for callback in self._callbacks:
            _call(callback, quote)
        for job in going_on:
            if job is not None:
                job()

    def _take_row(self) -> None:
        """The row that comes now, in full, and all that follows from it."""
        self._take_in_full()
        self._go_on()

    def _take_in_full(self) -> None:
        """The row that comes now, as a live engine takes a tick."""
        rows = self._part
        row = rows.count - length_hint(self._left) - 1
        reason = rows.refused.get(row)
        if reason is not None:
            self.account.quarantined[reason] += 1
            return
        tick = rows.tick(row)
        self._take_tick(tick)
        code = rows.code(row)
        if self._markets[code] is None:
            self._markets[code] = self.account.markets.get(tick.symbol)

    def _go_on(self) -> None:
        """All that can go on now does, and may have changed until when nothing is due."""
        self.turns.run()
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Until when nothing is due."""
        due = min(self.account.next_deadline(), self._naps.next_ns())
        for waiting in self.answers.all():
            due = min(due, waiting.deadline_ns)
        self._due_ns = due

    def look_first(self) -> None:
        """Something was asked: the next row is taken in full."""
        self._due_ns, self._asked = 0, True

    def _take_tick(self, tick: Tick) -> None:
        account = self.account
        tick.received_ns = max(tick.received_ns, account.ts)
        while account.next_deadline() <= tick.received_ns:
            deadline = account.next_deadline()
            self._time_passes(deadline)
            self._publish(account.handle(ev.Wake(deadline)))
        self._time_passes(tick.received_ns)
        before = account.ticks
        events = account.handle(tick)
        if account.ticks != before:
            quote = account.markets[tick.instrument.symbol].quote
            assert quote is not None
            self._publish_tick(quote)
        self._publish(events)

    def _time_passes(self, ts: int) -> None:
        """What is overdue by then is answered, and who sleeps until then is woken, before the tick that is next."""
        if self.answers:
            self.answers.overdue(ts)
        self._naps.wake(ts)

    def _publish_tick(self, quote: Tick) -> None:
        arrivals = self.turns.arrivals
        for reader in self._stream.subscriptions:
            if reader.symbol in (None, quote.symbol):
                job = None
                if reader.task is None:
                    reader.offer(quote)
                else:
                    job = reader.woken(quote)
                if job is not None:
                    arrivals.append(job)
        for callback in self._callbacks:
            arrivals.append(Call(_call, callback, quote))

    def _readers_changed(self) -> None:
        """Who reads each symbol, in the order in which they came."""
        subscriptions = self._stream.subscriptions
        self._callbacks = tuple(self._stream.callbacks.values())
        self._readers = [
            tuple(reader for reader in subscriptions if reader.symbol in (None, symbol)) for symbol in self._symbols
        ]
        alone = len(subscriptions) == 1 and len(self.tasks) == 1 and not self._callbacks
        self._alone = subscriptions[0] if alone else None
        self._is_read[:] = [bool(readers) for readers in self._readers]
        self.look_first()

    # ── what strategies ask for ──────────────────────────────────────────────────────────────────────────────────────

    def send(self, command: ev.Command, handle: ReplayOrderHandle) -> None:
        """A command, taken at once; its answer comes in the next turn."""
        self.look_first()
        account = self.account
        ts = account.ts
        command = taken_at(ts, command, handle, account)
        events = account.handle(command)
        self._publish(events)
        self.answers.take(command, events, handle, ts)

    def follow(
        self, handle: ReplayOrderHandle, order_id: str | None, status: OrderStatus, timeout: float | None
    ) -> None:
        self.look_first()
        deadline = NEVER if timeout is None else self.account.ts + round(timeout * 1e9)
        self.answers.follow(handle, order_id, status, deadline)

    def sleep(self, seconds: float) -> "Nap":
        self.look_first()
        return Nap(self._naps, self.account.ts + round(seconds * 1e9))

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _publish(self, events: list[ev.Event]) -> None:
        """What a live engine's outbox does once events are durable, which they are here at once."""
        if not events:
            return
        self.journal.events += events
        if not (self.answers or self.on_fill or self.on_order):
            return
        for event in events:
            if isinstance(event, ev.Filled):
                self.on_fill(event.fill)
        changed = changed_orders(self.account, events)
        for order in changed:
            self.on_order(order)
        self.answers.orders_changed(changed)

    def _take(self, message: Any) -> None:
        self._publish(self.account.handle(message))

    def _change_feed(self, state: FeedState, reason: str) -> None:
        self._take(ev.FeedChanged(self.account.ts, state, reason))


class Naps:
    """Who sleeps, and until when."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._numbers = count()
        self._sleeping: list[tuple[int, int, Task]] = []

    def add(self, due_ns: int, task: Task) -> None:
        heappush(self._sleeping, (due_ns, next(self._numbers), task))

    def forget(self, task: Task) -> None:
        self._sleeping = sorted(nap for nap in self._sleeping if nap[2] is not task)

    def next_ns(self) -> int:
        return self._sleeping[0][0] if self._sleeping else NEVER

    def wake(self, ts: int) -> None:
        while self._sleeping and self._sleeping[0][0] <= ts:
            self._turns.arrivals.append(heappop(self._sleeping)[2].run)

    def end(self) -> list[Job]:
        """Time stands still from now on: whoever sleeps is cancelled."""
        sleeping, self._sleeping = sorted(self._sleeping), []
        return [task.cancel for _, _, task in sleeping]


class Nap(Awaited):
    """`await engine.sleep(seconds)`."""

    __slots__ = ("_due_ns", "_naps")

    def __init__(self, naps: Naps, due_ns: int) -> None:
        self._naps = naps
        self._due_ns = due_ns

    def __await__(self) -> Any:
        yield self

    def keep(self, task: Task) -> None:
        self._naps.add(self._due_ns, task)

    def forget(self, task: Task) -> None:
        self._naps.forget(task)


class _UserJobs:
    """Takes callbacks in the place of a live engine's thread for user code."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def soon(self, job: Job) -> None:
        self._turns.arrivals.append(Call(Context().run, job))


def _call(callback: Callable[[Tick], object], quote: Tick) -> None:
    """By nobody's strategy: a callback is a person's, wherever it was registered."""
    Context().run(guarded, callback, quote)
