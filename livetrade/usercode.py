"""Where user code runs: callbacks on one thread of their own, so that none of them delays a stop."""

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Event, Lock, Thread, get_ident
from time import perf_counter
from typing import Any

from livetrade.stream import callback_key

SLOW_CALLBACK = 0.05
"""A callback that takes longer, in seconds, is named in the log."""

_log = logging.getLogger("livetrade")


class UserThread:
    """One thread for user code, started when the first job is due. Jobs run in order."""

    def __init__(self, name: str, on_idle: Callable[[], None]) -> None:
        self._name = name
        self._on_idle = on_idle
        self._jobs: deque[Callable[[], None]] = deque()
        self._unfinished = 0
        self._lock = Lock()
        self._wake = Event()
        self._stopped = False
        self._thread: Thread | None = None

    def soon(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._unfinished += 1
            self._jobs.append(job)
            if self._thread is None:
                self._thread = Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        self._wake.set()

    @property
    def ident(self) -> int | None:
        """The thread's identifier; None before its first job."""
        return self._thread.ident if self._thread is not None else None

    def is_idle(self) -> bool:
        return not self._unfinished

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait()
            self._wake.clear()
            while self._jobs and not self._stopped:
                self._jobs.popleft()()
                with self._lock:
                    self._unfinished -= 1
                if not self._unfinished:
                    self._on_idle()

    def stop(self, seconds: float) -> None:
        """Ends the thread once the jobs that wait are done, or after `seconds`."""
        thread = self._thread
        if thread is None or thread.ident == get_ident():
            self._stopped = True
            return
        finished = Event()
        self.soon(finished.set)
        in_time = finished.wait(seconds)
        self._stopped = True
        self._wake.set()
        if in_time:
            thread.join(seconds)


class Callbacks:
    """Functions of one kind of value. One registered again under its name (a re-run cell) replaces itself."""

    def __init__(self, thread: UserThread) -> None:
        self._thread = thread
        self._functions: dict[object, Callable[[Any], object]] = {}

    def add(self, function: Callable[[Any], object]) -> None:
        self._functions[callback_key(function)] = function

    def __bool__(self) -> bool:
        return bool(self._functions)

    def __call__(self, value: object) -> None:
        for function in tuple(self._functions.values()):
            self._thread.soon(partial(guarded, function, value))


def guarded(function: Callable[..., object], *values: object) -> None:
    """A callback that raises is logged and hurts nobody else; a slow one is named."""
    name = getattr(function, "__qualname__", repr(function))
    start = perf_counter()
    try:
        function(*values)
    except BaseException:  # noqa: BLE001  the user's code, whatever it raises: sys.exit() ends no other callback
        _log.exception("the callback %s failed", name)
    spent = perf_counter() - start
    if spent > SLOW_CALLBACK:
        _log.warning("the callback %s took %.0f ms; others wait for it", name, spent * 1000)
