"""What the trials found, each by itself and as small as it gets."""

import livetrade as lt
from livetrade.core import events as ev
from livetrade.core.kinds import PriceSource
from livetrade.ports import Statement
from tests.core.kit import Desk, stop
from tests.support import SBIN, ScriptedBroker, quoted, soon, trading

NAME = "A1"


def part(number: int) -> ev.Executed:
    return ev.Executed(0, NAME, f"X{number}", 10, 54900, PriceSource.VENUE)


def test_a_crash_alone_never_ends_an_exit() -> None:
    journal, broker, stream = lt.MemoryJournal(), ScriptedBroker(), quoted()
    with trading(stream=stream, journal=journal, broker=broker) as engine:
        engine.market_buy(SBIN, 80, client_order_id=NAME, stop_loss_price="545.00")
        broker.wait_for(ev.Submit)
        broker.say(part(1))
        soon(lambda: not engine.risk_orders().empty)
        stream.update(SBIN, bid="540.00", ask="540.05", last="540.00")  # it fires while its entry still fills
        for number in range(2, 8):
            broker.wait_for(ev.Submit, number)
            broker.say(part(number))
        broker.wait_for(ev.Submit, 8)
    never_came = {order.client_order_id: () for order in engine.account.open_orders.values()}
    known = Statement({**never_came, NAME: [part(number) for number in range(1, 8)]})
    with trading(None, quoted(), journal=journal, broker=ScriptedBroker(known)) as engine:
        soon(lambda: list(engine.orders(open=True).index) == [NAME])
        assert list(engine.risk_orders()["status"]) == ["TRIGGERED"], "nobody refused anything, and 70 are held"


def test_an_exit_goes_on_when_the_cancel_that_it_needs_is_refused() -> None:
    desk = Desk(live=True)
    desk.quote("100.00", "100.05")
    desk.bought(10, "100.05", [stop("99.00")])
    resting = desk.sell(10, limit="105.00")
    desk.accept(resting)
    asked = desk.quote("98.00", "98.05")
    assert [type(event) for event in asked] == [ev.ExitFired, ev.Cancel]
    done = desk.handle(ev.RequestRejected(desk.ts, resting.client_order_id, "not now"))
    for _ in range(60):
        done += desk.wake(1) + desk.quote("97.00", "97.05")
    more = [event for event in done if isinstance(event, ev.Cancel | ev.Submit | ev.Alarm)]
    assert more, "a stop has fired, 10 are held, and a minute later nothing was done and nobody was told"
