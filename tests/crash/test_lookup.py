"""What a broker's statement settles after a restart, and what it must not be taken for."""

from collections.abc import Iterator
from contextlib import contextmanager

import livetrade as lt
from livetrade.core import events as ev
from livetrade.core.kinds import PriceSource, Product
from livetrade.ports import Statement
from tests.support import SBIN, ScriptedBroker, quoted, soon, trading

NAME = "A1"
PATIENCE = 30.0


@contextmanager
def life(
    journal: lt.MemoryJournal, known: Statement | None = None, bid: str = "548.95"
) -> Iterator[tuple[lt.LiveTradingEngine, ScriptedBroker]]:
    broker = ScriptedBroker(known)
    cash = None if journal.exists else 500_000
    with trading(cash, quoted(bid=bid, ask="549.00", last=bid), journal=journal, broker=broker) as engine:
        yield engine, broker


def resting(engine: lt.LiveTradingEngine, broker: ScriptedBroker) -> None:
    handle = engine.limit_buy(SBIN, 10, "540.00", client_order_id=NAME)
    broker.wait_for(ev.Submit)
    broker.say(ev.Accepted(0, NAME, "V1"))
    handle.result(PATIENCE).raise_if_failed()


def modified(limit_raw: int) -> ev.Modified:
    return ev.Modified(0, NAME, 10, limit_raw, None)


def test_an_exit_that_fires_as_the_engine_opens_is_sent_once_and_is_no_order_of_before() -> None:
    journal = lt.MemoryJournal()
    with life(journal) as (engine, broker):
        bought = engine.market_buy(SBIN, 10, client_order_id=NAME, stop_loss_price="545.00")
        broker.wait_for(ev.Submit)
        broker.say(ev.Executed(0, NAME, "X1", 10, 54900, PriceSource.VENUE))
        bought.result(PATIENCE).raise_if_failed()
    with life(journal, bid="544.00") as (engine, broker):
        exit_order = broker.wait_for(ev.Submit).order
        assert engine.order(exit_order.client_order_id) == exit_order
        broker.say(ev.Executed(0, exit_order.client_order_id, "X2", 10, 54400, PriceSource.VENUE))
        soon(lambda: not engine.position(SBIN))
        assert list(engine.risk_orders()["status"]) == ["FILLED"]
        assert not [alarm for alarm in engine.health()["alarms"] if "ended" in alarm]
        assert [type(request) for request in broker.asked] == [ev.Submit]


def test_a_refusal_of_before_does_not_answer_the_cancel_that_was_on_its_way() -> None:
    journal = lt.MemoryJournal()
    with life(journal) as (engine, broker):
        resting(engine, broker)
        refused = engine.cancel(NAME)
        broker.wait_for(ev.Cancel)
        broker.say(ev.RequestRejected(0, NAME, "not now"))
        assert refused.result(PATIENCE).message == "not now"
        engine.cancel(NAME)
        broker.wait_for(ev.Cancel, 2)
    said = (ev.Accepted(0, NAME, "V1"), ev.RequestRejected(0, NAME, "not now"))
    with life(journal, Statement({NAME: said})) as (engine, broker):
        assert broker.wait_for(ev.Cancel).client_order_id == NAME
        broker.say(ev.Canceled(0, NAME))
        soon(lambda: engine.orders(open=True).empty)


def test_a_confirmation_of_before_does_not_answer_the_same_terms_asked_again() -> None:
    journal = lt.MemoryJournal()
    with life(journal) as (engine, broker):
        resting(engine, broker)
        for count, limit_raw in enumerate((54100, 54000), 1):
            changed = engine.modify(NAME, limit_price=str(limit_raw / 100))
            broker.wait_for(ev.Modify, count)
            broker.say(modified(limit_raw))
            changed.result(PATIENCE).raise_if_failed()
        engine.modify(NAME, limit_price="541.00")
        broker.wait_for(ev.Modify, 3)
    said = (ev.Accepted(0, NAME, "V1"), modified(54100), modified(54000))
    with life(journal, Statement({NAME: said})) as (engine, broker):
        assert broker.wait_for(ev.Modify).change.limit_raw == 54100
        order = engine.order(NAME)
        assert order is not None
        assert order.limit_raw == 54000
        broker.say(modified(54100))
        soon(lambda: engine._read(lambda account: account.orders[NAME].limit_raw == 54100))


def test_an_execution_that_came_after_the_end_of_its_order_is_heard_all_the_same() -> None:
    journal = lt.MemoryJournal()
    with life(journal) as (engine, broker):
        resting(engine, broker)
        canceled = engine.cancel(NAME)
        broker.wait_for(ev.Cancel)
        broker.say(ev.Canceled(0, NAME))
        canceled.result(PATIENCE).raise_if_failed()
    late = ev.Executed(0, NAME, "X1", 4, 54000, PriceSource.VENUE)
    said = (ev.Accepted(0, NAME, "V1"), ev.Canceled(0, NAME), late)
    with life(journal, Statement({NAME: said}, {(SBIN, Product.INTRADAY): 4})) as (engine, broker):
        soon(lambda: engine.position(SBIN).quantity == 4)
        order = engine.order(NAME)
        assert order is not None
        assert (order.status, order.filled_raw) == ("CANCELED", 4)
        engine.market_buy(SBIN, 1)
        assert broker.wait_for(ev.Submit).order.quantity_raw == 1, "the books agree, and trading goes on"


def test_an_order_that_ended_stays_as_it_is_where_the_broker_says_nothing_of_it() -> None:
    journal = lt.MemoryJournal()
    with life(journal) as (engine, broker):
        resting(engine, broker)
        canceled = engine.cancel(NAME)
        broker.wait_for(ev.Cancel)
        broker.say(ev.Canceled(0, NAME))
        canceled.result(PATIENCE).raise_if_failed()
        before = engine.order(NAME)
    for known in (Statement({}), Statement({NAME: ()})):
        with life(journal, known) as (engine, broker):
            engine.market_buy(SBIN, 1)
            broker.wait_for(ev.Submit)
            assert engine.order(NAME) == before


def test_what_is_asked_while_the_broker_is_looked_up_is_asked_once() -> None:
    journal = lt.MemoryJournal()
    with life(journal) as (engine, broker):
        resting(engine, broker)
        bought = engine.market_buy(SBIN, 10, client_order_id="B1", stop_loss_price="545.00")
        broker.wait_for(ev.Submit, 2)
        broker.say(ev.Executed(0, "B1", "X1", 10, 54900, PriceSource.VENUE))
        bought.result(PATIENCE).raise_if_failed()
        sell = engine.limit_sell(SBIN, 10, "560.00", client_order_id="S1")
        broker.wait_for(ev.Submit, 3)
        broker.say(ev.Accepted(0, "S1", "V3"))
        sell.result(PATIENCE).raise_if_failed()
    known = Statement({NAME: (ev.Accepted(0, NAME, "V1"),), "S1": (ev.Accepted(0, "S1", "V3"),)})
    with life(journal, known, bid="544.00") as (engine, broker):  # its stop fires, and the sell order is in its way
        assert broker.wait_for(ev.Cancel).client_order_id == "S1"
        broker.say(ev.Canceled(0, "S1"))
        exit_order = broker.wait_for(ev.Submit).order
        assert (exit_order.source, exit_order.quantity_raw) == ("STOP_LOSS", 10)
        assert [type(request) for request in broker.asked] == [ev.Cancel, ev.Submit]
