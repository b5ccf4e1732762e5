"""The prices of a replay, as its strategies see them: the stream of a live engine, filled by the recording alone."""

import types
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from datetime import tzinfo
from functools import partial
from typing import Any, Generic, TypeVar

from livetrade import frames
from livetrade.columns import Freq
from livetrade.context import as_registered
from livetrade.core.bars import Bar, BarBuilder
from livetrade.core.instruments import check_symbol
from livetrade.core.numbers import counted
from livetrade.core.records import replaced
from livetrade.core.ticks import Tick
from livetrade.errors import OrderError
from livetrade.readers import QUEUE_LENGTH, callback_key
from livetrade.replays.tasks import Awaited, Job, Task
from livetrade.stream import LivePriceStream, check_warmup

T = TypeVar("T")


class Subscription(Awaited, Generic[T]):
    """Hands each item to the task that asks for it; what comes meanwhile is queued, and the oldest dropped at last."""

    __slots__ = ("_missed", "backlog", "ended", "symbol", "task")

    def __init__(self, symbol: str | None) -> None:
        self.symbol = symbol
        self.task: Task | None = None
        self.backlog: deque[T] | None = None
        """What is to be taken before the next item; None where that is all there is to wait for."""
        self.ended = False
        self._missed = 0

    def keep(self, task: Task) -> None:
        self.task = task

    def forget(self, task: Task) -> None:
        self.task = None

    def released(self) -> Task:
        """The task that asked; it asks no longer."""
        task, self.task = self.task, None
        assert task is not None
        return task

    def offer(self, tick: Tick) -> None:
        """One more tick, while nobody asks."""
        raise NotImplementedError

    def woken(self, tick: Tick) -> Job | None:
        """One more tick, while somebody asks; gives back who goes on with it."""
        raise NotImplementedError

    def put(self, item: T) -> None:
        if self.backlog is None:
            self.backlog = deque()
        elif len(self.backlog) >= QUEUE_LENGTH:
            self.backlog.popleft()
            self._missed += 1
        self.backlog.append(item)

    def taken(self) -> T:
        if not self.backlog:
            raise StopAsyncIteration
        item = self.backlog.popleft()
        if self._missed:
            item, self._missed = self._after_missed(item, self._missed), 0
        if not self.backlog and not self.ended:
            self.backlog = None
        return item

    def _after_missed(self, item: T, missed: int) -> T:
        """What a slow reader gets after so many that were dropped."""
        raise NotImplementedError

    def end(self) -> Task | None:
        """No more ticks; gives back the task that asked for one."""
        task = self.released() if self.task is not None else None
        self.ended = True
        if self.backlog is None:
            self.backlog = deque()
        return task


class TickSubscription(Subscription[Tick]):
    __slots__ = ()

    def offer(self, tick: Tick) -> None:
        self.put(tick)

    def woken(self, tick: Tick) -> Job:
        return partial(self.released().run, tick)

    def _after_missed(self, item: Tick, missed: int) -> Tick:
        return item.conflated(missed)


class BarSubscription(Subscription[Bar]):
    """Builds bars of every tick, however slowly they are read."""

    __slots__ = ("_builder",)

    def __init__(self, symbol: str, builder: BarBuilder, first: Sequence[Bar]) -> None:
        super().__init__(symbol)
        self._builder = builder
        if first:
            self.backlog = deque(first)

    def offer(self, tick: Tick) -> None:
        bar = self._builder.add(tick)
        if bar is not None:
            self.put(bar)

    def woken(self, tick: Tick) -> Job | None:
        bar = self._builder.add(tick)
        return None if bar is None else partial(self.released().run, bar)

    def _after_missed(self, item: Bar, missed: int) -> Bar:
        return replaced(item, missed=missed)


class ReplayReader(AsyncIterator[T], Generic[T]):
    """An async iterator of ticks or bars. Iterate it in one strategy; it ends with the recording."""

    __slots__ = ("_stream", "subscription")

    def __init__(self, stream: "ReplayStream", subscription: Subscription[T]) -> None:
        self._stream = stream
        self.subscription = subscription

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    @types.coroutine
    def __anext__(self) -> Generator[Any, Any, T]:
        subscription = self.subscription
        if subscription.backlog is not None:
            return subscription.taken()
        item: T | None = yield subscription
        if item is None:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Ends the subscription."""
        self.subscription.end()
        self._stream.forget(self.subscription)

    def __del__(self) -> None:
        self._stream.forget(self.subscription)


class ReplayTicks(ReplayReader[Tick]):
    """An async iterator of ticks; `async for` follows them without a way back to the driver where that may be."""

    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[Tick]:
        return self._stream.follow(self)


class ReplayStream(LivePriceStream):
    """Last prices and subscriptions of a replay. Prices come from its recording only."""

    def __init__(self, zone: tzinfo) -> None:
        super().__init__()
        self.zone = zone
        self.subscriptions: tuple[Subscription[Any], ...] = ()
        self.callbacks: dict[object, Callable[[Tick], object]] = {}
        self.follow: Callable[[ReplayTicks], AsyncIterator[Tick]]
        self.changed: Callable[[], None] = _nothing
        """Called when somebody comes or goes who wants ticks."""
        self.asked_for: Callable[[str], None] = _nothing_of
        self.known: Callable[[str], Mapping[str, Sequence[int]]] = _no_ticks
        """The ticks of a symbol so far, in columns."""

    def ticks(self, symbol: str | None = None) -> ReplayTicks:  # type: ignore[override]
        """An async iterator over the ticks of a symbol (of all when None) from now on; it ends with the recording."""
        if symbol is not None:
            self.asked_for(check_symbol(symbol))
        subscription = TickSubscription(symbol)
        self._join(subscription)
        return ReplayTicks(self, subscription)

    def bars(self, symbol: str, freq: Freq = "1min", warmup: int = 0) -> ReplayReader[Bar]:  # type: ignore[override]
        """As a live stream's `bars`; it ends with the recording."""
        item = self.instrument(symbol)
        builder = BarBuilder(item, frames.fixed_ns(freq), self.zone)
        check_warmup(warmup)
        self.asked_for(symbol)
        subscription = BarSubscription(symbol, builder, builder.seeded(self.known(symbol), warmup))
        self._join(subscription)
        return ReplayReader(self, subscription)

    def _join(self, subscription: Subscription[Any]) -> None:
        self.subscriptions = (*self.subscriptions, subscription)
        self.changed()

    def forget(self, subscription: Subscription[Any]) -> None:
        if subscription in self.subscriptions:
            self.subscriptions = tuple(other for other in self.subscriptions if other is not subscription)
            self.changed()

    def end(self) -> list[Task]:
        """No more ticks for those who read now; gives back the tasks that asked for one."""
        subscriptions, self.subscriptions = self.subscriptions, ()
        self.changed()
        return [task for task in (subscription.end() for subscription in subscriptions) if task is not None]

    def on_tick(self, callback: Callable[[Tick], object]) -> Callable[[Tick], object]:
        """Calls `callback(tick)` for ticks from now on, before strategies go on with them. Usable as a decorator."""
        self.callbacks[callback_key(callback)] = as_registered(callback)
        self.changed()
        return callback

    def post(self, tick: Tick) -> None:
        """Refused: the prices of a replay are those of its recording."""
        raise OrderError(f"{tick.symbol}: a replay's prices come from its recording alone")

    def __repr__(self) -> str:
        return f"ReplayStream({counted(len(self._instruments), 'symbol')})"


def _nothing() -> None:
    """Nobody is there yet."""


def _nothing_of(_: str) -> None:
    """Nobody is there yet."""


def _no_ticks(_: str) -> Mapping[str, Sequence[int]]:
    return dict.fromkeys(("time", "bid", "ask", "last", "volume"), ())
