"""A day of real orders, against the loopback Fyers: its prices, its exchange, its reports, and a restart in between.

At the end the account and the server's books are the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import livetrade as lt
from livetrade.testing import FyersServer
from livetrade.testing.exchange import TRANSIT
from tests.adapters.fyers.broker_kit import INFY, ITEMS, SBIN, broker_of, ours
from tests.adapters.fyers.market import feed_of
from tests.support import FREE, quietly_close, soon


@pytest.fixture
def server() -> Iterator[FyersServer]:
    with FyersServer() as server:
        yield server


@contextmanager
def trading_day(server: FyersServer, journal: Path, **terms: Any) -> Iterator[lt.LiveTradingEngine]:
    """Prices and orders both at the server."""
    broker = broker_of(server)
    cash = None if journal.exists() else 1_000_000
    terms = {"fees": FREE, "instruments": ITEMS, **terms}
    engine = lt.LiveTradingEngine(cash, feed=feed_of(server, SBIN, INFY), broker=broker, journal=journal, **terms)
    try:
        soon(lambda: engine.health()["feed"] == "LIVE" and broker.connections and not engine.account.is_asked)
        yield engine
    finally:
        quietly_close(engine)


def agree(server: FyersServer, engine: lt.LiveTradingEngine) -> bool:
    return ours(engine) == server.exchange.positions


def same_books(server: FyersServer, engine: lt.LiveTradingEngine) -> None:
    soon(lambda: agree(server, engine), f"{ours(engine)} here, {server.exchange.positions} there")
    prices = {symbol: server.exchange.last(symbol) for symbol in (SBIN, INFY)}
    soon(lambda: all(engine.stream.last(symbol).last == price for symbol, price in prices.items()))
    assert engine.pnl(exact=True)["total_pnl"] == server.exchange.pnl
    assert engine.reconcile(exact=True)["difference"].tolist() == [0] * len(engine.reconcile())
    assert all(count == 1 for count in server.exchange.submissions.values())


def test_a_whole_day(server: FyersServer, tmp_path: Path) -> None:
    journal, exchange = tmp_path / "day.journal", server.exchange
    with trading_day(server, journal) as engine:
        exchange.parts(30, 0, 50)
        handle = engine.market_buy(SBIN, 100, stop_loss_price="545.00", take_profit_price="560.00", tag="swing")
        soon(lambda: engine.position(SBIN).quantity == 30)
        assert len(engine.risk_orders()) == 2, "it is protected from the first fill on"
        server.quote(SBIN, bid="549.00", ask="549.05", last="549.05")
        server.quote(SBIN, bid="549.05", ask="549.10", last="549.10")
        server.quote(SBIN, bid="549.10", ask="549.15", last="549.15")
        handle.result(10).raise_if_failed()
        assert handle.result().order.avg_price == Decimal("549.08")
        same_books(server, engine)

        exchange.fail("reject", message="RED:RULE:{INR Margin Shortfall}")
        refused = engine.market_buy(INFY, 50).result(10)
        assert not refused.success
        assert refused.message == "RED:RULE:{INR Margin Shortfall}"

        resting = engine.limit_buy(INFY, 10, "1590.00")
        resting.result(10).raise_if_failed()
        engine.modify(resting.client_order_id, limit_price="1591.00", quantity=12).result(10).raise_if_failed()
        assert engine.cancel(resting.client_order_id).result(10).success

        exchange.parts(4)
        broken = engine.market_buy(INFY, 10, stop_loss_pct="1")
        soon(lambda: engine.position(INFY).quantity == 4)
        exchange.drop()
        exchange.match(INFY)
        broken.result(10).raise_if_failed()
        same_books(server, engine)

        server.quote(SBIN, bid="544.90", ask="544.95", last="544.90")
        soon(lambda: not engine.position(SBIN), "the stop was not sent")
        assert engine.risk_orders(symbol=SBIN)["status"].tolist() == ["FILLED", "CANCELED"]
        overnight = engine.limit_buy(SBIN, 20, "540.00", client_order_id="resting", stop_loss_price="530.00")
        overnight.result(10).raise_if_failed()
        same_books(server, engine)

    exchange.execute("resting", 5, "540.00")
    with trading_day(server, journal) as engine:
        soon(lambda: engine.position(SBIN).quantity == 5, "what filled while nobody listened is not booked")
        server.quote(SBIN, bid="539.95", ask="540.00", last="540.00")
        soon(lambda: engine.order("resting").status == "FILLED")
        server.quote(SBIN, bid="529.00", ask="529.05", last="529.00")
        server.quote(INFY, bid="1580.00", ask="1580.10", last="1580.00")
        soon(lambda: not engine.position(SBIN) and not engine.position(INFY), "stops of before did not fire")
        same_books(server, engine)
        assert not exchange.positions
        assert len(engine.fills()) == len(exchange.trades)


def test_a_restart_finds_what_was_sent_and_never_answered(server: FyersServer, tmp_path: Path) -> None:
    journal, exchange = tmp_path / "day.journal", server.exchange
    with trading_day(server, journal) as engine:
        exchange.fail("lost")
        exchange.fail("silent", times=3)
        engine.market_buy(SBIN, 10, client_order_id="gone", stop_loss_price="545.00")
        soon(lambda: exchange.positions)
    with trading_day(server, journal) as engine:
        soon(lambda: engine.order("gone").status == "FILLED")
        assert engine.risk_orders()["status"].tolist() == ["ARMED"]
        same_books(server, engine)


@pytest.mark.parametrize("shown", [None, TRANSIT, 99])
def test_a_restart_leaves_what_rests_as_it_is(server: FyersServer, tmp_path: Path, shown: int | None) -> None:
    """Nothing has become of it. A status that says nothing of it is no reason to give it up."""
    journal, exchange = tmp_path / "day.journal", server.exchange
    with trading_day(server, journal) as engine:
        engine.limit_buy(SBIN, 10, "540.00", client_order_id="rests").result(10).raise_if_failed()
    exchange.show("rests", shown)
    with trading_day(server, journal) as engine:
        order = engine.order("rests")
        assert (order.status, order.quantity, order.limit_price) == ("ACCEPTED", 10, Decimal("540.00"))
        assert bool(engine.health()["alarms"]) is (shown is not None)
        exchange.show("rests", None)
        server.quote(SBIN, bid="539.95", ask="540.00", last="540.00")
        soon(lambda: engine.position(SBIN).quantity == 10)
        same_books(server, engine)


def test_fills_that_the_broker_does_not_have_block_their_symbol(server: FyersServer, tmp_path: Path) -> None:
    """Another account, or a trade that was taken back: somebody has to look at it."""
    journal = tmp_path / "day.journal"
    with trading_day(server, journal) as engine:
        engine.market_buy(SBIN, 10, stop_loss_price="545.00").result(10).raise_if_failed()
    with FyersServer() as other:
        with trading_day(other, journal) as engine:
            refused = engine.market_buy(SBIN, 1).result(10)
            assert refused.message.startswith("Trading halted: the broker's fills differ from the journal's")
            engine.market_buy(INFY, 1).result(10).raise_if_failed()
            table = engine.reconcile(exact=True).set_index("symbol")
            assert table.loc[SBIN, ["ours", "broker", "difference"]].tolist() == [10, 0, -10]
            assert engine.risk_orders(symbol=SBIN)["status"].tolist() == ["CANCELED"], "there is nothing to sell"
            other.quote(SBIN, bid="540.00", ask="540.05", last="540.00")
            engine.reconcile(accept=True)
            engine.market_buy(SBIN, 1).result(10).raise_if_failed()
        with trading_day(other, journal) as engine:
            assert engine.market_buy(SBIN, 1).result(10).success, "what was accepted is accepted after a restart too"


def test_what_was_closed_elsewhere_is_told_with_the_way_out(server: FyersServer, tmp_path: Path) -> None:
    """By the broker at 15:20, or in its app."""
    journal, way_out = tmp_path / "day.journal", f"engine.settle('{SBIN}', price)"
    with trading_day(server, journal) as engine:
        engine.market_buy(SBIN, 10, stop_loss_price="545.00").result(10).raise_if_failed()
        server.exchange.trade_elsewhere(SBIN, -10)
        soon(lambda: engine.risk_orders()["status"].tolist() == ["CANCELED"])
        assert any(way_out in alarm for alarm in engine.health()["alarms"])
        for refused in (engine.market_sell(SBIN, 10), engine.close_position(SBIN), engine.flatten()):
            assert way_out in refused.result(10).message
        assert engine.broker_orders()["foreign"].tolist() == [False, True]
        assert engine.settle(SBIN, "548.95").result(10).message == f"Settled {SBIN}"
        assert engine.positions().empty
        same_books(server, engine)
        assert engine.audit().empty
        engine.market_buy(SBIN, 5).result(10).raise_if_failed()
        same_books(server, engine)
    with trading_day(server, journal) as engine:
        same_books(server, engine)
        assert engine.flatten().result(10).success


def test_flatten_closes_what_is_there(server: FyersServer, tmp_path: Path) -> None:
    with trading_day(server, tmp_path / "day.journal") as engine:
        for symbol in (SBIN, INFY):
            engine.market_buy(symbol, 10).result(10).raise_if_failed()
        engine.limit_buy(SBIN, 5, "540.00").result(10).raise_if_failed()
        assert engine.flatten().result(15).success
        assert not server.exchange.positions
        same_books(server, engine)


def test_what_is_above_the_freeze_quantity_goes_out_and_comes_home_in_slices(
    server: FyersServer, tmp_path: Path
) -> None:
    frozen = lt.Instrument(SBIN, tick_size="0.05", freeze_quantity=100)
    with trading_day(server, tmp_path / "sliced.journal", instruments=(frozen, ITEMS[1])) as engine:
        seen = engine.preview("BUY", SBIN, 250, slice=True)
        assert (seen.refused, seen.orders) == (False, 3)
        handle = engine.market_buy(SBIN, 250, slice=True, client_order_id="BIG")
        result = handle.result(10)
        assert result.success, result.message
        assert (result.order.filled_qty, handle.client_order_id) == (250, "BIG")
        rows = engine.broker_orders()
        assert sorted(zip(rows["client_order_id"], rows["foreign"], strict=True)) == [
            ("BIGS1", False),
            ("BIGS2", False),
            ("BIGS3", False),
        ]
        assert engine.flatten().result(10).success
        same_books(server, engine)
        assert engine.audit().empty
