"""Live prices: the door for ticks that a program posts by hand, and for everybody who wants to see ticks.

Prices are checked and turned into raw integers here, on the caller's thread; what cannot be a price is counted and goes
no further. The account merges them (`core.quotes`). Readers get ticks through bounded queues: one that is slow loses
the oldest and is told how many (`tick.missed`), and never holds up anybody else.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from datetime import datetime, tzinfo
from functools import partial
from threading import RLock
from time import time_ns
from typing import TYPE_CHECKING, Any, Protocol, Self
from weakref import WeakSet, ref
from zoneinfo import ZoneInfo

from livetrade import frames
from livetrade.columns import Exact, View
from livetrade.context import Flow, as_registered, at_end, flow
from livetrade.core.instruments import Instrument, check_symbol, default_instrument
from livetrade.core.limits import instrument_denied
from livetrade.core.numbers import MAX_RAW, Number
from livetrade.core.quotes import merge
from livetrade.core.ticks import Tick
from livetrade.errors import EngineClosedError, JournalError, LiveTradeError, OrderError, PriceError

if TYPE_CHECKING:
    import pandas as pd

QUEUE_LENGTH = 1_000
"""How many ticks a slow reader may be behind before the oldest are dropped and counted."""


class Owner(Protocol):
    """The engine that a stream belongs to."""

    name: str

    def post_tick(self, tick: Tick) -> None:
        """Hands over one update from any thread."""

    def last_quote(self, symbol: str) -> Tick | None:
        """The merged quote, everything the caller posted before included."""

    def all_quotes(self) -> tuple[list[Tick], View]:
        """The merged quote of each symbol that has one, and when they were looked at."""


class LivePriceStream:
    """Last prices and subscriptions.

    `timezone` is how naive times are meant and how times read, until an engine brings its own.
    """

    def __init__(self, *, timezone: str = "Asia/Kolkata") -> None:
        self.zone: tzinfo = ZoneInfo(timezone)
        self.quarantined: Counter[str] = Counter()
        self._instruments: dict[str, Instrument] = {}
        self._quotes: dict[str, Tick] = {}
        self._lock = RLock()  # a signal handler may post while its own thread does
        self._owner: Owner | None = None
        self.hub = TickHub()

    # ── instruments ──────────────────────────────────────────────────────────────────────────────────────────────────

    def register(self, *instruments: Instrument) -> None:
        """Makes instruments known, before their first tick or order.

        Raises `OrderError` for one whose scales are fixed otherwise already.
        """
        for instrument in instruments:
            self.adopt(instrument)

    def adopt(self, instrument: Instrument) -> Instrument:
        """Registers one instrument and gives back the one that ticks are built with."""
        known = self._instruments.get(instrument.symbol)
        if known is not None and self.last(instrument.symbol) is not None:
            fixed = (known.scale, known.quantity_scale, known.multiplier)
            if fixed != (instrument.scale, instrument.quantity_scale, instrument.multiplier):
                raise OrderError(
                    f"{known.symbol} already has prices with scale={known.scale}, quantity_scale="
                    f"{known.quantity_scale}, multiplier={known.multiplier}; register it before its first tick"
                )
        adopted = instrument.in_zone(self.zone)
        self._instruments[instrument.symbol] = adopted
        return adopted

    def restore(self, instrument: Instrument) -> None:
        """Takes an instrument as a journal fixed it, unless one of the same scales is registered.

        Raises `JournalError` where prices have come, or a registered one says, on other scales.
        """
        known = self._instruments.get(instrument.symbol)
        if known is None:
            self.adopt(instrument)
        elif instrument_denied(known, instrument):
            raise JournalError(f"{instrument_denied(known, instrument)}; register the one that the journal has")

    def instrument(self, symbol: str) -> Instrument:
        """The instrument of a symbol; one nobody registered gets the default scales.

        Raises `OrderError` for a malformed symbol.
        """
        known = self._instruments.get(check_symbol(symbol))
        if known is None:
            known = self._instruments.setdefault(symbol, default_instrument(symbol, self.zone))
        return known

    # ── prices in ────────────────────────────────────────────────────────────────────────────────────────────────────

    def update(
        self,
        symbol: str,
        *,
        bid: Number | None = None,
        ask: Number | None = None,
        last: Number | None = None,
        volume: Number | None = None,
        bid_size: Number | None = None,
        ask_size: Number | None = None,
        time: datetime | str | int | None = None,
    ) -> None:
        """Posts new prices of a symbol, from any thread; what is left out stays as it was.

        A figure that is no price (NaN, infinite, zero, negative, finer than the instrument's scale) quarantines the
        whole update: it is counted by its reason in `quarantined`, and the last good quote stands. `time` is the
        source's own time: a datetime (naive means the stream's zone), ISO text, or integer nanoseconds UTC.
        Raises `OrderError` for a malformed symbol or time.
        """
        item = self.instrument(symbol)
        stamp = 0 if time is None else nanoseconds(time, self.zone)
        try:
            tick = Tick(
                item,
                0,
                0 if bid is None else item.price_raw(bid, "bid"),
                0 if ask is None else item.price_raw(ask, "ask"),
                0 if last is None else item.price_raw(last, "last"),
                stamp,
                None if volume is None else item.size_raw(volume, "volume"),
                None if bid_size is None else item.size_raw(bid_size, "bid_size"),
                None if ask_size is None else item.size_raw(ask_size, "ask_size"),
            )
        except PriceError as error:
            self._count(error.reason)
            return
        self.post(tick)

    def post(self, tick: Tick) -> None:
        """Hands an update to the engine, or merges it here while there is none."""
        with self._lock:
            owner = self._owner
            if owner is None:
                self._merge(tick)
                return
        with contextlib.suppress(EngineClosedError):  # closed at this moment: a price is no command
            owner.post_tick(tick)

    def _count(self, reason: str) -> None:
        with self._lock:
            self.quarantined[reason] += 1

    def _merge(self, tick: Tick) -> None:
        tick.received_ns = time_ns()
        merged = merge(self._quotes.get(tick.symbol), tick)
        if isinstance(merged, str):
            self._count(merged)
        else:
            self._quotes[tick.symbol] = merged

    # ── prices out ───────────────────────────────────────────────────────────────────────────────────────────────────

    def last(self, symbol: str) -> Tick | None:
        """The quote as it stands, or None while nothing is known of the symbol."""
        owner = self._owner
        return self._quotes.get(symbol) if owner is None else owner.last_quote(symbol)

    def quotes(self, *, exact: Exact = False) -> "pd.DataFrame":
        """A DataFrame indexed by symbol: bid, ask, last, volume, bid_size, ask_size, time, received."""
        owner = self._owner
        quotes, view = owner.all_quotes() if owner is not None else self._own_quotes()
        return frames.quotes(quotes, view, exact=exact)

    def _own_quotes(self) -> tuple[list[Tick], View]:
        quotes = list(self._quotes.values())
        return quotes, View(self.zone, 0, max([quote.received_ns for quote in quotes], default=0))

    def ticks(self, symbol: str | None = None) -> "TickReader":
        """An async iterator over the ticks of a symbol (of all when None) from now on; it ends with the engine."""
        return self.hub.reader(None if symbol is None else check_symbol(symbol))

    def on_tick(self, callback: Callable[[Tick], object]) -> Callable[[Tick], object]:
        """Calls `callback(tick)` for ticks from now on, on the engine's thread for user code. Usable as a decorator.

        A function registered again under its name (a re-run cell) replaces itself.
        """
        self.hub.call(callback)
        return callback

    # ── the engine's side ────────────────────────────────────────────────────────────────────────────────────────────

    def attach(self, owner: Owner, zone: tzinfo) -> list[Tick]:
        """Gives the stream to an engine; gives back the quotes it starts from."""
        with self._lock:
            if self._owner is not None:
                raise LiveTradeError(
                    f"this stream already belongs to the engine {self._owner.name!r}; close that first"
                )
            self._owner = owner
            self.zone = zone
            for symbol, instrument in self._instruments.items():
                self._instruments[symbol] = instrument.in_zone(zone)
            quotes = [self._quotes[symbol] for symbol in sorted(self._quotes)]
            for quote in quotes:
                quote.instrument = self._instruments[quote.symbol]
            return quotes

    def detach(self, owner: Owner, quotes: list[Tick]) -> None:
        """Takes the stream back from a closed engine, with its last quotes."""
        with self._lock:
            if self._owner is not owner:
                return
            self._owner = None
            self._quotes = {quote.symbol: quote for quote in quotes}
        self.hub.close()

    def __repr__(self) -> str:
        owner = "no engine" if self._owner is None else f"engine {self._owner.name!r}"
        return f"LivePriceStream({len(self._instruments)} symbols, {owner})"


def nanoseconds(time: datetime | str | int, zone: tzinfo) -> int:
    """Integer nanoseconds UTC of a datetime (naive: in `zone`), an ISO text, or such an integer."""
    if isinstance(time, bool) or not isinstance(time, datetime | str | int):
        raise OrderError(f"time must be a datetime, ISO text or integer nanoseconds, not {time!r}")
    if isinstance(time, int):
        if abs(time) > MAX_RAW:
            raise OrderError(f"time is out of range: {time}")
        return time
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            raise OrderError(f"time is not an ISO date and time: {time!r}") from None
    exact: int | None = getattr(time, "value", None)  # a pandas Timestamp keeps nanoseconds
    if exact is not None and time.tzinfo is not None:
        return exact
    try:
        aware = time if time.tzinfo is not None else time.replace(tzinfo=zone)
        return int(aware.timestamp()) * 1_000_000_000 + aware.microsecond * 1_000
    except (ValueError, OverflowError):  # pandas' NaT is a datetime too
        raise OrderError(f"time is not a date and time: {time!r}") from None


# ── readers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class TickHub:
    """Who wants ticks. `publish` runs on the engine's thread and costs nothing while nobody does."""

    def __init__(self) -> None:
        self.active = False
        self._readers: tuple[ref[TickReader], ...] = ()
        self._callbacks: dict[object, Callable[[Tick], object]] = {}
        self._lock = RLock()  # a reader may be collected, and forgotten, anywhere
        self._followed: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._lines: WeakSet[Flow] = WeakSet()
        self._closed = False
        self.dispatch: Callable[[], None] | None = None
        """Set by the engine: starts the thread for user code, which then drains `pending`."""
        self.on_idle: Callable[[], None] | None = None
        self.pending: deque[Tick] = deque()
        self.missed = 0

    def reader(self, symbol: str | None) -> "TickReader":
        reader = TickReader(self, symbol)
        with self._lock:
            if self._closed:
                reader.end()
            else:
                self._readers = (*self._readers, ref(reader))
                self.active = True
        return reader

    def forget(self, reader: "TickReader") -> None:
        with self._lock:
            self._readers = tuple(other for other in self._readers if other() not in (None, reader))
            self.active = bool(self._readers or self._callbacks)
        self.notify_idle()

    def call(self, callback: Callable[[Tick], object]) -> None:
        key, acting = callback_key(callback), as_registered(callback)
        with self._lock:
            self._callbacks[key] = acting
            self.active = True
        at_end(partial(self._drop, key, acting))

    def _drop(self, key: object, callback: Callable[[Tick], object]) -> None:
        with self._lock:
            if self._callbacks.get(key) is callback:
                del self._callbacks[key]
            self.active = bool(self._readers or self._callbacks)

    @property
    def callbacks(self) -> tuple[Callable[[Tick], object], ...]:
        return tuple(self._callbacks.values())

    def publish(self, tick: Tick) -> None:
        for known in self._readers:
            reader = known()
            if reader is not None and reader.symbol in (None, tick.symbol):
                reader.offer(tick)
        if self._callbacks and self.dispatch is not None:
            if len(self.pending) >= QUEUE_LENGTH:
                self.pending.popleft()
                self.missed += 1
            self.pending.append(tick)
            if len(self.pending) == 1:  # else whoever takes the tick before takes this one too
                self.dispatch()

    def taken(self) -> Tick | None:
        """The next tick for callbacks, on the thread for user code."""
        try:
            tick = self.pending.popleft()
        except IndexError:
            return None
        missed = self.missed
        if not missed:
            return tick
        self.missed -= missed
        return tick.conflated(missed)

    def _all(self) -> "list[TickReader]":
        return [reader for reader in (known() for known in self._readers) if reader is not None]

    def behind(self) -> int:
        """How many ticks the slowest reader is behind."""
        return max([len(self.pending), *(reader.behind for reader in self._all())])

    def busy(self, is_stuck: Callable[[object], bool]) -> Counter[object]:
        """By flow: how many readers have ticks to take, or work on one. One whose task asks another reader does not,
        nor one on a loop that only the engine's next step can move (`is_stuck`)."""
        readers = self._all()
        asking = {reader.task for reader in readers if reader.is_asking}
        return Counter(
            reader.flow
            for reader in readers
            if not (reader.is_waiting or reader.task in asking or (reader.task and is_stuck(reader.task.get_loop())))
        )

    def asking(self) -> set[object]:
        """The flows that ask for their next tick."""
        return {reader.flow for reader in self._all() if reader.is_asking}

    def follow(self, task: "asyncio.Task[Any]", line: Flow) -> None:
        """Hears of the end of a task that reads, on its loop, and of its line."""
        if task not in self._followed:
            self._followed.add(task)
            task.add_done_callback(self._task_ended)
        if line not in self._lines:
            self._lines.add(line)
            line.at_end(partial(self._line_ended, line))

    def _line_ended(self, line: Flow) -> None:
        """A strategy's readers end with it, also those that its traceback keeps."""
        for reader in self._all():
            if reader.flow is line:
                reader.end()
                self.forget(reader)

    def _task_ended(self, _: "asyncio.Task[Any]") -> None:
        self.notify_idle()

    def notify_idle(self) -> None:
        if self.on_idle is not None:
            self.on_idle()

    def open(self) -> None:
        self._closed = False

    def end_readers(self) -> None:
        """No more ticks for those who read now: the recording is over."""
        with self._lock:
            readers, self._readers = self._all(), ()
            self.active = bool(self._callbacks)
        for reader in readers:
            reader.end()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self.pending.clear()
            self.missed = 0
            self.dispatch = self.on_idle = None
        self.end_readers()


def callback_key(callback: Callable[..., object]) -> object:
    """What a callback is known by: its name, so that a re-run cell replaces it; itself where it has none of its own."""
    name = getattr(callback, "__qualname__", "")
    return (
        (callback.__module__, name) if name and "<" not in name and not hasattr(callback, "__self__") else id(callback)
    )


class TickReader(AsyncIterator[Tick]):
    """An async iterator of ticks with a bounded queue. Iterate it in one task; it ends when the engine closes."""

    def __init__(self, hub: TickHub, symbol: str | None) -> None:
        self.symbol = symbol
        self._hub = hub
        self._queue: deque[Tick] = deque()
        self._missed = 0
        self._ended = False
        self._lock = RLock()
        self.task: asyncio.Task[Any] | None = None
        """Who asked last."""
        self.flow = Flow()
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    @property
    def behind(self) -> int:
        return len(self._queue)

    @property
    def is_asking(self) -> bool:
        """Its task is suspended here until the next tick."""
        return self._waiter is not None and not self._queue

    @property
    def is_waiting(self) -> bool:
        """Nothing is to be expected of it before the next tick: it asks for that, has none to take yet, or its task
        has failed."""
        with self._lock:
            if self._ended or self.is_asking:
                return True
            return not self._queue if self.task is None else _is_gone(self.task)

    def offer(self, tick: Tick) -> None:
        """One more tick, from the engine's thread."""
        with self._lock:
            if len(self._queue) >= QUEUE_LENGTH:
                self._queue.popleft()
                self._missed += 1
            self._queue.append(tick)
            self._wake()

    def end(self) -> None:
        with self._lock:
            self._ended = True
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            loop, future = self._waiter
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_finish, future)
                self._waiter = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Tick:
        self._asked_by(asyncio.current_task())
        while True:
            with self._lock:
                if self._queue:
                    self._waiter = None
                    return self._take()
                if self._ended:
                    raise StopAsyncIteration
                loop = asyncio.get_running_loop()
                future = loop.create_future()
                self._waiter = (loop, future)
            self._hub.notify_idle()
            try:
                await future
            except asyncio.CancelledError:
                with self._lock:
                    self._waiter = None
                raise

    def _asked_by(self, task: "asyncio.Task[Any] | None") -> None:
        if task is None or task is self.task:
            return
        token = flow.get()
        if token is None:
            token = Flow()
            flow.set(token)
        self.task, self.flow = task, token
        self._hub.follow(task, token)

    def _take(self) -> Tick:
        tick = self._queue.popleft()
        if self._missed:
            tick, self._missed = tick.conflated(self._missed), 0
        return tick

    async def aclose(self) -> None:
        """Ends the subscription."""
        self.end()
        self._hub.forget(self)

    def __del__(self) -> None:
        self._hub.forget(self)


def _is_gone(task: "asyncio.Task[Any]") -> bool:
    """It was cancelled or failed (which is looked at without retrieving the exception: it is still to be told), or its
    loop is closed."""
    ended = task.done() and (task.cancelled() or getattr(task, "_exception", None) is not None)
    return ended or task.get_loop().is_closed()


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
