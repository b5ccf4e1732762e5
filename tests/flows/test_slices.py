"""slice=True as a person uses it: one command, one handle, one answer."""

from decimal import Decimal
from pathlib import Path

import pytest

import livetrade as lt
from tests.support import FREE, ScriptedBroker, events_of, quietly_close, trading

FUT = "NSE:NIFTY26DECFUT"
ITEM = lt.Instrument(FUT, kind="FUTURE", tick_size="0.05", lot_size=75, freeze_quantity=1800)


def market() -> lt.LivePriceStream:
    stream = lt.LivePriceStream()
    stream.register(ITEM)
    stream.update(FUT, bid="99.95", ask="100")
    return stream


def test_the_handle_answers_for_all_slices() -> None:
    with trading(10**7, stream=market()) as engine:
        refused = engine.market_buy(FUT, 4500).result()
        assert refused.message.startswith("Limit exceeded: freeze_quantity is 1800, asked 4500: slice=True")
        handle = engine.market_buy(FUT, 4500, slice=True, client_order_id="A1", stop_loss_price="95", tag="x")
        success, message, order = handle.result()
        assert (success, message) == (True, f"Bought 4500 {FUT} at 100.00 in 3 orders")
        assert order is not None
        assert (order.client_order_id, order.filled_qty, order.avg_price) == ("A1", 4500, 100)
        assert engine.order("A1") == order
        assert handle.wait_for("FILLED").result(5).order == order
        frame = engine.orders(tag="x")
        assert frame.index.tolist() == ["A1S1", "A1S2", "A1S3"]
        assert len(engine.risk_orders()) == 1
        again = engine.market_buy(FUT, 4500, slice=True, client_order_id="A1", stop_loss_price="95", tag="x").result()
        assert again.success
        assert engine.position(FUT).quantity == 4500
        sold = engine.market_sell(FUT, 4500).result()
        assert sold.message == f"Sold 4500 {FUT} at 99.95 in 3 orders"
        assert not engine.position(FUT)


def test_one_slice_that_fails_fails_the_whole() -> None:
    with trading(10**7, stream=market(), limits=lt.Limits(max_orders_per_second=2)) as engine:
        result = engine.market_buy(FUT, 4500, slice=True).result()
        assert result.message == "Limit exceeded: max_orders_per_second is 2, asked 3"
        assert engine.position(FUT).quantity == 0


def test_a_rejected_slice_is_told_with_what_filled() -> None:
    from livetrade.core import events as ev
    from livetrade.core.kinds import PriceSource

    broker = ScriptedBroker()
    with trading(10**7, stream=market(), broker=broker) as engine:
        handle = engine.market_buy(FUT, 3600, slice=True, client_order_id="A1")
        broker.wait_for(ev.Submit, 2)
        broker.say(
            ev.Executed(0, "A1S1", "E1", 1800, 10_000, PriceSource.VENUE),
            ev.Rejected(0, "A1S2", "margin shortfall"),
        )
        result = handle.result(10)
        assert (result.success, result.message) == (False, "margin shortfall; 1800 of 3600 filled in 2 orders")
        assert result.order is not None
        assert (result.order.status, result.order.filled_qty) == ("REJECTED", 1800)


def test_canceling_it_cancels_all_slices() -> None:
    with trading(10**7, stream=market()) as engine:
        placed = engine.limit_buy(FUT, 4500, "90", slice=True, client_order_id="A1").result()
        assert placed.message == f"Accepted: BUY 4500 {FUT} LIMIT in 3 orders"
        assert len(engine.orders(open=True)) == 3
        canceled = engine.cancel("A1").result()
        assert (canceled.success, canceled.message) == (True, "Canceled A1")
        assert engine.orders(open=True).empty
        assert engine.cancel("A1").result().message == "Nothing to cancel: no slice of A1 is open"


def test_slice_is_yes_or_no() -> None:
    with trading(stream=market()) as engine, pytest.raises(lt.OrderError, match="slice must be True or False"):
        engine.market_buy(FUT, 75, slice=2)  # type: ignore[arg-type]


def test_after_a_restart_it_is_known_again(tmp_path: Path) -> None:
    path = tmp_path / "sliced.journal"
    with trading(10**7, stream=market(), journal=path) as engine:
        engine.market_buy(FUT, 4500, slice=True, client_order_id="A1").result()
        order = engine.order("A1")
    engine = lt.LiveTradingEngine(journal=path, stream=market(), fees=FREE)
    try:
        assert engine.order("A1") == order
        assert engine.market_buy(FUT, 4500, slice=True, client_order_id="A1").result().success
        assert engine.position(FUT).quantity == 4500
    finally:
        quietly_close(engine)


def test_a_preview_shows_the_slices() -> None:
    with trading(10**7, stream=market(), fees=lt.IndianEquityFees((20, None))) as engine:
        seen = engine.preview("BUY", FUT, 4500, slice=True)
        assert (seen.refused, seen.orders) == (False, 3)
        assert seen.as_dict()["charges"]["brokerage"] == Decimal(60)
        assert "in 3 orders" in repr(seen)
        assert engine.preview("BUY", FUT, 4500).refused
        assert not [event for event in events_of(engine) if type(event).__name__ == "Submit"]
