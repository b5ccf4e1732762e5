"""livetrade as a user's type checker sees it: what each public call takes and gives. Checked, and never run."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

import pandas as pd

import livetrade as lt
from livetrade.handle import Handle
from livetrade.preview import Preview
from livetrade.strategies import StrategyHandle
from livetrade.surface import OrderHandle
from livetrade.why import Why

SBIN = "NSE:SBIN-EQ"

# ── making an engine ─────────────────────────────────────────────────────────────────────────────────────────────────

stream = lt.LivePriceStream(timezone="Asia/Kolkata")
stream.update(
    SBIN, bid="548.95", ask=Decimal("549.00"), last=549, volume=1_000, time=datetime(2026, 11, 20, 9, 15, tzinfo=UTC)
)
stream.register(
    lt.Instrument("NSE:NIFTY26DECFUT", kind="FUTURE", tick_size="0.05", lot_size=75, expiry=date(2026, 12, 29))
)


def free_for_small(fill: lt.Fill) -> Decimal:
    return Decimal(0) if fill.value < 1000 else Decimal(20)


engine = lt.LiveTradingEngine(
    "500000",
    stream,
    fees=free_for_small,
    limits=lt.Limits(allow_short=True, max_order_value="1e5", max_tick_age=timedelta(seconds=5)),
    margin=lt.RateMargin({"FUTURE": "0.15"}),
    journal=Path("my.journal"),
)
lt.LiveTradingEngine(500_000, feed=lt.SimulatedFeed([SBIN], seed=1), broker=lt.PaperBroker(slippage="0.05"))
lt.LiveTradingEngine(
    feed=lt.FyersFeed(SBIN), broker=lt.FyersBroker(confirm="LIVE"), journal=lt.FileJournal("real.journal")
)
lt.LiveTradingEngine(500_000, feed=lt.RecordedFeed("ticks.parquet", speed=None), fees=lt.IndianEquityFees())

# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────

handle = engine.market_buy(SBIN, 100, stop_loss_price=545, take_profit_pct="2.5", product="CNC", tag="first")
assert_type(handle, OrderHandle)
assert_type(handle.client_order_id, str | None)
assert_type(handle.done(), bool)
assert_type(handle.result(timeout=timedelta(seconds=5)), lt.OrderResult)
assert_type(handle.wait_for("FILLED", 10), Handle[lt.OrderResult])
success, message, order = handle.result(5).raise_if_failed()
assert_type(success, bool)
assert_type(message, str)
assert_type(order, lt.Order | None)

assert_type(engine.limit_sell(SBIN, 10, Decimal("560.50"), time_in_force=lt.TimeInForce.GTC), OrderHandle)
assert_type(engine.stop_buy(SBIN, None, "551", limit_price="552", lots=2), OrderHandle)
assert_type(engine.submit({"symbol": SBIN, "side": lt.OrderSide.BUY, "quantity": 1}), OrderHandle)
assert_type(engine.modify("A1", limit_price="550"), OrderHandle)
assert_type(engine.cancel("A1"), OrderHandle)
assert_type(engine.set_stop_loss(SBIN, pct=1), OrderHandle)
assert_type(engine.set_trailing_stop(SBIN, amount="2.50"), OrderHandle)
assert_type(engine.flatten(), OrderHandle)
assert_type(engine.halt("lunch"), OrderHandle)
assert_type(engine.transfer(-5_000), OrderHandle)
assert_type(engine.get_portfolio_pnl().result(), dict[str, Decimal])
assert_type(engine.preview("BUY", SBIN, 100, limit_price="548"), Preview)


async def awaiting(engine: lt.LiveTradingEngine) -> None:
    assert_type(await engine.market_sell(SBIN, 100), lt.OrderResult)
    assert_type(await engine.market_sell(SBIN, 100).wait_for(lt.OrderStatus.FILLED), lt.OrderResult)
    assert_type((await engine.get_portfolio_pnl())["total_pnl"], Decimal)
    async with asyncio.timeout(5), lt.LiveTradingEngine(1000, name="other") as other:
        assert_type(other, lt.LiveTradingEngine)


with lt.LiveTradingEngine(1000, name="third") as third:
    assert_type(third, lt.LiveTradingEngine)

# ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────────────

assert_type(engine.positions(by="strategy", exact="arrow"), pd.DataFrame)
assert_type(engine.orders(open=True, symbol=[SBIN], since="today"), pd.DataFrame)
assert_type(engine.fills(charges=True, until=datetime(2026, 11, 20, tzinfo=UTC)), pd.DataFrame)
assert_type(engine.risk_orders(strategy="ema_cross"), pd.DataFrame)
assert_type(engine.equity("1min"), pd.DataFrame)
assert_type(engine.round_trips(exact=True), pd.DataFrame)
assert_type(engine.ticks(SBIN), pd.DataFrame)
assert_type(engine.bars(SBIN, timedelta(minutes=5)), pd.DataFrame)
assert_type(engine.strategies(), pd.DataFrame)
assert_type(engine.pnl(by="tag"), "pd.Series[Any]")
assert_type(engine.stats(), "pd.Series[Any]")
assert_type(engine.returns, "pd.Series[float]")
assert_type(engine.cash, Decimal)
assert_type(engine.now(), datetime)
assert_type(engine.position(SBIN).avg_price, Decimal | None)
assert_type(engine.order("A1"), lt.Order | None)
assert_type(engine.why("A1"), Why)
assert_type(engine.audit(), pd.DataFrame)
assert_type(engine.health(), dict[str, Any])
assert_type(engine.export("today.xlsx"), list[Path])
assert_type(engine.mode, str)
assert_type(stream.quotes(), pd.DataFrame)

tick = stream.last(SBIN)
assert_type(tick, lt.Tick | None)
if tick is not None:
    assert_type(tick.bid, Decimal | None)
    assert_type(tick.mid, float)
    assert_type(tick.time, datetime)

# ── callbacks and strategies ─────────────────────────────────────────────────────────────────────────────────────────


@engine.on_fill
def told(fill: lt.Fill) -> None:
    assert_type(fill.price, Decimal)
    assert_type(fill.side, lt.OrderSide)


@engine.on_order
def changed(order: lt.Order) -> None:
    assert_type(order.status, lt.OrderStatus)
    assert_type(order.filled_qty, Decimal)


async def ema_cross(engine: lt.LiveTradingEngine, symbol: str, fast: int = 10) -> int:
    async for each in engine.stream.ticks(symbol):
        assert_type(each, lt.Tick)
    async for bar in engine.stream.bars(symbol, "1min", warmup=20):
        assert_type(bar, lt.Bar)
        assert_type(bar.close, Decimal)
    await engine.sleep(timedelta(minutes=1))
    return fast


task = engine.start(ema_cross, SBIN, fast=5)
assert_type(task, StrategyHandle)
assert_type(task.cancel(), bool)
assert_type(task.error, BaseException | None)

# ── recorded ticks, replays, sweeps ──────────────────────────────────────────────────────────────────────────────────

ticks = lt.read_ticks("ticks.parquet", SBIN)
assert_type(ticks, pd.DataFrame)
result = lt.replay(ema_cross, ticks, SBIN, cash="100000", fees=lt.FlatFee(20), fast=5)
assert_type(result, lt.ReplayResult)
assert_type(result.round_trips(), pd.DataFrame)
assert_type(result.ticks_played, int)
assert_type(result.what_if(latency=1).pnl_difference, Decimal)
assert_type(lt.sweep(ema_cross, ticks, SBIN, grid={"fast": [5, 10]}, workers=0), pd.DataFrame)
assert_type(engine.record("ticks").stop(), int)

# ── journals, desks, Fyers ───────────────────────────────────────────────────────────────────────────────────────────

assert_type(lt.open_journal("my.journal").positions(as_of="today"), pd.DataFrame)
desk = lt.start_desk(500_000, feed="simulated", symbols=[SBIN])
assert_type(desk, lt.AttachedEngine)
assert_type(lt.attach("main").market_buy(SBIN, 1).result(), lt.OrderResult)
desk.shutdown_desk(force=True)
assert_type(lt.history(SBIN, date(2026, 1, 1), "today", resolution="5"), pd.DataFrame)
assert_type(lt.quotes([SBIN]), pd.DataFrame)
assert_type(lt.load_instruments("NSE_FO"), dict[str, lt.Instrument])
assert_type(lt.TradingCalendar().is_open(datetime(2026, 11, 20, 12, tzinfo=UTC)), bool)


def either(engine: lt.LiveTradingEngine | lt.AttachedEngine, symbols: Sequence[str]) -> list[OrderHandle]:
    """What is written for an engine takes one that is attached to, too."""
    return [engine.market_buy(symbol, 1) for symbol in symbols]
