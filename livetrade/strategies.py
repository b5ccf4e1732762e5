"""Strategies that run: async functions on a thread for user code, each with its name, its book and a handle.

Nothing here knows what kind of engine it is: what a strategy does, it does by the public methods of that.
"""

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Generator, Mapping, Sequence
from concurrent.futures import wait
from contextvars import copy_context
from datetime import datetime, timedelta
from functools import partial
from threading import RLock, get_ident
from typing import Any, Protocol
from weakref import WeakSet

from livetrade.context import MANUAL, Flow, StrategyInfo, current_strategy, flow
from livetrade.core import html
from livetrade.core.kinds import Process, StrategyState
from livetrade.core.records import for_users
from livetrade.errors import EngineClosedError, OrderError
from livetrade.handle import Handle
from livetrade.sleepers import RecordingEnded
from livetrade.terms import text
from livetrade.usercode import UserThread

Strategy = Callable[..., Coroutine[Any, Any, Any]]
Job = Callable[[], object]

START_TAKES = ("name", "params", "thread")
"""Arguments of `start` itself, by keyword."""

_log = logging.getLogger("livetrade")


class Engine(Protocol):
    """What runs strategies."""

    name: str

    def now(self) -> datetime:
        """The engine's time."""


# ── what is asked for ────────────────────────────────────────────────────────────────────────────────────────────────


def call_of(
    strategy: Strategy,
    engine: object,
    args: tuple[Any, ...],
    given: Mapping[str, Any],
    params: Mapping[str, Any] | None,
    taken: Collection[str] = (),
) -> Callable[[], Coroutine[Any, Any, Any]]:
    """What begins a strategy on an engine.

    given: its parameters by keyword; params: more of them, for those whose names the caller takes for itself; taken:
    which of those names the caller was given.

    Raises `OrderError` for what is no async function, and for arguments that do not fit it.
    """
    name = name_of(strategy)
    if not inspect.iscoroutinefunction(called(strategy)):
        raise OrderError(f"{name} is no strategy: a strategy is an async function, async def f(engine, ...)")
    extra = by_name(params)
    twice = sorted(given.keys() & extra.keys())
    if twice:
        raise OrderError(f"{name}: {', '.join(twice)} is given twice, by keyword and in params")
    signature = inspect.signature(strategy)
    try:
        lacking = reserved(signature, args, {**given, **extra}, START_TAKES, taken)
        if lacking:
            example, listed = ", ".join(f'"{word}": ...' for word in lacking), ", ".join(lacking)
            raise OrderError(
                f"{name} has a parameter {listed}, which is an argument of start itself: give it in "
                f"params={{{example}}}"
            )
        signature.bind(engine, *args, **given, **extra)
    except TypeError as error:
        raise OrderError(f"{name}: {error}; it takes {_without_first(signature)}") from None
    return partial(strategy, engine, *args, **given, **extra)


def reserved(
    signature: inspect.Signature,
    args: Sequence[Any],
    params: Mapping[str, Any],
    words: Collection[str],
    taken: Collection[str],
) -> list[str]:
    """The parameters that a strategy is left without because whoever calls it takes their names for itself.

    words: those names; taken: which of them the caller was given, so that somebody may have meant the strategy. Raises
    `TypeError` for arguments that do not fit.
    """
    bound = signature.bind_partial(None, *args, **params).arguments
    left = [parameter for name, parameter in signature.parameters.items() if name not in bound]
    return [each.name for each in left if each.name in words and (each.default is each.empty or each.name in taken)]


def by_name(params: Any) -> dict[str, Any]:
    """What is given as `params`. Raises `OrderError` where they are no parameters by name."""
    if params is not None and not (isinstance(params, Mapping) and all(isinstance(key, str) for key in params)):
        raise OrderError(f"params must be a dict of parameters by name, not {params!r}")
    return dict(params or {})


def name_of(strategy: object) -> str:
    """The name of a function, of the function in a `partial`, or of the class of what is called."""
    while isinstance(strategy, partial):
        strategy = strategy.func
    return getattr(strategy, "__name__", None) or type(strategy).__name__


def called(strategy: Any) -> Any:
    """The function that runs when it is called: itself, that of a `partial`, or the `__call__` of an object."""
    while isinstance(strategy, partial):
        strategy = strategy.func
    return strategy if inspect.isroutine(strategy) else getattr(type(strategy), "__call__", None)  # noqa: B004


def _without_first(signature: inspect.Signature) -> str:
    shown = list(signature.parameters.values())[1:]
    return str(signature.replace(parameters=shown, return_annotation=inspect.Signature.empty))


def _checked_name(name: object) -> str:
    if not name or text(name, "name").strip() != name:
        raise OrderError(f"a strategy's name must be a text without spaces around it, not {name!r}")
    if name == MANUAL:
        raise OrderError(f"{MANUAL!r} is the book of what a person does; give the strategy another name")
    return str(name)


# ── one run ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Run(Flow):
    """A strategy from its start to its end: what it has made meanwhile (tasks, callbacks) ends with it."""

    def __init__(self, name: str, call: Callable[[], Coroutine[Any, Any, Any]], started_at: datetime) -> None:
        self.name = name
        self.started_at = started_at
        self.state = StrategyState.RUNNING
        self.error: BaseException | None = None
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.answer: Handle[Any] = Handle(f"strategy {name}")
        self.loop: asyncio.AbstractEventLoop | None = None
        self._call = call
        self._task: asyncio.Task[None] | None = None
        self._last: list[Job] = []
        self._is_canceled = False

    def at_end(self, job: Job) -> None:
        self._last.append(job)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """On its loop and in its context."""
        self._task = loop.create_task(self._run(), name=self.name)
        self._task.add_done_callback(self._gone)
        if self._is_canceled:
            self._task.cancel()

    def cancel(self) -> None:
        """On its loop."""
        self._is_canceled = True
        if self._task is not None:
            self._task.cancel()

    def refused(self, error: BaseException) -> None:
        """It could not even begin."""
        self.error = error
        self._end(StrategyState.FAILED, error)

    async def _run(self) -> None:
        try:
            result = await self._call()
        except GeneratorExit:
            raise
        except asyncio.CancelledError as error:
            if isinstance(error, RecordingEnded) and not self._is_canceled:
                self._end(StrategyState.FINISHED, None)
            else:
                self._end(StrategyState.CANCELED, asyncio.CancelledError(f"the strategy {self.name} was canceled"))
        except BaseException as error:  # noqa: BLE001  a task's edge, and the user's code: sys.exit() ends no other one
            self.error = error
            _log.exception("the strategy %s failed", self.name)
            self._end(StrategyState.FAILED, error)
        else:
            self._end(StrategyState.FINISHED, result)

    def _gone(self, task: "asyncio.Task[None]") -> None:
        """Its task is over: without a word where it was canceled before its first step, or its loop has ended."""
        if self.state is StrategyState.RUNNING:
            error = None if task.cancelled() else task.exception()
            self.error = error
            state = StrategyState.FAILED if error is not None else StrategyState.CANCELED
            self._end(state, error or asyncio.CancelledError(f"the strategy {self.name} was canceled"))

    def _end(self, state: StrategyState, outcome: Any) -> None:
        for task in list(self.tasks):
            if task is not self._task:
                task.cancel()
        last, self._last = self._last, []
        for job in last:
            job()
        self.state = state
        if state is StrategyState.FINISHED:
            self.answer.resolve(outcome)
        else:
            self.answer.fail(outcome)


def make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **terms: Any) -> "asyncio.Task[Any]":
    """The task factory of loops where strategies run: their tasks end with them."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **terms)
    line = flow.get()
    if isinstance(line, Run):
        line.tasks.add(task)
    return task


# ── its handle ───────────────────────────────────────────────────────────────────────────────────────────────────────


class StrategyHandle:
    """A strategy that was started: its state, its result, and how to end it or start it again.

    `await handle` gives what it returned, from a coroutine; `handle.result(timeout)` from anywhere else. Giving up to
    wait changes nothing about it. Both raise what it raised, and `asyncio.CancelledError` once it was canceled.
    """

    _run: Run
    _user: UserThread

    def __init__(self, name: str, begin: "Callable[[StrategyHandle], object]") -> None:
        self._name = name
        self._begin = begin
        begin(self)

    def follow(self, run: Run, user: UserThread) -> None:
        """This is its run from now on."""
        self._run, self._user = run, user

    @property
    def name(self) -> str:
        """Its name, which is that of its book too."""
        return self._name

    @property
    def state(self) -> StrategyState:
        """RUNNING, FINISHED, FAILED or CANCELED."""
        return self._run.state

    @property
    def started_at(self) -> datetime:
        """When it was started last, by the engine's time."""
        return self._run.started_at

    @property
    def error(self) -> BaseException | None:
        """What it raised; None while it has not failed."""
        return self._run.error

    def done(self) -> bool:
        """True once it is over."""
        return self.state is not StrategyState.RUNNING

    def cancel(self) -> bool:
        """Raises `asyncio.CancelledError` in it where it waits next; False where it is over already.

        Its orders, position and exits stay as they are.
        """
        if self.done():
            return False
        self._user.post(self._run.cancel)
        return True

    def restart(self) -> "StrategyHandle":
        """Starts it again as it was started before, on the same book. Raises `OrderError` while it runs."""
        self._begin(self)
        return self

    def result(self, timeout: float | timedelta | None = None) -> Any:
        """What it returned; waits for its end, at most `timeout` (seconds or a `timedelta`).

        Raises `TimeoutError`, what it raised, or `asyncio.CancelledError` once it was canceled.
        """
        if not self.done() and self._user.ident == get_ident():
            raise RuntimeError(f"{self.name} runs on this thread and would be waited for for ever; use `await`")
        return self._run.answer.result(timeout)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._run.answer.__await__()

    def __dir__(self) -> list[str]:
        return for_users(object.__dir__(self), ("follow",))

    def __repr__(self) -> str:
        state = f"{self.state}: {self.error!r}" if self.error is not None else str(self.state)
        return f"<strategy {self.name} {state}, started at {self.started_at:%Y-%m-%d %H:%M:%S}>"

    def _repr_html_(self) -> str:
        rows = [("state", self.state), ("started", f"{self.started_at:%Y-%m-%d %H:%M:%S}")]
        failed = [] if self.error is None else [("error", repr(self.error))]
        return html.card(f"strategy {self.name}", html.facts([*rows, *failed]))


# ── those of one engine ──────────────────────────────────────────────────────────────────────────────────────────────


class Strategies:
    """The strategies that were started here, the last of each name.

    shared, own: the thread that they share with callbacks, and one for a strategy alone, by its name. failed: hears
    of each failure.
    """

    def __init__(
        self,
        engine: Engine,
        shared: Callable[[], UserThread],
        own: Callable[[str], UserThread],
        failed: Callable[[str, BaseException], object],
    ) -> None:
        self._engine = engine
        self._shared = shared
        self._own = own
        self._failed = failed
        self._handles: dict[str, StrategyHandle] = {}
        self._running: dict[str, Run] = {}
        self._lock = RLock()
        self._closed = False

    def start(self, name: object, call: Callable[[], Coroutine[Any, Any, Any]], *, alone: bool) -> StrategyHandle:
        known = _checked_name(name)
        begin = partial(self._begin, known, call, alone)
        return StrategyHandle(known, begin)

    def _begin(
        self, name: str, call: Callable[[], Coroutine[Any, Any, Any]], alone: bool, handle: StrategyHandle
    ) -> None:
        run = Run(name, call, self._engine.now())
        with self._lock:
            if self._closed:
                raise EngineClosedError(f"the engine {self._engine.name!r} is closed; make a new one")
            if name in self._running:
                raise OrderError(
                    f"the strategy {name!r} is running; end it with engine.strategy({name!r}).cancel(), or give this "
                    f"one another name="
                )
            user = self._own(name) if alone else self._shared()
            handle.follow(run, user)
            self._running[name] = run
            self._handles[name] = handle
        try:
            self._send_off(run, user, alone)
        except BaseException as error:
            run.refused(error)
            raise

    def _send_off(self, run: Run, user: UserThread, alone: bool) -> None:
        run.answer.bind(None, user.on_idle)
        run.at_end(partial(self._ended, run, user if alone else None))
        run.loop = loop = user.loop()
        loop.set_task_factory(make_task)
        context = copy_context()
        context.run(current_strategy.set, run.name)
        context.run(flow.set, run)
        loop.call_soon_threadsafe(run.begin, loop, context=context)

    def _ended(self, run: Run, own: UserThread | None) -> None:
        with self._lock:
            self._running.pop(run.name, None)
        if run.error is not None:
            self._failed(run.name, run.error)
        if own is not None:
            own.stop(0)

    def get(self, name: str) -> StrategyHandle | None:
        return self._handles.get(name)

    def infos(self, where: Process) -> list[StrategyInfo]:
        with self._lock:
            handles = list(self._handles.values())
        return [
            StrategyInfo(h.name, where, h.state, h.started_at, "" if h.error is None else repr(h.error))
            for h in handles
        ]

    # ── lock-step ────────────────────────────────────────────────────────────────────────────────────────────────────

    def running(self) -> list[Run]:
        with self._lock:
            return list(self._running.values())

    def awaited(self) -> Counter[object]:
        """By who waits: for how many strategies that run."""
        return Counter(who for run in self.running() for who in run.answer.awaited_by)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def close(self, seconds: float) -> list[str]:
        """Cancels all of them; gives back the names of those that did not end in this time."""
        with self._lock:
            self._closed = True
            handles = [self._handles[name] for name in self._running]
        for handle in handles:
            handle.cancel()
        if any(handle._user.ident == get_ident() for handle in handles):
            return []  # one of them closes the engine: it cannot wait for itself
        answers = [handle._run.answer._future for handle in handles]
        wait(answers, seconds)
        return [handle.name for handle in handles if not handle.done()]
