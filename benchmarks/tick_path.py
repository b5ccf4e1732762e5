"""What one tick costs: `Account.handle` with a position and a bracket on each of 100 symbols, nothing firing.

Prints CPU time per tick as the median of several runs, beside the floor of an empty call in the same run.

    uv run python benchmarks/tick_path.py [--ticks N] [--runs N]
"""

import argparse
import gc
import random
from collections.abc import Callable, Sequence
from statistics import median
from time import process_time_ns

from livetrade.core.account import Account
from livetrade.core.events import SubmitOrder
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import ExitKind, OrderSide, OrderType
from livetrade.core.numbers import money_raw
from livetrade.core.ticks import Tick
from livetrade.core.values import ExitTerm
from livetrade.core.venue import Venue

START_NS = 1_772_423_100 * 10**9
STEP_NS = 1_000_000
MIDDLE = 100_000
Terms = tuple[Instrument, int, int, int, int]


def terms(symbols: int, ticks: int, seed: int = 20240601) -> list[Terms]:
    """Quotes of a walk inside the bracket: instrument, time, bid, ask, last."""
    dice = random.Random(seed)
    items = [Instrument(f"NSE:S{number}-EQ") for number in range(symbols)]
    bids = dict.fromkeys(items, MIDDLE)
    made = []
    for number in range(ticks):
        item = dice.choice(items)
        bids[item] = bid = min(max(bids[item] + dice.randint(-5, 5), MIDDLE - 900), MIDDLE + 900)
        made.append((item, START_NS + number * STEP_NS, bid, bid + 5, bid + dice.randint(0, 5)))
    return made


def protected_account(items: Sequence[Instrument]) -> Account:
    """An account that holds each symbol, with a stop-loss and a take-profit armed."""
    account = Account(venue=Venue())
    account.open(START_NS, money_raw(10**9, "cash"), "INR", "Asia/Kolkata")
    exits = (ExitTerm(ExitKind.STOP_LOSS, MIDDLE - 1000), ExitTerm(ExitKind.TAKE_PROFIT, MIDDLE + 1000))
    for number, item in enumerate(items):
        account.handle(Tick(item, START_NS, MIDDLE, MIDDLE + 5, MIDDLE))
        order = SubmitOrder(START_NS, f"A{number}", item, OrderSide.BUY, OrderType.MARKET, 100, exits=exits)
        account.handle(order)
    assert len(account.brackets) == len(items)
    return account


def cpu_ns(job: Callable[[], None], count: int, runs: int) -> float:
    """Median CPU nanoseconds for each of `count` steps."""
    figures = []
    for _ in range(runs):
        gc.collect()
        before = process_time_ns()
        job()
        figures.append((process_time_ns() - before) / count)
    return median(figures)


def empty(_: Tick) -> None:
    """The floor."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    quotes = terms(100, options.ticks)
    ticks = [Tick(*quote) for quote in quotes]
    items = list({quote[0]: None for quote in quotes})
    account = protected_account(items)

    def floor() -> None:
        for tick in ticks:
            empty(tick)

    def prebuilt() -> None:
        for tick in ticks:
            account.handle(tick)

    def built() -> None:
        for item, ts, bid, ask, last in quotes:
            account.handle(Tick(item, ts, bid, ask, last))

    jobs = {"an empty call": floor, "Account.handle(tick)": prebuilt, "with the Tick built": built}
    figures = {name: cpu_ns(job, len(ticks), options.runs) for name, job in jobs.items()}
    assert len(account.brackets) == len(items), "something fired"
    for name, ns in figures.items():
        print(f"{name:22} {ns:7.0f} ns   {ns / figures['an empty call']:5.1f} × the floor")


if __name__ == "__main__":
    main()
