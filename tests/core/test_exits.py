"""Exits by themselves: what they watch, where they stand, when they fire, and which ticks may be passed over."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core.exits import Alerts, check_terms, entry_price, on_grid, reached, trailed, trigger, watched
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import ExitKind, OrderSide, OrderType, Product
from livetrade.core.records import replaced
from livetrade.core.ticks import Tick
from livetrade.core.values import ExitTerm, Order, RiskOrder
from livetrade.core.venue import Venue
from livetrade.errors import OrderError
from tests.core.kit import NIFTY, SBIN, an_order, stop, target, trail

STOP, TARGET, TRAIL = ExitKind.STOP_LOSS, ExitKind.TAKE_PROFIT, ExitKind.TRAILING_STOP


def quote(bid: int = 0, ask: int = 0, last: int = 0) -> Tick:
    return Tick(SBIN, 1, bid, ask, last)


def risk(kind: ExitKind, long: bool, at: int, *, item: Instrument = SBIN, **more: Any) -> RiskOrder:
    return RiskOrder("R1", kind, item, "manual", Product.INTRADAY, "", long, at, 0, **more)


@pytest.mark.parametrize(
    ("known", "trigger_by", "long", "short"),
    [
        (quote(100, 102, 101), "quote", 100, 102),
        (quote(100, 102, 101), "last", 101, 101),
        (quote(100, 102), "last", 100, 102),
        (quote(100, 0, 101), "quote", 100, 0),
        (quote(0, 102, 101), "quote", 0, 102),
        (quote(0, 0, 101), "quote", 101, 101),
        (None, "quote", 0, 0),
    ],
)
def test_what_an_exit_watches(known: Tick | None, trigger_by: str, long: int, short: int) -> None:
    assert (watched(known, True, trigger_by), watched(known, False, trigger_by)) == (long, short)


@pytest.mark.parametrize(
    ("kind", "long", "price", "fires"),
    [
        (STOP, True, 100, True),
        (STOP, True, 101, False),
        (STOP, False, 100, True),
        (STOP, False, 99, False),
        (TARGET, True, 100, True),
        (TARGET, True, 99, False),
        (TARGET, False, 100, True),
        (TARGET, False, 101, False),
        (TRAIL, True, 100, True),
        (STOP, True, 0, False),
        (TARGET, False, 0, False),
    ],
)
def test_touching_is_enough_and_an_unknown_price_fires_nothing(kind: Any, long: bool, price: int, fires: bool) -> None:
    assert reached(kind, long, 100, price) is fires


@pytest.mark.parametrize(
    ("term", "long", "at"),
    [
        (stop("545"), True, 54500),
        (stop(pct=1), True, 54351),  # 543.51 exactly
        (stop(pct="1.001"), True, 54351),  # 543.5045.. rounded up, toward the entry
        (target(pct="1.001"), True, 55450),  # 554.4954.. rounded up, away from it
        (stop(pct="1.001"), False, 55449),
        (target(pct="1.001"), False, 54350),
        (trail("4"), True, 54600),
        (trail("4"), False, 55400),
        (trail(pct=10), True, 49500),
        (trail("900"), True, 1),
    ],
)
def test_where_a_term_fires(term: ExitTerm, long: bool, at: int) -> None:
    assert trigger(term, SBIN, long, Decimal(54900), 55000) == at


def test_a_computed_price_stands_on_the_tick_grid() -> None:
    assert on_grid(NIFTY, Decimal(2500001), True) == 2500005
    assert on_grid(NIFTY, Decimal("2500004.9"), False) == 2500000
    assert on_grid(NIFTY, Decimal(2500005), True) == on_grid(NIFTY, Decimal(2500005), False) == 2500005
    assert on_grid(NIFTY, Decimal(-7), False) == 5


@given(st.integers(1, 10**8), st.decimals("0.001", "99.9", places=3), st.sampled_from([STOP, TARGET]), st.booleans())
def test_a_percentage_is_rounded_in_the_positions_favour(entry: int, pct: Decimal, kind: ExitKind, long: bool) -> None:
    at = trigger(ExitTerm(kind, pct=pct), NIFTY, long, Decimal(entry), 0)
    below = long is (kind is STOP)
    exact = entry * (1 - pct / 100) if below else entry * (1 + pct / 100)
    assert at % NIFTY.tick_raw == 0
    assert at >= NIFTY.tick_raw
    if exact >= NIFTY.tick_raw:
        assert 0 <= (at - exact if long else exact - at) < NIFTY.tick_raw


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=50), st.integers(1, 300), st.booleans(), st.booleans())
def test_a_trail_only_ever_moves_toward_the_price(prices: list[int], far: int, long: bool, percent: bool) -> None:
    terms = {"pct": Decimal(far) / 4} if percent else {"amount_raw": far}
    start = prices[0]
    at = trigger(ExitTerm(TRAIL, **terms), SBIN, long, Decimal(0), start)
    one = risk(TRAIL, long, at, best_raw=start, **terms)
    for price in prices:
        moved = trailed(one, price)
        best = max(one.best_raw, price) if long else min(one.best_raw, price)
        assert (moved is None) is (best == one.best_raw)
        if moved:
            assert moved[1] == best
            assert moved[0] >= one.trigger_raw if long else moved[0] <= one.trigger_raw
            one = replaced(one, trigger_raw=moved[0], best_raw=moved[1])


def test_only_a_trail_trails() -> None:
    assert trailed(risk(STOP, True, 100, best_raw=1), 200) is None
    assert trailed(risk(TRAIL, True, 90, best_raw=100, amount_raw=10), 0) is None


@pytest.mark.parametrize(
    ("order", "known", "price"),
    [
        ({}, quote(100, 102), 100),
        ({"side": OrderSide.SELL}, quote(100, 102), 102),
        ({"limit_raw": 90}, quote(100, 102), 90),
        ({"limit_raw": 110}, quote(100, 102), 100),
        ({"side": OrderSide.SELL, "limit_raw": 110}, quote(100, 102), 110),
        ({"side": OrderSide.SELL, "limit_raw": 90}, quote(100, 102), 102),
        ({"trigger_raw": 110}, quote(100, 102), 110),
        ({"trigger_raw": 90}, quote(100, 102), 100),
        ({"side": OrderSide.SELL, "trigger_raw": 90}, quote(100, 102), 90),
        ({"trigger_raw": 110, "limit_raw": 115}, quote(100, 102), 110),
        ({"trigger_raw": 110, "limit_raw": 105}, quote(100, 102), 105),
        ({"trigger_raw": 110}, None, 110),
        ({"limit_raw": 90}, None, 90),
        ({}, None, 0),
    ],
)
def test_the_price_an_entrys_exits_are_held_against(order: Any, known: Tick | None, price: int) -> None:
    assert entry_price(an_order(**order), known, "quote") == price


@pytest.mark.parametrize(
    ("side", "terms", "hint"),
    [
        (OrderSide.BUY, [stop("560"), target("545")], "after a BUY the stop-loss must be below the take-profit"),
        (OrderSide.SELL, [stop("545"), target("560")], "after a SELL the stop-loss must be above the take-profit"),
        (OrderSide.BUY, [stop(pct=100)], "STOP_LOSS of 100 % is at or below zero"),
        (OrderSide.SELL, [target(pct=150)], "TAKE_PROFIT of 150 % is at or below zero"),
        (OrderSide.BUY, [trail(pct=100)], "TRAILING_STOP of 100 % is at or below zero"),
    ],
)
def test_exits_that_can_never_be_right(side: OrderSide, terms: list[ExitTerm], hint: str) -> None:
    with pytest.raises(OrderError, match=hint):
        check_terms(SBIN, side, terms)


def test_exits_that_may_be_right() -> None:
    check_terms(SBIN, OrderSide.BUY, [stop("545"), target("560"), trail("3")])
    check_terms(SBIN, OrderSide.SELL, [stop("560"), target("545")])
    check_terms(SBIN, OrderSide.BUY, [target(pct=150), stop(pct=50)])
    check_terms(SBIN, OrderSide.SELL, [stop(pct=150)])
    check_terms(SBIN, OrderSide.BUY, [])


# ── the ticks that may be passed over ────────────────────────────────────────────────────────────────────────────────

prices = st.sampled_from([0, *range(95, 106)])
quotes = st.builds(quote, prices, prices, prices).filter(lambda q: not q.bid_raw > q.ask_raw > 0)
levels = st.integers(95, 105)


@given(
    quotes,
    st.sampled_from(list(ExitKind)),
    st.booleans(),
    levels,
    st.integers(1, 5),
    st.sampled_from(["quote", "last"]),
)
def test_no_tick_is_passed_over_that_an_exit_acts_on(
    known: Tick, kind: ExitKind, long: bool, at: int, away: int, trigger_by: str
) -> None:
    best = at + away if long else at - away
    one = risk(kind, long, at, best_raw=best, amount_raw=away)
    alerts = Alerts()
    alerts.watch_risk(one, trigger_by)
    price = watched(known, long, trigger_by)
    if reached(kind, long, at, price) or trailed(one, price):
        assert alerts.active
        assert alerts.crossed(known.bid_raw, known.ask_raw, known.last_raw)


@given(
    quotes,
    st.sampled_from(list(OrderSide)),
    st.sampled_from(list(OrderType)),
    levels,
    levels,
    st.booleans(),
    st.sampled_from(["quote", "last"]),
)
def test_no_tick_is_passed_over_that_an_order_acts_on(
    known: Tick, side: OrderSide, kind: OrderType, limit: int, at: int, triggered: bool, trigger_by: str
) -> None:
    order: Order = an_order(
        side=side,
        order_type=kind,
        limit_raw=limit if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None,
        trigger_raw=at if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else None,
        triggered=triggered,
        venue_order_id="V1",
        status="ACCEPTED",
    )
    alerts = Alerts()
    alerts.watch_order(order, trigger_by)
    if Venue(trigger_by=trigger_by).advance(order, known, 5):
        assert alerts.crossed(known.bid_raw, known.ask_raw, known.last_raw)


def test_most_ticks_are_passed_over() -> None:
    alerts = Alerts()
    assert not alerts.active
    assert not alerts.crossed(1, 1 << 63, 5)
    alerts.watch_risk(risk(STOP, True, 90), "quote")
    alerts.watch_risk(risk(TARGET, True, 110), "quote")
    assert not alerts.crossed(91, 200, 80)
    assert alerts.crossed(90, 91, 90)
    assert alerts.crossed(110, 111, 0)
    assert alerts.crossed(0, 0, 110)
    alerts.clear()
    alerts.watch_order(an_order(), "quote")
    assert alerts.crossed(100, 101, 100)
