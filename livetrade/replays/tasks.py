"""Strategies as coroutines that are driven by hand, and what they may await: a tick, an answer, a time.

What a coroutine awaits is yielded to whoever drives it, and keeps it until it may go on. They take turns with the
engine, as in a live one's lock-step: what the engine has for them (ticks, answers, callbacks) comes in at once, in its
order, when none of them can go on by itself.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

from livetrade.core.kinds import OrderStatus
from livetrade.errors import OrderError
from livetrade.handle import Handle
from livetrade.surface import OrderHandle, OrderResult

T = TypeVar("T")

Job = Callable[[], None]
Jobs = deque[Job]

FOREIGN = (
    "a replay runs in virtual time, without asyncio, and cannot await {what}: await engine.sleep(seconds), ticks of "
    "engine.stream, handles of the engine's commands, or coroutines of your own that do"
)
NUDGES = 100
"""How often a strategy that awaits on after its recording has ended is told so."""


class Awaited:
    """What a strategy may await; it keeps the tasks that wait for it."""

    __slots__ = ()

    def keep(self, task: "Task") -> None:
        """Takes a task that waits from now on."""
        raise NotImplementedError

    def forget(self, task: "Task") -> None:
        """A task waits no longer."""
        raise NotImplementedError


class Task:
    """One strategy that runs. `send` takes it to where it awaits the next thing, and gives that."""

    def __init__(
        self, name: str, coroutine: Coroutine[Any, Any, Any], over: "Callable[[Task], None]", context: Context | None
    ) -> None:
        self.name = name
        self.value: object = None
        """What it returned."""
        self.error: BaseException | None = None
        self.done = False
        self._coroutine = coroutine
        self._over = over
        self._context = context
        self._awaits: Awaited | None = None
        self.send: Callable[[Any], Any] = coroutine.send if context is None else self._send

    def _send(self, value: Any) -> Any:
        assert self._context is not None
        return self._context.run(self._coroutine.send, value)

    def _throw(self, error: BaseException) -> Any:
        if self._context is None:
            return self._coroutine.throw(error)
        return self._context.run(self._coroutine.throw, error)

    def run(self, value: object = None) -> None:
        """Goes on with what it awaited."""
        self._awaits = None
        self._step(self.send, value)

    def _step(self, step: Callable[[Any], Any], value: object) -> None:
        try:
            asked = step(value)
        except BaseException as error:  # noqa: BLE001  the user's code, whatever it raises
            self.ended(error)
        else:
            self.suspended(asked)

    def suspended(self, asked: object) -> None:
        """It awaits `asked`; what a replay knows nothing of is refused where it was written."""
        if isinstance(asked, Awaited):
            self._awaits = asked
            asked.keep(self)
        else:
            what = "asyncio.sleep(0)" if asked is None else f"a {type(asked).__name__}"
            self._step(self._throw, OrderError(FOREIGN.format(what=what)))

    def ended(self, error: BaseException) -> None:
        self.done = True
        self._awaits = None
        if isinstance(error, StopIteration):
            self.value = error.value
        elif not isinstance(error, asyncio.CancelledError):
            self.error = error
        self._over(self)

    def cancel(self) -> None:
        """Raises `CancelledError` where it waits; one that waits on regardless is closed."""
        for _ in range(NUDGES):
            if self.done:
                return
            if self._awaits is not None:
                self._awaits.forget(self)
            self._step(self._throw, asyncio.CancelledError())
        self.close()

    def close(self) -> None:
        """Ends it where it stands, without a word."""
        if not self.done:
            self.done = True
            if self._awaits is not None:
                self._awaits.forget(self)
            try:
                self._coroutine.close()
            except Exception as error:  # noqa: BLE001  the user's code, on its way out
                self.error = self.error or error


class Turns:
    """Who goes on: `now`, in this turn; `arrivals` are for the next one.

    In a turn callbacks come first, then who is woken by a tick or a time, and then who is answered, as on a live
    engine's loop; each kind in the engine's order.
    """

    def __init__(self) -> None:
        self.now: Jobs = deque()
        self.arrivals: deque[Job | ReplayHandle[Any]] = deque()

    def run(self) -> None:
        """One turn after the other, until nobody can go on."""
        now, arrivals = self.now, self.arrivals
        while now or arrivals:
            while now:
                now.popleft()()
            self._take_arrivals()

    def turn(self) -> None:
        """One turn: of what has arrived by now."""
        self._take_arrivals()
        while self.now:
            self.now.popleft()()

    def _take_arrivals(self) -> None:
        now, batch = self.now, list(self.arrivals)
        self.arrivals.clear()
        answered = [job for arrival in batch if isinstance(arrival, ReplayHandle) for job in arrival.settled()]
        others = [arrival for arrival in batch if not isinstance(arrival, ReplayHandle)]
        if others:
            now.extend(sorted(others, key=_is_no_call))
        now.extend(answered)

    def clear(self) -> None:
        self.now.clear()
        self.arrivals.clear()


class Call(partial[None]):
    """A callback that is due."""


def _is_no_call(arrival: object) -> bool:
    return not isinstance(arrival, Call)


class ReplayHandle(Awaited, Handle[T]):
    """The answer to something that was sent in a replay."""

    def __init__(self, what: str, turns: Turns) -> None:
        self._what = what
        self._turns = turns
        self._tasks: list[Task] = []
        self._answer: T | None = None
        self._error: BaseException | None = None
        self._told = self._done = False

    def done(self) -> bool:
        return self._done

    def result(self, timeout: float | timedelta | None = None) -> T:
        """The answer, once it is there: time passes only while strategies await something."""
        if not self._done:
            raise OrderError("there is no answer yet, and no time passes in a replay while code runs: await the handle")
        if self._error is not None:
            raise self._error
        return cast("T", self._answer)

    def __await__(self) -> Generator[Any, Any, T]:
        yield self
        return self.result()

    def keep(self, task: Task) -> None:
        if self._done:
            self._turns.now.append(task.run)
        else:
            self._tasks.append(task)

    def forget(self, task: Task) -> None:
        if task in self._tasks:
            self._tasks.remove(task)

    def resolve(self, answer: T) -> None:
        if not self._told:
            self._answer = answer
            self._arrive()

    def fail(self, error: BaseException) -> None:
        if not self._told:
            self._error = error
            self._arrive()

    def _arrive(self) -> None:
        self._told = True
        self._turns.arrivals.append(self)

    def settled(self) -> list[Job]:
        """It is known from now on; gives back who goes on with it."""
        self._done = True
        tasks, self._tasks = self._tasks, []
        return [task.run for task in tasks]

    def _known(self) -> tuple[object, ...]:
        if not self._done:
            return ()
        return (self._error if self._error is not None else self._answer,)


Follow = Callable[[OrderHandle, OrderStatus, float | None], Handle[OrderResult]]


class ReplayOrderHandle(ReplayHandle[OrderResult], OrderHandle):
    """The answer to an order, modify or cancel in a replay."""

    def __init__(self, what: str, turns: Turns, follow: Follow) -> None:
        super().__init__(what, turns)
        self._follow = follow
        self._order_id = None
        self.until_taken = None


class NoLoop:
    """Stands where asyncio looks for a running loop, and says what to use in place of asyncio."""

    def get_debug(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        raise OrderError(FOREIGN.format(what="what needs a loop of asyncio"))

    def __repr__(self) -> str:
        return "<no asyncio loop: a replay>"
