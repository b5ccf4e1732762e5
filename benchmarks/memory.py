"""Does an engine grow? Ten million ticks of 200 symbols through a real engine, its journal's recorder off and on.

    uv run python benchmarks/memory.py [--ticks 10000000] [--symbols 200]

Each run is a process of its own, with a position and a stop in every tenth symbol. Printed for every million ticks: the
memory that is resident, the threads, the tasks of the engine's loop and the open descriptors; then how much memory grew
for each million after the warm-up of the first four. What the machine's allocator keeps is part of the figure. Beside
"recorded" stands what the journal grew by.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

WARM_UP = 4
MILLION = 1_000_000
PAGE = os.sysconf("SC_PAGE_SIZE")
MIDDLE = 100_000


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20


def facts() -> tuple[float, int, int, int]:
    """Memory in MiB, threads, tasks of this loop, descriptors."""
    return (
        resident_mib(),
        threading.active_count(),
        len(asyncio.all_tasks()),
        len(list(Path("/proc/self/fd").iterdir())),
    )


class Market:
    """A feed that walks many symbols as fast as the engine takes it, and looks at the process at every million."""

    def __init__(self, symbols: list[str], ticks: int) -> None:
        self.symbols = symbols
        self.ticks = ticks
        self.trade = asyncio.Event()
        self.trading: asyncio.AbstractEventLoop | None = None
        self.seen: list[tuple[float, int, int, int]] = []
        self.done = threading.Event()

    def start_ns(self, _: Any) -> None:
        return None

    async def run(self, sink: Any) -> None:
        from livetrade.core.kinds import FeedState

        quotes = self._quotes(sink)
        sink.state(FeedState.LIVE)
        for _ in self.symbols:
            sink.tick(next(quotes))
        self.trading = asyncio.get_running_loop()
        await self.trade.wait()
        for number in count(1):
            sink.tick(next(quotes))
            if number % 1000 == 0:
                await asyncio.sleep(0)
            if number % MILLION == 0:
                self.seen.append(facts())
            if number == self.ticks:
                break
        self.done.set()

    def _quotes(self, sink: Any) -> Iterator[Any]:
        from livetrade.core.ticks import Tick

        dice = random.Random(26)
        items = [sink.instrument(symbol) for symbol in self.symbols]
        bids = [MIDDLE] * len(items)
        steps = [dice.randint(-5, 5) for _ in range(9973)]
        for number in count():
            which = number % len(items)
            bids[which] = bid = min(max(bids[which] + steps[number % 9973], MIDDLE - 900), MIDDLE + 900)
            yield Tick(items[which], sink.now(), bid, bid + 5, bid + 2)


def one_run(ticks: int, symbols: int, journal: str | None) -> None:
    """In a process of its own: a line for each million."""
    import livetrade as lt

    market = Market([f"NSE:S{number:03}-EQ" for number in range(symbols)], ticks)
    started = time.perf_counter()
    engine = lt.LiveTradingEngine(10**9, feed=market, journal=journal)
    while market.trading is None:
        time.sleep(0.01)
    held = market.symbols[::10]
    assert all(engine.market_buy(symbol, 10, stop_loss_pct=50).result(10).success for symbol in held)
    market.trading.call_soon_threadsafe(market.trade.set)
    market.done.wait()
    rate = ticks / (time.perf_counter() - started)
    for number, (memory, threads, tasks, descriptors) in enumerate(market.seen, 1):
        counts = f"{threads} threads   {tasks} tasks   {descriptors} descriptors"
        print(f"  {number:3} million   {memory:7.1f} MiB   {counts}")
    first, last = market.seen[min(WARM_UP, len(market.seen)) - 1], market.seen[-1]
    growth = (last[0] - first[0]) / max(1, len(market.seen) - WARM_UP)
    print(f"  growth for each million after the warm-up: {growth:+.3f} MiB; {rate:,.0f} ticks/s")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=10 * MILLION)
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--journal", help=argparse.SUPPRESS)
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        one_run(options.ticks, options.symbols, options.journal)
        return
    again = [sys.executable, __file__, "--run", "--ticks", str(options.ticks), "--symbols", str(options.symbols)]
    print("not recorded", flush=True)
    subprocess.run(again, check=True)
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder, "memory.journal")
        print("recorded", flush=True)
        subprocess.run([*again, "--journal", str(journal)], check=True)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        print(f"  the journal: {size / 2**20:,.0f} MiB, {size / options.ticks:.1f} bytes a tick")


if __name__ == "__main__":
    main()
