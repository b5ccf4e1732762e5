"""A `Handle`: the answer to something that was already sent."""

import asyncio
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from threading import get_ident
from typing import Any, Generic, TypeVar

from livetrade.context import flow
from livetrade.core import html
from livetrade.core.records import for_users
from livetrade.userloop import user_loop

T = TypeVar("T")

UNANSWERED = "sent, no answer yet"


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
        self._home = user_loop()

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
        loop = user_loop()
        blocked = loop.blocked_on(self._future) if loop is not None else nullcontext()
        with blocked, self._waiting(get_ident()):
            return self._future.result(timeout.total_seconds() if isinstance(timeout, timedelta) else timeout)

    def __await__(self) -> Generator[Any, None, T]:
        with self._waiting(None if flow.get() else asyncio.current_task()):
            return (yield from asyncio.shield(asyncio.wrap_future(self._future)).__await__())

    @property
    def awaited_by(self) -> tuple[object, ...]:
        """Who waits for the answer now: flows, threads that are blocked (by their identifiers), tasks of no flow."""
        return tuple(self._waiters)

    @contextmanager
    def _waiting(self, by: object) -> Iterator[None]:
        who = [waiter for waiter in (flow.get(), by) if waiter is not None]
        self._waiters += who
        try:
            if self._on_wait is not None:
                self._on_wait()
            yield
        finally:
            for waiter in who:
                self._waiters.remove(waiter)

    def resolve(self, answer: T) -> None:
        """Gives the answer; the first one counts."""
        self._tell(partial(self._future.set_result, answer))

    def fail(self, error: BaseException) -> None:
        self._tell(partial(self._future.set_exception, error))

    def _tell(self, settle: Callable[[], None]) -> None:
        def tell() -> None:
            with suppress(InvalidStateError):
                settle()

        if self._home is None:
            tell()
        else:
            self._home.deliver(tell, self._future)

    def __dir__(self) -> list[str]:
        return for_users(object.__dir__(self), ("awaited_by", "bind", "fail", "resolve", "until_taken"))

    def _known(self) -> tuple[object, ...]:
        """The answer, or the error in its place; nothing while there is none."""
        if not self._future.done():
            return ()
        error = self._future.exception()
        return (error if error is not None else self._future.result(),)

    def __repr__(self) -> str:
        told = [str(answer) if isinstance(answer, BaseException) else repr(answer) for answer in self._known()]
        return f"<{self._what}: {told[0] if told else UNANSWERED}>"

    def _repr_html_(self) -> str:
        for answer in self._known():
            if hasattr(answer, "_repr_html_"):
                shown: str = answer._repr_html_()
                return shown
            told = html.facts(answer.items()) if isinstance(answer, dict) else html.text(str(answer))
            return html.card(self._what, told)
        return html.card(self._what, html.text(UNANSWERED))
