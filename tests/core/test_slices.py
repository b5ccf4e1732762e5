"""Orders above the freeze quantity: refused with what to do, or sent in slices that are told of as one order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.indian import IndianEquityFees
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import ExitStatus, OrderSide, OrderStatus, OrderType, PriceSource
from livetrade.core.limits import Limits
from livetrade.core.schedules import charge
from livetrade.core.slices import MOST_SLICES, child_id, slices_of, together
from livetrade.core.values import Order
from tests.core.kit import Desk, denials, same_state, stop, target, trail

FROZEN = Instrument("NSE:NIFTY26MARFUT", kind="FUTURE", tick_size="0.05", lot_size=75, freeze_quantity=1800)


def desk(**terms: Any) -> Desk:
    made = Desk(cash=10**9, **terms)
    made.quote(bid="99.95", ask="100", item=FROZEN)
    return made


def send(at: Desk, quantity: int, side: OrderSide = OrderSide.BUY, order_id: str = "P", **terms: Any) -> list[Order]:
    """The orders that a command for so many came to."""
    before = set(at.account.orders)
    command = ev.SubmitOrder(at.ts, order_id, FROZEN, side, OrderType(terms.pop("kind", "MARKET")), quantity, **terms)
    at.handle(command)
    return [order for key, order in at.account.orders.items() if key not in before]


@given(st.integers(1, 100), st.integers(0, 50), st.integers(1, 5000))
def test_slices_are_whole_lots_that_sum_up(lot: int, freeze: int, lots: int) -> None:
    item = Instrument("NSE:X", lot_size=lot, freeze_quantity=freeze * lot + 1 if freeze else None)
    parts = slices_of(item, lots * lot)
    assert sum(parts) == lots * lot
    assert all(part % lot == 0 and part > 0 for part in parts)
    assert all(part <= freeze * lot + 1 for part in parts) if freeze else len(parts) == 1
    assert parts == sorted(parts, reverse=True)


def test_a_freeze_quantity_below_a_lot_is_a_lot() -> None:
    assert slices_of(Instrument("NSE:X", lot_size=75, freeze_quantity=10), 150) == [75, 75]


def test_names_of_children() -> None:
    assert child_id("A1", 10) == "A1S10"
    assert child_id("A" * 28, 1) == "A" * 28 + "S1"
    assert child_id("A" * 29, 1) is None


def test_an_opening_order_above_it_is_refused_with_what_to_do() -> None:
    at = desk()
    (order,) = send(at, 1875)
    assert order.reason == "Limit exceeded: freeze_quantity is 1800, asked 1875: slice=True sends it in parts"
    assert send(at, 1800, order_id="Q")[0].status is OrderStatus.FILLED


def test_it_is_sent_in_slices_that_share_everything() -> None:
    at = desk()
    orders = send(at, 4500, sliced=True, tag="t")
    assert [(o.client_order_id, o.quantity_raw, o.parent_id, o.tag) for o in orders] == [
        ("PS1", 1800, "P", "t"),
        ("PS2", 1800, "P", "t"),
        ("PS3", 900, "P", "t"),
    ]
    assert at.held(FROZEN.symbol) == 4500
    whole = at.account.order("P")
    assert whole is not None
    assert (whole.client_order_id, whole.status, whole.quantity_raw, whole.filled_raw) == ("P", "FILLED", 4500, 4500)
    assert whole.avg_price == 100
    assert at.account.ids_of("P") == ["PS1", "PS2", "PS3"]
    assert (at.account.ids_of("PS1"), at.account.ids_of("Z"), at.account.ids_of(None)) == (["PS1"], [], [])


def test_one_that_fits_is_sent_whole() -> None:
    (order,) = send(desk(), 1800, sliced=True)
    assert (order.client_order_id, order.parent_id) == ("P", "")


def test_more_than_ten_slices_are_refused() -> None:
    at = desk()
    assert len(send(at, 1800 * MOST_SLICES, sliced=True)) == MOST_SLICES
    (order,) = send(at, 1800 * MOST_SLICES + 75, sliced=True, order_id="Q")
    assert order.reason.endswith("asked 18075: 10 slices are the most; send it in several orders")


def test_the_whole_is_judged_before_a_part_is_sent() -> None:
    """No limit lets half of an order through."""
    for limits, reason in (
        (Limits(max_order_quantity=4000), "max_order_quantity is 4000, asked 4500"),
        (Limits(max_order_value=400_000), "max_order_value is 400000, asked 450000.00"),
        (Limits(max_position_value=400_000), "max_position_value is 400000, asked 450000.00"),
        (Limits(max_orders_per_second=2), "max_orders_per_second is 2, asked 3"),
    ):
        at = desk(limits=limits)
        (order,) = send(at, 4500, sliced=True)
        assert (order.client_order_id, order.status) == ("P", OrderStatus.DENIED)
        assert order.reason == f"Limit exceeded: {reason}"
    fees = IndianEquityFees((20, None))
    poor = Desk(cash="450080", fees=fees)  # three times a brokerage of 20, and what goes with it
    poor.quote(bid="99.95", ask="100", item=FROZEN)
    (order,) = send(poor, 4500, sliced=True)
    assert order.reason.startswith("Insufficient balance: 450,0")


def test_a_repeated_command_sends_nothing() -> None:
    at = desk()
    send(at, 4500, sliced=True)
    assert send(at, 4500, sliced=True) == []
    assert denials(at.events) == []
    assert send(at, 4575, sliced=True) == []
    assert denials(at.events)[-1].startswith("Duplicate id: P was used for Order(P BUY 4500")
    assert at.held(FROZEN.symbol) == 4500


def test_a_taken_name_or_a_long_one_gets_another() -> None:
    at = desk()
    send(at, 75, order_id="PS2")
    assert [o.client_order_id == f"PS{n}" for n, o in enumerate(send(at, 4500, sliced=True), 1)] == [True, False, True]
    long = send(at, 4500, sliced=True, order_id="L" * 30)
    assert len({o.client_order_id for o in long}) == 3
    assert at.account.ids_of("L" * 30) == [o.client_order_id for o in long]


def test_exits_arm_once_and_protect_all_of_it() -> None:
    at = desk()
    send(at, 4500, sliced=True, exits=(stop("95", item=FROZEN), target("110", item=FROZEN), trail("3", item=FROZEN)))
    armed = [risk for risk in at.account.risks.values() if risk.status is ExitStatus.ARMED]
    assert len(armed) == len(at.account.risks) == 3
    at.quote(bid="94.95", ask="95", item=FROZEN)
    assert at.held(FROZEN.symbol) == 0
    assert [order.quantity_raw for order in at.exit_orders()] == [1800, 1800, 900]
    assert at.risk().status is ExitStatus.FILLED


def test_exits_arm_with_whichever_slice_fills_first() -> None:
    at = desk(live=True)
    first, second = send(at, 3600, sliced=True, exits=(stop("95", item=FROZEN),))
    at.reject(first)
    assert not at.account.risks
    at.handle(ev.Executed(at.ts, second.client_order_id, "E1", 75, FROZEN.price_raw(100), PriceSource.VENUE))
    at.handle(ev.Executed(at.ts, second.client_order_id, "E2", 75, FROZEN.price_raw(100), PriceSource.VENUE))
    assert len(at.account.risks) == 1


def test_what_closes_is_sliced_without_being_asked() -> None:
    at = desk()
    for number in range(15):
        send(at, 1800, order_id=f"B{number}")
    assert len(send(at, 1800 * 12, OrderSide.SELL, order_id="S")) == 12  # more than may open at once
    assert at.held(FROZEN.symbol) == 1800 * 3
    assert not denials(at.events)
    at.close(FROZEN.symbol)
    assert at.held(FROZEN.symbol) == 0


def test_an_exit_whose_slices_are_all_turned_down_has_tried_once() -> None:
    at = desk(live=True)
    for order in send(at, 1800 * 8, sliced=True, exits=(stop("95", item=FROZEN),)):
        at.handle(
            ev.Executed(
                at.ts, order.client_order_id, order.client_order_id, 1800, FROZEN.price_raw(100), PriceSource.VENUE
            )
        )
    at.quote(bid="94.95", ask="95", item=FROZEN)
    for attempt in range(1, 6):
        working = [order for order in at.exit_orders() if order.is_open]
        assert len(working) == 8
        for order in working:
            at.reject(order)
        assert (at.risk().attempts, at.risk().status) == (attempt, ExitStatus.TRIGGERED)
        at.wake(after=1.5)


def test_an_exit_has_filled_where_any_of_its_slices_has() -> None:
    """Its last one was turned down, and a person closed the rest before it was sent again."""
    at = desk(live=True)
    for order in send(at, 4500, sliced=True, exits=(stop("95", item=FROZEN),)):
        at.execute(order, order.quantity_raw, "100", order.client_order_id)
    at.quote(bid="94.95", ask="95", item=FROZEN)
    first, second, last = at.exit_orders()
    at.reject(last)
    for order in (second, first):
        at.execute(order, order.quantity_raw, "94.95", order.client_order_id)
    assert at.held(FROZEN.symbol) == 900
    (by_hand,) = send(at, 900, OrderSide.SELL, order_id="S")
    at.execute(by_hand, 900, "94.95", "S")
    assert at.risk().status is ExitStatus.FILLED


def test_canceling_the_parent_cancels_what_still_works() -> None:
    at = desk(live=True)
    first, *others = send(at, 4500, sliced=True, kind="LIMIT", limit_raw=FROZEN.price_raw(90))
    for order in (first, *others):
        at.accept(order, order.client_order_id + "V")
    at.handle(ev.Executed(at.ts, "PS1", "E1", 1800, FROZEN.price_raw(90), PriceSource.VENUE))
    at.cancel("P")
    assert [at.order(o).status for o in (first, *others)] == ["FILLED", "PENDING_CANCEL", "PENDING_CANCEL"]
    whole = at.account.order("P")
    assert whole is not None
    assert (whole.status, whole.filled_raw) == ("PENDING_CANCEL", 1800)
    for order in others:
        at.canceled(order)
    assert at.account.order("P").status == "CANCELED"  # type: ignore[union-attr]
    at.cancel("P")
    assert denials(at.events) == ["Nothing to cancel: no slice of P is open"]


def test_the_parent_is_its_children_taken_together() -> None:
    at = desk(live=True, fees=IndianEquityFees())
    orders = send(at, 4500, sliced=True)
    assert together([at.order(o) for o in orders]).status == "SUBMITTED"
    for price, order in zip((100, 101, 102), orders, strict=True):
        at.handle(
            ev.Executed(
                at.ts,
                order.client_order_id,
                order.client_order_id,
                order.quantity_raw,
                FROZEN.price_raw(price),
                PriceSource.VENUE,
            )
        )
        whole = together([at.order(o) for o in orders])
        assert whole.status == ("FILLED" if price == 102 else "PARTIALLY_FILLED")
    assert whole.filled_value_raw == sum(fill.value_raw for fill in at.fills())
    assert whole.fees_raw == sum(charge(IndianEquityFees(), fill)[0] for fill in at.fills())
    assert (
        whole.avg_price == (FROZEN.price(10000) * 1800 + FROZEN.price(10100) * 1800 + FROZEN.price(10200) * 900) / 4500
    )


def test_they_are_folded_again() -> None:
    at = desk()
    send(at, 4500, sliced=True)
    again = Account()
    for event in at.events:
        again.apply(event)
    same_state(at.account, again, marks=False)
    assert again.order("P") == at.account.order("P")


def test_a_preview_tells_of_the_slices() -> None:
    fees = IndianEquityFees((20, None))
    at = desk(fees=fees)
    command = ev.SubmitOrder(at.ts, "", FROZEN, OrderSide.BUY, OrderType.MARKET, 4500, sliced=True)
    seen = at.account.examine(command, at.ts)
    assert (seen.reason, seen.orders) == ("", 3)
    send(at, 4500, sliced=True)
    assert seen.entry is not None
    assert seen.entry[0] == at.account.ledger.fees_raw
    assert dict(seen.entry[1])["brokerage"] == dict(seen.exit[1])["brokerage"] == 60 * 10**30  # type: ignore[index]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantity_raw": 100}, "Limit exceeded: lot_size is 75, asked 100"),
        ({"quantity_raw": 75, "kind": "LIMIT", "limit_raw": 10003}, "Limit exceeded: tick_size is 0.05, asked 100.03"),
        ({"quantity_raw": 75, "kind": "STOP", "trigger_raw": 10003}, "Limit exceeded: tick_size is 0.05, asked 100.03"),
    ],
)
def test_lots_and_ticks_hold_on_every_way_in(changes: dict[str, Any], reason: str) -> None:
    at = desk()
    quantity = changes.pop("quantity_raw")
    (order,) = send(at, quantity, **changes)
    assert order.reason == reason
