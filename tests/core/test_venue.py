"""The simulated venue by itself: what it says of one order at one moment."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core import events as ev
from livetrade.core.kinds import OrderSide, OrderStatus, OrderType, PriceSource, TimeInForce
from livetrade.core.ticks import Tick
from livetrade.core.values import Change, Order
from livetrade.core.venue import Venue
from livetrade.errors import OrderError
from tests.core.kit import NIFTY, SBIN, SECOND, an_order

S = OrderStatus


def resting(**terms: Any) -> Order:
    limit, at = terms.get("limit_raw"), terms.get("trigger_raw")
    kinds = {(0, 0): OrderType.MARKET, (1, 0): OrderType.LIMIT, (0, 1): OrderType.STOP, (1, 1): OrderType.STOP_LIMIT}
    terms.setdefault("order_type", kinds[limit is not None, at is not None])
    return an_order(**{"status": S.ACCEPTED, "venue_order_id": "V1", **terms})


def quote(bid: int = 0, ask: int = 0, last: int = 0, **sizes: int) -> Tick:
    return Tick(SBIN, 1, bid, ask, last, **sizes)  # type: ignore[arg-type]


def fill(reports: list[ev.Report]) -> tuple[int, int, PriceSource] | None:
    """Quantity, price and source of the execution among the reports."""
    found = [r for r in reports if isinstance(r, ev.Executed)]
    assert len(found) <= 1
    return (found[0].quantity_raw, found[0].price_raw, found[0].price_source) if found else None


@pytest.mark.parametrize(
    "terms",
    [
        {"slippage": -1},
        {"latency": -1},
        {"latency": 3600},
        {"latency": float("nan")},
        {"size": "some"},
        {"slippage": "x"},
    ],
)
def test_terms_that_make_no_sense(terms: Any) -> None:
    with pytest.raises(OrderError):
        Venue(**terms)


def test_a_latency_is_seconds_or_a_duration() -> None:
    assert Venue(latency=timedelta(milliseconds=5)).latency_ns == Venue(latency=0.005).latency_ns == 5_000_000


def test_each_request_is_answered_when_it_arrives() -> None:
    venue = Venue(latency=1)
    new = an_order(created_ns=0, requested_ns=0)
    assert venue.due_ns(new) == SECOND
    assert venue.advance(new, None, SECOND - 1) == []
    assert venue.advance(new, None, SECOND) == [ev.Accepted(SECOND, "A1", "SIMA1")]
    changed = resting(status=S.PENDING_UPDATE, requested_ns=SECOND, limit_raw=5, pending=Change(50, 6, None, 50, 0))
    assert venue.advance(changed, None, 2 * SECOND) == [ev.Modified(2 * SECOND, "A1", 50, 6, None)]
    leaving = resting(status=S.PENDING_CANCEL, requested_ns=SECOND, pending=changed.pending)
    assert venue.advance(leaving, None, 2 * SECOND) == [ev.Canceled(2 * SECOND, "A1")]
    assert venue.due_ns(resting()) is None


def test_a_modification_that_comes_too_late_is_turned_down() -> None:
    order = resting(status=S.PENDING_UPDATE, filled_raw=50, limit_raw=5, pending=Change(50, 6, None, 50, 0))
    assert Venue().advance(order, None, 5) == [ev.RequestRejected(5, "A1", "50 had filled before it arrived")]


def test_an_order_that_has_not_arrived_does_not_rest() -> None:
    assert Venue().advance(an_order(status=S.UNKNOWN), quote(100, 101), 5) == []


def test_an_order_fills_while_a_request_about_it_travels() -> None:
    order = resting(status=S.PENDING_CANCEL, requested_ns=0)
    assert fill(Venue(latency=1).advance(order, quote(100, 102), 5)) == (100, 102, PriceSource.ASK)


@pytest.mark.parametrize(
    ("order", "known", "expected"),
    [
        ({}, quote(100, 102, 101), (100, 102, PriceSource.ASK)),
        ({"side": OrderSide.SELL}, quote(100, 102, 101), (100, 100, PriceSource.BID)),
        ({}, quote(last=101), (100, 101, PriceSource.LAST)),
        ({}, quote(bid=100, last=101), None),
        ({"limit_raw": 102}, quote(100, 102), (100, 102, PriceSource.LIMIT)),
        ({"limit_raw": 105}, quote(100, 102), (100, 102, PriceSource.ASK)),
        ({"limit_raw": 101}, quote(100, 102), None),
        ({"side": OrderSide.SELL, "limit_raw": 99}, quote(100, 102), (100, 100, PriceSource.BID)),
        ({"side": OrderSide.SELL, "limit_raw": 101}, quote(100, 102), None),
        ({"limit_raw": 101}, quote(last=101), None),
        ({"limit_raw": 101}, quote(last=100), (100, 100, PriceSource.LAST)),
        ({"side": OrderSide.SELL, "limit_raw": 101}, quote(last=101), None),
        ({"trigger_raw": 103}, quote(100, 102), None),
        ({"trigger_raw": 102}, quote(100, 102), (100, 102, PriceSource.ASK)),
        ({"side": OrderSide.SELL, "trigger_raw": 100}, quote(100, 102), (100, 100, PriceSource.BID)),
        ({"side": OrderSide.SELL, "trigger_raw": 99}, quote(100, 102), None),
        ({"trigger_raw": 103, "triggered": True}, quote(100, 102), (100, 102, PriceSource.ASK)),
        ({"trigger_raw": 102, "limit_raw": 101}, quote(100, 102), None),
    ],
)
def test_what_a_resting_order_meets(order: Any, known: Tick, expected: Any) -> None:
    assert fill(Venue().advance(resting(**order), known, 5)) == expected


def test_without_a_quote_nothing_fills() -> None:
    assert Venue().advance(resting(), None, 5) == []
    assert Venue().advance(resting(trigger_raw=5), None, 5) == []


def test_a_trigger_is_told_even_when_nothing_fills() -> None:
    reports = Venue().advance(resting(trigger_raw=102, limit_raw=101), quote(100, 102), 5)
    assert reports == [ev.Triggered(5, "A1")]


def test_triggers_by_the_last_price() -> None:
    order = resting(trigger_raw=102)
    assert Venue(trigger_by="last").advance(order, quote(100, 102, 101), 5) == []
    assert fill(Venue(trigger_by="last").advance(order, quote(100, 103, 102), 5)) == (100, 103, PriceSource.ASK)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({}, (100, 107, PriceSource.ASK)),
        ({"side": OrderSide.SELL}, (100, 95, PriceSource.BID)),
        ({"limit_raw": 104}, (100, 104, PriceSource.LIMIT)),
        ({"side": OrderSide.SELL, "limit_raw": 97}, (100, 97, PriceSource.LIMIT)),
        ({"limit_raw": 110}, (100, 107, PriceSource.ASK)),
    ],
)
def test_slippage_makes_it_worse_and_no_worse_than_the_limit(order: Any, expected: Any) -> None:
    assert fill(Venue(slippage="0.05").advance(resting(**order), quote(100, 102), 5)) == expected


def test_slippage_leaves_a_price() -> None:
    order = resting(side=OrderSide.SELL)
    assert fill(Venue(slippage=Decimal(50)).advance(order, quote(100, 102), 5)) == (100, 1, PriceSource.BID)


def test_what_is_shown_can_be_taken_once() -> None:
    venue, known = Venue(size="quoted"), quote(100, 102, ask_size_raw=130)
    assert fill(venue.advance(resting(), known, 5)) == (100, 102, PriceSource.ASK)
    assert fill(venue.advance(resting(), known, 5)) == (30, 102, PriceSource.ASK)
    assert fill(venue.advance(resting(), known, 5)) is None
    assert fill(venue.advance(resting(side=OrderSide.SELL), known, 5)) == (100, 100, PriceSource.BID)  # none shown
    again = quote(100, 102, ask_size_raw=130)
    assert fill(venue.advance(resting(), again, 5)) == (100, 102, PriceSource.ASK)


def test_what_is_shown_fills_in_whole_lots() -> None:
    venue = Venue(size="quoted")
    known = Tick(NIFTY, 1, 100, 102, bid_size_raw=100, ask_size_raw=200)
    order = resting(instrument=NIFTY, quantity_raw=300)
    assert fill(venue.advance(order, known, 5)) == (150, 102, PriceSource.ASK)
    odd = resting(instrument=NIFTY, quantity_raw=40, side=OrderSide.SELL)
    assert fill(venue.advance(odd, known, 5)) == (40, 100, PriceSource.BID)


@pytest.mark.parametrize("known", [None, quote(100, 104), quote(100, 102, ask_size_raw=40)])
def test_immediate_or_cancel_never_rests(known: Tick | None) -> None:
    order = resting(limit_raw=102, time_in_force=TimeInForce.IOC)
    assert isinstance(Venue(size="quoted").advance(order, known, 5)[-1], ev.Canceled)


def test_immediate_or_cancel_that_fills_is_not_canceled() -> None:
    order = resting(limit_raw=102, time_in_force=TimeInForce.IOC)
    assert len(Venue().advance(order, quote(100, 102), 5)) == 1
    stop = resting(trigger_raw=110, time_in_force=TimeInForce.IOC)
    assert isinstance(Venue().advance(stop, quote(100, 102), 5)[0], ev.Canceled)


def test_the_days_end() -> None:
    assert Venue().expire(resting(), 5) == [ev.Expired(5, "A1", "the day is over")]
    assert Venue().expire(resting(time_in_force=TimeInForce.GTC), 5) == []


price = st.integers(90, 110)


@given(
    price,
    st.integers(0, 5),
    st.sampled_from(list(OrderSide)),
    st.none() | price,
    st.integers(0, 40),
    st.integers(1, 99),
)
def test_a_fill_is_never_better_than_the_quote_nor_worse_than_the_limit(
    bid: int, spread: int, side: OrderSide, limit: int | None, slippage: int, shown: int
) -> None:
    venue = Venue(slippage=Decimal(slippage) / 100, size="quoted")
    known = quote(bid, bid + spread, bid_size_raw=shown, ask_size_raw=shown)
    got = fill(venue.advance(resting(side=side, limit_raw=limit), known, 5))
    met = bid + spread if side is OrderSide.BUY else bid
    if got is None:
        assert limit is not None
        assert side.sign * (met - limit) > 0
        return
    quantity, at, _ = got
    assert quantity == shown
    assert side.sign * (at - met) >= 0
    assert limit is None or side.sign * (limit - at) >= 0
