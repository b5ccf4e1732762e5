"""Sweeps: a row for each run, whatever happens to it and wherever it runs."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import livetrade as lt
from livetrade.replays.sharing import share, shared
from livetrade.replays.sweep import FIGURES
from tests.support import FREE, SBIN

GRID = {"fast": [2, 5], "slow": [10, 20]}


def walk(count: int = 2_000, seed: int = 1) -> pd.DataFrame:
    bid = (549 + np.random.default_rng(seed).choice((-0.05, 0.0, 0.05), count).cumsum()).round(2)
    times = pd.date_range("2026-03-02 09:15", periods=count, freq="s")
    return pd.DataFrame({"time": times, "bid": bid, "ask": (bid + 0.05).round(2)})


async def cross(engine: Any, symbol: str, fast: int = 2, slow: int = 10, quantity: int = 1) -> None:
    seen: list[float] = []
    async for tick in engine.stream.ticks(symbol):
        seen = [*seen[-slow:], tick.price]
        held = engine.position(symbol).quantity
        if sum(seen[-fast:]) / fast > sum(seen) / len(seen):
            if not held:
                await engine.market_buy(symbol, quantity)
        elif held:
            await engine.market_sell(symbol, held)


async def fragile(engine: Any, symbol: str, what: str, mark: str = "") -> None:
    await anext(engine.stream.ticks(symbol))
    if what == "raise":
        raise ValueError("so it goes")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "die once" and _is_first(mark):
        os.kill(os.getpid(), signal.SIGKILL)
    await engine.market_buy(symbol, 1)


def _is_first(mark: str) -> bool:
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@pytest.fixture(scope="module")
def here() -> pd.DataFrame:
    return lt.sweep(cross, walk(), symbol=SBIN, grid=GRID, workers=0, fees=FREE)


def test_a_row_for_each_combination(here: pd.DataFrame) -> None:
    assert list(here.columns) == [*FIGURES, "error"]
    assert list(here.index) == [(2, 10), (2, 20), (5, 10), (5, 20)]
    assert here.index.names == ["fast", "slow"]
    assert here["total_pnl"].unstack().shape == (2, 2)
    assert (here["error"] == "").all()
    alone = lt.replay(cross, walk(), symbol=SBIN, fast=5, slow=20, fees=FREE)
    row, figures = here.loc[(5, 20)], list(FIGURES)
    assert row[figures].to_list() == pytest.approx(alone.stats()[figures].to_list(), nan_ok=True)
    assert here["orders"].min() > 20


def test_processes_threads_and_a_list_of_runs_give_the_same(here: pd.DataFrame) -> None:
    terms: dict[str, Any] = {"symbol": SBIN, "fees": FREE}
    assert_frame_equal(lt.sweep(cross, walk(), grid=GRID, workers=2, **terms), here)
    with ThreadPoolExecutor(1) as threads:
        assert_frame_equal(lt.sweep(cross, walk(), grid=GRID, executor=threads, **terms), here)
    runs = [dict(zip(GRID, values, strict=True)) for values in here.index]
    assert_frame_equal(lt.sweep(cross, walk(), grid=runs, workers=0, **terms), here)


async def levelled(engine: Any, symbol: str, levels: Any, quantity: int = 1) -> None:
    await anext(engine.stream.ticks(symbol))
    for _ in levels:
        await engine.market_buy(symbol, quantity)


@pytest.mark.parametrize("kind", [tuple, list, set])
@pytest.mark.parametrize("more", [{}, {"quantity": [1, 2]}])
def test_a_parameter_may_be_a_sequence(kind: Any, more: dict[str, list[int]]) -> None:
    values = [kind((1, 2)), kind((1, 2, 3))]
    table = lt.sweep(levelled, walk(10), SBIN, grid={"levels": values, **more}, workers=0)
    shown = values if kind is tuple else [str(value) for value in values]
    assert list(dict.fromkeys(table.index.get_level_values("levels"))) == shown
    assert set(table["orders"]) == {2, 3}
    lt.plot_sweep(table)


def test_dask_gives_the_same(here: pd.DataFrame) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as dask,
    ):
        table = lt.sweep(cross, walk(), symbol=SBIN, grid=GRID, executor=dask.get_executor(), fees=FREE)
    assert_frame_equal(table, here)


def test_a_run_that_fails_is_a_row_with_its_error(tmp_path: Path) -> None:
    mark = str(tmp_path / "died")
    grid = {"what": ["well", "raise", "die", "die once", "very well"]}
    table = lt.sweep(fragile, walk(50), SBIN, grid=grid, workers=2, mark=mark)
    assert list(table.index) == grid["what"]
    assert dict(table["orders"].fillna(-1)) == {"well": 1, "raise": -1, "die": -1, "die once": 1, "very well": 1}
    assert table.loc["raise", "error"].startswith("fragile raised ValueError: so it goes at tick 1 (2026-03-02T")
    assert "its worker process died" in table.loc["die", "error"]


WRONG: dict[str, tuple[Any, str]] = {
    "no list": ({"fast": 5}, "fast needs a list of values"),
    "a text": ({"fast": "5"}, "fast needs a list of values"),
    "nothing": ({}, "the grid is empty"),
    "no values": ({"fast": []}, "the grid is empty"),
    "no grid": (7, "grid is values by parameter"),
    "no dicts": ([1, 2], "grid is values by parameter"),
    "an unknown parameter": ({"fats": [5]}, "fats"),
    "one given twice": ({"quantity": [5]}, "quantity is given in the grid and beside it"),
    "one of sweep's own": ({"fast": [1]}, r"cash is an argument of sweep\(\) itself"),
}


async def greedy(engine: Any, symbol: str, cash: int, fast: int = 1, quantity: int = 1) -> None:
    """Never runs: `cash` is asked for in another way."""


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_swept_is_told_before_anything_runs(name: str) -> None:
    grid, told = WRONG[name]
    strategy = greedy if "own" in name else cross
    with pytest.raises(lt.OrderError, match=told):
        lt.sweep(strategy, walk(10), symbol=SBIN, grid=grid, quantity=1, workers=0)


def test_what_cannot_travel_is_told() -> None:
    import threading

    lock = threading.Lock()

    async def locked(engine: Any, symbol: str, fast: int) -> None:
        lock.acquire()

    with pytest.raises(lt.OrderError, match=r"cannot be sent to another process.*workers=0"):
        lt.sweep(locked, walk(10), SBIN, grid={"fast": [1]})


SOURCES: dict[str, Any] = {
    "floats": lambda: walk(200).assign(symbol=SBIN),
    "decimals": lambda: walk(200).assign(symbol=SBIN, bid=[Decimal(f"{b:.2f}") for b in walk(200)["bid"]]),
    "texts, sizes and a zone": lambda: walk(200).assign(
        symbol=["NSE:A-EQ", "NSE:B-EQ"] * 100,
        bid=[f"{b:.2f}" for b in walk(200)["bid"]],
        bid_size=range(200),
        time=walk(200)["time"].dt.tz_localize("UTC"),
    ),
}


@pytest.fixture(params=SOURCES)
def feed(request: pytest.FixtureRequest) -> lt.RecordedFeed:
    return lt.RecordedFeed(SOURCES[request.param](), speed=None)


def test_shared_ticks_are_the_same_ticks(feed: lt.RecordedFeed, tmp_path: Path) -> None:
    share(feed, tmp_path)
    again = shared(tmp_path)
    stream = lt.LivePriceStream()
    rows = [list(each.rows(stream.instrument, stream.zone)) for each in (feed, again)]
    told = [[tick if isinstance(tick, str) else (repr(tick), tick.bid_size_raw) for tick in side] for side in rows]
    assert told[0] == told[1]
    assert len(told[0]) == 200
    assert repr(again) == repr(feed)


def test_ticks_that_a_worker_does_not_see_are_told(tmp_path: Path) -> None:
    with pytest.raises(lt.FeedError, match="folder that they all see"):
        shared(tmp_path / "elsewhere")


# ── what if ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_if_something_were_changed() -> None:
    result = lt.replay(cross, walk(), symbol=SBIN, fees=lt.PercentFee("0.1"))
    free = result.what_if(fees=FREE)
    assert free.pnl_difference == result.pnl(exact=True)["fees"] > 0
    assert set(free.fills["only"]) == {"before", "after"}
    assert len(free.fills) == 2 * len(result.fills())
    assert repr(free).startswith(
        f"<WhatIf P&L {free.pnl_difference:+,}, {len(free.fills)} fills differ: <ReplayResult "
    )
    late = result.what_if(latency=3)
    assert late.result.pnl(exact=True)["total_pnl"] - result.pnl(exact=True)["total_pnl"] == late.pnl_difference
    assert not late.fills.empty
    stopped = result.what_if(stop_loss_price="548.00", fast=3)
    assert "STOP_LOSS" in set(stopped.result.risk_orders()["kind"])
    assert result.what_if(cash=600_000).fills.empty
    assert stopped.result.what_if(stop_loss_price=None).result.risk_orders().empty


@pytest.mark.parametrize(
    ("changes", "told"),
    [({}, "something to change"), ({"fats": 3}, "fats"), ({"latency": 1, "broker": lt.PaperBroker()}, "give broker")],
)
def test_what_cannot_be_changed_is_told(changes: dict[str, Any], told: str) -> None:
    result = lt.replay(cross, walk(20), symbol=SBIN)
    with pytest.raises(lt.OrderError, match=told):
        result.what_if(**changes)
