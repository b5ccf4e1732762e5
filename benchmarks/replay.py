"""One EMA cross over the same seeded quotes: `lt.replay` beside nautilus_trader, backtrader and backtesting.py.

    uv run python benchmarks/replay.py [--quotes N] [--runs N] [--peers nautilus,backtrader,backtesting]

Each peer runs in an environment of its own (`benchmarks/peers/replay_peer.py`), taking turns with livetrade, and the
ratio is the median over those pairs. nautilus_trader gets all symbols at once; backtrader and backtesting.py, which
take rows as bars, get one symbol and a tenth of the quotes. All have the same rule, no fees, and must place as many
orders (one that does not get to its last bar may have one less). Timed is CPU time: of a peer its run alone, without
making its own ticks; of livetrade the whole call, for a `RecordedFeed` that has read the DataFrame, and the median of
some where one takes a tenth of a second.
"""

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import pandas as pd

import livetrade as lt

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))
from replay_peer import QUANTITY, Cross  # noqa: E402

PEERS = {
    "nautilus": ("nautilus_trader==1.221.0", 5),
    "backtrader": ("backtrader==1.9.78.123", 40),
    "backtesting": ("backtesting==0.6.6", 0),
}
"""What to install, and how many times as fast livetrade has promised to be."""
START_NS = 1_772_423_100 * 10**9
STEP_NS = 10_000_000


def quotes(count: int, symbols: int, seed: int = 20240601) -> dict[str, Any]:
    """Random walks in steps of 0.05, a hundred quotes a second over all symbols."""
    dice = np.random.default_rng(seed)
    code = dice.integers(0, symbols, count)
    step = dice.integers(-2, 3, count) * 5
    bid = np.empty(count, np.int64)
    for symbol in range(symbols):
        mine = code == symbol
        bid[mine] = 50_000 + 100 * symbol + np.cumsum(step[mine])
    bid = np.maximum(bid, 1000)
    return {"code": code, "time": START_NS + np.arange(count) * STEP_NS, "bid": bid, "ask": bid + 5}


def frame_of(made: dict[str, Any]) -> pd.DataFrame:
    names = np.array([f"NSE:S{number}-EQ" for number in range(int(made["code"].max()) + 1)], dtype=object)
    time = pd.to_datetime(made["time"], utc=True)
    return pd.DataFrame(
        {"time": time, "symbol": names[made["code"]], "bid": made["bid"] / 100, "ask": made["ask"] / 100}
    )


async def ema_cross(engine: Any) -> None:
    states: dict[str, Cross] = {}
    async for tick in engine.stream.ticks():
        symbol = tick.symbol
        state = states.get(symbol)
        if state is None:
            state = states[symbol] = Cross()
        side = state.decide(tick.mid)
        if side:
            await (engine.market_buy if side > 0 else engine.market_sell)(symbol, QUANTITY)


def ours(frame: pd.DataFrame) -> tuple[float, int]:
    feed = lt.RecordedFeed(frame, speed=None)
    gc.collect()
    before = process_time()
    result = lt.replay(ema_cross, feed, cash=10_000_000, fees=lt.NoFees(), progress=False)
    return process_time() - before, len(result.orders())


def steadily(frame: pd.DataFrame) -> tuple[float, int]:
    """The median of some runs where one is over in a moment: the peer's takes seconds."""
    return median(ours(frame) for _ in range(max(1, 500_000 // len(frame))))


def theirs(python: str, peer: str, path: Path) -> tuple[float, int]:
    command = [python, str(HERE / "peers" / "replay_peer.py"), peer, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    return told["seconds"], told["orders"]


def environment(folder: Path, peer: str) -> str:
    """The interpreter of an environment that has one peer."""
    place = folder / peer
    subprocess.run(["uv", "venv", "--quiet", "--python", "3.11", str(place)], check=True)
    python = str(place / "bin" / "python")
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, PEERS[peer][0], "pandas"], check=True)
    return python


def compare(folder: Path, peer: str, count: int, runs: int) -> None:
    many = peer == "nautilus"
    made = quotes(count if many else count // 10, 100 if many else 1)
    path, frame = folder / f"{peer}.npz", frame_of(made)
    np.savez(path, **made)
    python = environment(folder, peer)
    ours(frame.iloc[:5_000])  # what is loaded and specialized at the first run is no cost of the others
    pairs = [(steadily(frame), theirs(python, peer, path)) for _ in range(runs)]
    orders = {pair[0][1] for pair in pairs} | {pair[1][1] for pair in pairs}
    assert max(orders) - min(orders) <= (not many), f"the orders differ: {orders}"
    mine, other = (median(pair[which][0] for pair in pairs) / len(frame) * 1e9 for which in (0, 1))
    ratios = sorted(pair[1][0] / pair[0][0] for pair in pairs)
    promised = PEERS[peer][1]
    print(
        f"{PEERS[peer][0]:26} {len(frame):9,} quotes {max(orders):5,} orders   {other:7,.0f} ns a quote, livetrade "
        f"{mine:5,.0f} ns: {median(ratios):5.1f} times as fast [{ratios[0]:.1f} to {ratios[-1]:.1f}]"
        + (f", promised {promised}" if promised else "")
    )


def asyncio_floor(frame: pd.DataFrame) -> None:
    """What the same function costs live, in lock-step on asyncio: a hundredth of the quotes, once."""
    part = frame.iloc[: len(frame) // 100]

    async def played() -> float:
        feed = lt.RecordedFeed(part, speed=None, autoplay=False)
        with lt.LiveTradingEngine(10_000_000, feed=feed, name="floor") as engine:
            task = asyncio.ensure_future(ema_cross(engine))
            await asyncio.sleep(0)
            before = process_time()
            await feed.play()
            await task
            return process_time() - before

    print(f"{'live, in lock-step':26} {len(part):9,} quotes {asyncio.run(played()) / len(part) * 1e9:,.0f} ns a quote")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quotes", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers", default=",".join(PEERS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for peer in options.peers.split(","):
            compare(Path(folder), peer, options.quotes, options.runs)
    asyncio_floor(frame_of(quotes(options.quotes, 100)))


if __name__ == "__main__":
    main()
