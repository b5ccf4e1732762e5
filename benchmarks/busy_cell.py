"""How late does a stop-loss fire while a notebook cell keeps the kernel busy?

    uv run python benchmarks/busy_cell.py [--symbols 200] [--seconds 4] [--rounds 3] [--panel]

A real Jupyter kernel holds an engine with a position and a stop-loss in each of many symbols. A market in a process of
its own posts prices over a pipe, which a thread of the kernel hands to the stream; at a random moment it takes each
symbol through its stop. Meanwhile the cell is busy. Printed for each kind of cell, in milliseconds from the moment the
market sent the price:

    fill     the exit is filled and its event journaled, on the engine's thread
    told     `on_fill` has been called, on the thread for user code

and how many of the stops fired before the cell ended. Nothing is pinned or tuned; other programs add to the figures.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PRICE, STOP, CROSSED = "100.00", "99.00", "98.90"
QUIET_TICKS_PER_SECOND = 400


# ── the market: a process of its own ─────────────────────────────────────────────────────────────────────────────────


def market(symbols: int, seconds: float, seed: int) -> None:
    """Ticks on stdout, one a line (symbol, bid, nanoseconds); each round begins with a line on stdin."""
    rng = random.Random(seed)
    for _ in sys.stdin:
        start = time.perf_counter()
        crossings = [(rng.uniform(0.05, 0.75) * seconds, number, CROSSED) for number in range(symbols)]
        quiet = [
            (rng.uniform(0, 0.9) * seconds, rng.randrange(symbols), rng.choice(("99.90", "99.95", PRICE)))
            for _ in range(round(QUIET_TICKS_PER_SECOND * seconds))
        ]
        crossed: set[int] = set()
        for moment, number, bid in sorted(crossings + quiet):
            time.sleep(max(0.0, start + moment - time.perf_counter()))
            if bid == CROSSED:
                crossed.add(number)
            elif number in crossed:
                continue
            print(number, bid, time.time_ns(), flush=True)


# ── the kernel: what its cells call ──────────────────────────────────────────────────────────────────────────────────


class Desk:
    """An engine with stops, a market that will cross them, and the moments at which things happened."""

    def __init__(self, symbols: int, seconds: float, seed: int) -> None:
        import livetrade as lt
        from livetrade.core.events import Filled

        desk = self

        class StampedJournal(lt.MemoryJournal):
            def append(self, events: Sequence[Any], durable: Callable[[], None]) -> None:
                super().append(events, durable)
                for event in events:
                    if isinstance(event, Filled) and event.fill.source == "STOP_LOSS":
                        desk.filled.append((event.fill.symbol, time.time_ns()))

        self.sent: dict[str, int] = {}
        self.filled: list[tuple[str, int]] = []
        self.told: dict[str, int] = {}
        self.symbols = [f"NSE:S{number:03}-EQ" for number in range(symbols)]
        self.stream = lt.LivePriceStream()
        self.engine = lt.LiveTradingEngine(10_000_000, self.stream, fees=lt.NoFees(), journal=StampedJournal())

        @self.engine.on_fill
        def note(fill: lt.Fill) -> None:
            if fill.source == "STOP_LOSS":
                desk.told[fill.symbol] = time.time_ns()

        command = [sys.executable, __file__, "market", str(symbols), str(seconds), str(seed)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            number, bid, sent = line.split()
            symbol = self.symbols[int(number)]
            if bid == CROSSED:
                self.sent[symbol] = int(sent)
            self.stream.update(symbol, bid=bid, ask="100.05")

    def arm(self) -> None:
        """A fresh position with a stop in every symbol, and the market's word to begin."""
        self.sent.clear()
        self.filled.clear()
        self.told.clear()
        for symbol in self.symbols:
            self.stream.update(symbol, bid=PRICE, ask="100.05")
        handles = [self.engine.market_buy(symbol, 10, stop_loss_price=STOP) for symbol in self.symbols]
        for handle in handles:
            handle.result(10).raise_if_failed()
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")

    def figures(self, cell_ended: int) -> str:
        """As JSON: milliseconds to the fills and to the callbacks, and how many fills came before the cell ended."""
        deadline = time.monotonic() + 30
        while len(self.told) < len(self.symbols) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sorted(symbol for symbol, _ in self.filled) == self.symbols, "every stop fires once"
        fill = [(moment - self.sent[symbol]) / 1e6 for symbol, moment in self.filled]
        told = [(moment - self.sent[symbol]) / 1e6 for symbol, moment in self.told.items()]
        return json.dumps([fill, told, sum(moment < cell_ended for _, moment in self.filled)])

    def close(self) -> None:
        self.engine.close()
        self.process.kill()
        self.process.wait()


CELLS = {
    "time.sleep": "time.sleep(SECONDS)",
    "a pure-Python loop": "n = 0\nwhile time.perf_counter() < end:\n    n += 1",
    "pandas group-by": "while time.perf_counter() < end:\n    frame.groupby('key').agg(['mean', 'std'])",
}
FIRST = """
import time
import numpy as np
import pandas as pd
import busy_cell
SECONDS = {seconds}
rng = np.random.default_rng(0)
N = 2_000_000
frame = pd.DataFrame({{"key": rng.integers(0, 1_000, N), "a": rng.random(N), "b": rng.random(N)}})
desk = busy_cell.Desk({symbols}, SECONDS, seed=7)
"""


# ── the script ───────────────────────────────────────────────────────────────────────────────────────────────────────


def quantiles(values: Sequence[float]) -> str:
    ordered = sorted(values)
    last = len(ordered) - 1
    return " ".join(f"{value:7.1f}" for value in (ordered[last // 2], ordered[round(last * 0.99)], ordered[last]))


class Kernel:
    """A Jupyter kernel that can import this file."""

    def __init__(self, home: str) -> None:
        from jupyter_client.manager import start_new_kernel

        environment = {**os.environ, "IPYTHONDIR": home, "PYTHONPATH": os.fspath(Path(__file__).parent)}
        self._manager, self._client = start_new_kernel(env=environment, stderr=subprocess.DEVNULL)

    def run(self, code: str) -> str:
        """What the cell prints; an error in it ends the script."""
        printed: list[str] = []

        def keep(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])
            else:
                self.hear(message)

        reply = self._client.execute_interactive(code, output_hook=keep, timeout=300)["content"]
        if reply["status"] != "ok":
            sys.exit("\n".join(reply["traceback"]))
        return "".join(printed)

    def hear(self, message: dict[str, Any]) -> None:
        """Whatever else it publishes while a cell runs."""

    def stop(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel()


def measure(symbols: int, seconds: float, rounds: int, panel: bool) -> None:
    print(f"{rounds} x {symbols} stops, crossed within {seconds:g} s; {platform.platform()}, {os.cpu_count()} CPUs")
    print(f"{'milliseconds':20} {'fill: p50     p99     max':>26} {'told: p50     p99     max':>26}   during the cell")
    with tempfile.TemporaryDirectory() as home:
        kernel = Kernel(home)
        kernel.run(FIRST.format(symbols=symbols, seconds=seconds))
        if panel:
            kernel.run("panel = desk.engine.panel()")
        for name, work in CELLS.items():
            fill, told, during = [], [], 0
            for _ in range(rounds):
                kernel.run(f"desk.arm()\nend = time.perf_counter() + SECONDS\n{work}\nended = time.time_ns()")
                one_fill, one_told, one_during = json.loads(kernel.run("print(desk.figures(ended))"))
                fill += one_fill
                told += one_told
                during += one_during
            print(f"{name:20}   {quantiles(fill)}   {quantiles(told)}   {during} of {symbols * rounds}", flush=True)
        kernel.run("desk.close()")
        kernel.stop()


def main() -> None:
    if sys.argv[1:2] == ["market"]:
        market(int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--panel", action="store_true", help="with the live panel open, a row for each symbol")
    options = parser.parse_args()
    measure(options.symbols, options.seconds, options.rounds, options.panel)


if __name__ == "__main__":
    main()
