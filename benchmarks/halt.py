"""How soon does a halt take effect?

    uv run python benchmarks/halt.py [--rounds 200]

From the call of `engine.halt()`, or of `POST halt` at its desk, until the account is halted and refuses what opens: by
the engine's own time of the event. Engine, desk and client are in one process, the journal in a file; printed in
milliseconds for a quiet process, for one that sends orders from four threads meanwhile, and for one that runs a
pure-Python loop. Nothing is pinned or tuned; other programs add to the figures.
"""

import argparse
import os
import platform
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

import livetrade as lt
from livetrade.desk.desk import Desk

SYMBOL = "NSE:SBIN-EQ"


@contextmanager
def quiet(_: lt.LiveTradingEngine) -> Iterator[None]:
    yield


@contextmanager
def loop(_: lt.LiveTradingEngine) -> Iterator[None]:
    with threads(1, lambda: sum(range(1000))):
        yield


@contextmanager
def orders(engine: lt.LiveTradingEngine) -> Iterator[None]:
    def send() -> None:
        engine.market_buy(SYMBOL, 1).result(30)

    with threads(4, send):
        yield


@contextmanager
def threads(count: int, job: Callable[[], object]) -> Iterator[None]:
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            job()

    running = [threading.Thread(target=work) for _ in range(count)]
    for each in running:
        each.start()
    try:
        yield
    finally:
        ended.set()
        for each in running:
            each.join()


def measure(engine: lt.LiveTradingEngine, halt: Callable[[], object], rounds: int) -> list[float]:
    """Milliseconds until the account was halted, one for each round."""
    found = []
    for _ in range(rounds):
        asked = time.time_ns()
        halt()
        found.append((halted_ns(engine) - asked) / 1e6)
        engine.resume().result(30)
        time.sleep(0.005)
    return found


def halted_ns(engine: lt.LiveTradingEngine) -> int:
    while not (moment := HALTED.get(engine.name)):
        time.sleep(0.0005)
    del HALTED[engine.name]
    return moment


HALTED: dict[str, int] = {}
"""By an engine's name, when it was halted; nanoseconds UTC."""


class WatchedJournal(lt.FileJournal):
    def append(self, events: list[object], durable: Callable[[], None]) -> None:  # type: ignore[override]
        for event in events:
            if type(event).__name__ == "Halted":
                HALTED["halt"] = event.ts  # type: ignore[attr-defined]
        super().append(events, durable)  # type: ignore[arg-type]


def report(engine: lt.LiveTradingEngine, client: httpx.Client, rounds: int) -> None:
    ways = {"engine.halt()": engine.halt, "POST halt": lambda: client.post("/api/live-trading/halt", json={})}
    for told, busy in (("", quiet), (", orders from 4 threads", orders), (", a Python loop", loop)):
        for name, way in ways.items():
            with busy(engine):
                found = sorted(measure(engine, way, rounds))
            figures = found[len(found) // 2], found[int(len(found) * 0.99)], found[-1]
            print(f"{name + told:34}" + "".join(f"{each:8.2f}" for each in figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {rounds} rounds; milliseconds\n")
    print(f"{'':34}{'p50':>8}{'p99':>8}{'max':>8}")
    stream = lt.LivePriceStream()
    stream.update(SYMBOL, bid="548.95", ask="549.00")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        os.environ["LIVETRADE_RUNTIME_DIR"] = folder
        journal = WatchedJournal(Path(folder) / "halt.journal")
        with lt.LiveTradingEngine(10**12, stream, journal=journal, name="halt", fees=lt.NoFees()) as engine:
            desk = Desk(engine, port=0)
            desk.start()
            headers = {"Authorization": f"Bearer {desk.token}"}
            with httpx.Client(base_url=desk.url, headers=headers, trust_env=False) as client:
                report(engine, client, rounds)
            desk.stop()


if __name__ == "__main__":
    main()
