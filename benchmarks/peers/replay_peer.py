"""One peer's run of the EMA cross that `benchmarks/replay.py` times, in an environment of the peer's own.

    python replay_peer.py PEER QUOTES.npz

QUOTES.npz holds `code` (which symbol), `time` (ns UTC), `bid` and `ask` (in paise). Prints JSON: CPU seconds of the run
alone (what a peer needs to build its own ticks is not counted), and how many orders it placed.
"""

import json
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np

FAST, SLOW, WARM_UP, GAP, QUANTITY = 2 / 11, 2 / 31, 30, 250, 10


class Cross:
    """The rule, for one symbol: +1 to buy, -1 to sell, 0 to wait."""

    __slots__ = ("count", "fast", "held", "last", "slow")

    def __init__(self) -> None:
        self.count = self.last = 0
        self.fast = self.slow = 0.0
        self.held = False

    def decide(self, mid: float) -> int:
        if not self.count:
            self.fast = self.slow = mid
        else:
            self.fast += FAST * (mid - self.fast)
            self.slow += SLOW * (mid - self.slow)
        self.count += 1
        up = self.fast > self.slow
        if up is self.held or self.count < WARM_UP or self.count - self.last < GAP:
            return 0
        self.held, self.last = up, self.count
        return 1 if up else -1


def nautilus(quotes: dict[str, Any]) -> tuple[float, int]:
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig
    from nautilus_trader.model.currencies import USD
    from nautilus_trader.model.data import QuoteTick
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
    from nautilus_trader.model.instruments import Equity
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.trading.strategy import Strategy

    ids = [InstrumentId.from_str(f"S{number}.SIM") for number in range(int(quotes["code"].max()) + 1)]

    class EmaCross(Strategy):
        def on_start(self) -> None:
            self.states = {each: Cross() for each in ids}
            self.orders = 0
            self.size = Quantity.from_int(QUANTITY)
            for each in ids:
                self.subscribe_quote_ticks(each)

        def on_quote_tick(self, tick: Any) -> None:
            mid = (tick.bid_price.as_double() + tick.ask_price.as_double()) / 2
            side = self.states[tick.instrument_id].decide(mid)
            if side:
                self.orders += 1
                order = self.order_factory.market(
                    tick.instrument_id, OrderSide.BUY if side > 0 else OrderSide.SELL, self.size
                )
                self.submit_order(order)

    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        Venue("SIM"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        starting_balances=[Money(10_000_000, USD)],
        base_currency=USD,
    )
    for each in ids:
        engine.add_instrument(
            Equity(each, Symbol(each.symbol.value), USD, 2, Price.from_str("0.01"), Quantity.from_int(1), 0, 0)
        )
    size = Quantity.from_int(100)
    prices: dict[int, Price] = {}

    def price(raw: int) -> Price:
        known = prices.get(raw)
        if known is None:
            known = prices[raw] = Price(Decimal(raw) / 100, 2)
        return known

    rows = zip(*(quotes[name].tolist() for name in ("code", "bid", "ask", "time")), strict=True)
    engine.add_data([QuoteTick(ids[c], price(b), price(a), size, size, t, t) for c, b, a, t in rows])
    strategy = EmaCross()
    engine.add_strategy(strategy)
    spent = cpu(engine.run)
    placed = len(engine.cache.orders())
    assert placed == strategy.orders
    return spent, placed


def backtrader(quotes: dict[str, Any]) -> tuple[float, int]:
    import backtrader as bt
    import pandas as pd

    class EmaCross(bt.Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            self.state = Cross()
            self.placed = 0

        def next(self) -> None:
            side = self.state.decide((self.data.open[0] + self.data.close[0]) / 2)
            if side:
                self.placed += 1
                (self.buy if side > 0 else self.sell)(size=QUANTITY)

    bid, ask = quotes["bid"] / 100, quotes["ask"] / 100
    frame = pd.DataFrame(
        {"open": bid, "high": ask, "low": bid, "close": ask, "volume": 0}, index=pd.to_datetime(quotes["time"])
    )
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.setcash(10_000_000)
    cerebro.adddata(bt.feeds.PandasData(dataname=frame))
    cerebro.addstrategy(EmaCross)
    ran: list[Any] = []
    spent = cpu(lambda: ran.extend(cerebro.run()))
    return spent, ran[0].placed


def backtesting(quotes: dict[str, Any]) -> tuple[float, int]:
    import pandas as pd
    from backtesting import Backtest, Strategy

    placed = 0

    class EmaCross(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            self.state = Cross()

        def next(self) -> None:
            nonlocal placed
            side = self.state.decide((self.data.Open[-1] + self.data.Close[-1]) / 2)
            if side:
                placed += 1
                (self.buy if side > 0 else self.sell)(size=QUANTITY)

    bid, ask = quotes["bid"] / 100, quotes["ask"] / 100
    frame = pd.DataFrame(
        {"Open": bid, "High": ask, "Low": bid, "Close": ask, "Volume": 0}, index=pd.to_datetime(quotes["time"])
    )
    test = Backtest(frame, EmaCross, cash=10_000_000, finalize_trades=True)
    spent = cpu(test.run)
    return spent, placed


def cpu(job: Callable[[], object]) -> float:
    before = time.process_time()
    job()
    return time.process_time() - before


def main() -> None:
    _, peer, path = sys.argv
    with np.load(path) as stored:
        quotes = {name: stored[name] for name in stored.files}
    seconds, orders = {"nautilus": nautilus, "backtrader": backtrader, "backtesting": backtesting}[peer](quotes)
    print(json.dumps({"seconds": seconds, "orders": orders}))


if __name__ == "__main__":
    main()
