"""Wrong use that a type checker finds: each line is an error, and an ignore without one would be an error too."""

import pandas as pd

import livetrade as lt

SBIN = "NSE:SBIN-EQ"
engine = lt.LiveTradingEngine(500_000)

lt.LiveTradingEngine(500_000, lt.SimulatedFeed(SBIN))  # type: ignore[arg-type]
lt.LiveTradingEngine(500_000, feed="simulated")  # type: ignore[arg-type]
lt.LiveTradingEngine(500_000, limits={"allow_short": True})  # type: ignore[arg-type]
lt.LiveTradingEngine(500_000, fees="none")  # type: ignore[arg-type]
lt.LiveTradingEngine(500_000, instruments=SBIN)  # type: ignore[arg-type]
lt.LiveTradingEngine(capital=500_000)  # type: ignore[call-arg]
lt.Limits(max_order=5)  # type: ignore[call-arg]
lt.Limits(True)  # type: ignore[call-arg]
lt.RateMargin(0.15)  # type: ignore[arg-type]

engine.market_buy(100, SBIN)  # type: ignore[arg-type]
engine.market_buy(SBIN, 100, stop_loss=545)  # type: ignore[call-arg]
engine.market_buy(SBIN, 100, limit_price=545)  # type: ignore[call-arg]
engine.market_buy(SBIN, 100, slice="yes")  # type: ignore[arg-type]
engine.limit_buy(SBIN, 100)  # type: ignore[call-arg]
engine.modify("A1", 100)  # type: ignore[call-arg]
engine.submit("buy")  # type: ignore[arg-type]
engine.buy(SBIN, 100)  # type: ignore[attr-defined]

engine.orders(status="FILLED")  # type: ignore[call-arg]
engine.positions(by="tag")  # type: ignore[arg-type]
engine.positions(exact="decimal")  # type: ignore[arg-type]
engine.cash = 5  # type: ignore[misc, assignment]
engine.on_fill("print")  # type: ignore[arg-type]


def not_async(engine: lt.LiveTradingEngine) -> None:
    """A strategy is an async function."""


engine.start(not_async)  # type: ignore[arg-type]
lt.replay(not_async, "ticks.parquet")  # type: ignore[arg-type]
lt.sweep(not_async, "ticks.parquet", SBIN)  # type: ignore[call-arg, arg-type]


async def forgets_to_wait(engine: lt.LiveTradingEngine) -> bool:
    return engine.market_buy(SBIN, 1).success  # type: ignore[attr-defined, no-any-return]


def takes_what_may_be_missing(engine: lt.LiveTradingEngine) -> str:
    _, _, order = engine.market_buy(SBIN, 1).result()
    _ = engine.stream.last(SBIN).bid  # type: ignore[union-attr]
    return order.client_order_id  # type: ignore[union-attr]


def changes_what_never_changes(order: lt.Order, frame: pd.DataFrame) -> None:
    order.status = lt.OrderStatus.FILLED  # type: ignore[misc]
    lt.attach().record("ticks")  # type: ignore[attr-defined]
