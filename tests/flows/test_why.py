"""Why an order came to be: the sentence and the chain, from an engine, a journal and a desk."""

from pathlib import Path
from typing import Any

import pytest

import livetrade as lt
from livetrade.why import Why
from tests.support import SBIN, ScriptedBroker, trading

LIMITS = lt.Limits(max_order_value=60_000, max_position_value=70_000, price_band_pct=5, max_orders_per_second=50)


def chain(why: Why) -> list[str]:
    return [step.what for step in why.steps if step.what != "TESTED"]


def figures(why: Why) -> list[str]:
    return [step.told for step in why.steps if step.what == "TESTED"]


def test_an_order_from_its_command_to_its_fill() -> None:
    with trading(fees=lt.IndianEquityFees(), limits=LIMITS) as engine:
        engine.market_buy(SBIN, 100, client_order_id="A1", stop_loss_price="545", trailing_stop_pct=2).result()
        why = engine.why("A1")
        assert why.sentence == "A1 bought 100 NSE:SBIN-EQ at 549.00 because you asked for it."
        assert chain(why) == ["ASKED", "SUBMITTED", "ACCEPTED", "FILLED", "ARMED", "ARMED"]
        assert figures(why) == [
            "stop_loss: 545.00, the market is at 549.00",
            "halt: not halted",
            "feed: NONE",
            "max_order_value: 54900.00, allowed 60000",
            "max_position_value: 54900.00, allowed 70000",
            "max_orders_per_second: 1, allowed 50",
            "balance: 54,900.00 and fees, 500,000.00 free",
        ]
        assert why.steps[-3].told == "100 at 549.00 (ASK), fees 23.14"
        assert engine.why(engine.order("A1")) == why  # type: ignore[arg-type]
        assert repr(why).splitlines()[0] == why.sentence
        assert len(repr(why).splitlines()) == 1 + len(why.steps)
        assert why._repr_html_().count("<tr>") == len(why.steps)


def test_a_stop_from_its_arming_to_its_fill() -> None:
    with trading(limits=LIMITS) as engine:
        engine.market_buy(SBIN, 100, trailing_stop_pct=1).result()
        engine.stream.update(SBIN, bid="600", ask="600.05")
        engine.stream.update(SBIN, bid="590", ask="590.05")
        sold = engine.orders().index[-1]
        why = engine.why(sold)
        assert why.sentence == (
            f"{sold} sold 100 {SBIN} at 590.00 because the TRAILING_STOP of {SBIN} at 594.00 was reached: "
            f"the price was 590.00."
        )
        assert chain(why) == ["ARMED", "MOVED", "FIRED", "SUBMITTED", "ACCEPTED", "FILLED"]
        assert why.steps[1].told == "to 594.00, behind the best price 600.00"
        assert figures(why) == ["it only closes what is held, so no limit holds it back"]


def test_a_refusal_with_its_figures() -> None:
    with trading(limits=LIMITS) as engine:
        engine.market_buy(SBIN, 100).result()
        refused = engine.market_buy(SBIN, 50, client_order_id="A2").result()
        why = engine.why("A2")
        assert why.sentence == f"A2 (BUY 50 {SBIN}) was refused: {refused.message}; you asked for it."
        assert chain(why) == ["ASKED", "DENIED"]
        assert figures(why)[-1] == "max_order_value: 27450.00, allowed 60000"


def test_what_was_asked_of_it_later_and_what_was_said() -> None:
    with trading(limits=LIMITS) as engine:
        engine.limit_buy(SBIN, 10, "540", client_order_id="A3").result()
        engine.modify("A3", limit_price="541").result()
        assert engine.why("A3").sentence == f"A3 (BUY 10 {SBIN}) is ACCEPTED; you asked for it."
        engine.cancel("A3").result()
        why = engine.why("A3")
        assert chain(why) == ["ASKED", "SUBMITTED", "ACCEPTED", "MODIFY", "MODIFIED", "CANCEL", "CANCELED"]
        assert "price_band_pct: 1.6393 % away at 540.00, allowed 5" in figures(why)
        assert why.sentence == f"A3 (BUY 10 {SBIN}) ended CANCELED; you asked for it."


def test_flatten_a_strategy_and_a_venues_refusal() -> None:
    from livetrade.core import events as ev

    broker = ScriptedBroker()
    with trading(broker=broker) as engine:
        handle = engine.market_buy(SBIN, 1, client_order_id="A1")
        broker.wait_for(ev.Submit)
        broker.say(ev.Rejected(0, "A1", "no margin"))
        handle.result(10)
        assert engine.why("A1").sentence == f"A1 (BUY 1 {SBIN}) was rejected by the venue: no margin; you asked for it."

    async def buys(engine: Any) -> None:
        await engine.market_buy(SBIN, 7, client_order_id="S1")

    with trading() as engine:
        engine.start(buys, name="ema").result(10)
        assert engine.why("S1").sentence.endswith("because the strategy ema asked for it.")
        engine.flatten().result()
        told = engine.why(engine.orders().index[-1]).sentence
        assert told.endswith("because what was held was to be closed (flatten, close_position).")


def test_slices_are_told_as_one() -> None:
    item = lt.Instrument("NSE:NIFTY26DECFUT", kind="FUTURE", lot_size=75, freeze_quantity=1800)
    stream = lt.LivePriceStream()
    stream.register(item)
    stream.update(item.symbol, bid="99.95", ask="100")
    with trading(10**7, stream=stream) as engine:
        engine.market_buy(item.symbol, 4500, slice=True, client_order_id="A1").result()
        why = engine.why("A1")
        assert why.sentence == f"A1 bought 4500 {item.symbol} at 100.00 in 3 orders because you asked for it."
        assert chain(why).count("FILLED") == 3
        assert engine.why("A1S2").sentence.startswith("A1S2 bought 1800")
        engine.settle(item.symbol, 110).result()
        settled = engine.why(engine.orders().index[-1])
        assert settled.sentence.endswith("the contract had expired, or the position was closed elsewhere.")
        assert chain(settled) == ["ASKED", "SETTLED", "FILLED"]


def test_an_order_that_nobody_knows_raises() -> None:
    with trading() as engine, pytest.raises(lt.OrderError, match="no order has the id 'NONE'"):
        engine.why("NONE")


def test_a_journal_tells_the_same(tmp_path: Path) -> None:
    path = tmp_path / "why.journal"
    with trading(limits=LIMITS, journal=path) as engine:
        engine.market_buy(SBIN, 100, client_order_id="A1", stop_loss_price="545").result()
        engine.stream.update(SBIN, bid="544", ask="544.05")
        engine.cancel_all().result()
        ids = engine.orders().index.tolist()
        told = [engine.why(key) for key in ids]
    past = lt.open_journal(path)
    assert [past.why(key) for key in ids] == told
    assert len(told) == 2
