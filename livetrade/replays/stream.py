"""The prices of a replay, as its strategies see them: the stream of a live engine, filled by the recording alone."""

import types
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from datetime import tzinfo
from typing import Any

from livetrade.core.instruments import check_symbol
from livetrade.core.ticks import Tick
from livetrade.errors import OrderError
from livetrade.replays.tasks import Awaited, Task
from livetrade.stream import QUEUE_LENGTH, LivePriceStream, callback_key


class Subscription(Awaited):
    """Hands each tick to the task that asks for it; what comes meanwhile is queued, and the oldest dropped at last."""

    __slots__ = ("_missed", "backlog", "ended", "send", "symbol", "task")

    def __init__(self, symbol: str | None) -> None:
        self.symbol = symbol
        self.task: Task | None = None
        self.send: Callable[[Tick], Any] | None = None
        """Goes on with the task that asks; None while nobody does."""
        self.backlog: deque[Tick] | None = None
        """What is to be taken before the next tick; None where that is all there is to wait for."""
        self.ended = False
        self._missed = 0

    def keep(self, task: Task) -> None:
        self.task, self.send = task, task.send

    def forget(self, task: Task) -> None:
        self.task = self.send = None

    def released(self) -> Task:
        """The task that asked; it asks no longer."""
        task, self.task, self.send = self.task, None, None
        assert task is not None
        return task

    def offer(self, tick: Tick) -> None:
        """One more tick, while nobody asks."""
        if self.backlog is None:
            self.backlog = deque()
        elif len(self.backlog) >= QUEUE_LENGTH:
            self.backlog.popleft()
            self._missed += 1
        self.backlog.append(tick)

    def taken(self) -> Tick:
        if not self.backlog:
            raise StopAsyncIteration
        tick = self.backlog.popleft()
        if self._missed:
            tick, self._missed = tick.conflated(self._missed), 0
        if not self.backlog and not self.ended:
            self.backlog = None
        return tick

    def end(self) -> Task | None:
        """No more ticks; gives back the task that asked for one."""
        task = self.released() if self.task is not None else None
        self.ended = True
        if self.backlog is None:
            self.backlog = deque()
        return task


class ReplayReader(AsyncIterator[Tick]):
    """An async iterator of ticks. Iterate it in one strategy; it ends with the recording."""

    __slots__ = ("_stream", "subscription")

    def __init__(self, stream: "ReplayStream", subscription: Subscription) -> None:
        self._stream = stream
        self.subscription = subscription

    def __aiter__(self) -> AsyncIterator[Tick]:
        return self._stream.follow(self)

    @types.coroutine
    def __anext__(self) -> Generator[Any, Any, Tick]:
        subscription = self.subscription
        if subscription.backlog is not None:
            return subscription.taken()
        tick: Tick | None = yield subscription
        if tick is None:
            raise StopAsyncIteration
        return tick

    async def aclose(self) -> None:
        """Ends the subscription."""
        self.subscription.end()
        self._stream.forget(self.subscription)

    def __del__(self) -> None:
        self._stream.forget(self.subscription)


class ReplayStream(LivePriceStream):
    """Last prices and subscriptions of a replay. Prices come from its recording only."""

    def __init__(self, zone: tzinfo) -> None:
        super().__init__()
        self.zone = zone
        self.subscriptions: tuple[Subscription, ...] = ()
        self.callbacks: dict[object, Callable[[Tick], object]] = {}
        self.follow: Callable[[ReplayReader], AsyncIterator[Tick]]
        self.changed: Callable[[], None] = _nothing
        """Called when somebody comes or goes who wants ticks."""
        self.asked_for: Callable[[str], None] = _nothing_of

    def ticks(self, symbol: str | None = None) -> ReplayReader:  # type: ignore[override]
        """An async iterator over the ticks of a symbol (of all when None) from now on; it ends with the recording."""
        if symbol is not None:
            self.asked_for(check_symbol(symbol))
        subscription = Subscription(symbol)
        self.subscriptions = (*self.subscriptions, subscription)
        self.changed()
        return ReplayReader(self, subscription)

    def forget(self, subscription: Subscription) -> None:
        if subscription in self.subscriptions:
            self.subscriptions = tuple(other for other in self.subscriptions if other is not subscription)
            self.changed()

    def end(self) -> list[Task]:
        """No more ticks for those who read now; gives back the tasks that asked for one."""
        subscriptions, self.subscriptions = self.subscriptions, ()
        self.changed()
        return [task for task in (subscription.end() for subscription in subscriptions) if task is not None]

    def on_tick(self, callback: Callable[[Tick], object]) -> Callable[[Tick], object]:
        """Calls `callback(tick)` for ticks from now on, after the strategies saw them. Usable as a decorator."""
        self.callbacks[callback_key(callback)] = callback
        self.changed()
        return callback

    def post(self, tick: Tick) -> None:
        """Refused: the prices of a replay are those of its recording."""
        raise OrderError(f"{tick.symbol}: a replay's prices come from its recording alone")

    def __repr__(self) -> str:
        return f"ReplayStream({len(self._instruments)} symbols)"


def _nothing() -> None:
    """Nobody is there yet."""


def _nothing_of(_: str) -> None:
    """Nobody is there yet."""
