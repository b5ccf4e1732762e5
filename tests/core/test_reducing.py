"""The promise of the limits: no opening path leads around them, and nothing that reduces is denied by them.

A position is opened under loose limits. Then everything is forbidden at once, and each path is tried.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core import events as ev
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import ExitStatus, FeedState, OrderSide, OrderType, Product, TimeInForce
from livetrade.core.limits import Limits
from livetrade.core.values import ExitTerm, Order
from tests.core.kit import Desk, denials, stop, target, trail

ITEM = Instrument("NSE:SBIN-EQ", tick_size="0.05", lot_size=10, freeze_quantity=100)
TIGHT = Limits(
    allow_short=True,
    max_order_quantity="0.001",
    max_order_value="0.01",
    max_position_value="0.01",
    max_daily_loss="0.01",
    max_orders_per_second=1,
    price_band_pct="0.0001",
    max_tick_age="0.001",  # type: ignore[arg-type]
)


def forbid_everything(desk: Desk) -> None:
    desk.account.limits = TIGHT
    desk.handle(ev.Transfer(desk.ts, -desk.account.free_raw))
    desk.halt("nothing more")
    desk.handle(ev.FeedChanged(desk.ts, FeedState.STALE, "mute"))
    desk.handle(ev.BlockOpening(desk.ts, "journal", "Journal unavailable: full"))
    desk.handle(ev.ClockJumped(desk.ts, 0, "the machine slept"))


def send(desk: Desk, side: OrderSide, quantity: int, kind: OrderType, product: Product, **terms: Any) -> list[Order]:
    before = set(desk.account.orders)
    command = ev.SubmitOrder(desk.ts, f"A{len(before)}", ITEM, side, kind, quantity, product=product, **terms)
    desk.handle(command)
    return [order for key, order in desk.account.orders.items() if key not in before]


def held(side: OrderSide, quantity: int, product: Product, exits: tuple[ExitTerm, ...] = ()) -> Desk:
    """A long or a short position, in a market of 99.95 to 100.00, under loose limits."""
    desk = Desk(cash=10**9, limits=Limits(allow_short=True))
    desk.quote(bid="99.95", ask="100", item=ITEM)
    send(desk, side, quantity, OrderType.MARKET, product, sliced=True, exits=exits)
    assert abs(desk.held(ITEM.symbol)) == quantity
    return desk


LIMIT = {"limit_raw": 10_000}
TRIGGER = {"trigger_raw": 10_000}
KINDS: list[tuple[OrderType, dict[str, Any]]] = [
    (OrderType.MARKET, {}),
    (OrderType.LIMIT, LIMIT),
    (OrderType.LIMIT, {**LIMIT, "time_in_force": TimeInForce.IOC}),
    (OrderType.STOP, TRIGGER),
    (OrderType.STOP_LIMIT, {**LIMIT, **TRIGGER}),
]
SIDES = st.sampled_from(OrderSide)
LOTS = st.integers(1, 100)


def opposite(side: OrderSide) -> OrderSide:
    return OrderSide.SELL if side is OrderSide.BUY else OrderSide.BUY


def test_the_limits_are_as_tight_as_they_look() -> None:
    """Every one of them would deny by itself."""
    desk = held(OrderSide.BUY, 10, Product.INTRADAY)
    forbid_everything(desk)
    desk.pass_time(0.1)
    (order,) = send(desk, OrderSide.BUY, 110, OrderType.LIMIT, Product.INTRADAY, limit_raw=11_003)
    assert order.reason.startswith("Trading halted")
    seen = desk.account.examine(
        ev.SubmitOrder(desk.ts, "", ITEM, OrderSide.BUY, OrderType.LIMIT, 115, limit_raw=11_003), desk.ts
    )
    refused = {check.name for check in seen.checks if check.reason}
    wanted = {name for name, _ in TIGHT.terms if name not in ("allow_short", "max_daily_loss")}
    assert refused >= wanted | {"halt", "blocked", "feed", "lot_size", "tick_size", "freeze_quantity", "balance"}


@given(SIDES, LOTS, LOTS, st.sampled_from(KINDS), st.sampled_from([Product.INTRADAY, Product.MARGIN]), st.booleans())
def test_an_order_within_the_position_is_never_denied(
    side: OrderSide, lots: int, part: int, how: tuple[OrderType, dict[str, Any]], product: Product, sliced: bool
) -> None:
    desk = held(side, lots * 10, product)
    forbid_everything(desk)
    orders = send(desk, opposite(side), min(part, lots) * 10, how[0], product, sliced=sliced, **how[1])
    assert not denials(desk.events)
    assert sum(order.quantity_raw for order in orders) == min(part, lots) * 10
    assert all(order.quantity_raw <= 100 for order in orders)


@given(SIDES, LOTS, LOTS, st.sampled_from(KINDS), st.booleans())
def test_an_order_that_opens_anything_is_always_denied(
    side: OrderSide, lots: int, more: int, how: tuple[OrderType, dict[str, Any]], sliced: bool
) -> None:
    desk = held(side, lots * 10, Product.INTRADAY)
    forbid_everything(desk)
    for way, quantity in ((side, more * 10), (opposite(side), (lots + more) * 10)):
        (order,) = send(desk, way, quantity, how[0], Product.INTRADAY, sliced=sliced, **how[1])
        assert order.reason.startswith("Trading halted")
    assert abs(desk.held(ITEM.symbol)) == lots * 10


def exits_of(side: OrderSide) -> tuple[ExitTerm, ...]:
    if side is OrderSide.BUY:
        return (stop("95", item=ITEM), target("110", item=ITEM), trail("8", item=ITEM))
    return (stop("105", item=ITEM), target("90", item=ITEM), trail("8", item=ITEM))


@given(SIDES, LOTS, st.booleans())
def test_an_exit_fires_whatever_is_forbidden(side: OrderSide, lots: int, wins: bool) -> None:
    desk = held(side, lots * 10, Product.INTRADAY, exits_of(side))
    forbid_everything(desk)
    up = wins is (side is OrderSide.BUY)
    bid, ask = ("111", "111.05") if up else ("88.95", "89")
    desk.quote(bid=bid, ask=ask, item=ITEM, after=1)
    assert desk.held(ITEM.symbol) == 0
    assert not denials(desk.events)
    assert ExitStatus.FILLED in {risk.status for risk in desk.account.risks.values()}


CLOSINGS: dict[str, Callable[[Desk, int], Any]] = {
    "close_position": lambda desk, _: desk.close(ITEM.symbol),
    "close a part": lambda desk, lots: desk.close(ITEM.symbol, (lots + 1) // 2 * 10),
    "flatten": lambda desk, _: desk.handle(ev.Flatten(desk.ts)),
    "flatten a symbol": lambda desk, _: desk.handle(ev.Flatten(desk.ts, ITEM.symbol)),
    "set an exit that fires at once": lambda desk, _: [
        desk.handle(ev.SetExit(desk.ts, ITEM.symbol, "manual", term))
        for term in (stop("105", item=ITEM), stop("95", item=ITEM))
    ],
}


@pytest.mark.parametrize("way", CLOSINGS)
@given(SIDES, LOTS)
def test_closing_is_never_denied(way: str, side: OrderSide, lots: int) -> None:
    desk = held(side, lots * 10, Product.INTRADAY)
    forbid_everything(desk)
    CLOSINGS[way](desk, lots)
    assert abs(desk.held(ITEM.symbol)) == (lots * 10 - (lots + 1) // 2 * 10 if way == "close a part" else 0)
    assert not [reason for reason in denials(desk.events) if not reason.startswith("No position to protect")]


@given(SIDES, LOTS)
def test_canceling_and_making_smaller_is_never_denied(side: OrderSide, lots: int) -> None:
    desk = held(side, lots * 10, Product.INTRADAY)
    far = 11_000 if side is OrderSide.BUY else 9_000
    orders = send(desk, opposite(side), lots * 10, OrderType.LIMIT, Product.INTRADAY, limit_raw=far)
    forbid_everything(desk)
    for order in orders:
        smaller = max(order.quantity_raw - 10, 10)
        desk.handle(ev.ModifyOrder(desk.ts, order.client_order_id, quantity_raw=smaller, limit_raw=far))
        desk.cancel(order)
        assert desk.order(order).status == "CANCELED"
    assert not denials(desk.events)
