"""A preview on an attached engine is the desk's own."""

import pytest

import livetrade as lt
from tests.core.kit import kinds
from tests.desk.kit import attached_to, serving
from tests.support import SBIN, events_of, quoted, trading

CAREFUL = lt.Limits(max_order_quantity=200, max_order_value=50_000, price_band_pct=5, max_orders_per_second=10)


def test_an_attached_engine_asks_the_desk() -> None:
    """Its replica knows limits and fees by name only."""
    with (
        trading(stream=quoted(), fees=lt.IndianEquityFees("zero"), limits=CAREFUL) as engine,
        serving(engine) as desk,
        attached_to(desk) as attached,
    ):
        for terms in ({}, {"limit_price": "580"}, {"product": "CNC", "stop_loss_pct": 1}, {"tag": "x", "lots": 3}):
            quantity = None if "lots" in terms else 100
            assert attached.preview("BUY", SBIN, quantity, **terms) == engine.preview("BUY", SBIN, quantity, **terms)
        assert attached.preview("BUY", SBIN, 100).reason.startswith("Limit exceeded: max_order_value is 50000")
        with pytest.raises(lt.OrderError, match="quantity"):
            attached.preview("BUY", SBIN, -1)
        assert kinds(events_of(engine)).count("Submit") == 0


def test_slices_over_the_wire() -> None:
    item = lt.Instrument("NSE:NIFTY26DECFUT", kind="FUTURE", lot_size=75, freeze_quantity=1800)
    stream = lt.LivePriceStream()
    stream.register(item)
    stream.update(item.symbol, bid="99.95", ask="100")
    with trading(10**7, stream=stream) as engine, serving(engine) as desk, attached_to(desk) as attached:
        handle = attached.market_buy(item.symbol, 4500, slice=True, client_order_id="A1")
        result = handle.result(10)
        assert result.message == f"Bought 4500 {item.symbol} at 100.00 in 3 orders"
        assert attached.order("A1") == engine.order("A1") == result.order
        assert handle.wait_for("FILLED").result(10).order == result.order
        assert attached.preview("BUY", item.symbol, 4500, slice=True).orders == 3
        assert attached.market_sell(item.symbol, 4500).result(10).success
        assert not engine.position(item.symbol)


def test_settling_over_the_wire() -> None:
    item = lt.Instrument("NSE:NIFTY20JANFUT", kind="FUTURE", lot_size=75)
    stream = lt.LivePriceStream()
    stream.register(item)
    stream.update(item.symbol, bid="99.95", ask="100")
    with trading(10**7, stream=stream) as engine, serving(engine) as desk, attached_to(desk) as attached:
        assert attached.market_buy(item.symbol, 75).result(10).success
        assert attached.settle(item.symbol, "110").result(10).message == f"Settled {item.symbol}"
        assert engine.cash == attached.cash == 10**7 + 750
        assert attached.account.orders == engine.account.orders


def test_why_and_audit_on_an_attached_engine() -> None:
    with trading(stream=quoted(), limits=CAREFUL) as engine, serving(engine) as desk, attached_to(desk) as attached:
        attached.market_buy(SBIN, 50, client_order_id="A1").result(10)
        assert attached.why("A1") == engine.why("A1")
        assert attached.why("A1").sentence.startswith("A1 bought 50")
        with pytest.raises(lt.OrderError, match="no order has the id"):
            attached.why("NONE")
        assert attached.audit().empty
        assert attached.audit().attrs["verdict"] == engine.audit().attrs["verdict"]
