"""Order history -> DataFrame: livetrade against `ib_async.util.df`, in one run, taking turns.

    uv run --group bench python benchmarks/frames.py [ORDERS]

Prints medians and ratios. livetrade's history is filled through its own tables, and what that costs is printed too.
"""

import gc
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from zoneinfo import ZoneInfo

import pandas as pd
from ib_async import Execution, util

from livetrade import frames
from livetrade.core.history import OrderTable
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import OrderSide, OrderStatus, OrderType, Product, Source, TimeInForce
from livetrade.core.records import replaced
from livetrade.core.values import Order

ROUNDS = 15
START_NS = 1_735_875_900 * 10**9


def make_orders(count: int) -> list[Order]:
    """Filled orders in 50 symbols at 1,000 prices, in a few quantities; a third are limit orders, some had a reason."""
    chance = random.Random(0)
    instruments = [Instrument(f"NSE:STOCK{number}-EQ", tick_size="0.05") for number in range(50)]
    made = []
    for number in range(count):
        instrument, side = chance.choice(instruments), chance.choice(list(OrderSide))
        price, quantity = 50_000 + 5 * chance.randrange(1000), chance.choice((1, 25, 50, 75, 100))
        limit = price if chance.random() < 1 / 3 else None
        when = START_NS + number * 250_000_000
        made.append(
            Order(
                client_order_id=f"LT250103{number:08d}",
                instrument=instrument,
                side=side,
                order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
                quantity_raw=quantity,
                limit_raw=limit,
                trigger_raw=None,
                time_in_force=TimeInForce.DAY,
                product=Product.INTRADAY,
                strategy=chance.choice(("ema_cross", "orb", "manual")),
                tag=chance.choice(("", "open", "hedge")),
                source=Source.STRATEGY,
                created_ns=when,
                updated_ns=when + 3_000_000,
                status=OrderStatus.FILLED,
                reason="" if chance.random() < 0.99 else "price changed while it was on its way",
                reference_raw=price - 5 * chance.randrange(3),
                venue_order_id=f"2501030{number:08d}",
                filled_raw=quantity,
                filled_value_raw=instrument.value_raw(price, quantity),
                fees_raw=chance.randrange(100, 300) * 10**28,
            )
        )
    return made


def make_executions(count: int) -> list[Execution]:
    chance = random.Random(0)
    return [
        Execution(
            execId=f"0000e0d5.{number:08x}.01.01",
            time=datetime.fromtimestamp(START_NS // 10**9 + number // 4, UTC),
            acctNumber="DU0000000",
            exchange="NSE",
            side=chance.choice(("BOT", "SLD")),
            shares=chance.choice((1.0, 25.0, 50.0, 75.0, 100.0)),
            price=500 + chance.randrange(1000) / 20,
            permId=number,
            clientId=1,
            orderId=number,
            cumQty=100.0,
            avgPrice=500 + chance.randrange(1000) / 20,
            orderRef=chance.choice(("", "open", "hedge")),
        )
        for number in range(count)
    ]


def without_arrow(columns: frames.Columns, view: frames.View, *, exact: bool) -> pd.DataFrame:
    """As where pyarrow is not installed."""
    with pd.option_context("mode.string_storage", "python"):
        return frames.orders(columns, view, exact=exact)


def timed(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    result = work()  # kept until the clock has stopped
    taken = time.perf_counter() - start
    del result
    return taken


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    made, executions = make_orders(count), make_executions(count)
    working = [replaced(order, status=OrderStatus.ACCEPTED, filled_raw=0, fees_raw=0) for order in made]

    table = OrderTable()
    append = timed(lambda: [table.put(order) for order in working]) / count
    change = timed(lambda: [table.put(order) for order in made]) / count

    columns = table.copy()
    view = frames.View(ZoneInfo("Asia/Kolkata"), seq=count, as_of=made[-1].updated_ns)
    contenders: dict[str, Callable[[], object]] = {
        "ib_async.util.df": lambda: util.df(executions),
        "livetrade": lambda: frames.orders(columns, view),
        "livetrade exact=True": lambda: frames.orders(columns, view, exact=True),
        'livetrade exact="arrow"': lambda: frames.orders(columns, view, exact="arrow"),
        "livetrade, str without Arrow": lambda: without_arrow(columns, view, exact=False),
        "livetrade exact=True, same": lambda: without_arrow(columns, view, exact=True),
        "copy of the columns": table.copy,
    }
    for work in contenders.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(ROUNDS):  # shuffled: nobody always comes after the one that leaves the caches cold
        for name in random.Random(number).sample(list(contenders), len(contenders)):
            times[name].append(timed(contenders[name]))

    print(f"{count:,} orders, median of {ROUNDS}")
    peer = median(times["ib_async.util.df"])
    for name, taken in times.items():
        print(f"{name:30} {median(taken) * 1e3:9.2f} ms {peer / median(taken):8.0f}x")
    print(f"{'append an order':30} {append * 1e6:9.2f} µs\n{'change an order':30} {change * 1e6:9.2f} µs")


if __name__ == "__main__":
    main()
