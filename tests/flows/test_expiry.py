"""Derivatives through the engine: margin that outlives it, frames of futures, settlement by hand."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

import livetrade as lt
from tests.support import FREE, quietly_close, trading

FUT = lt.Instrument("NSE:NIFTY20JANFUT", kind="FUTURE", tick_size="0.05", lot_size=75)
GONE = lt.Instrument("NSE:NIFTY20FEBFUT", kind="FUTURE", lot_size=75, expiry=date(2020, 2, 27))
RULE = lt.RateMargin({"FUTURE": "0.15"})


def market() -> lt.LivePriceStream:
    stream = lt.LivePriceStream()
    stream.register(FUT, GONE)
    stream.update(FUT.symbol, bid="24999.95", ask="25000", last="25000")
    return stream


def test_a_futures_rows_add_up() -> None:
    with trading(1_000_000, stream=market(), margin=RULE) as engine:
        assert engine.market_buy(FUT.symbol, lots=1).result().success
        engine.stream.update(FUT.symbol, bid="25099.95", ask="25100", last="25100")
        row = engine.positions(exact=True).loc[FUT.symbol]
        assert (row["quantity"], row["avg_price"], row["cost_basis"]) == (75, 25000, 0)
        assert row["market_value"] == row["unrealized_pnl"] == 7500
        assert row["unrealized_pnl_pct"] == Decimal("0.4")
        pnl = engine.pnl(exact=True)
        assert pnl["cash"] == 1_000_000
        assert pnl["portfolio_value"] == pnl["cash"] + row["market_value"] == 1_007_500
        assert engine.pnl(by="symbol", exact=True).sum() == pnl["total_pnl"]
        assert engine.pnl(by="tag", exact=True).sum() == pnl["total_pnl"]
        shown = engine.panel_snapshot(None)["positions"][0]  # type: ignore[index]
        assert (shown["avg_price"], shown["unrealized_pnl"], shown["market_value"]) == (25000, 7500, 7500)
        settled = engine.settle(FUT.symbol, "25200").result()
        assert (settled.success, settled.message) == (True, f"Settled {FUT.symbol}")
        assert engine.cash == 1_015_000
        (trip,) = engine.round_trips(exact=True).to_dict("records")
        assert (trip["gross_pnl"], trip["exit_source"]) == (15_000, "EXTERNAL")
        assert engine.orders().iloc[-1]["status"] == "FILLED"


def test_settle_checks_what_it_is_told() -> None:
    with trading(stream=market(), margin=RULE) as engine:
        for price in (-1, "x", "0.001"):
            with pytest.raises(lt.OrderError):
                engine.settle(FUT.symbol, price)
        refused = engine.settle(FUT.symbol, 0).result()
        assert refused.message == f"Nothing to settle: {FUT.symbol} is flat"


def test_a_built_in_margin_rule_outlives_the_engine(tmp_path: Path) -> None:
    path = tmp_path / "margin.journal"
    with trading(1_000_000, stream=market(), margin=RULE, journal=path) as engine:
        assert engine.market_buy(FUT.symbol, 75).result().success
    engine = lt.LiveTradingEngine(journal=path, stream=market(), fees=FREE)
    try:
        assert engine.account.margin == RULE
        assert not engine.health()["alarms"]
        assert engine.market_buy(FUT.symbol, 75).result().success
    finally:
        quietly_close(engine)


def test_of_ones_own_rule_only_the_name_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "own.journal"

    def tenth(_: object, order: lt.Order) -> Decimal:
        return order.quantity * 2500

    with trading(1_000_000, stream=market(), margin=tenth, journal=path):
        pass
    engine = lt.LiveTradingEngine(journal=path, stream=market(), fees=FREE)
    try:
        assert engine.account.margin is None
        (alarm,) = engine.health()["alarms"]
        assert "was not given again: positions are paid in full" in alarm
    finally:
        quietly_close(engine)


def test_an_expired_contract_opens_nothing() -> None:
    with trading(10**7, stream=market(), margin=RULE) as engine:
        engine.stream.update(GONE.symbol, bid="100", ask="101")
        refused = engine.market_buy(GONE.symbol, 75).result()
        assert refused.message == f"Trading halted: {GONE.symbol} expired on 2020-02-27"
