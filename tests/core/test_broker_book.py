"""What a broker holds itself bounds every exit; an end that overtakes its fills waits for them; differences block."""

from decimal import Decimal

import pytest

from livetrade.core import events as ev
from livetrade.core.approving import ASKED
from livetrade.core.kinds import ExitKind, ExitStatus, OrderSide, OrderStatus, OrderType, Product
from livetrade.core.limits import Limits
from livetrade.core.values import ExitTerm
from tests.core.kit import INFY, SBIN, Desk, dec, denials, kinds

STOP = ExitTerm(ExitKind.STOP_LOSS, price_raw=54_500)


@pytest.fixture
def desk() -> Desk:
    desk = Desk(live=True)
    desk.quote("549.00", "549.10")
    return desk


def told(desk: Desk, quantity: int, product: Product = Product.INTRADAY) -> list[ev.Event]:
    return desk.handle(ev.BrokerPosition(desk.ts, SBIN.symbol, product, Decimal(quantity)))


def sent(events: list[ev.Event]) -> list[int]:
    return [event.order.quantity_raw for event in events if isinstance(event, ev.Submit)]


# ── the broker's own position ────────────────────────────────────────────────────────────────────────────────────────


def test_what_it_holds_is_no_news_while_it_is_what_we_hold(desk: Desk) -> None:
    desk.bought(100, "549.10", exits=[STOP])
    assert told(desk, 100) == []
    assert sent(desk.quote("545.00", "545.10")) == [100]


def test_an_exit_closes_no_more_than_the_broker_holds(desk: Desk) -> None:
    desk.bought(100, "549.10", exits=[STOP])
    (alarm,) = told(desk, 30)
    assert isinstance(alarm, ev.Alarm)
    assert "the broker holds 30, the books 100" in alarm.message
    assert told(desk, 30) == [], "it is told once"
    assert sent(desk.quote("545.00", "545.10")) == [30]


def test_the_difference_stays_while_ours_are_traded(desk: Desk) -> None:
    desk.bought(100, "549.10", exits=[STOP])
    told(desk, 60)
    desk.bought(20, "549.10")
    assert sent(desk.quote("545.00", "545.10")) == [80]


def test_an_exit_with_nothing_left_to_close_is_canceled_with_an_alarm(desk: Desk) -> None:
    desk.bought(100, "549.10", exits=[STOP])
    events = told(desk, 0)
    assert kinds(events) == ["Alarm", "ExitEnded", "Alarm"]
    assert [risk.status for risk in desk.account.risks.values()] == [ExitStatus.CANCELED]
    assert sent(desk.quote("540.00", "540.10")) == []
    assert desk.sell(100).reason.startswith("No position to sell")


def test_an_exit_whose_order_works_is_left_to_it(desk: Desk) -> None:
    desk.bought(100, "549.10", exits=[STOP])
    desk.quote("545.00", "545.10")
    order = desk.exit_orders()[0]
    assert kinds(told(desk, 40)) == ["Alarm"]
    desk.execute(order, 40, "545.00")
    events = desk.canceled(order, filled_raw=40)
    assert "ExitEnded" in kinds(events), "nothing is left that it could close"
    assert sent(desk.handle(ev.Wake(desk.ts + 2 * 10**9))) == []


def test_what_was_bought_elsewhere_is_not_ours_to_sell(desk: Desk) -> None:
    desk.bought(100, "549.10", exits=[STOP])
    assert told(desk, 500) == []
    assert sent(desk.quote("545.00", "545.10")) == [100]


def test_two_strategies_share_what_is_left(desk: Desk) -> None:
    desk.bought(60, "549.10", exits=[STOP], strategy="one")
    desk.bought(40, "549.10", exits=[STOP], strategy="two")
    told(desk, 50)
    assert sum(sent(desk.quote("545.00", "545.10"))) == 50


def test_products_are_apart(desk: Desk) -> None:
    desk.bought(100, "549.10", exits=[STOP], product=Product.CNC)
    told(desk, 0, Product.INTRADAY)
    assert sent(desk.quote("545.00", "545.10")) == [100]


def test_a_symbol_that_is_not_ours_is_no_concern(desk: Desk) -> None:
    assert desk.handle(ev.BrokerPosition(desk.ts, INFY.symbol, Product.CNC, Decimal(5))) == []


def test_flatten_closes_no_more_than_the_broker_holds(desk: Desk) -> None:
    desk.bought(100, "549.10")
    told(desk, 30)
    assert sent(desk.close(SBIN.symbol)) == [30]


# ── what was closed elsewhere is settled ─────────────────────────────────────────────────────────────────────────────


def settle(desk: Desk, price: object) -> list[str]:
    raw = SBIN.price_raw(price) if price else 0
    return denials(desk.handle(ev.Settle(desk.ts, SBIN.symbol, raw)))


def test_what_was_closed_elsewhere_is_settled_at_the_price_that_it_had_there(desk: Desk) -> None:
    desk.bought(100, "549.10", exits=[STOP])
    (alarm,) = [event for event in told(desk, 30) if isinstance(event, ev.Alarm)]
    assert "; engine.settle('NSE:SBIN-EQ', price) closes it here too" in alarm.message
    refused = desk.sell(50).reason
    assert refused.startswith("No position to sell: 50 NSE:SBIN-EQ asked, 30 can be sold and 70 was closed elsewhere: ")
    assert settle(desk, "550.00") == []
    fill = desk.fills()[-1]
    assert (fill.quantity_raw, str(fill.price), fill.source) == (70, "550.00", "EXTERNAL")
    assert (desk.position, desk.risk().status) == (30, ExitStatus.ARMED)
    assert desk.cash == 500_000 - 100 * Decimal("549.10") + 70 * 550
    assert not told(desk, 30), "the books agree"
    assert sent(desk.quote("545.00", "545.10")) == [30]
    assert settle(desk, "550.00") == [
        "Nothing to settle: NSE:SBIN-EQ is of kind EQUITY; only futures and options expire"
    ]


def test_it_is_settled_over_the_books_of_its_product(desk: Desk) -> None:
    desk.bought(40, "549.10")
    desk.bought(60, "549.10", strategy="ema")
    desk.bought(10, "549.10", product=Product.CNC)
    told(desk, 0)
    assert settle(desk, "550.00") == []
    assert desk.position == 10
    assert not desk.account.was_closed_elsewhere(SBIN.symbol)


def test_a_short_position_is_settled_too(desk: Desk) -> None:
    desk.account.limits = Limits(allow_short=True)
    short = desk.sell(100)
    desk.execute(short, 100, "549.00")
    told(desk, 20)  # whoever bought it back bought too much
    assert settle(desk, "548.00") == []
    assert (desk.position, dec(desk.account.ledger.realized_raw)) == (0, 100)
    assert not told(desk, 20), "the rest is none of ours"


def test_it_is_not_settled_at_nothing_nor_where_an_order_may_still_fill(desk: Desk) -> None:
    desk.bought(100, "549.10")
    resting = desk.buy(10, limit="540.00")
    desk.accept(resting)
    told(desk, 0)
    assert settle(desk, 0) == ["Nothing to settle: NSE:SBIN-EQ was not closed elsewhere at a price of 0"]
    assert settle(desk, "550.00") == [
        f"Not settled: {resting.client_order_id} may fill until it is canceled; settle again once it is gone"
    ]
    desk.canceled(resting)
    assert settle(desk, "550.00") == []
    assert desk.position == 0


# ── while it is asked ────────────────────────────────────────────────────────────────────────────────────────────────


def test_while_the_broker_is_asked_nothing_is_closed_and_then_it_is(desk: Desk) -> None:
    desk.bought(100, "549.10", exits=[STOP])
    desk.handle(ev.BlockOpening(desk.ts, ASKED, "Connection lost: asked"))
    assert desk.sell(10).reason == "Connection lost: asked"
    events = desk.quote("545.00", "545.10")
    assert kinds(events) == ["ExitFired"], "it fires once, and its order waits"
    assert kinds(desk.close(SBIN.symbol)) == ["ClosePending"]
    told(desk, 70)
    assert sent(desk.handle(ev.BlockOpening(desk.ts, ASKED))) == [70]


@pytest.mark.parametrize("side", list(OrderSide))
def test_while_the_broker_is_asked_a_preview_says_so_once(desk: Desk, side: OrderSide) -> None:
    desk.bought(100, "549.10")
    desk.handle(ev.BlockOpening(desk.ts, ASKED, "Connection lost: asked"))
    desk.handle(ev.BlockOpening(desk.ts, "order socket", "Connection lost: the order socket"))
    command = ev.SubmitOrder(desk.ts, "", SBIN, side, OrderType.MARKET, 10)
    seen = desk.account.examine(command, desk.ts)
    assert seen.reason == "Connection lost: asked"
    refusals = [(check.name, check.reason) for check in seen.checks if check.reason.startswith("Connection")]
    assert refusals == [("broker", "Connection lost: asked"), ("blocked", "Connection lost: the order socket")]


# ── an end before its fills ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", [ev.Canceled, ev.Expired, ev.Rejected])
def test_an_end_waits_for_its_fills(desk: Desk, how: type) -> None:
    order = desk.buy(100, limit="549.10")
    desk.accept(order)
    desk.handle(how(desk.ts, order.client_order_id, "over", filled_raw=30))
    waiting = desk.order(order)
    assert (waiting.status, waiting.is_open, waiting.working_raw) == (OrderStatus.ACCEPTED, True, 30)
    desk.handle(how(desk.ts, order.client_order_id, "over", filled_raw=30))
    assert desk.cancel(order) == [], "there is nothing to cancel any more"
    desk.execute(order, 10, "549.10", "E1")
    assert desk.order(order).is_open
    desk.execute(order, 20, "549.10", "E2")
    ended = desk.order(order)
    assert ended.status == {ev.Canceled: "CANCELED", ev.Expired: "EXPIRED", ev.Rejected: "REJECTED"}[how]
    assert (ended.filled_raw, ended.reason, desk.position) == (30, "over", 30)


def test_an_end_whose_fills_were_told_ends_at_once(desk: Desk) -> None:
    order = desk.buy(100, limit="549.10")
    desk.execute(order, 30, "549.10")
    desk.canceled(order, filled_raw=30)
    assert desk.order(order).status == OrderStatus.CANCELED


def test_an_end_that_tells_of_everything_leads_to_filled(desk: Desk) -> None:
    order = desk.buy(100, limit="549.10")
    desk.canceled(order, filled_raw=100)
    desk.execute(order, 100, "549.10")
    assert desk.order(order).status == OrderStatus.FILLED


def test_an_exit_is_sent_again_for_what_its_order_left_and_no_more(desk: Desk) -> None:
    desk.bought(100, "549.10", exits=[STOP])
    desk.quote("545.00", "545.10")
    order = desk.exit_orders()[0]
    assert sent(desk.canceled(order, filled_raw=60)) == []
    assert sent(desk.handle(ev.Wake(desk.ts + 5 * 10**9))) == [], "60 of it are still to come"
    desk.execute(order, 60, "545.00")
    assert sent(desk.handle(ev.Wake(desk.ts + 10 * 10**9))) == [40]


# ── differences ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_symbol_is_blocked_by_itself(desk: Desk) -> None:
    desk.quote("100.00", "100.10", item=INFY)
    desk.handle(ev.BlockOpening(desk.ts, "reconcile", "Trading halted: look", symbol=SBIN.symbol))
    assert desk.buy(1).reason == "Trading halted: look"
    assert desk.buy(1, item=INFY).status == "SUBMITTED"
    desk.handle(ev.BlockOpening(desk.ts, "reconcile", symbol=SBIN.symbol))
    assert desk.buy(1).status == "SUBMITTED"


def test_what_was_accepted_is_folded(desk: Desk) -> None:
    accepted = ev.DifferenceAccepted(desk.ts, SBIN.symbol, Product.CNC, -7)
    assert desk.handle(accepted) == [accepted]
    assert desk.handle(accepted) == []
    assert desk.account.accepted == {(SBIN.symbol, Product.CNC): -7}
