"""Who sleeps in the time of a recording, and until when."""

import asyncio
from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from threading import Lock

from livetrade.context import flow


class RecordingEnded(asyncio.CancelledError):
    """Raised where somebody sleeps beyond the end of a recording: that time never comes. It ends a strategy well."""


class Sleepers:
    """Sleeps are begun on any thread and ended by ticks, on the engine's. `on_wait` hears of each beginning."""

    def __init__(self, on_wait: Callable[[], None]) -> None:
        self._on_wait = on_wait
        self._lock = Lock()
        self._numbers = count()
        self._due: list[tuple[int, int, _Sleeper]] = []
        self._now_ns = 0
        self._ended = False

    async def until(self, due_ns: int) -> None:
        """Returns at the first tick whose time is `due_ns` or later. Raises `RecordingEnded` where none comes."""
        sleeper = _Sleeper()
        with self._lock:
            is_due = due_ns <= self._now_ns
            if not is_due:
                if self._ended:
                    raise RecordingEnded("the recording has ended")
                heappush(self._due, (due_ns, next(self._numbers), sleeper))
        if is_due:
            await asyncio.sleep(0)
            return
        self._on_wait()
        try:
            await sleeper.future
        finally:
            sleeper.over = True

    def wake(self, now_ns: int) -> None:
        """The time is this now."""
        with self._lock:
            self._now_ns = now_ns
            while self._due and self._due[0][0] <= now_ns:
                heappop(self._due)[2].wake(None)

    def end(self) -> None:
        """There is no more time."""
        with self._lock:
            self._ended = True
            for _, _, sleeper in sorted(self._due, key=lambda entry: entry[:2]):
                sleeper.wake(RecordingEnded("the recording has ended"))
            self._due.clear()

    def waiting(self) -> Counter[object]:
        """How many sleep in each flow."""
        with self._lock:
            return Counter(sleeper.flow for _, _, sleeper in self._due if sleeper.flow and not sleeper.over)

    def __bool__(self) -> bool:
        return bool(self._due)


class _Sleeper:
    def __init__(self) -> None:
        self.flow = flow.get()
        self.over = False  # woken, or cancelled
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()

    def wake(self, error: BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._end, error)
        except RuntimeError:  # its loop is closed: nobody waits any more
            self.over = True

    def _end(self, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)
