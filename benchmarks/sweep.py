"""What a sweep costs: for each combination and tick, beside one replay; and how it grows from one process to two.

    uv run python benchmarks/sweep.py [--ticks 200000] [--runs 12]

The strategy is the crossing of two averages on one symbol, over seeded quotes. The pool starts anew for each figure;
how long that takes alone is printed first and is part of the others.
"""

import argparse
import os
import platform
import time
from typing import Any

import numpy as np
import pandas as pd

import livetrade as lt


async def ema_cross(engine: Any, symbol: str, fast: int = 10, slow: int = 30) -> None:
    quick = slower = None
    async for tick in engine.stream.ticks(symbol):
        price = tick.mid
        quick = price if quick is None else quick + (price - quick) * 2 / (fast + 1)
        slower = price if slower is None else slower + (price - slower) * 2 / (slow + 1)
        held = engine.position(symbol).quantity
        if quick > slower + 0.05 and not held:
            await engine.market_buy(symbol, 1)
        elif quick < slower - 0.05 and held:
            await engine.market_sell(symbol, held)


def quotes(count: int) -> pd.DataFrame:
    bid = (549 + np.random.default_rng(7).choice((-0.05, 0.0, 0.05), count).cumsum()).round(2)
    times = pd.date_range("2026-03-02 09:15", periods=count, freq="100ms", tz="Asia/Kolkata")
    return pd.DataFrame({"time": times, "symbol": "NSE:SBIN-EQ", "bid": bid, "ask": (bid + 0.05).round(2)})


def timed(ticks: pd.DataFrame, runs: int, workers: int) -> tuple[float, pd.DataFrame]:
    grid = {"fast": list(range(100, 100 + runs)), "slow": [400]}
    start = time.perf_counter()
    table = lt.sweep(ema_cross, ticks, "NSE:SBIN-EQ", grid=grid, workers=workers, progress=False)
    return time.perf_counter() - start, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=12)
    given = parser.parse_args()
    ticks = quotes(given.ticks)
    print(f"{given.runs} runs of {given.ticks:,} ticks; {platform.platform()}, {os.cpu_count()} CPUs")
    start = time.perf_counter()
    result = lt.replay(ema_cross, ticks, "NSE:SBIN-EQ", fast=100, slow=400, progress=False)
    alone = time.perf_counter() - start
    print(f"{'one replay':26} {alone * 1e6 / given.ticks:6.2f} us a tick, {len(result.orders()):,} orders")
    empty, _ = timed(ticks[:10], 1, 1)
    print(f"{'a pool of one, and no work':26} {empty:6.2f} s")
    before = None
    for workers in (0, 1, 2):
        spent, table = timed(ticks, given.runs, workers)
        assert before is None or table.equals(before), "the same table, however many processes"
        before = table
        name = "here, without a pool" if not workers else f"{workers} process{'es' if workers > 1 else ''}"
        print(f"{name:26} {spent:6.2f} s, {spent * 1e6 / given.runs / given.ticks:6.2f} us a run and tick", flush=True)


if __name__ == "__main__":
    main()
