"""Whoever wants ticks or bars: callbacks, and readers with bounded queues, fed by the engine's thread."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from threading import RLock
from typing import Any, Generic, Self, TypeVar
from weakref import WeakSet, ref

from livetrade.context import Flow, as_registered, at_end, flow
from livetrade.core.bars import Bar, BarBuilder
from livetrade.core.records import replaced
from livetrade.core.ticks import Tick
from livetrade.errors import OrderError

T = TypeVar("T")
R = TypeVar("R", bound="Reader[Any]")

QUEUE_LENGTH = 1_000
"""How many ticks a slow reader may be behind before the oldest are dropped and counted."""


class TickHub:
    """Who wants ticks. `publish` runs on the engine's thread and costs nothing while nobody does."""

    def __init__(self) -> None:
        self.active = False
        self._readers: tuple[ref[Reader[Any]], ...] = ()
        self._callbacks: dict[object, Callable[[Tick], object]] = {}
        self._taps: tuple[Callable[[Tick], None], ...] = ()
        self._lock = RLock()  # a reader may be collected, and forgotten, anywhere
        self._followed: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._lines: WeakSet[Flow] = WeakSet()
        self._closed = False
        self.dispatch: Callable[[], None] | None = None
        """Set by the engine: starts the thread for user code, which then drains `pending`."""
        self.on_idle: Callable[[], None] | None = None
        self.pending: deque[Tick] = deque()
        self.missed = 0

    def join(self, reader: "R") -> "R":
        """From now on it is offered the ticks of its symbol."""
        with self._lock:
            if self._closed:
                reader.end()
            else:
                self._readers = (*self._readers, ref(reader))
                self.active = True
        return reader

    def tap(self, take: Callable[[Tick], None]) -> Callable[[], None]:
        """Hands every tick to `take` on the engine's thread, which must not wait; gives back what ends it."""
        with self._lock:
            self._taps = (*self._taps, take)
            self.active = True

        def untap() -> None:
            with self._lock:
                self._taps = tuple(other for other in self._taps if other is not take)
                self._look()

        return untap

    def _look(self) -> None:
        self.active = bool(self._readers or self._callbacks or self._taps)

    def forget(self, reader: "Reader[Any]") -> None:
        with self._lock:
            self._readers = tuple(other for other in self._readers if other() not in (None, reader))
            self._look()
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
            self._look()

    @property
    def callbacks(self) -> tuple[Callable[[Tick], object], ...]:
        return tuple(self._callbacks.values())

    def publish(self, tick: Tick) -> None:
        for take in self._taps:
            take(tick)
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

    def _all(self) -> "list[Reader[Any]]":
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
            self._look()
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
    if not callable(callback):
        raise OrderError(f"a callback is a function of one argument, which {callback!r} is not")
    name = getattr(callback, "__qualname__", "")
    return (
        (callback.__module__, name) if name and "<" not in name and not hasattr(callback, "__self__") else id(callback)
    )


class Reader(AsyncIterator[T], Generic[T]):
    """An async iterator with a bounded queue. Iterate it in one task; it ends when the engine closes."""

    def __init__(self, hub: TickHub, symbol: str | None) -> None:
        self.symbol = symbol
        self._hub = hub
        self._queue: deque[T] = deque()
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
        raise NotImplementedError

    def _put(self, item: T) -> None:
        with self._lock:
            if len(self._queue) >= QUEUE_LENGTH:
                self._queue.popleft()
                self._missed += 1
            self._queue.append(item)
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

    async def __anext__(self) -> T:
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

    def _take(self) -> T:
        item = self._queue.popleft()
        if self._missed:
            item, self._missed = self._after_missed(item, self._missed), 0
        return item

    def _after_missed(self, item: T, missed: int) -> T:
        """What a slow reader gets after so many that were dropped."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Ends the subscription."""
        self.end()
        self._hub.forget(self)

    def __del__(self) -> None:
        self._hub.forget(self)


class TickReader(Reader[Tick]):
    """An async iterator of ticks: `engine.stream.ticks(symbol)`."""

    def __repr__(self) -> str:
        return f"<ticks of {self.symbol or 'all symbols'}: async for tick in ...>"

    def offer(self, tick: Tick) -> None:
        self._put(tick)

    def _after_missed(self, item: Tick, missed: int) -> Tick:
        return item.conflated(missed)


class BarReader(Reader[Bar]):
    """An async iterator of bars: `engine.stream.bars(symbol, freq)`. They are built as the ticks come, however slowly
    they are read; ticks wait until `begin` has told what was before."""

    def __init__(self, hub: TickHub, symbol: str, builder: BarBuilder) -> None:
        super().__init__(hub, symbol)
        self._builder = builder
        self._early: list[Tick] | None = []

    def __repr__(self) -> str:
        return f"<bars of {self.symbol}: async for bar in ...>"

    def offer(self, tick: Tick) -> None:
        with self._lock:
            if self._early is not None:
                self._early.append(tick)
                return
        bar = self._builder.add(tick)
        if bar is not None:
            self._put(bar)

    def begin(self, bars: Sequence[Bar]) -> None:
        """The builder knows all ticks from before this reader was; these bars come first."""
        with self._lock:
            self._queue.extend(bars)
            early, self._early = self._early or [], None
            for tick in early:
                self.offer(tick)

    def _after_missed(self, item: Bar, missed: int) -> Bar:
        return replaced(item, missed=missed)


def _is_gone(task: "asyncio.Task[Any]") -> bool:
    """It was cancelled or failed (which is looked at without retrieving the exception: it is still to be told), or its
    loop is closed."""
    ended = task.done() and (task.cancelled() or getattr(task, "_exception", None) is not None)
    return ended or task.get_loop().is_closed()


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
