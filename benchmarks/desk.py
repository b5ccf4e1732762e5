"""The desk, from outside: how late its stops fire while a notebook computes, and what attaching costs.

    uv run python benchmarks/desk.py [--stops 60] [--orders 1000] [--seconds 10]

1. A desk is a process; a Jupyter kernel is attached to it and busy with one long C call after the other; a market in a
   third process posts prices and takes symbol after symbol through its stop. Milliseconds from the moment before the
   price is posted to the moment at which the market's process hears of the durable fill.
2. The same orders by an engine in this process and by one that is attached, both with a journal on disk: milliseconds
   until the handle has its answer. Every order is looked for in the next `orders()`.
3. A simulated market to ten attached engines: ticks a second that arrived, and how many were conflated.

Other programs on the machine add to the figures; nothing is pinned or tuned.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from busy_cell import Kernel, quantiles

import livetrade as lt

CELLS = {
    "nothing": "time.sleep(SECONDS)",
    "sorted() of 4 million floats": "while time.perf_counter() < end:\n    sorted(floats)",
    "sum(range(10**8))": "while time.perf_counter() < end:\n    sum(range(10**8))",
    "json.dumps of 4 million": "while time.perf_counter() < end:\n    json.dumps(floats)",
}
FIRST = """
import json, random, time
import livetrade as lt
SECONDS = {seconds}
floats = [random.random() for _ in range(4_000_000)]
engine = lt.attach("bench")
panel = engine.panel()
"""


def crossed(engine: lt.AttachedEngine, stops: int, seconds: float) -> list[float]:
    """Takes `stops` symbols through their stops, one after the other, within so many seconds."""
    heard: dict[str, float] = {}
    told = threading.Condition()

    @engine.on_fill
    def note(fill: lt.Fill) -> None:
        if fill.source == "STOP_LOSS":
            with told:
                heard[fill.symbol] = time.perf_counter()
                told.notify()

    symbols = [f"NSE:S{time.time_ns() % 10**9}N{number}-EQ" for number in range(stops)]
    for symbol in symbols:
        engine.stream.update(symbol, bid="100.00", ask="100.05")
        engine.market_buy(symbol, 10, stop_loss_price="99.00").result(10).raise_if_failed()
    late = []
    for symbol in symbols:
        time.sleep(seconds / stops)
        sent = time.perf_counter()
        engine.stream.update(symbol, bid="98.90", ask="98.95")
        with told:
            assert told.wait_for(lambda symbol=symbol: symbol in heard, 30), f"the stop of {symbol} did not fire"
        late.append((heard[symbol] - sent) * 1000)
    return late


def busy_kernel(stops: int, seconds: float) -> None:
    print(f"\n{'while an attached kernel runs':34} {'price to fill, ms: p50   p99    max':>40}")
    with tempfile.TemporaryDirectory() as home:
        kernel = Kernel(home)
        kernel.run(FIRST.format(seconds=seconds))
        with lt.attach("bench") as market:
            for name, work in CELLS.items():
                cell = threading.Thread(target=kernel.run, args=(f"end = time.perf_counter() + SECONDS\n{work}",))
                cell.start()
                time.sleep(0.5)
                late = crossed(market, stops, seconds - 1.5)
                within = cell.is_alive()
                cell.join()
                print(f"{name:34} {quantiles(late):>40}{'' if within else '   (the cell ended first)'}", flush=True)
        kernel.stop()


def timed(send: Callable[[], Any], frame: Callable[[], Any], count: int) -> list[float]:
    spent = []
    for number in range(count):
        start = time.perf_counter()
        answer = send().result(10).raise_if_failed()
        spent.append((time.perf_counter() - start) * 1000)
        if number % 10 == 0:  # the DataFrame itself takes longer than an order
            assert answer.order.client_order_id in frame().index, "an order that was answered is not in orders()"
    return spent


def latencies(orders: int, home: Path) -> None:
    print(f"\n{orders:,} market orders, journaled   {'ms to the answer: p50   p99    max':>40}")
    stream = lt.LivePriceStream()
    with lt.LiveTradingEngine(10**9, stream, name="here", journal=home / "here.journal") as engine:
        stream.update("NSE:SBIN-EQ", bid="548.95", ask="549.00")
        spent = timed(lambda: engine.market_buy("NSE:SBIN-EQ", 1), engine.orders, orders)
        print(f"{'an engine in this process':34} {quantiles(spent):>40}", flush=True)
    with lt.attach("bench") as attached:
        attached.stream.update("NSE:SBIN-EQ", bid="548.95", ask="549.00")
        spent = timed(lambda: attached.market_buy("NSE:SBIN-EQ", 1), attached.orders, orders)
        print(f"{'attached to a desk':34} {quantiles(spent):>40}", flush=True)


LISTENER = """
import sys, time
import livetrade as lt
engine = lt.attach("ticks")
seen = [0, 0]
def count(tick):
    seen[0] += 1
    seen[1] += tick.missed
print("ready", flush=True)
sys.stdin.readline()
engine.stream.hub.tap(count)
time.sleep(float(sys.argv[1]))
print(*seen)
"""


MARKET = """
import sys, signal
import livetrade as lt
from livetrade.desk.desk import Desk
symbols = [f"NSE:S{number}-EQ" for number in range(20)]
feed = lt.SimulatedFeed(symbols, ticks_per_second=float(sys.argv[1]))
desk = Desk(lt.LiveTradingEngine(1_000_000, feed=feed, name="ticks"), port=0)
desk.start()
signal.signal(signal.SIGTERM, lambda *_: desk.stopped.set())
desk.stopped.wait()
desk.stop()
desk.engine.close()
"""


def throughput(seconds: float, rate: int) -> None:
    command = [sys.executable, "-c", LISTENER, str(seconds)]
    pipe = subprocess.PIPE
    listeners = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(10)]
    for listener in listeners:
        listener.stdout.readline()  # type: ignore[union-attr]
    said = [listener.communicate("go\n")[0].split() for listener in listeners]
    seen, missed = (sum(int(words[place]) for words in said) for place in (0, 1))
    print(f"{rate:>10,} a second offered: {seen / seconds / 10:>10,.0f} a second to each of ten, {missed:,} conflated")


def started(name: str, home: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "livetrade.cli", "serve", "--name", name, "--port", "0", "--cash", "1000000000"]
    return subprocess.Popen(
        [*command, "--journal", str(home / f"{name}.journal")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for(name: str) -> None:
    for _ in range(300):
        try:
            lt.attach(name).close()
        except lt.DeskError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"the desk {name} did not start")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=60)
    parser.add_argument("--orders", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args(arguments)
    print(f"{platform.platform()}, {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["LIVETRADE_RUNTIME_DIR"] = str(home / "runtime")
        desks = [started("bench", home)]
        try:
            wait_for("bench")
            busy_kernel(given.stops, given.seconds)
            latencies(given.orders, home)
            print("\nticks to ten attached engines")
            for rate in (1_000, 5_000, 10_000):
                desks.append(subprocess.Popen([sys.executable, "-c", MARKET, str(rate // 20)]))
                wait_for("ticks")
                throughput(given.seconds, rate)
                desks[-1].terminate()
                desks[-1].wait()
        finally:
            for desk in desks:
                desk.terminate()
                desk.wait()


if __name__ == "__main__":
    main()
