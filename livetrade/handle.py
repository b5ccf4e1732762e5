"""A `Handle`: the answer to something that was already sent."""

import asyncio
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from threading import get_ident
from typing import Any, Generic, TypeVar

T = TypeVar("T")

flow: ContextVar[object | None] = ContextVar("livetrade_flow", default=None)
"""Who waits: a task that reads ticks and the tasks it makes share one token; anybody else is known by the thread."""


class Handle(Generic[T]):
    """The answer to a command that is already on its way: calling the command sent it.

    `await handle` gives the answer from a coroutine, `handle.result(timeout)` from anywhere else. Neither waiting nor
    giving up waiting, nor interrupting a cell that waits, changes anything about the command itself.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._future: Future[T] = Future()
        self._forbidden_thread: int | None = None
        self._waiters: list[object] = []
        self._on_wait: Callable[[], None] | None = None

    def bind(self, thread: int | None, on_wait: Callable[[], None]) -> None:
        """Names the thread that must not wait (the engine's own would wait for itself), and who hears of a wait."""
        self._forbidden_thread, self._on_wait = thread, on_wait

    def done(self) -> bool:
        """True once the answer is known."""
        return self._future.done()

    def result(self, timeout: float | timedelta | None = None) -> T:
        """Waits for the answer, at most `timeout` (seconds or a `timedelta`).

        Raises `TimeoutError`; the command goes on regardless.
        """
        if self._forbidden_thread == get_ident() and not self._future.done():
            raise RuntimeError("the engine's own thread cannot wait for its own answer")
        with self._waiting():
            return self._future.result(timeout.total_seconds() if isinstance(timeout, timedelta) else timeout)

    def __await__(self) -> Generator[Any, None, T]:
        with self._waiting():
            yield from self._told_here().__await__()
        return self._future.result()

    def _told_here(self) -> "asyncio.Future[None]":
        """A future of the running loop that is done with the answer. Its task goes on as soon as one that a tick wakes,
        neither earlier nor later: in lock-step whoever was woken first goes first."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()

        def tell(_: object) -> None:
            with suppress(RuntimeError):  # its loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_finish, told)

        self._future.add_done_callback(tell)
        return told

    @property
    def awaited_by(self) -> tuple[object, ...]:
        """Who waits for the answer now: tokens of `flow`, or identifiers of threads."""
        return tuple(self._waiters)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        token = flow.get()
        who = get_ident() if token is None else token
        self._waiters.append(who)
        try:
            if self._on_wait is not None:
                self._on_wait()
            yield
        finally:
            self._waiters.remove(who)

    def resolve(self, answer: T) -> None:
        """Gives the answer; the first one counts."""
        try:
            self._future.set_result(answer)
        except InvalidStateError:
            return

    def fail(self, error: BaseException) -> None:
        try:
            self._future.set_exception(error)
        except InvalidStateError:
            return

    def __repr__(self) -> str:
        if not self._future.done():
            return f"<{self._what}: sent, no answer yet>"
        error = self._future.exception()
        return f"<{self._what}: {error if error is not None else self._future.result()!r}>"


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
