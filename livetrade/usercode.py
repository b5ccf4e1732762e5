"""Where user code runs: callbacks and strategies on one thread of their own, so that none of them delays a stop."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event, Lock, Thread, get_ident
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

from livetrade.context import as_registered, at_end
from livetrade.readers import callback_key
from livetrade.userloop import UserLoop

SLOW_CALLBACK = 0.05
"""A callback that takes longer, in seconds, is named in the log."""
TICKS_AT_ONCE = 8
"""So many ticks are handed to callbacks before others have their turn."""
LAST_WORDS = 0.2
"""Seconds for tasks that are left when the thread ends."""

_log = logging.getLogger("livetrade")
_complaints: "WeakKeyDictionary[Callable[..., object], Counter[int]]" = WeakKeyDictionary()
"""How often each callback was complained of, by level."""


class UserThread:
    """One thread for user code, started when it is first needed.

    Strategies are tasks of its asyncio loop. Jobs (callbacks) run in order between two rounds of the loop and not
    within it, so that a callback may call `asyncio.run`.
    """

    def __init__(self, name: str, on_idle: Callable[[], None]) -> None:
        self.name = name
        self.on_idle = on_idle
        self._jobs: deque[Callable[[], None]] = deque()
        self._lock = Lock()
        self._stopped = False
        self._lock_step = False
        self._thread: Thread | None = None
        self._loop: UserLoop | None = None

    # ── what it runs ─────────────────────────────────────────────────────────────────────────────────────────────────

    def soon(self, job: Callable[[], None]) -> None:
        """Runs a job, after those that wait already."""
        self.loop().deliver(partial(self._admit, job))

    def post(self, callback: Callable[[], object]) -> None:
        """Calls something within its loop."""
        with suppress(RuntimeError):  # it is closed: nothing runs any more
            self.loop().call_soon_threadsafe(callback)

    def loop(self) -> UserLoop:
        """Its loop, for the tasks of strategies; starts the thread."""
        with self._lock:
            if self._loop is None:
                self._loop = UserLoop(self.on_idle)
                if self._lock_step:
                    self._loop.hold()
                self._thread = Thread(target=self._run, args=(self._loop,), name=self.name, daemon=True)
                self._thread.start()
            return self._loop

    def _admit(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._jobs.append(job)
            is_first = len(self._jobs) == 1
        if self._loop is not None and is_first:  # else whoever runs that one sees this one too
            with suppress(RuntimeError):  # it is closed: nothing runs any more
                self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, loop: UserLoop) -> None:
        loop.belong_here()
        try:
            while not self._stopped:
                for _ in range(len(self._jobs)):
                    if not self._stopped:
                        self._jobs.popleft()()
                if self._jobs:
                    loop.stop()  # after one round
                self._run_loop(loop)
        finally:
            self._end(loop)

    def _run_loop(self, loop: UserLoop) -> None:
        try:
            loop.run_forever()
        except BaseException:  # noqa: BLE001  the user's code: sys.exit() in a task ends no other one
            _log.exception("a task on the thread %s failed", self.name)

    def _end(self, loop: UserLoop) -> None:
        """Tasks that are left may clean up; those that will not end are dropped without a word."""
        loop.stop()
        loop.run_forever()  # what was posted last, the stop of this loop with it
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        with suppress(RuntimeError):
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks, timeout=LAST_WORDS))
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.set_exception_handler(lambda *_: None)
        loop.close()

    # ── whether it does ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def ident(self) -> int | None:
        """The thread's identifier; None before it is needed."""
        return self._thread.ident if self._thread is not None else None

    def is_idle(self) -> bool:
        """Nothing runs, and nothing waits to."""
        return self._loop is None or self._stopped or (self._loop.rests and not self._jobs)

    def is_stuck(self) -> bool:
        """Nothing goes on here without the engine's next step: no timer, no socket, no executor."""
        return self.is_idle() and (self._loop is None or self._stopped or not self._loop.awaits_outside)

    def runs(self, loop: object) -> bool:
        """Is this its loop?"""
        return loop is not None and loop is self._loop

    @property
    def has_stopped(self) -> bool:
        return self._stopped

    # ── lock-step ────────────────────────────────────────────────────────────────────────────────────────────────────

    def hold(self) -> None:
        """From its beginning: what comes from other threads comes in by `let_in`."""
        self._lock_step = True

    def is_ready(self) -> bool:
        """It rests, or waits for a handle, and something waits for it."""
        return self._loop is not None and self._loop.is_ready

    def let_in(self) -> None:
        """Its turn: takes what waits for it. To be called by the engine's thread."""
        if self._loop is not None:
            self._loop.let_in()

    # ── its end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def free(self) -> None:
        """Lock-step is over: what comes, comes in at once."""
        with self._lock:
            self._lock_step = False
            if self._loop is not None:
                with suppress(RuntimeError):
                    self._loop.hold_no_more()

    def stop(self, seconds: float) -> None:
        """Ends the thread once the jobs that wait are done, or after `seconds`."""
        self.free()
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            self._stopped = True
            return
        if thread.ident != get_ident():
            finished = Event()
            self.soon(finished.set)
            finished.wait(seconds)
        self._stopped = True
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(loop.stop)
        if thread.ident != get_ident():
            thread.join(seconds)


class Callbacks:
    """Functions of one kind of value. One registered again under its name (a re-run cell) replaces itself; one that a
    strategy registers trades for it, and ends with it."""

    def __init__(self, thread: UserThread) -> None:
        self._thread = thread
        self._functions: dict[object, Callable[[Any], object]] = {}

    def add(self, function: Callable[[Any], object]) -> None:
        key, acting = callback_key(function), as_registered(function)
        self._functions[key] = acting
        at_end(partial(self._drop, key, acting))

    def _drop(self, key: object, function: Callable[[Any], object]) -> None:
        if self._functions.get(key) is function:
            del self._functions[key]

    def __bool__(self) -> bool:
        return bool(self._functions)

    def __call__(self, value: object) -> None:
        for function in tuple(self._functions.values()):
            self._thread.soon(partial(guarded, function, value))


def guarded(function: Callable[..., object], *values: object) -> None:
    """A callback that raises is logged and hurts nobody else; a slow one is named. One that does so on every tick is
    told of the 1st, 2nd, 4th, 8th, ... time, so that it does not bury a notebook."""
    start = perf_counter()
    try:
        function(*values)
    except BaseException:  # noqa: BLE001  the user's code, whatever it raises: sys.exit() ends no other callback
        _complain(function, logging.ERROR, "failed")
    spent = perf_counter() - start
    if spent > SLOW_CALLBACK:
        _complain(function, logging.WARNING, f"took {spent * 1000:.0f} ms; others wait for it")


def _complain(function: Callable[..., object], level: int, what: str) -> None:
    count = _counted(function, level)
    if count & (count - 1):
        return
    name = getattr(function, "__qualname__", repr(function))
    often = f", {count:,} times by now" if count > 1 else ""
    _log.log(level, "the callback %s %s%s", name, what, often, exc_info=level == logging.ERROR)


def _counted(function: Callable[..., object], level: int) -> int:
    try:
        counts = _complaints.setdefault(function, Counter())
    except TypeError:  # it can be no key
        return 1
    counts[level] += 1
    return counts[level]
