"""How long a journal takes to open again, to be verified, and to answer an order.

    uv run python benchmarks/recovery.py [--events 100000] [--orders 500] [--folder FOLDER] [--profile]

A day of trading is written to a journal: of each step one row, as a quiet day writes it, five ticks before each. Then,
each in a process of its own with the file in the system's cache:

    open      from `LiveTradingEngine(journal=...)` until it has answered a question
    verify    `livetrade journal verify`, the start of the interpreter included

and the milliseconds from sending a market order until its answer, with nothing else to do and beside one busy Python
thread, kept in memory and in a file (in FOLDER: it has to be on the disk that matters). With --profile, or where
opening takes longer than 5 s, also where the time goes.
"""

import argparse
import cProfile
import os
import platform
import pstats
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import livetrade as lt
from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import ExitKind, OrderSide, OrderType
from livetrade.core.numbers import money_raw
from livetrade.core.ticks import Tick
from livetrade.core.values import ExitTerm
from livetrade.core.venue import Venue

SYMBOLS = 50
TICKS_A_STEP = 5
PROMISED_S = 5.0


# ── making one ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Maker:
    """Trades an account and writes what happens, a row for each step."""

    def __init__(self, path: Path) -> None:
        self.journal = lt.FileJournal(path)
        self.journal.open()
        self.journal._store.connection.execute("PRAGMA synchronous=OFF")  # only the figures of reading it matter
        self.journal.start(lambda job: job(), lambda: os._exit(1))
        self.account = Account(venue=Venue(), fees=lt.NoFees())
        self.items = [Instrument(f"NSE:S{number:02}-EQ") for number in range(SYMBOLS)]
        self.bids = dict.fromkeys(self.items, 10_000)
        self.dice = random.Random(7)
        self.ticks = 0
        self._ts = time.time_ns() - 10**12

    def make(self, events: int) -> None:
        account = self.account
        self._write(account.open(self._now(), money_raw(10**9, "cash"), "INR", "Asia/Kolkata"))
        self._write(account.start_session(self._now(), lt.__version__, "PAPER"))
        number = 0
        while account.seq < events:
            self._tick()
            self._order(number)
            number += 1
        self._write(account.handle(ev.EndSession(self._now())))
        assert self.journal.close(60)

    def _now(self) -> int:
        self._ts += 200_000
        return self._ts

    def _tick(self) -> None:
        quotes = []
        for _ in range(TICKS_A_STEP):
            item = self.dice.choice(self.items)
            self.bids[item] = bid = min(max(self.bids[item] + self.dice.randint(-5, 5), 9_000), 11_000)
            quotes.append(Tick(item, self._now(), bid, bid + 5, bid + self.dice.randint(0, 5)))
            self._write(self.account.handle(quotes[-1]))
        self.ticks += len(quotes)
        self.journal.record(quotes)

    def _order(self, number: int) -> None:
        item = self.dice.choice(self.items)
        if self.account.markets.get(item.symbol) is None:
            return
        side = OrderSide.BUY if self.dice.random() < 0.6 else OrderSide.SELL
        stop = self.bids[item] - self.dice.randint(50, 300)
        exits = (ExitTerm(ExitKind.STOP_LOSS, stop),) if side is OrderSide.BUY else ()
        command = ev.SubmitOrder(self._now(), f"A{number}", item, side, OrderType.MARKET, 10, exits=exits)
        self._write(self.account.handle(command))

    def _write(self, events: list[ev.Event]) -> None:
        if events:
            durable = threading.Event()
            self.journal.append(events, durable.set)
            durable.wait()


# ── opening it ───────────────────────────────────────────────────────────────────────────────────────────────────────


def reopen(path: Path) -> None:
    """Prints how long the parts take, and the whole."""
    journal = lt.FileJournal(path)
    with timed("checked", "its chain followed"):
        journal.open()
    with timed("folded", "its events decoded and folded"):
        journal.restore(Account())
    journal.close(1)
    with timed("open", "an engine that has answered"):
        engine = lt.LiveTradingEngine(journal=path)
        engine.get_portfolio_pnl().result(60)
    engine.close()


@contextmanager
def timed(name: str, what: str) -> Iterator[None]:
    began, cpu = time.perf_counter(), time.process_time()
    yield
    used = time.process_time() - cpu
    print(f"  {name:8} {time.perf_counter() - began:6.2f} s, {used:5.2f} s of CPU   {what}", flush=True)


def profile(path: Path) -> None:
    """Prints where the time goes; measuring it slows it down."""
    profiler = cProfile.Profile()
    journal = lt.FileJournal(path)
    profiler.enable()
    journal.open()
    journal.restore(Account())
    profiler.disable()
    journal.close(1)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(15)


# ── an order ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def busy() -> Iterator[None]:
    """One more thread that computes in pure Python."""
    stop = threading.Event()

    def compute() -> None:
        count = 0
        while not stop.is_set():
            count += 1

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def idle() -> Iterator[None]:
    yield


def latencies(folder: Path, orders: int) -> None:
    print(f"{'milliseconds from an order to its answer':44}   p50     p99     max")
    for kept, journal in (("in memory", None), ("in a file", folder / "latency.journal")):
        stream = lt.LivePriceStream()
        stream.update("NSE:SBIN-EQ", bid="548.95", ask="549.00", last="549.00")
        with lt.LiveTradingEngine(10**9, stream, journal=journal, fees=lt.NoFees()) as engine:
            for state, condition in (("idle", idle), ("beside a busy thread", busy)):
                with condition():
                    figures = sorted(ask(engine) for _ in range(orders))
                last = len(figures) - 1
                shown = " ".join(f"{figures[place]:7.2f}" for place in (last // 2, round(last * 0.99), last))
                print(f"  kept {kept}, {state:26} {shown}", flush=True)
            engine.flatten().result(60)


def ask(engine: lt.LiveTradingEngine) -> float:
    began = time.perf_counter()
    engine.market_buy("NSE:SBIN-EQ", 1).result(60).raise_if_failed()
    return (time.perf_counter() - began) * 1e3


# ── the script ───────────────────────────────────────────────────────────────────────────────────────────────────────


def again(*words: object) -> str:
    """This script in a process of its own; gives back what it printed."""
    command = [sys.executable, __file__, *map(str, words)]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def size(path: Path) -> float:
    """MiB, SQLite's log included."""
    return sum(part.stat().st_size for part in path.parent.glob(path.name + "*")) / 2**20


def measure(folder: Path, options: argparse.Namespace) -> None:
    path = folder / "recovery.journal"
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    maker = Maker(path)
    maker.make(options.events)
    print(f"{maker.account.seq:,} events, {maker.ticks:,} ticks, {size(path):.1f} MiB")
    told = again("reopen", path)
    print(told, end="", flush=True)
    began, cpu = time.perf_counter(), os.times().children_user
    verify = [sys.executable, "-m", "livetrade.cli", "journal", "verify", path]
    subprocess.run(verify, check=True, stdout=subprocess.DEVNULL)
    wall, used = time.perf_counter() - began, os.times().children_user - cpu
    print(f"  {'verify':8} {wall:6.2f} s, {used:5.2f} s of CPU   `livetrade journal verify`", flush=True)
    opened = float(told.partition("  open")[2].split()[0])
    if options.profile or opened > PROMISED_S:
        print(again("profile", path), flush=True)
    print(again("latencies", folder, options.orders), end="")


def main() -> None:
    match sys.argv[1:]:
        case ["reopen", path]:
            reopen(Path(path))
        case ["profile", path]:
            profile(Path(path))
        case ["latencies", folder, orders]:
            latencies(Path(folder), int(orders))
        case _:
            parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
            parser.add_argument("--events", type=int, default=100_000)
            parser.add_argument("--orders", type=int, default=500)
            parser.add_argument("--folder", type=Path)
            parser.add_argument("--profile", action="store_true", help="print where the time of an opening goes")
            options = parser.parse_args()
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                measure(Path(folder), options)


if __name__ == "__main__":
    main()
