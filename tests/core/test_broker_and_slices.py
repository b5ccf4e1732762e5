"""What a broker tells of its own book meets slices, previews and settlement at expiry."""

from datetime import date
from decimal import Decimal

import pytest

from livetrade.core import events as ev
from livetrade.core.approving import ASKED
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import OrderSide, OrderStatus, OrderType, Product
from livetrade.ports import BrokerOrder, Statement
from livetrade.reconciling import compared
from tests.core.kit import Desk, denials, stop

FUT = Instrument(
    "NSE:NIFTY26MARFUT", kind="FUTURE", tick_size="0.05", lot_size=75, freeze_quantity=150, expiry=date(2026, 3, 2)
)
REASON = "Connection lost: asked"


@pytest.fixture
def desk() -> Desk:
    desk = Desk(live=True, cash=10**9)
    desk.quote(bid="99.95", ask="100", item=FUT)
    return desk


def held(desk: Desk, quantity: int = 150) -> None:
    desk.bought(quantity, "100", item=FUT, exits=[stop("90", item=FUT)])


def ask(desk: Desk, reason: str = REASON) -> list[ev.Event]:
    return desk.handle(ev.BlockOpening(desk.ts, ASKED, reason))


def sent(events: list[ev.Event]) -> list[int]:
    return [event.order.quantity_raw for event in events if isinstance(event, ev.Submit)]


def settle(desk: Desk) -> list[ev.Event]:
    return desk.handle(ev.Settle(desk.ts, FUT.symbol, 10_100))


def selling(desk: Desk, quantity: int, *, sliced: bool = False, name: str = "P") -> ev.SubmitOrder:
    return ev.SubmitOrder(desk.ts, name, FUT, OrderSide.SELL, OrderType.MARKET, quantity, sliced=sliced)


# ── while the broker is asked ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sliced", [False, True])
def test_a_preview_tells_that_nothing_can_be_closed_yet(desk: Desk, sliced: bool) -> None:
    held(desk, 150)
    ask(desk)
    seen = desk.account.examine(selling(desk, 300, sliced=sliced), desk.ts)
    assert seen.reason == REASON
    (told,) = [check for check in seen.checks if check.name == "broker"]
    assert told.reason == REASON
    assert denials(desk.handle(selling(desk, 300, sliced=sliced))) == [REASON]
    ask(desk, "")
    seen = desk.account.examine(selling(desk, 150, name="Q"), desk.ts)
    assert not seen.reason
    assert "broker" not in [check.name for check in seen.checks]


def test_nothing_is_settled_yet(desk: Desk) -> None:
    held(desk)
    ask(desk)
    assert denials(settle(desk)) == [REASON]
    ask(desk, "")
    assert denials(settle(desk)) == []
    assert desk.held(FUT.symbol) == 0


# ── slices ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def bought_in_slices(desk: Desk) -> None:
    held(desk, 150)
    desk.bought(75, "100", item=FUT)
    desk.bought(75, "100", item=FUT)


def test_an_exit_in_slices_closes_no_more_than_the_broker_holds(desk: Desk) -> None:
    bought_in_slices(desk)
    desk.handle(ev.BrokerPosition(desk.ts, FUT.symbol, Product.INTRADAY, Decimal(225)))
    assert sent(desk.quote(bid="89", ask="89.05", item=FUT)) == [150, 75]


@pytest.mark.parametrize("which", [0, 1])
def test_an_exit_in_slices_waits_for_the_fills_that_any_end_overtook(desk: Desk, which: int) -> None:
    bought_in_slices(desk)
    assert sent(desk.quote(bid="89", ask="89.05", item=FUT)) == [150, 150]
    orders = desk.exit_orders()
    early, other = orders[which], orders[1 - which]
    desk.canceled(early, filled_raw=75)
    assert sent(desk.handle(ev.Wake(desk.ts + 5 * 10**9))) == []
    desk.execute(other, 150, "89", "E-other")
    assert sent(desk.handle(ev.Wake(desk.ts + 5 * 10**9))) == [], "75 of it are still to come"
    desk.execute(early, 75, "89", "E-early")
    assert sent(desk.handle(ev.Wake(desk.ts + 5 * 10**9))) == [75]


def test_what_is_told_of_slices_counts_those_whose_fills_are_to_come_as_open(desk: Desk) -> None:
    desk.handle(ev.SubmitOrder(desk.ts, "P", FUT, OrderSide.BUY, OrderType.LIMIT, 300, limit_raw=10_000, sliced=True))
    desk.accept("PS1", "V1")
    desk.accept("PS2", "V2")
    desk.canceled("PS1", filled_raw=75)
    desk.canceled("PS2", filled_raw=0)
    whole = desk.account.order("P")
    assert whole is not None
    assert (whole.is_open, whole.ending, whole.working_raw) == (True, None, 300)
    desk.execute("PS1", 75, "100", "E1")
    whole = desk.account.order("P")
    assert whole is not None
    assert (whole.status, whole.filled_raw) == (OrderStatus.CANCELED, 75)


# ── settlement ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_settled_is_no_difference_of_fills(desk: Desk) -> None:
    held(desk, 150)
    (bought,) = desk.account.orders.values()
    settle(desk)
    row = BrokerOrder(
        "V1",
        bought.client_order_id,
        FUT.symbol,
        OrderSide.BUY,
        OrderType.MARKET,
        bought.product,
        Decimal(150),
        Decimal(150),
        Decimal(100),
        None,
        None,
        OrderStatus.FILLED,
    )
    for statement in (Statement({}, orders=[row]), Statement({}, filled={(FUT.symbol, bought.product): 150})):
        (found,) = compared(desk.account, statement)
        assert (found.ours_raw, found.difference_raw) == (0, 0)
