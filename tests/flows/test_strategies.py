"""Strategies that an engine runs: started and ended, their handles, their books, their time."""

import asyncio
import functools
import itertools
import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

import livetrade as lt
from livetrade.core import events as ev
from livetrade.encoding import plain
from livetrade.journal.file import FileJournal
from livetrade.strategies import StrategyHandle
from tests.support import FREE, INFY, SBIN, quietly_close, quoted, recording, soon, trading


async def holds(engine: lt.LiveTradingEngine, symbol: str, quantity: int = 10) -> str:
    await engine.market_buy(symbol, quantity)
    return "bought"


async def waits(engine: lt.LiveTradingEngine, *_: Any) -> None:
    async for _tick in engine.stream.ticks():
        pass


async def fails(engine: lt.LiveTradingEngine) -> None:
    await engine.market_buy(SBIN, 1)
    raise ZeroDivisionError("no luck")


# ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_strategy_trades_in_its_own_name() -> None:
    with trading() as engine:
        task = engine.start(holds, SBIN, quantity=7)
        assert task.result(10) == "bought"
        assert (task.name, task.state, task.error, task.done()) == ("holds", "FINISHED", None, True)
        assert task.started_at.utcoffset() == timedelta(hours=5, minutes=30)
        orders = engine.orders()
        assert orders[["strategy", "source", "filled_qty"]].to_numpy().tolist() == [["holds", "STRATEGY", 7.0]]


@pytest.mark.parametrize("thread", [False, True])
def test_strategies_and_callbacks_share_one_thread_unless_one_wants_its_own(thread: bool) -> None:
    where: dict[str, int] = {}

    async def one(engine: lt.LiveTradingEngine) -> None:
        where["one"] = threading.get_ident()
        await engine.market_buy(SBIN, 1)

    async def other(engine: lt.LiveTradingEngine) -> None:
        where["other"] = threading.get_ident()

    with trading() as engine:

        @engine.on_fill
        def note(_: lt.Fill) -> None:
            where["callback"] = threading.get_ident()

        engine.start(one, thread=thread).result(10)
        engine.start(other).result(10)
        soon(lambda: len(where) == 3)
        assert len({where["callback"], where["other"], threading.get_ident()}) == 2
        assert (where["one"] == where["other"]) is not thread
    soon(lambda: not [known for known in threading.enumerate() if known.name.startswith("livetrade")])


async def takes(engine: lt.LiveTradingEngine, symbol: str, name: str = "", *, fast: int) -> str:
    return f"{symbol} {name} {fast}"


class Called:
    async def __call__(self, engine: lt.LiveTradingEngine, symbol: str) -> str:
        return symbol


def test_parameters_and_names() -> None:
    with trading() as engine:
        assert engine.start(takes, SBIN, fast=5).result(10) == f"{SBIN}  5"
        both = engine.start(takes, SBIN, name="mine", params={"name": "x", "fast": 6})
        assert (both.result(10), both.name) == (f"{SBIN} x 6", "mine")
        bound = engine.start(functools.partial(takes, fast=3), SBIN)
        assert (bound.result(10), bound.name) == (f"{SBIN}  3", "takes")
        called = engine.start(Called(), SBIN)
        assert (called.result(10), called.name) == (SBIN, "Called")


async def yields(engine: lt.LiveTradingEngine) -> Any:
    yield engine


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (lambda e: e.start(len), "len is no strategy: a strategy is an async function"),
        (lambda e: e.start(holds(e, SBIN)), "no strategy"),
        (lambda e: e.start(yields), "yields is no strategy"),
        (lambda e: e.start(takes), r"takes: missing a required argument: 'symbol'; it takes \(symbol: str, name"),
        (lambda e: e.start(takes, SBIN, fast=1, slow=2), "unexpected keyword argument 'slow'"),
        (lambda e: e.start(takes, SBIN, name="mine", fast=1), r'argument of start itself: give it in params={"name"'),
        (lambda e: e.start(takes, SBIN, fast=1, params={"fast": 2}), "fast is given twice"),
        (lambda e: e.start(takes, SBIN, params=[1]), "params must be a dict"),
        (lambda e: e.start(holds, SBIN, name="manual"), "'manual' is the book of what a person does"),
        (lambda e: e.start(holds, SBIN, name=" x"), "name must be a text"),
        (lambda e: e.start(holds, SBIN, name=7), "name must be a text"),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine 'holds' was never awaited")
def test_wrong_use_raises_where_it_is_written(start: Callable[[Any], Any], told: str) -> None:
    with trading() as engine:
        with pytest.raises(lt.OrderError, match=told):
            start(engine)
        assert engine.strategies().empty


def test_one_of_a_name_runs_and_the_next_goes_on_with_its_book() -> None:
    with trading() as engine:
        first = engine.start(waits, name="same")
        with pytest.raises(lt.OrderError, match=r"'same' is running; end it with engine\.strategy\('same'\)\.cancel"):
            engine.start(holds, SBIN, name="same")
        with pytest.raises(lt.OrderError, match="is running"):
            first.restart()
        assert engine.strategy("same") is first
        assert engine.strategy("other") is None
        assert first.cancel()
        soon(first.done)
        assert engine.start(holds, SBIN, name="same").result(10) == "bought"
        assert engine.start(holds, SBIN, name="same").result(10) == "bought"
        positions = engine.positions(by="strategy")
        assert positions[["strategy", "quantity"]].to_numpy().tolist() == [["same", 20.0]]


# ── the handle ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_failure_is_shown_and_stops_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    with trading() as engine:
        other = engine.start(waits)
        task = engine.start(fails)
        with pytest.raises(ZeroDivisionError, match="no luck"):
            task.result(10)

        async def cell() -> None:
            await task

        with pytest.raises(ZeroDivisionError, match="no luck"):
            asyncio.run(cell())
        assert task.state == "FAILED"
        assert isinstance(task.error, ZeroDivisionError)
        assert repr(task).startswith("<strategy fails FAILED: ZeroDivisionError('no luck'), started at 20")
        told = [record for record in caplog.records if "no luck" in (record.getMessage() + (record.exc_text or ""))]
        assert [record.getMessage() for record in told] == ["the strategy fails failed"]
        assert "in fails" in told[0].exc_text
        assert soon(lambda: engine.health()["alarms"]) == ["the strategy fails failed: ZeroDivisionError('no luck')"]
        table = engine.strategies()
        assert table.loc["fails", "error"] == "ZeroDivisionError('no luck')"
        assert table.loc["fails", "orders"] == 1
        assert table.loc["waits", "state"] == other.state == "RUNNING"
        assert engine.market_buy(SBIN, 1, stop_loss_price=545).result(10).success
        engine.stream.update(SBIN, bid=544, ask="544.05")
        assert engine.fills()["source"].tolist() == ["STRATEGY", "USER", "STOP_LOSS"]


@pytest.mark.parametrize("leaves", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_whatever_it_raises_the_others_go_on(leaves: type[BaseException]) -> None:
    async def odd(engine: lt.LiveTradingEngine) -> None:
        raise leaves("odd")

    async def child(engine: lt.LiveTradingEngine) -> None:
        task = asyncio.ensure_future(odd(engine))
        await engine.sleep(0.01)
        assert task.done()

    with trading() as engine:
        if leaves is not GeneratorExit:
            task = engine.start(odd)
            soon(task.done)
            assert (task.state, type(task.error)) == ("FAILED", leaves)
        engine.start(child).result(10)
        assert engine.start(holds, SBIN).result(10) == "bought"


def test_cancel_raises_in_it_and_changes_no_order() -> None:
    heard: list[str] = []

    async def resting(engine: lt.LiveTradingEngine) -> None:
        handle = engine.limit_buy(SBIN, 1, 540)
        try:
            await handle.wait_for("FILLED")
        except asyncio.CancelledError:
            heard.append("canceled")
            raise

    with trading() as engine:
        task = engine.start(resting)
        soon(lambda: len(engine.orders(open=True)) == 1)
        assert task.cancel()
        with pytest.raises(asyncio.CancelledError, match="the strategy resting was canceled"):
            task.result(10)
        assert (task.state, task.error, heard, task.cancel()) == ("CANCELED", None, ["canceled"], False)
        assert len(engine.orders(open=True)) == 1
        assert task.restart() is task
        assert task.state == "RUNNING"
        soon(lambda: len(engine.orders(open=True)) == 2)


def test_one_that_cleans_up_when_canceled_has_finished() -> None:
    async def tidy(engine: lt.LiveTradingEngine) -> str:
        try:
            await waits(engine)
        except asyncio.CancelledError:
            return (await engine.market_buy(SBIN, 1)).message
        return ""

    with trading() as engine:
        task = engine.start(tidy)
        soon(lambda: engine.stream.hub.active)
        task.cancel()
        assert task.result(10) == "Bought 1 NSE:SBIN-EQ at 549.00"
        assert task.state == "FINISHED"


def test_giving_up_to_wait_changes_nothing() -> None:
    with trading() as engine:
        task = engine.start(waits)

        async def cell() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, 0.01)

        asyncio.run(cell())
        with pytest.raises(TimeoutError):
            task.result(timedelta(milliseconds=10))
        assert task.state == "RUNNING"


def test_one_may_start_and_await_another_but_not_block_for_it() -> None:
    async def parent(engine: lt.LiveTradingEngine) -> str:
        child = engine.start(holds, SBIN, name="child")
        with pytest.raises(RuntimeError, match="use `await`"):
            child.result(1)
        return await child

    with trading() as engine:
        assert engine.start(parent).result(10) == "bought"
        assert engine.orders()["strategy"].tolist() == ["child"]


def test_what_it_made_ends_with_it() -> None:
    calls: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def makes(engine: lt.LiveTradingEngine) -> None:
        tasks.append(asyncio.ensure_future(waits(engine)))
        engine.on_order(lambda order: calls.append(order.strategy))
        engine.stream.on_tick(lambda tick: engine.market_buy(tick.symbol, 1))
        await engine.sleep(timedelta(0))
        async for _ in engine.stream.ticks(SBIN):
            await asyncio.ensure_future(holds(engine, SBIN, 1))
            break

    with trading() as engine:
        task = engine.start(makes)
        soon(lambda: engine.stream.hub.behind() == 0 and len(engine.stream.hub._readers) == 2)
        engine.stream.update(SBIN, bid="548.95", ask="549.00")
        task.result(10)
        soon(tasks[0].done)
        soon(lambda: len(engine.orders()) == 2)
        assert engine.orders()["strategy"].tolist() == ["makes"] * 2
        assert set(calls) == {"makes"}
        assert not engine.stream.hub.active
        told = len(calls)
        engine.stream.update(SBIN, bid="548.90", ask="549.00")
        engine.market_buy(SBIN, 1).result(10)
        task.restart()
        soon(lambda: len(engine.stream.hub._readers) == 2)
        assert len(engine.orders()) == 3
        assert calls[told:] in ([], ["manual"])


# ── books ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_strategy_sees_sells_and_protects_its_own_book() -> None:
    seen: dict[str, Any] = {}

    async def other(engine: lt.LiveTradingEngine) -> None:
        await engine.market_buy(SBIN, 5)
        await engine.market_buy(INFY, 1)

    async def mine(engine: lt.LiveTradingEngine) -> None:
        seen["before"] = engine.position(SBIN).quantity, bool(engine.position(SBIN)), len(engine.positions())
        seen["nothing"] = (await engine.market_sell(SBIN, 1)).message
        await engine.market_buy(SBIN, 3)
        seen["mine"] = engine.position(SBIN).quantity, engine.positions()["quantity"].to_dict()
        seen["everybody"] = engine.positions(by="strategy")["quantity"].sum()
        seen["too many"] = (await engine.market_sell(SBIN, 4)).message
        seen["stop"] = (await engine.set_stop_loss(SBIN, 545)).message
        seen["sold"] = (await engine.market_sell(SBIN, 2)).message
        seen["left"] = engine.position(SBIN).quantity

    with trading() as engine:
        engine.stream.update(INFY, bid=1500, ask=1501)
        engine.market_buy(SBIN, 10).result(10)
        engine.start(other).result(10)
        engine.start(mine).result(10)
        assert seen["before"] == (0, False, 0)
        assert seen["nothing"].startswith("No position to sell")
        assert seen["mine"] == (3, {SBIN: 3.0})
        assert seen["everybody"] == 19
        assert seen["too many"].startswith("No position to sell")
        assert seen["stop"] == "STOP_LOSS of NSE:SBIN-EQ armed"
        assert seen["sold"].startswith("Sold 2")
        assert seen["left"] == 1
        assert engine.position(SBIN).quantity == 16
        risks = engine.risk_orders()
        assert risks[["strategy", "quantity"]].to_numpy().tolist() == [["mine", 1.0]]
        engine.stream.update(SBIN, bid=544, ask="544.05")
        assert engine.position(SBIN).quantity == 15
        assert engine.strategies()["orders"].to_dict() == {"other": 2, "mine": 5}


def test_flatten_and_close_position_act_on_all() -> None:
    async def closes(engine: lt.LiveTradingEngine, how: str) -> str:
        answer = engine.close_position(SBIN) if how == "close" else engine.flatten()
        return (await answer).message

    with trading() as engine:
        for how, told in (("close", f"Closed {SBIN}"), ("flatten", "Closed everything")):
            engine.market_buy(SBIN, 10).result(10)
            engine.start(holds, SBIN).result(10)
            assert engine.start(closes, how).result(10) == told
            assert not engine.position(SBIN)


def test_the_table_of_strategies() -> None:
    with trading() as engine:
        empty = engine.strategies()
        engine.market_buy(SBIN, 1).result(10)
        engine.start(holds, SBIN).result(10)
        engine.start(waits)
        engine.stream.update(SBIN, bid=551, ask="551.05", last=551)
        table = engine.strategies()
        assert table.dtypes.to_dict() == empty.dtypes.to_dict()
        assert table.index.name == empty.index.name == "name"
        assert list(table.columns) == ["where", "state", "started_at", "error", "orders", "total_pnl"]
        assert table["where"].tolist() == ["KERNEL"] * 2
        assert table["state"].tolist() == ["FINISHED", "RUNNING"]
        assert table["total_pnl"].to_dict() == {"holds": 20.0, "waits": 0.0}
        assert engine.strategies(exact=True).loc["holds", "total_pnl"] == Decimal(20)
        assert str(engine.strategies(exact="arrow")["orders"].dtype) == "int64"


def test_one_known_from_before_is_shown_without_a_state(tmp_path: Any) -> None:
    path = tmp_path / "account.journal"
    with trading(journal=path) as engine:
        engine.start(holds, SBIN).result(10)
    with trading(None, journal=path, stream=quoted(SBIN)) as engine:
        row = engine.strategies().loc["holds"]
        assert row[["where", "state", "started_at"]].isna().all()
        assert (row["orders"], row["error"]) == (1, "")
        engine.start(holds, SBIN).result(10)
        assert engine.strategies().loc["holds", ["state", "orders"]].tolist() == ["FINISHED", 2]
        assert engine.positions(by="strategy")["quantity"].tolist() == [20.0]
        assert lt.open_journal(path).strategies().loc["holds", "orders"] == 2


# ── closing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_closing_cancels_and_lets_them_clean_up() -> None:
    told: list[str] = []

    async def tidy(engine: lt.LiveTradingEngine) -> None:
        await engine.market_buy(SBIN, 1)
        try:
            await waits(engine)
        finally:
            told.append((await engine.close_position(SBIN)).message)

    with trading() as engine:
        task = engine.start(tidy)
        soon(lambda: engine.position(SBIN) and engine.stream.hub.active)
        engine.close()  # and no warning of a position: there is none
        assert told == [f"Closed {SBIN}"]
        assert task.state == "CANCELED"
        with pytest.raises(lt.EngineClosedError):
            engine.start(waits)
        with pytest.raises(lt.EngineClosedError):
            task.restart()
        assert engine.strategies().loc["tidy", "state"] == "CANCELED"


def test_one_that_ignores_it_blocks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    go, begun = threading.Event(), threading.Barrier(3)

    async def deaf(engine: lt.LiveTradingEngine) -> None:
        begun.wait(60)
        while not go.is_set():
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                continue

    async def stuck(engine: lt.LiveTradingEngine) -> None:
        begun.wait(60)
        go.wait(60)

    with trading() as engine:
        for strategy, thread in ((deaf, True), (stuck, False)):
            engine.start(strategy, thread=thread)
        task = engine.strategy("stuck")
        begun.wait(60)
        engine.close()
        assert task.state == "RUNNING"
        assert "engine main was closed while deaf, stuck ran on" in caplog.text
        go.set()
        soon(task.done)


def test_one_that_is_canceled_before_its_first_step() -> None:
    with trading() as engine:
        for _ in range(50):
            task = engine.start(waits)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                task.result(10)
            assert task.state == "CANCELED"


def test_a_strategy_may_close_the_engine() -> None:
    async def ends(engine: lt.LiveTradingEngine) -> None:
        engine.close()
        await engine.sleep(60)

    with trading() as engine:
        task = engine.start(ends)
        soon(lambda: not engine.is_open)
        soon(task.done)
        assert task.state == "CANCELED"


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sleep_is_the_engines_time() -> None:
    async def sleeps(engine: lt.LiveTradingEngine) -> float:
        before = engine.now()
        await engine.sleep(0.02)
        await engine.sleep(timedelta(seconds=0.02))
        return (engine.now() - before).total_seconds()

    with trading() as engine:
        assert engine.start(sleeps).result(10) >= 0.04
        for wrong in (-1, None, "soon", float("nan"), float("inf")):
            with pytest.raises(lt.OrderError):
                engine.sleep(wrong)


def played(
    *strategies: Any, ticks: Any = None, journal: Any = None, **terms: Any
) -> tuple[lt.LiveTradingEngine, list[StrategyHandle]]:
    """Plays a recording in lock-step with these strategies, and gives the closed engine and their handles."""
    feed = lt.RecordedFeed(recording([550.0] * 60) if ticks is None else ticks, speed=None, autoplay=False)
    engine = lt.LiveTradingEngine(500_000, feed=feed, journal=journal, **{"fees": FREE, **terms})
    try:
        tasks = [engine.start(strategy, name=f"s{number}") for number, strategy in enumerate(strategies)]
        feed.play().result(60)
        for task in tasks:
            soon(task.done, "a strategy runs on when the recording has ended")
    finally:
        quietly_close(engine)
    return engine, tasks


def test_sleep_on_a_recording_ends_with_its_ticks() -> None:
    async def sleeps(engine: lt.LiveTradingEngine) -> list[float]:
        start, woken = engine.now(), []
        for seconds in (2.5, 0, timedelta(seconds=4)):
            await engine.sleep(seconds)
            woken.append((engine.now() - start).total_seconds())
        return woken

    async def beyond(engine: lt.LiveTradingEngine) -> str:
        await engine.sleep(50)
        await engine.sleep(50)
        return "never"

    _, tasks = played(sleeps, beyond)
    assert tasks[0].result() == [3, 3, 7]
    assert (tasks[1].state, tasks[1].result()) == ("FINISHED", None)


@pytest.mark.parametrize("speed", [500, 2000])
def test_sleep_on_a_recording_that_is_played_at_a_pace(speed: float) -> None:
    async def sleeps(engine: lt.LiveTradingEngine) -> list[float]:
        start, woken = engine.now(), []
        for _ in range(5):
            await engine.sleep(10)
            woken.append((engine.now() - start).total_seconds())
        return woken

    feed = lt.RecordedFeed(recording([550.0] * 600), speed=speed, autoplay=False)
    with trading(feed=feed) as engine:
        task = engine.start(sleeps)
        feed.play().result(60)
        woken = task.result(10)
        assert all(after - before >= 10 for before, after in itertools.pairwise([0, *woken]))


# ── lock-step ────────────────────────────────────────────────────────────────────────────────────────────────────────


def zigzag(count: int = 120) -> Any:
    """Two symbols, ticks of equal time among them."""
    frames = [
        recording([550 + (number * step) % 7 * 0.25 for number in range(count)], symbol, seconds=0.5)
        for symbol, step in ((SBIN, 3), (INFY, 5))
    ]
    return pd.concat(frames)


def test_each_tick_is_seen_one_at_a_time() -> None:
    seen: dict[str, list[Any]] = {}

    async def walks(engine: lt.LiveTradingEngine, key: str, work: Callable[[], Any]) -> None:
        async for tick in engine.stream.ticks(SBIN):
            seen.setdefault(key, []).append((tick.time, tick.missed))
            assert engine.now() == tick.time
            await work()
            assert engine.now() == tick.time
            if len(seen[key]) % 7 == 0:
                answer = await engine.market_buy(SBIN, 1)
                assert answer.order.avg_price == tick.ask
                assert answer.order.created_at == tick.time

    async def to_thread() -> None:
        await asyncio.to_thread(threading.Event().wait, 0.001)

    async def spin() -> None:
        task = asyncio.ensure_future(asyncio.sleep(0))
        while not task.done():  # noqa: ASYNC110  as people write it
            await asyncio.sleep(0)

    ticks = recording([550.0] * 200)
    works = {
        "timer": lambda: asyncio.sleep(0.0005),
        "round": lambda: asyncio.sleep(0),
        "abroad": to_thread,
        "spin": spin,
    }
    for alone in (False, True):
        seen.clear()
        feed = lt.RecordedFeed(ticks, speed=None, autoplay=False)
        with trading(feed=feed, stream=None) as engine:
            tasks = [engine.start(walks, key, work, name=key, thread=alone) for key, work in works.items()]
            assert feed.play().result(60) == 200
            for task in tasks:
                task.result(30)
        assert set(seen) == set(works)
        for walked in seen.values():
            assert walked == [(time.tz_localize("Asia/Kolkata"), 0) for time in ticks["time"]]


class Trading:
    """Strategies that do all that they may, as quickly as they can (no `seed`) or dawdling now and then."""

    def __init__(self, seed: int | None, *, spins: bool) -> None:
        self.spins = spins
        self._rng = random.Random(seed) if seed is not None else None

    def dawdle(self) -> None:
        if self._rng is not None and self._rng.random() < 0.1:
            time.sleep(self._rng.random() * 0.002)

    async def crosses(self, engine: lt.LiveTradingEngine) -> None:
        """One answer after the other, in more and less rounds of the loop."""
        count = 0
        async for tick in engine.stream.ticks():
            count += 1
            self.dawdle()
            if count % 3 == 0:
                await asyncio.wait_for(engine.market_buy(tick.symbol, 1), 30)
            if count % 5 == 0:
                await asyncio.gather(*(engine.limit_buy(tick.symbol, n, tick.bid - n) for n in (1, 2)))
                for _ in range(count % 4):
                    await asyncio.sleep(0)
                self.dawdle()
                await engine.cancel_all()
            if engine.position(tick.symbol).quantity > 4:
                engine.market_sell(tick.symbol, 3)

    async def sleeps(self, engine: lt.LiveTradingEngine) -> None:
        engine.on_fill(lambda fill: fill.quantity > 4 or engine.limit_sell(fill.symbol, 1, fill.price + 1))
        while True:
            await engine.sleep(1.75)
            self.dawdle()
            handle = engine.market_buy(INFY, 5, trailing_stop="0.50")
            while self.spins and not handle.done():  # noqa: ASYNC110  as people write it
                await asyncio.sleep(0)
            await handle
            await asyncio.shield(engine.market_buy(SBIN, 2))

    async def many(self, engine: lt.LiveTradingEngine) -> None:
        """Tasks that take turns, one of which waits for another."""
        bought = asyncio.Event()

        async def buys() -> None:
            async for _ in engine.stream.ticks(SBIN):
                if not engine.position(SBIN) and (await engine.market_buy(SBIN, 3)).success:
                    bought.set()
                self.dawdle()
                await engine.sleep(0.5)

        async def sells() -> None:
            while True:
                await bought.wait()
                bought.clear()
                await engine.sleep(3)
                await engine.close_position(SBIN, 1)
                await engine.market_sell(SBIN, 3)

        await asyncio.gather(buys(), sells())

    async def blocks(self, engine: lt.LiveTradingEngine) -> None:
        """Holds up the thread that the others share, until a later tick brings the answer."""
        async for tick in engine.stream.ticks(INFY):
            if tick.time.second % 20 == 10 and not tick.time.microsecond:
                engine.limit_buy(INFY, 1, tick.bid - 1).wait_for("FILLED", 2).result(30)

    async def fails(self, engine: lt.LiveTradingEngine) -> None:
        ticks = engine.stream.ticks(INFY)
        async for _ in ticks:
            await engine.sleep(20)
            raise ZeroDivisionError("no luck")

    def run(self, journal: Any, **terms: Any) -> tuple[list[bytes], list[StrategyHandle]]:
        strategies = self.crosses, self.sleeps, self.many, self.blocks, self.fails
        engine, tasks = played(*strategies, ticks=zigzag(), journal=journal, **terms)
        events = engine._read(lambda _: list(journal.events))
        told = [plain(event) for event in events if not isinstance(event, ev.AccountOpened | ev.SessionStarted)]
        return told, tasks


class Listening(FileJournal):
    """A journal in a file whose events can be looked at too."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self.events: list[ev.Event] = []

    def append(self, events: Any, durable: Any) -> None:
        self.events += events
        super().append(events, durable)


@pytest.mark.parametrize("latency", [0, 0.7])
def test_the_same_ticks_give_the_same_events_byte_for_byte(latency: float, tmp_path: Any) -> None:
    def run(seed: int | None, journal: Any) -> list[bytes]:
        broker = lt.PaperBroker(latency=latency, slippage="0.05")
        told, tasks = Trading(seed, spins=not latency).run(journal, broker=broker, limits=lt.Limits(allow_short=True))
        assert [task.state for task in tasks] == ["FINISHED"] * 4 + ["FAILED"], tasks
        return told

    first = run(None, lt.MemoryJournal())
    assert len(first) > 400
    for seed in range(3):
        again = run(seed, lt.MemoryJournal())
        assert again == first, next(pair for pair in zip(again, first, strict=False) if pair[0] != pair[1])
    assert run(9, Listening(tmp_path / "kept.journal")) == first


def test_a_recording_says_whom_it_waits_for() -> None:
    go = threading.Event()

    async def slow(engine: lt.LiveTradingEngine) -> None:
        async for _ in engine.stream.ticks(SBIN):
            await asyncio.to_thread(go.wait, 60)

    async def beginner(engine: lt.LiveTradingEngine) -> None:
        await asyncio.to_thread(go.wait, 60)

    async def waiting(engine: lt.LiveTradingEngine) -> None:
        await engine.sleep(5)

    feed = lt.RecordedFeed(recording([550.0] * 10), speed=None, autoplay=False)
    with trading(feed=feed) as engine:
        tasks = [engine.start(strategy) for strategy in (slow, waiting, beginner)]
        playing = feed.play()

        def who() -> str:
            return engine._read(lambda _: engine._steps.who_works(engine._users))

        assert soon(lambda: who() == "the strategy beginner")
        assert engine.health()["ticks"] == 0
        go.set()
        tasks[2].result(10)
        assert playing.result(30) == 10


def test_one_that_waits_for_another_holds_up_nothing() -> None:
    async def waits_for(engine: lt.LiveTradingEngine) -> str:
        return await engine.start(sleeper)

    async def sleeper(engine: lt.LiveTradingEngine) -> str:
        await engine.sleep(5)
        return str(engine.now().second)

    for alone in (False, True):
        feed = lt.RecordedFeed(recording([550.0] * 10), speed=None, autoplay=False)
        with trading(feed=feed) as engine:
            task = engine.start(waits_for, thread=alone)
            assert feed.play().result(30) == 10
            assert task.result(10) == "5"
