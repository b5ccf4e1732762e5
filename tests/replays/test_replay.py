"""`lt.replay`: what it takes, what it gives, what a strategy may await, and what it says of wrong use."""

import asyncio
import pickle
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import livetrade as lt
from tests.support import FREE, INFY, SBIN, recording, trading

PRICES = [549.0, 549.5, 550.0, 549.0, 548.0, 547.5, 549.0, 551.0, 552.0, 550.0]


def run(strategy: Any, *args: Any, source: Any = None, **terms: Any) -> lt.ReplayResult:
    return lt.replay(strategy, recording(PRICES) if source is None else source, *args, **{"fees": FREE, **terms})


async def once(engine: Any, symbol: str = SBIN, quantity: int = 10) -> str:
    """Buys at the first tick, with a stop."""
    async for _ in engine.stream.ticks(symbol):
        answer = await engine.market_buy(symbol, quantity, stop_loss_price="548.50")
        return str(answer.message)
    return "no tick"


# ── the result ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_result_reads_as_an_engine_does() -> None:
    result = run(once)
    assert list(result.orders()["source"]) == ["STRATEGY", "STOP_LOSS"]
    assert list(result.orders()["strategy"]) == ["once", "once"]
    assert result.fills()["price"].tolist() == [549.1, 548.0]
    assert result.risk_orders()["status"].tolist() == ["FILLED"]
    assert result.round_trips(exact=True)["net_pnl"].tolist() == [Decimal("-11.0")]
    assert result.pnl()["total_pnl"] == -11.0
    assert result.cash == Decimal(499_989)
    assert not result.position(SBIN)
    assert result.ticks(SBIN)["last"].tolist() == PRICES
    assert result.bars(SBIN, "5s")["close"].tolist() == [548.0, 550.0]
    assert len(result.equity()) > 2
    assert result.now().isoformat() == "2026-03-02T09:15:09+05:30"
    assert result.values == {"once": "Bought 10 NSE:SBIN-EQ at 549.10"}
    assert (result.error, result.ticks_played, result.health()["feed"]) == (None, 10, "CLOSED")
    assert repr(result) == (
        "<ReplayResult once on the DataFrame: 10 ticks 2026-03-02 09:15 to 2026-03-02 09:15, 2 orders, 2 fills, "
        "P&L -11.00 INR (-0.00 %)>"
    )


def test_a_result_is_read_by_one_thread_at_a_time() -> None:
    """A read may write what the account has not written into its columns yet."""
    result = run(once)
    asking, seen = [0], []

    def question(_: object) -> None:
        asking[0] += 1
        time.sleep(0.01)
        seen.append(asking[0])
        asking[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: result._read(question), range(8)))
    assert seen == [1] * 8


def test_the_journal_folds_to_the_same_account() -> None:
    from tests.support import folded, picture

    result = run(once)
    assert picture(folded(result.journal.events)) == result._read(picture)


def test_arguments_and_parameters_reach_the_strategy() -> None:
    async def takes(engine: Any, symbol: str, *, quantity: int = 1, cash: int = 0) -> tuple[Any, ...]:
        await anext(engine.stream.ticks(symbol))
        return symbol, quantity, cash

    assert run(takes, SBIN, quantity=3, params={"cash": 7}, cash=1000).values["takes"] == (SBIN, 3, 7)
    result = run(takes, symbol=SBIN, cash=1000, params={"cash": 1})
    assert result.params == {"symbol": SBIN, "cash": 1}
    assert result.cash == 1000
    assert run(partial(takes, symbol=SBIN, quantity=5)).values["takes"] == (SBIN, 5, 0)


def test_the_terms_of_an_account() -> None:
    result = run(
        partial(once, quantity=3),
        broker=lt.PaperBroker(slippage="0.10", latency=timedelta(seconds=1)),
        fees=lt.FlatFee(20),
        limits=lt.Limits(max_order_quantity=5),
        instruments=[lt.Instrument(SBIN, tick_size="0.05", multiplier=2)],
        timezone="UTC",
        currency="USD",
    )
    assert result.fills()["price"].iloc[0] == 549.2
    assert result.fills()["fees"].tolist() == [20, 20]
    assert result.round_trips(exact=True)["gross_pnl"].tolist() == [(Decimal("547.9") - Decimal("549.2")) * 3 * 2]
    assert str(result.now().tzinfo) == "UTC"
    refused = run(partial(once, quantity=6), limits=lt.Limits(max_order_quantity=5))
    assert refused.orders()["status"].tolist() == ["DENIED"]


def test_several_strategies_have_books_of_their_own() -> None:
    async def second(engine: Any) -> None:
        await anext(engine.stream.ticks())
        await engine.market_buy(SBIN, 1)

    result = run([once, second])
    assert result.positions(by="strategy", closed=True)["strategy"].tolist() == ["once", "second"]
    assert result.strategy == "once, second"


def test_objects_and_nested_coroutines_are_strategies_too() -> None:
    class Buyer:
        async def __call__(self, engine: Any) -> None:
            async for tick in engine.stream.ticks():
                if await self.wants(engine, tick):
                    return

        async def wants(self, engine: Any, tick: lt.Tick) -> bool:
            await engine.sleep(2)
            handle = engine.market_buy(tick.symbol, 1)
            return bool((await handle).success)

    assert run(Buyer()).orders()["created_at"].tolist() == [pd.Timestamp("2026-03-02 09:15:02+05:30")]


# ── what may be awaited ──────────────────────────────────────────────────────────────────────────────────────────────


def test_sleep_passes_the_recordings_time() -> None:
    async def sleeps(engine: Any) -> list[str]:
        seen = []
        for seconds in (0, 1, 2.5, timedelta(seconds=1)):
            await engine.sleep(seconds)
            seen.append(f"{engine.now():%S}")
        return seen

    assert run(sleeps).values["sleeps"] == ["00", "01", "04", "05"]
    with pytest.raises(lt.StrategyError, match="must not be negative"):
        run(lambda_of("await engine.sleep(-1)"))


def test_the_end_of_the_recording_ends_what_waits() -> None:
    told: list[str] = []

    async def forever(engine: Any) -> None:
        try:
            while True:
                await engine.sleep(2)
        finally:
            told.append(f"{engine.now():%S}")

    async def stubborn(engine: Any) -> None:
        while True:
            try:
                await engine.sleep(3600)
            except asyncio.CancelledError:
                told.append("again")

    async def waits(engine: Any) -> str:
        await anext(engine.stream.ticks())
        answer = await engine.limit_buy(SBIN, 1, 100).wait_for("FILLED")
        return str(answer.message)

    async def late(engine: Any) -> str:
        async for _ in engine.stream.ticks():
            pass
        return f"{await anext(engine.stream.ticks())} after the end"

    result = run([forever, stubborn, waits, late])
    assert told[0] == "09"
    assert told.count("again") == len(told) - 1
    assert "the recording has ended" in str(result.values["waits"])
    assert result.values["late"] is None
    assert result.error is None


def lambda_of(line: str) -> Any:
    """A strategy of one line."""
    scope: dict[str, Any] = {"asyncio": asyncio, "SBIN": SBIN}
    exec(f"async def strategy(engine):\n    {line}\n", scope)
    return scope["strategy"]


@pytest.mark.parametrize(
    "line",
    [
        "await asyncio.sleep(0)",
        "await asyncio.sleep(1)",
        "await asyncio.Event().wait()",
        "await asyncio.get_running_loop().create_future()",
        "asyncio.create_task(engine.sleep(1))",
        "await asyncio.gather(engine.market_buy(SBIN, 1))",
        "await asyncio.wait_for(engine.market_buy(SBIN, 1), 1)",
        "await asyncio.to_thread(print)",
    ],
)
def test_asyncio_is_refused_and_told_what_to_use(line: str) -> None:
    async def inside() -> None:  # also where a loop runs, as in a notebook
        with pytest.raises(lt.StrategyError, match=r"without asyncio.*await engine\.sleep\(seconds\)") as caught:
            run(lambda_of(line))
        assert isinstance(caught.value.__cause__, lt.OrderError)
        await asyncio.sleep(0)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        asyncio.run(inside())


def test_an_answer_is_awaited_not_asked_for() -> None:
    with pytest.raises(lt.StrategyError, match="await the handle"):
        run(lambda_of("engine.market_buy(SBIN, 1).result()"))

    async def asks(engine: Any) -> tuple[bool, bool, str]:
        await anext(engine.stream.ticks())
        handle = engine.market_buy(SBIN, 1)
        before = handle.done(), repr(handle)
        await handle
        assert before == (False, "<BUY 1 NSE:SBIN-EQ MARKET: sent, no answer yet>")
        assert await handle == handle.result()
        return before[0], handle.done(), repr(handle)

    assert run(asks).values["asks"][:2] == (False, True)


def test_prices_come_from_the_recording_alone() -> None:
    with pytest.raises(lt.StrategyError, match="come from its recording alone"):
        run(lambda_of("engine.stream.update(SBIN, last=1)"))
    with pytest.raises(lt.StrategyError, match="no live panel"):
        run(lambda_of("engine.panel()"))


def test_reads_show_the_replay_as_far_as_it_is() -> None:
    async def reads(engine: Any) -> None:
        assert engine.ticks(SBIN).empty
        assert engine.stream.last(SBIN) is None
        assert engine.health()["ticks"] == 0
        count = 0
        async for tick in engine.stream.ticks():
            count += 1
            assert engine.ticks(SBIN)["bid"].tolist() == PRICES[:count]
            assert engine.stream.last(SBIN).bid == tick.bid == engine.stream.quotes(exact=True)["bid"].iloc[0]
            assert engine.health()["ticks"] == count
            assert engine.now() == tick.time == tick.received
            if count == 3:
                await engine.market_buy(SBIN, 1)
            if count > 3:
                assert engine.position(SBIN).last_price == tick.last
                assert engine.pnl(exact=True)["unrealized_pnl"] == tick.last - Decimal("550.1")

    assert run(reads).error is None


def test_a_replay_is_over_for_its_engine() -> None:
    kept: list[Any] = []

    async def keeps(engine: Any) -> None:
        kept.append(engine)
        await anext(engine.stream.ticks())

    run(keeps)
    assert not kept[0].is_open
    with pytest.raises(lt.EngineClosedError, match="the replay is over"):
        kept[0].market_buy(SBIN, 1)
    assert kept[0].cash == 500_000


def test_callbacks_that_raise_hurt_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def hurt(engine: Any) -> int:
        heard = 0

        @engine.on_fill
        def on_fill(fill: lt.Fill) -> None:
            nonlocal heard
            heard += 1
            raise ZeroDivisionError

        @engine.stream.on_tick
        def on_tick(tick: lt.Tick) -> None:
            nonlocal heard
            heard += 1

        await once(engine)
        return heard

    assert run(hurt).error is None
    assert "the callback" in caplog.text


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_strategy_that_raises() -> None:
    async def fails(engine: Any) -> None:
        count = 0
        async for tick in engine.stream.ticks(SBIN):
            count += 1
            await engine.market_buy(SBIN, 1)
            if count == 4:
                raise ZeroDivisionError(f"at {tick.last}")

    with pytest.raises(
        lt.StrategyError,
        match=r"^fails raised ZeroDivisionError: at 549.00 at tick 4 \(2026-03-02T09:15:03\+05:30\)$",
    ) as caught:
        run(fails)
    result = caught.value.result
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert result.error is caught.value.__cause__
    assert len(result.fills()) == 4
    assert "FAILED: ZeroDivisionError: at 549.00" in repr(result)
    kept = run([fails, once], on_error="keep")
    assert kept.ticks_played == 10
    assert isinstance(kept.error, ZeroDivisionError)
    assert kept.values["once"] == "Bought 10 NSE:SBIN-EQ at 549.10"


def test_an_interrupt_is_no_failure_of_the_strategy() -> None:
    async def interrupted(engine: Any) -> None:
        await anext(engine.stream.ticks())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupted)
    assert asyncio._get_running_loop() is None


def test_one_that_never_waits_is_told_so() -> None:
    async def hasty(engine: Any) -> None:
        engine.stream.ticks(SBIN)

    with pytest.warns(RuntimeWarning, match="hasty ended before the first tick, without waiting for any") as warned:
        run(hasty)
    assert warned[0].filename == __file__


def test_a_symbol_that_never_comes_is_told() -> None:
    async def elsewhere(engine: Any) -> None:
        async for _ in engine.stream.ticks(INFY):
            pass

    with pytest.warns(RuntimeWarning, match=r"no ticks of NSE:INFY-EQ, but of NSE:SBIN-EQ: none will come"):
        run(elsewhere)


async def generates(engine: Any) -> Any:
    yield 1


async def greedy(engine: Any, cash: int, fees: int = 1) -> None:
    """Takes what `replay` takes."""


@pytest.mark.parametrize(
    ("strategy", "terms", "message"),
    [
        (print, {}, "a strategy is an async function"),
        ("ema_cross", {}, r"async function, not 'ema_cross': write `async def strategy\(engine"),
        (generates, {}, "generates yields, and so is no strategy"),
        ([], {}, "there is no strategy"),
        ([once, once], {}, "two strategies are called once"),
        (greedy, {"cash": 1}, r"cash is an argument of replay\(\) itself.*params=\{'cash': ...\}"),
        (greedy, {"params": {"cash": 1}, "fees": lt.FlatFee(1)}, r"fees is an argument of replay\(\) itself"),
        (once, {"fast": 5}, r"once\(engine.*cannot be called.*'fast'"),
        (once, {"params": [1]}, "params must be a dict"),
        (once, {"on_error": "ignore"}, "on_error must be"),
        (once, {"cash": -1}, "cash must not be negative"),
        (once, {"trigger_by": "mid"}, "trigger_by must be"),
        (once, {"timezone": "Mars"}, "timezone must be a name"),
        (once, {"broker": 7}, "broker must be a broker"),
    ],
)
def test_wrong_use_says_what_is_right(strategy: Any, terms: dict[str, Any], message: str) -> None:
    with pytest.raises(lt.OrderError, match=message):
        run(strategy, **terms)


def test_a_call_in_the_place_of_the_function() -> None:
    with pytest.raises(lt.OrderError, match="give the function itself, not its call"):
        run(once(None))


# ── sources ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_files_and_parts_of_them(tmp_path: Path) -> None:
    frame = recording(PRICES)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    events = run(once).journal.events
    for name in ("t.parquet", "t.csv"):
        assert run(once, source=tmp_path / name).journal.events == events
    part = lt.read_ticks(tmp_path / "t.csv", start="2026-03-02 09:15:02", end="2026-03-02 09:15:05")
    assert run(once, source=part).ticks_played == 4
    bare = frame.drop(columns="symbol")
    assert run(once, source=bare, symbol=SBIN).journal.events == events
    with pytest.raises(lt.FeedError, match="does not say what it is about"):
        run(once, source=bare)


def test_a_journal_that_recorded_ticks(tmp_path: Path) -> None:
    path = tmp_path / "day.journal"
    item = lt.Instrument("XX:GOLD", scale=3, multiplier=10)
    with trading(100_000, lt.LivePriceStream(), journal=path, instruments=[item]) as engine:
        for step in range(20):
            engine.stream.update("XX:GOLD", bid=f"100.{step:03}", ask=f"100.{step + 5:03}")
        engine.market_buy("XX:GOLD", 1).result(10)

    async def buys(engine: Any) -> None:
        await anext(engine.stream.ticks())
        await engine.market_buy("XX:GOLD", 1)

    result = lt.replay(buys, path, fees=FREE)
    assert result.ticks_played == 20
    assert result.fills(exact=True)["price"].tolist() == [Decimal("100.005")]
    assert result.ticks("XX:GOLD", exact=True)["bid"].iloc[-1] == Decimal("100.019")
    assert len(lt.RecordedFeed(path)) == 20
    empty = tmp_path / "none.journal"
    with trading(1000, lt.LivePriceStream(), journal=lt.FileJournal(empty, ticks=False)):
        pass
    with pytest.raises(lt.LiveTradeError, match=r"none\.journal has no ticks"):
        run(once, source=empty)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (recording(PRICES).iloc[:0], "has no ticks"),
        (recording(PRICES).drop(columns="time"), "has no times"),
        (recording(PRICES)[["time", "symbol"]], "has no price"),
    ],
)
def test_sources_that_are_none(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(lt.FeedError, match=message):
        run(once, source=frame)


def test_bad_rows_are_counted_and_the_rest_is_played() -> None:
    frame = recording(PRICES)
    frame.loc[2, ["bid", "ask", "last"]] = float("nan")
    frame.loc[3, "bid"] = 600.0
    frame.loc[5, "time"] = frame.loc[0, "time"]
    frame.loc[7] = frame.loc[6]
    frame.loc[8, "last"] = -1.0
    result = run(once, source=frame)
    assert result.health()["quarantined"] == {"empty": 1, "crossed": 1, "backward": 1, "duplicate": 1, "negative": 1}
    assert result.ticks_played == 5


def test_a_recording_that_is_mostly_left_out_is_told() -> None:
    backward = recording(PRICES).iloc[::-1]
    count = len(PRICES)
    with pytest.warns(
        RuntimeWarning, match=rf"^{count - 1} of {count} ticks .*: backward {count - 1}; are its rows in"
    ):
        result = lt.replay(once, backward)
    assert f": 1 tick ({count - 1} quarantined) " in repr(result)
    assert f"1 ({count - 1} quarantined)" in result._repr_html_()


def test_denied_orders_are_told_apart() -> None:
    result = run(once, cash=0)
    assert ", 1 order (1 denied), 0 fills, " in repr(result)
    assert "1 (1 denied)" in result._repr_html_()


def test_a_result_stays_in_its_process() -> None:
    with pytest.raises(TypeError, match=r"take its DataFrames, or lt.sweep\(...\)"):
        pickle.dumps(run(once))


def test_progress_is_shown_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    run(once)
    run(once, progress=False)
    assert capsys.readouterr().err == ""
    run(once, progress=True)
    assert "replay" in capsys.readouterr().err


def test_plots(tmp_path: Path) -> None:
    result = run(once)
    assert result.plot().axes[0].get_title(loc="left") == "once on the DataFrame"
    dots = result.plot(SBIN).axes[0].collections
    assert [len(each.get_offsets()) for each in dots] == [1, 1]
    result.plot(SBIN).savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert run(lambda_of("await engine.sleep(1)")).plot(title="nothing").axes[0].get_title(loc="left") == "nothing"
