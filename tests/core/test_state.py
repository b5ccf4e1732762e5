"""Folding by itself: what happened is known again, and marks are no events."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from livetrade.core import events as ev
from livetrade.core.kinds import OrderStatus
from livetrade.core.state import Market, State, day_of
from tests.core.kit import SBIN, SECOND, Desk, same_state, stop


def folded(desk: Desk) -> State:
    state = State()
    for event in desk.events:
        state.apply(event)
    return state


def held(desk: Desk | None = None) -> Desk:
    desk = desk or Desk()
    desk.quote("549.00", "549.10", "549.05")
    desk.buy(100, exits=[stop("545")])
    return desk


def test_a_fold_knows_what_the_account_knows() -> None:
    desk = held()
    desk.buy(10, limit="540")
    desk.halt("lunch")
    same_state(desk.account, folded(desk), marks=False)


def test_a_fold_is_valued_by_marks() -> None:
    desk = held()
    state = folded(desk)
    assert state.market_value_raw == state.ledger.cost_raw
    market = state.markets[SBIN.symbol]
    state.mark(market, 2 * 55000)
    assert state.market_value_raw == market.value_raw == SBIN.value_raw(55000, 100)
    state.mark(market, 2 * 54000)
    assert state.market_value_raw == market.value_raw == SBIN.value_raw(54000, 100)
    assert (market.low_raw, market.high_raw) == (2 * 54000, 2 * 55000)
    assert state.seq == len(desk.events)


def test_news_that_is_known_folds_to_nothing() -> None:
    desk = Desk(live=True)
    order = desk.buy(10, limit="540")
    desk.canceled(order)
    state = folded(desk)
    before = state.orders[order.client_order_id]
    state.apply(ev.Canceled(desk.ts, order.client_order_id, "again"))
    assert state.orders[order.client_order_id] is before
    assert before.status is OrderStatus.CANCELED


def test_a_market_without_a_position_is_worth_nothing() -> None:
    market = Market(SBIN)
    assert (market.position_raw, market.value_raw) == (0, 0)


def test_a_state_takes_no_unknown_attribute() -> None:
    with pytest.raises(AttributeError):
        State().balance = 5  # type: ignore[attr-defined]


def test_days_are_cut_where_the_zone_changes_its_clock() -> None:
    zone = ZoneInfo("America/New_York")
    noon = int(datetime(2026, 3, 8, 12, tzinfo=zone).timestamp()) * SECOND
    day, first, following = day_of(noon, zone)
    assert (day, (following - first) // SECOND) == ("2026-03-08", 23 * 3600)
    assert day_of(0, UTC) == ("1970-01-01", 0, 86_400 * SECOND)
