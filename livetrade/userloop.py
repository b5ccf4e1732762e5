"""The asyncio loop that strategies run on: it knows when nothing in it goes on by itself, and in lock-step it takes
what comes from other threads only when it rests.

Lock-step is turns. While the loop works, whatever the engine has for it (ticks, answers, callbacks) is held; when it
rests and the engine has nothing left to do, all of that comes in at once, in the engine's order. So it makes no
difference which of the two threads was faster, and the same ticks lead to the same orders.
"""

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import partial
from threading import RLock, get_ident, local
from typing import Any

Job = Callable[[], object]

SPINS = 1_000
"""After so many rounds without any rest a loop takes what is held: somebody may be turning until it comes."""

_here = local()


class _Selector(selectors.DefaultSelector):
    """Where a loop sleeps; it says so before and after."""

    before: Callable[[float | None], None]
    after: Job

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.before(timeout)
        try:
            return super().select(timeout)
        finally:
            self.after()


class UserLoop(asyncio.SelectorEventLoop):
    """`on_rest` is called, on its thread, whenever it comes to rest, and by any thread when something is held."""

    def __init__(self, on_rest: Job) -> None:
        self._on_rest = on_rest
        self._gate = RLock()
        self._held: deque[_Arrival | _Told] = deque()
        self._holding = False
        self._arriving = False  # let in, and not run yet
        self._rests = False
        self._outside = False
        self._abroad = 0  # calls that run in an executor
        self._spins = 0
        self._ident: int | None = None
        self._blocked_on: Future[Any] | None = None
        self._places = _Selector()
        self._places.before, self._places.after = self._about_to_select, self._selected
        super().__init__(self._places)

    def belong_here(self) -> None:
        """Names the calling thread as the one that runs it."""
        self._ident = get_ident()
        _here.loop = self

    # ── what comes in ────────────────────────────────────────────────────────────────────────────────────────────────

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        if self._holding and get_ident() != self._ident:
            arrival = _Arrival(self, callback, args, context or copy_context())
            if self._held_back(arrival):
                return arrival.handle
        return super().call_soon_threadsafe(callback, *args, context=context)

    def deliver(self, job: Job, answers: Future[Any] | None = None) -> None:
        """Runs a job that tells this loop's thread something: at once, or in lock-step when it is that one's turn.
        `answers` is the future that the job settles."""
        if not self._holding or get_ident() == self._ident or not self._held_back(_Told(job, answers)):
            job()

    def _held_back(self, arrival: "_Arrival | _Told") -> bool:
        with self._gate:
            if not self._holding:
                return False
            self._held.append(arrival)
        self._on_rest()
        return True

    def hold(self) -> None:
        """Lock-step begins: nothing comes in but by `let_in`."""
        self._holding = True

    def hold_no_more(self) -> None:
        with self._gate:
            self._holding = False
            self._let_in()

    @property
    def is_ready(self) -> bool:
        """It is the turn of what is held: the loop rests, its thread waits for a handle, or it has turned in vain."""
        return bool(self._held) and (self._rests or self.is_blocked or self._spins >= SPINS)

    def let_in(self) -> None:
        """Takes what is held, if it is ready to. Called by one thread only."""
        with self._gate:
            if self.is_ready:
                self._let_in()

    def _let_in(self) -> None:
        """All at once: what is told is told on its thread, unless that waits for just this."""
        self._arriving, self._rests = True, False
        waited_for = self._blocked_on if self.is_blocked else None
        batch: list[_Arrival | _Told] = []
        last: list[_Told] = []
        while self._held:
            arrival = self._held.popleft()
            if waited_for is None or isinstance(arrival, _Arrival):
                batch.append(arrival)
            elif arrival.answers is waited_for:
                last.append(arrival)
            else:
                arrival.job()
        super().call_soon_threadsafe(self._arrive, batch)
        for told in last:
            told.job()

    def _arrive(self, batch: "list[_Arrival | _Told]") -> None:
        self._arriving = False
        self._spins = 0
        for arrival in batch:
            if isinstance(arrival, _Told):
                arrival.job()
            elif not arrival.handle.cancelled():
                self.call_soon(arrival.callback, *arrival.args, context=arrival.context)

    # ── whether it goes on ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def rests(self) -> bool:
        """Nothing is ready, and nothing is held."""
        return self._rests and not self._held

    @property
    def awaits_outside(self) -> bool:
        """A timer, a socket or an executor will wake it without the engine."""
        return self._outside

    @property
    def is_blocked(self) -> bool:
        """Its thread waits for the answer of a handle, and runs nothing meanwhile."""
        waiting = self._blocked_on
        return waiting is not None and not waiting.done()

    @contextmanager
    def blocked_on(self, future: Future[Any]) -> Iterator[None]:
        before, self._blocked_on = self._blocked_on, future
        try:
            yield
        finally:
            self._blocked_on = before

    def _about_to_select(self, timeout: float | None) -> None:
        if timeout is not None and timeout <= 0:
            self._spins += 1
            if self._held and self._spins % SPINS == 0:
                self._on_rest()
            return
        with self._gate:
            if self._arriving:
                return
            sockets = len(self._places.get_map()) - 1  # one is its own
            self._outside = timeout is not None or sockets > 0 or self._abroad > 0
            self._spins = 0
            self._rests = True
        self._on_rest()

    def _selected(self) -> None:
        self._rests = False

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        self._abroad += 1
        try:
            future = super().run_in_executor(executor, func, *args)
        except BaseException:
            self._abroad -= 1
            raise
        future.add_done_callback(self._came_back)
        return future

    def _came_back(self, _: object) -> None:
        self._abroad -= 1


class _Arrival:
    """A callback that waits to come in. `handle` cancels it."""

    def __init__(
        self, loop: UserLoop, callback: Callable[..., object], args: tuple[Any, ...], context: Context
    ) -> None:
        self.handle = asyncio.Handle(partial(callback, *args), (), loop, context)
        self.callback = callback
        self.args = args
        self.context = context


class _Told:
    """A job that waits to come in."""

    def __init__(self, job: Job, answers: Future[Any] | None) -> None:
        self.job = job
        self.answers = answers


def user_loop() -> UserLoop | None:
    """The loop whose thread this is; None on any other thread."""
    return getattr(_here, "loop", None)
