"""The limits by themselves: what opens passes each of them, what reduces passes by."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core.instruments import Instrument
from livetrade.core.kinds import FeedState, OrderSide, OrderType, Product, Source
from livetrade.core.limits import (
    Approved,
    Denied,
    Limits,
    Situation,
    approve,
    balance_denied,
    instrument_denied,
    limits_of,
    reckoned_at,
)
from livetrade.core.records import replaced
from livetrade.errors import OrderError
from tests.core.kit import SBIN, an_order

CALM = Situation(
    halted=None,
    feed=FeedState.LIVE,
    feed_reason="",
    stale=None,
    price_raw=10_000,
    market_raw=10_000,
    closable_raw=0,
    position_raw=0,
    day_pnl_raw=0,
    sent_last_second=0,
)
LIMITED: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    ({}, {"halted": ""}, {}, "Trading halted"),
    ({}, {"halted": "lunch"}, {}, "Trading halted: lunch"),
    ({}, {"blocked": "Journal unavailable: full"}, {}, "Journal unavailable: full"),
    ({}, {"feed": FeedState.FAILED}, {}, "Connection lost: the feed is FAILED"),
    (
        {},
        {"feed": FeedState.RECONNECTING, "feed_reason": "reset"},
        {},
        "Connection lost: the feed is RECONNECTING (reset)",
    ),
    ({}, {"feed": FeedState.STALE}, {}, "Stale price: the feed sends no ticks"),
    ({}, {"feed": FeedState.STALE, "feed_reason": "mute"}, {}, "Stale price: mute"),
    ({}, {"stale": "6 s old"}, {}, "Stale price: 6 s old"),
    ({"max_order_quantity": 99}, {}, {}, "Limit exceeded: max_order_quantity is 99, asked 100"),
    ({"max_order_value": "9999.99"}, {}, {}, "Limit exceeded: max_order_value is 9999.99, asked 10000.00"),
    (
        {"max_position_value": 15_000},
        {"position_raw": 51},
        {},
        "Limit exceeded: max_position_value is 15000, asked 15100.00",
    ),
    (
        {"price_band_pct": 5},
        {},
        {"limit_raw": 9499},
        "Limit exceeded: price_band_pct is 5, asked 5.0100 % away at 94.99",
    ),
    (
        {"price_band_pct": 5},
        {},
        {"trigger_raw": 10501},
        "Limit exceeded: price_band_pct is 5, asked 5.0100 % away at 105.01",
    ),
    (
        {"price_band_pct": 5},
        {"market_raw": 0},
        {"limit_raw": 1},
        "Price feed unavailable: no price of NSE:SBIN-EQ to test",
    ),
    (
        {"max_daily_loss": 100},
        {"day_pnl_raw": -(10**32)},
        {},
        "Limit exceeded: max_daily_loss is 100, asked -100.00 today",
    ),
    ({"max_orders_per_second": 3}, {"sent_last_second": 3}, {}, "Limit exceeded: max_orders_per_second is 3, asked 4"),
]


def verdict(limits: dict[str, Any], now: dict[str, Any], order: dict[str, Any]) -> Approved | Denied:
    kind = OrderType.LIMIT if "limit_raw" in order else OrderType.STOP if "trigger_raw" in order else OrderType.MARKET
    return approve(an_order(order_type=kind, **order), Limits(**limits), replaced(CALM, **now))


@pytest.mark.parametrize(("limits", "now", "order", "reason"), LIMITED)
def test_an_opening_order_is_refused_with_the_reason(limits: Any, now: Any, order: Any, reason: str) -> None:
    answer = verdict(limits, now, order)
    assert isinstance(answer, Denied)
    assert answer.reason.startswith(reason)


@pytest.mark.parametrize(("limits", "now", "order", "reason"), LIMITED)
def test_a_reducing_order_passes_by(limits: Any, now: Any, order: Any, reason: str) -> None:
    assert verdict(limits, {**now, "closable_raw": 100}, order) == Approved(
        an_order(order_type=verdict({}, {"closable_raw": 100}, order).order.order_type, **order), 0
    )


@pytest.mark.parametrize(
    ("limits", "now", "order"),
    [
        ({}, {}, {}),
        ({}, {"feed": FeedState.NONE}, {}),
        ({"max_order_quantity": 100, "max_order_value": 10_000}, {}, {}),
        ({"max_position_value": 15_000}, {"position_raw": 50}, {}),
        ({"price_band_pct": 5}, {}, {"limit_raw": 9500}),
        ({"price_band_pct": 5}, {}, {}),
        ({"max_daily_loss": 100}, {"day_pnl_raw": 1 - 10**32}, {}),
        ({"max_orders_per_second": 3}, {"sent_last_second": 2}, {}),
        ({"max_order_quantity": 50}, {"closable_raw": 50}, {}),  # only what opens counts
    ],
)
def test_at_the_limit_an_order_passes(limits: Any, now: Any, order: Any) -> None:
    assert isinstance(verdict(limits, now, order), Approved)


def test_without_a_price_a_market_order_is_refused_unless_it_protects() -> None:
    for side, name in ((OrderSide.BUY, "ask"), (OrderSide.SELL, "bid")):
        answer = verdict({}, {"market_raw": 0, "closable_raw": 100}, {"side": side})
        assert isinstance(answer, Denied)
        assert answer.reason == f"Price feed unavailable: no {name} known for NSE:SBIN-EQ"
    for closing in ({"risk_id": "R1"}, {"source": Source.FLATTEN}):
        assert isinstance(verdict({}, {"market_raw": 0, "closable_raw": 100}, closing), Approved)
    assert isinstance(verdict({}, {"market_raw": 0}, {"limit_raw": 100}), Approved)


def test_selling_what_is_not_held() -> None:
    sell = {"side": OrderSide.SELL}
    answer = verdict({}, {}, sell)
    assert isinstance(answer, Denied)
    assert answer.reason == "No position to sell: 100 NSE:SBIN-EQ asked, nothing is held by manual in INTRADAY"
    answer = verdict({}, {"closable_raw": 60}, sell)
    assert isinstance(answer, Denied)
    assert "60 NSE:SBIN-EQ can be sold by manual" in answer.reason
    assert verdict({"allow_short": True}, {"closable_raw": 60}, sell).opening_raw == 40  # type: ignore[union-attr]
    assert isinstance(verdict({"allow_short": True}, {}, {**sell, "product": Product.CNC}), Denied)


@given(st.integers(1, 500), st.integers(0, 500), st.integers(0, 500))
def test_what_is_approved_is_never_over_a_limit(quantity: int, closable: int, position: int) -> None:
    limits = Limits(max_order_quantity=100, max_position_value=20_000)
    now = replaced(CALM, closable_raw=closable, position_raw=position)
    answer = approve(an_order(quantity_raw=quantity), limits, now)
    opening = max(0, quantity - closable)
    if isinstance(answer, Approved):
        assert answer.opening_raw == opening
        assert not opening or (opening <= 100 and position + quantity <= 200)
    else:
        assert opening > 100 or position + quantity > 200


def test_the_balance() -> None:
    assert balance_denied(10**30, 10**30) is None
    assert balance_denied(10**36 + 1, 10**30) == (
        "Insufficient balance: 1,000,000.000000000000000000000000000001 needed, 1.00 free"
    )


def test_an_order_is_reckoned_at_its_limit_its_trigger_or_the_market() -> None:
    assert reckoned_at(an_order(limit_raw=5, trigger_raw=6), 7) == 5
    assert reckoned_at(an_order(trigger_raw=6), 7) == 6
    assert reckoned_at(an_order(), 7) == 7


def test_a_symbol_keeps_its_scales() -> None:
    assert instrument_denied(Instrument(SBIN.symbol, tick_size="0.05"), SBIN) is None
    others = [
        Instrument(SBIN.symbol, scale=4),
        Instrument(SBIN.symbol, quantity_scale=1),
        Instrument(SBIN.symbol, multiplier=2),
    ]
    for other in others:
        assert "already trades with scale=2" in (instrument_denied(other, SBIN) or "")


@pytest.mark.parametrize(
    "terms",
    [
        {"allow_short": 1},
        {"max_order_quantity": 0},
        {"max_daily_loss": -5},
        {"max_position_value": "much"},
        {"max_orders_per_second": 0},
        {"price_band_pct": float("nan")},
        {"max_tick_age": timedelta(0)},
    ],
)
def test_limits_that_make_no_sense(terms: dict[str, Any]) -> None:
    with pytest.raises(OrderError, match=f"^Limits: {next(iter(terms))}"):
        Limits(**terms)


def test_ages_are_seconds_or_durations() -> None:
    assert Limits().max_tick_age_ns is None
    assert Limits(max_tick_age=1.5).max_tick_age_ns == 1_500_000_000
    assert Limits(max_tick_age=timedelta(milliseconds=2)).max_tick_age_ns == 2_000_000
    assert Limits(max_order_value=Decimal(5)) == Limits(max_order_value=5)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(),
        Limits(allow_short=True),
        Limits(
            max_order_quantity=5,
            max_order_value="1e5",
            max_position_value=Decimal("2.50"),
            max_daily_loss=1.5,
            max_orders_per_second=3,
            price_band_pct="0.5",
            max_tick_age=timedelta(seconds=2),
        ),
    ],
)
def test_limits_are_read_back_from_their_terms(limits: Limits) -> None:
    again = limits_of(limits.terms)
    assert again.terms == limits.terms
    assert again.max_tick_age_ns == limits.max_tick_age_ns
    assert again.allow_short is limits.allow_short
    for name, _ in limits.terms[1:-1]:
        assert Decimal(str(getattr(again, name))) == Decimal(str(getattr(limits, name)))
