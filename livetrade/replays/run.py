"""`replay(strategy, source, ...)`: the parts joined, and what a user wrote checked."""

import asyncio
import gc
import inspect
import sys
import warnings
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

from livetrade.adapters.paper import PaperBroker
from livetrade.adapters.recorded import RecordedFeed
from livetrade.context import current_strategy
from livetrade.core.account import Account, Margin
from livetrade.core.fees import DEFAULT_FEES
from livetrade.core.instruments import Instrument
from livetrade.core.limits import Limits
from livetrade.core.numbers import Number, at, money_raw, zone_named
from livetrade.core.quotes import BACKWARD
from livetrade.core.schedules import Fees
from livetrade.errors import OrderError, StrategyError
from livetrade.options import check_currency, check_parts, check_rules
from livetrade.registry import levels_outside
from livetrade.replays.driver import Driver
from livetrade.replays.engine import ReplayEngine, checked_exits
from livetrade.replays.result import ReplayResult
from livetrade.replays.source import Recording
from livetrade.replays.stream import ReplayStream
from livetrade.replays.tasks import NoLoop, Task
from livetrade.strategies import Strategy, by_name, called, name_of, reserved
from livetrade.version import __version__

if TYPE_CHECKING:
    import pandas as pd

RESERVED = (
    "strategy", "source", "cash", "fees", "limits", "margin", "broker", "instruments", "timezone", "currency",
    "trigger_by", "params", "progress", "on_error", "exits",
)  # fmt: skip
COLLECT_AFTER = 50_000
"""So many new objects that stay, before the collector looks for cycles."""
SHOW_FROM = 200_000
"""A replay of fewer ticks is over before a progress bar is read."""


def replay(
    strategy: Strategy | Sequence[Strategy],
    source: "str | PathLike[str] | pd.DataFrame | RecordedFeed",
    *args: Any,
    cash: Number = 500_000,
    fees: Fees = DEFAULT_FEES,
    limits: Limits | None = None,
    margin: Margin | None = None,
    broker: PaperBroker | None = None,
    instruments: Sequence[Instrument] = (),
    timezone: str = "Asia/Kolkata",
    currency: str = "INR",
    trigger_by: str = "quote",
    params: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    on_error: str = "raise",
    exits: Mapping[str, Any] | None = None,
    **more: Any,
) -> ReplayResult:
    """Runs a strategy over recorded ticks, in virtual time, and gives back the account at their end.

    strategy: an async function, called as `strategy(engine, *args, **params)`, as `engine.start` does live; or several
    of them, which trade side by side on one account. What it may await: ticks of `engine.stream`, `engine.sleep`,
    handles of the engine's commands, coroutines of its own. It is ended with the recording.
    source: a path (Parquet, CSV, a journal that recorded ticks), a DataFrame, or `read_ticks(...)` for a part of one.
    cash, fees, limits, margin, broker (`PaperBroker(slippage=, latency=, size=)`), instruments, timezone, currency,
    trigger_by: as `LiveTradingEngine` takes them. params: parameters of the strategy whose names are those of this
    function's own; all others are simply written as keywords.
    exits: what every opening order gets in place of the exits of those kinds that the strategy gives it, such as
    {"stop_loss_pct": 2}; None takes them away.
    progress: True shows a progress bar, False none; left out, one is shown for a long recording where somebody looks.
    on_error: "raise" ends the replay where a strategy raises, with `StrategyError`, whose `.result` is what there is so
    far; "keep" goes on without it, as a live engine does, and the result's `.error` tells.

    The same ticks through `LiveTradingEngine(feed=RecordedFeed(source, speed=None))` give the same orders, fills and
    events. Raises `OrderError` for wrong arguments, `FeedError` for a source that cannot be read.
    """
    given = {**more, **by_name(params)}
    strategies = _strategies(strategy)
    taken = {"cash": cash != 500_000, "fees": fees is not DEFAULT_FEES, "trigger_by": trigger_by != "quote"}
    for each in strategies:
        check_strategy(each, args, given, RESERVED, [name for name, is_given in taken.items() if is_given], "replay()")
    check_rules(fees, limits, margin, trigger_by)
    broker = broker if broker is not None else PaperBroker()
    check_parts(None, broker, instruments)
    if broker.venue is None:
        raise OrderError(f"a replay needs a simulated broker such as PaperBroker(), not {broker!r}")
    if on_error not in ("raise", "keep"):
        raise OrderError(f"on_error must be 'raise' or 'keep', not {on_error!r}")
    cash_raw = money_raw(cash, "cash")
    if cash_raw < 0:
        raise OrderError(f"cash must not be negative, not {cash}")
    check_currency(currency)
    zone = zone_named(timezone)
    venue = broker.venue
    venue.trigger_by = trigger_by
    feed = feed_of(source, strategies[0], args, given, instruments)
    run = _Run(
        Account(venue=venue, limits=limits, fees=fees, margin=margin, trigger_by=trigger_by),
        feed,
        ReplayStream(zone),
        strict=on_error == "raise",
        exits=checked_exits(exits or {}),
    )
    run.open(cash_raw, currency, timezone)
    result = run.all(strategies, args, given, progress)
    terms = {
        "cash": cash,
        "fees": fees,
        "limits": limits,
        "margin": margin,
        "broker": broker,
        "timezone": timezone,
        "currency": currency,
        "trigger_by": trigger_by,
        "on_error": on_error,
    }
    result.again = partial(_again, strategies, feed, args, given, terms)
    return result


def _again(
    strategies: Sequence[Strategy],
    feed: RecordedFeed,
    args: Sequence[Any],
    params: Mapping[str, Any],
    terms: Mapping[str, Any],
    changed_terms: Mapping[str, Any],
    changed_params: Mapping[str, Any],
    exits: Mapping[str, Any],
) -> ReplayResult:
    """The same replay with something changed."""
    given = {**params, **changed_params}
    return replay(strategies, feed, *args, params=given, exits=exits, progress=False, **{**terms, **changed_terms})


class _Run:
    """One replay."""

    def __init__(
        self, account: Account, feed: RecordedFeed, stream: ReplayStream, *, strict: bool, exits: Mapping[str, Any]
    ) -> None:
        for instrument in feed.instruments:
            stream.register(instrument)
        self.account = account
        self._strict = strict
        self._recording = Recording(feed, stream.instrument, stream.zone)
        self._driver = Driver(account, stream, self._failed)
        self._engine = ReplayEngine(account, self._recording, stream, self._driver, exits)
        self._failures: list[Task] = []
        self._stream = stream
        stream.asked_for = self._asked_for

    def open(self, cash_raw: int, currency: str, timezone: str) -> None:
        self._driver.open(self._recording, cash_raw, currency, timezone, __version__)

    def all(
        self, strategies: Sequence[Strategy], args: Sequence[Any], params: Mapping[str, Any], progress: bool | None
    ) -> ReplayResult:
        names = _names(strategies)
        result = ReplayResult(self._engine, self._driver.journal, ", ".join(names), params, self._recording.name)
        jobs = [partial(strategy, self._engine, *args, **params) for strategy in strategies]
        with _no_asyncio(), _seldom_collected():
            try:
                self._play(dict(zip(names, jobs, strict=True)), progress)
            finally:
                self._driver.close()
                self._engine.close()
        self._tell_of_quarantine()
        result.values = {task.name: task.value for task in self._driver.tasks}
        if self._failures:
            self._tell(result)
        return result

    def _play(self, jobs: Mapping[str, Callable[[], Coroutine[Any, Any, Any]]], progress: bool | None) -> None:
        contexts = {name: copy_context() for name in jobs}
        for name, context in contexts.items():
            context.run(current_strategy.set, name)
        if len(jobs) == 1:  # its context is the whole replay's, which spares entering it at each tick
            [(name, job)] = jobs.items()
            contexts[name].run(self._play_in, {name: job}, {name: None}, progress)
        else:
            self._play_in(jobs, contexts, progress)

    def _play_in(
        self,
        jobs: Mapping[str, Callable[[], Coroutine[Any, Any, Any]]],
        contexts: Mapping[str, Context | None],
        progress: bool | None,
    ) -> None:
        try:
            for name, job in jobs.items():
                task = self._driver.start(name, job(), contexts[name])
                if task.done and task.error is None:
                    _warn(
                        f"{name} ended before the first tick, without waiting for any: "
                        "read ticks by `async for tick in engine.stream.ticks(symbol)`"
                    )
            with _progress(progress, len(self._recording)) as advance:
                self._driver.play(self._recording, advance)
        except _Stopped:
            pass

    def _failed(self, task: Task) -> None:
        self._failures.append(task)
        if not isinstance(task.error, Exception):
            assert task.error is not None
            raise task.error
        if self._strict:
            raise _Stopped

    def _tell(self, result: ReplayResult) -> None:
        task = self._failures[0]
        result.error = error = task.error
        if self._strict:
            raise StrategyError(f"{task.name} raised {_told(error)} {self._where()}", result) from error

    def _tell_of_quarantine(self) -> None:
        """Of a recording that is mostly left out: what comes out says little of it."""
        count = sum(self.account.quarantined.values())
        if 2 * count > self._driver.played:
            why = ", ".join(f"{reason} {times:,}" for reason, times in self.account.quarantined.most_common())
            hint = "; are its rows in the order of time?" if self.account.quarantined[BACKWARD] else ""
            told = f"{count:,} of {self._driver.played:,} ticks of {self._recording.name} were quarantined"
            _warn(f"{told}: {why}{hint}")

    def _where(self) -> str:
        account = self.account
        time = at(account.ts, account.zone).isoformat()
        if not self._driver.played:
            return f"before the first tick ({time})"
        return f"at tick {self._engine.ticks_taken:,} ({time})"

    def _asked_for(self, symbol: str) -> None:
        if symbol not in self._recording.symbols:
            shown = ", ".join(self._recording.symbols[:8])
            more = ", …" if len(self._recording.symbols) > 8 else ""
            _warn(f"{self._recording.name} has no ticks of {symbol}, but of {shown}{more}: none will come")


class _Stopped(Exception):  # noqa: N818  no error: the way out of a replay that ends where a strategy raised
    """A strategy raised, and the replay ends there."""


def _told(error: BaseException | None) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=levels_outside())


# ── what a user wrote ────────────────────────────────────────────────────────────────────────────────────────────────


def _strategies(given: object) -> list[Strategy]:
    several: list[Any] = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if not several:
        raise OrderError("there is no strategy to replay")
    return several


def _check_async(strategy: Any) -> None:
    name = getattr(strategy, "__name__", repr(strategy))
    if inspect.iscoroutine(strategy):
        strategy.close()
        raise OrderError(f"give the function itself, not its call: replay({name}, source, ...)")
    call = called(strategy)
    if inspect.isasyncgenfunction(call):
        raise OrderError(f"{name} yields, and so is no strategy: an async function without yield is one")
    if not inspect.iscoroutinefunction(call):
        raise OrderError(f"a strategy is an async function, not {name}: write `async def {_word(name)}(engine, ...)`")


def _word(name: str) -> str:
    return name if name.isidentifier() else "strategy"


def _names(strategies: Sequence[Strategy]) -> list[str]:
    names = [name_of(strategy) for strategy in strategies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OrderError(
            f"two strategies are called {twice[0]}: orders and positions are kept by name, give each its own"
        )
    return names


def check_strategy(
    strategy: Strategy,
    args: Sequence[Any],
    params: Mapping[str, Any],
    words: Collection[str],
    passed: Collection[str],
    caller: str,
) -> None:
    """Raises `OrderError` where it is no strategy, cannot be called so, or takes by name what is taken already.

    words, passed: as `words` and `taken` of `livetrade.strategies.reserved`.
    """
    _check_async(strategy)
    name, signature = name_of(strategy), inspect.signature(strategy)
    try:
        lacking = reserved(signature, args, params, words, passed)
        if lacking:
            raise OrderError(
                f"{lacking[0]} is an argument of {caller} itself; what {name} takes by that name goes into "
                f"params={{{lacking[0]!r}: ...}}"
            )
        signature.bind(None, *args, **params)
    except TypeError as error:
        raise OrderError(f"{name}{signature} cannot be called with what was given: {error}") from None


def feed_of(
    source: Any, strategy: Strategy, args: Sequence[Any], params: Mapping[str, Any], instruments: Sequence[Instrument]
) -> RecordedFeed:
    """A source that names no symbol is about the one that the strategy is given."""
    if isinstance(source, RecordedFeed):
        return source
    symbol = inspect.signature(strategy).bind_partial(None, *args, **params).arguments.get("symbol")
    otherwise = symbol if isinstance(symbol, str) else None
    return RecordedFeed(source, speed=None, instruments=instruments, otherwise=otherwise)


# ── while it runs ────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _no_asyncio() -> Iterator[None]:
    """Code inside finds no loop: also not that of the notebook's kernel, which would never run what it is given."""
    loop, hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
    asyncio._set_running_loop(NoLoop())  # type: ignore[arg-type]
    sys.set_asyncgen_hooks(None, None)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*hooks)
        asyncio._set_running_loop(loop)


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Nearly all that a replay keeps (orders, events) is kept to its end: the collector looks at it less often."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], COLLECT_AFTER) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _progress(shown: bool | None, rows: int) -> Iterator[Callable[[int], object]]:
    if shown is None:
        shown = rows >= SHOW_FROM and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    if not shown:
        yield lambda _: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=rows, desc="replay", unit="tick", unit_scale=True, leave=False, file=sys.stderr) as bar:
        yield bar.update
