"""How far behind is the panel at 1,000 ticks a second, and how much does it send?

    uv run python benchmarks/panel.py [--ticks 1000] [--seconds 10] [--positions 1 6 50 200] [--fps 30]

A real Jupyter kernel holds an engine, some positions with a stop and a target each, and an open panel. A market in a
process of its own posts prices over a pipe, evenly spaced. This process is the front end: it counts the bytes that the
panel sends, and notes for each tick when a message arrived that shows it or a later one. Printed for each number of
positions: frames and KiB a second, and the milliseconds from the market's sending of a tick to its being shown.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

from busy_cell import Kernel

# ── the market: a process of its own ─────────────────────────────────────────────────────────────────────────────────


def market(symbols: int, ticks: int, seconds: float) -> None:
    """Ticks on stdout, one a line (symbol, bid, nanoseconds), after a line on stdin."""
    sys.stdin.readline()
    start = time.perf_counter()
    for number in range(round(ticks * seconds)):
        time.sleep(max(0.0, start + number / ticks - time.perf_counter()))
        print(number % symbols, f"{100 + number * 7 % 41 / 100:.2f}", time.time_ns(), flush=True)


# ── the kernel: what its cells call ──────────────────────────────────────────────────────────────────────────────────


class Bench:
    """An engine with positions, and when the market had sent each of its ticks."""

    def __init__(self, symbols: int, ticks: int, seconds: float) -> None:
        import livetrade as lt

        self.symbols = [f"NSE:S{number:03}-EQ" for number in range(symbols)]
        self.stream = lt.LivePriceStream()
        self.engine = lt.LiveTradingEngine(10_000_000, self.stream, fees=lt.NoFees())
        for symbol in self.symbols:
            self.stream.update(symbol, bid="100.00", ask="100.05")
        for symbol in self.symbols:
            bought = self.engine.market_buy(symbol, 10, stop_loss_price="50.00", take_profit_price="150.00")
            bought.result(10).raise_if_failed()
        self.sent: list[int] = []
        self.before = self.engine.health()["ticks"]
        command = [sys.executable, __file__, "market", str(symbols), str(ticks), str(seconds)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            number, bid, sent = line.split()
            self.sent.append(int(sent))
            self.stream.update(self.symbols[int(number)], bid=bid, ask="100.45")

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.reader.join()
        time.sleep(0.5)  # the last frame


# ── the script ───────────────────────────────────────────────────────────────────────────────────────────────────────


class FrontEnd(Kernel):
    """A kernel, and what its panel sends meanwhile is noted in `shown`: nanoseconds, tick, bytes."""

    def __init__(self, home: str) -> None:
        super().__init__(home)
        self.shown: list[tuple[int, int, int]] = []

    def hear(self, message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "comm_msg" and "snap" in content["data"].get("state", {}):
            parts = (message["header"], message["parent_header"], message["metadata"], content)
            size = sum(len(json.dumps(part, default=str)) for part in parts)
            self.shown.append((time.time_ns(), content["data"]["state"]["snap"]["tick"], size))


def lags(sent: Sequence[int], shown: Sequence[tuple[int, int, int]], before: int) -> list[float]:
    """For each tick, the milliseconds from its sending to the first message that shows it or a later one."""
    found: list[float] = []
    for moment, tick, _ in shown:
        found += [(moment - since) / 1e6 for since in sent[len(found) : tick - before]]
    return found


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[round((len(values) - 1) * share)]


def measure(positions: Sequence[int], ticks: int, seconds: float, fps: int) -> None:
    print(f"{ticks} ticks/s for {seconds:g} s, at most {fps} frames/s; {platform.platform()}, {os.cpu_count()} CPUs")
    print("positions   frames/s   bytes a frame   KiB/s   behind, ms: p50     p99     max")
    for count in positions:
        with tempfile.TemporaryDirectory() as home:
            kernel = FrontEnd(home)
            kernel.run(f"import panel as bench\nb = bench.Bench({count}, {ticks}, {seconds})")
            kernel.run(f"b.engine.panel(fps={fps})")
            kernel.shown.clear()
            kernel.run("b.go()")
            before, sent = json.loads(kernel.run("import json\nprint(json.dumps([b.before, b.sent]))"))
            kernel.run("b.engine.close()")
            kernel.stop()
        frames = [frame for frame in kernel.shown if frame[1] > before]
        size = sum(frame[2] for frame in frames)
        behind = lags(sent, frames, before)
        assert len(behind) == len(sent), "every tick was shown, or a later one"
        figures = " ".join(f"{value:7.1f}" for value in (quantile(behind, 0.5), quantile(behind, 0.99), max(behind)))
        rates = f"{len(frames) / seconds:8.1f} {size / max(1, len(frames)):15.0f} {size / seconds / 1024:7.1f}"
        print(f"{count:9}   {rates}           {figures}", flush=True)


def main() -> None:
    if sys.argv[1:2] == ["market"]:
        market(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--positions", type=int, nargs="+", default=[1, 6, 50, 200])
    parser.add_argument("--fps", type=int, default=30)
    options = parser.parse_args()
    measure(options.positions, options.ticks, options.seconds, options.fps)


if __name__ == "__main__":
    main()
