"""What was once known to go wrong, each by itself; the simulation meets them at random."""

import livetrade as lt
from livetrade.core import events as ev
from livetrade.core.kinds import Product
from livetrade.ports import Statement
from tests.core.kit import SBIN, Desk
from tests.simulation.disk import Mode
from tests.simulation.session import Session
from tests.support import ScriptedBroker, quoted, soon, trading

SYMBOL = SBIN.symbol
BOOK = (SYMBOL, Product.INTRADAY)


def at_rest(session: Session, **exits: str) -> None:
    """10 are held, and everybody knows."""
    session.rules.exchange.calm = True
    price(session, 50_000)
    session.engine.market_buy(SYMBOL, 10, **exits)
    session.world.run(1)
    assert session.rules.exchange.filled() == {BOOK: 10}


def price(session: Session, raw: int) -> None:
    session.engine.stream.update(SYMBOL, bid=SBIN.price(raw), ask=SBIN.price(raw + 5), last=SBIN.price(raw))
    session.world.run(0.01)


def test_an_exit_that_only_the_venue_knows_is_not_sent_again() -> None:
    with Session(0, live=True) as session:
        at_rest(session, stop_loss_price="490")
        session.rules.disk.mode = Mode.ERROR
        price(session, 48_900)
        session.world.run(1)
        assert session.rules.exchange.filled() == {BOOK: 0}
        session.crash()
        price(session, 48_900)
        session.world.run(10)
        engine = session.engine
        assert session.rules.exchange.filled() == {BOOK: 0}
        assert [risk.status for risk in engine.account.risks.values()] == ["CANCELED"]
        alarms = " ".join(alarm.message for alarm in engine.account.alarms)
        assert "the broker's fills differ from the journal's, NSE:SBIN-EQ INTRADAY: 0 at the broker, 10 here" in alarms
        assert "the broker holds nothing that it could close" in alarms
        refused = engine.market_buy(SYMBOL, 1)
        session.world.run(1)
        assert refused.result(0).message.startswith("Trading halted: the broker's fills differ")


def test_a_modification_that_never_left_is_asked_again_though_the_broker_cannot_tell() -> None:
    journal = lt.MemoryJournal()
    broker = ScriptedBroker()
    with trading(stream=quoted(), broker=broker, journal=journal) as engine:
        engine.limit_buy(SYMBOL, 10, 500, client_order_id="resting")
        engine.modify("resting", quantity=14)
        broker.wait_for(ev.Modify)
    broker = ScriptedBroker(Statement({}))
    with trading(None, quoted(), broker=broker, journal=journal) as engine:
        soon(lambda: engine.order("resting").status == "UNKNOWN")
        broker.say(ev.Accepted(0, "resting", "V1"))
        soon(lambda: engine.order("resting").status == "PENDING_UPDATE")
        broker.wait_for(ev.Modify)
        assert [type(request) for request in broker.asked] == [ev.Modify]


def test_an_end_that_overtakes_a_fill_leads_to_no_second_sale() -> None:
    desk = Desk(live=True)
    desk.quote("500.00", "500.05")
    desk.bought(10, "500.05")
    selling = desk.sell(10)
    desk.cancel(selling)
    desk.close(SYMBOL)
    desk.canceled(selling, filled_raw=7)
    assert desk.order(selling).status == "PENDING_CANCEL"
    assert desk.order(selling).working_raw == 7
    desk.execute(selling, 7, "500.00", "LATE")
    assert desk.order(selling).status == "CANCELED"
    assert sum(order.working_raw for order in desk.account.open_orders.values()) == desk.position == 3
