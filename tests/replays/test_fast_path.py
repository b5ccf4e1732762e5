"""Ticks that a replay takes by themselves leave what `Account.handle` would have left, row by row."""

from functools import wraps
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livetrade as lt
from tests.replays.kit import ROWS, Strategy, assert_same, at_random, replayed, restless, ticks_of
from tests.support import SBIN, recording


def in_full(strategy: Strategy) -> Strategy:
    """The same strategy, where each tick goes through the account in full: nobody looks until when nothing is due."""

    @wraps(strategy)
    async def followed(engine: Any) -> None:
        driver = engine._driver
        driver._look_ahead = driver.look_first
        driver.look_first()
        await strategy(engine)

    return followed


def heard(strategy: Strategy) -> Strategy:
    """The same strategy, beside a callback that wants every tick."""

    @wraps(strategy)
    async def followed(engine: Any) -> None:
        engine.stream.on_tick(lambda tick: None)
        await strategy(engine)

    return followed


def looking(strategy: Strategy, seen: list[Any]) -> Strategy:
    """The same strategy, beside one that looks at the whole account after every tick."""

    async def looks(engine: Any) -> None:
        async for tick in engine.stream.ticks():
            account = engine.account
            figures = (account.market_value_raw, account.ledger.cash_raw, account.ts, account.seq)
            marks = [(m.mark_raw, m.low_raw, m.high_raw, repr(m.quote), m.quote.mid) for m in account.markets.values()]
            seen.append((repr(tick), str(tick.mid), str(tick.price), tick.volume, figures, str(marks)))

    return looks


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 1 << 30), latency=st.sampled_from([0, 0.3]))
def test_whoever_is_alone_gets_what_he_would_get_in_company(rows: list[Any], seed: int, latency: float) -> None:
    frame = ticks_of(rows, 0b111)
    terms: dict[str, Any] = {"broker": lt.PaperBroker(latency=latency), "limits": lt.Limits(allow_short=True)}
    alone, *others = (
        replayed(how(restless(seed, rows[0][0])), frame=frame, **terms) for how in (lambda same: same, heard, in_full)
    )
    for other in others:
        assert_same(alone, other)


@settings(max_examples=200, deadline=None)
@given(
    rows=ROWS,
    columns=st.sampled_from([0b11, 0b111, 0b100, 0b11111, 0b1, 0b1111]),
    seeds=st.lists(st.integers(0, 1 << 30), min_size=1, max_size=2),
    latency=st.sampled_from([0, 0.3]),
    last=st.booleans(),
)
def test_the_fast_path_is_the_plain_path(
    rows: list[Any], columns: int, seeds: list[int], latency: float, last: bool
) -> None:
    frame = ticks_of(rows, columns)
    seen: tuple[list[Any], ...] = ([], [], [])
    runs = []
    for number, how in enumerate((lambda strategy: strategy, heard, in_full)):
        strategies = [how(at_random(seed, rows[0][0])) for seed in seeds]
        for place, strategy in enumerate(strategies):
            strategy.__name__ = f"random{place}"
        terms: dict[str, Any] = {
            "broker": lt.PaperBroker(latency=latency),
            "limits": lt.Limits(allow_short=True),
            "trigger_by": "last" if last else "quote",
        }
        runs.append(replayed(*strategies, looking(strategies[0], seen[number]), frame=frame, **terms))
    for run, told in zip(runs[1:], seen[1:], strict=True):
        assert_same(runs[0], run)
        assert seen[0] == told


@pytest.mark.parametrize("size", [90_000_000, 90_000_000_000], ids=["beyond floats", "whose sum is beyond 64 bits"])
def test_large_numbers_have_exact_mids(size: int) -> None:
    frame = recording([size, size + 1, size + 0.5], symbol="BTCUSDT", spread=0.3)
    mids: list[float] = []

    async def reads(engine: Any) -> None:
        async for tick in engine.stream.ticks():
            mids.append(tick.mid)
            assert tick.mid == float((tick.bid + tick.ask) / 2)

    replayed(reads, frame=frame)
    assert len(mids) == 3


def test_parts_of_a_long_recording_fit_together() -> None:
    count = 40_000
    frame = pd.concat([recording([549.0 + (row % 7) / 4 for row in range(count)], seconds=0.05)])

    async def trades(engine: Any) -> int:
        ticks = 0
        async for _ in engine.stream.ticks(SBIN):
            ticks += 1
            if ticks % 4_000 == 0:
                await engine.market_buy(SBIN, 1, tag=str(len(engine.ticks(SBIN))))
        return ticks

    run = replayed(trades, frame=frame)
    assert run.frames["orders"]["tag"].tolist() == [str(ticks) for ticks in range(4_000, count + 1, 4_000)]
    assert_same(run, replayed(in_full(trades), frame=frame))
