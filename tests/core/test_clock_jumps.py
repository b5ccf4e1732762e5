"""A clock that jumps sends no order: what waits for a timer waits on, what is armed stays armed, quotes are stale."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.kinds import ExitStatus, OrderStatus
from livetrade.core.protecting import MAX_RETRIES
from livetrade.core.state import State
from livetrade.core.venue import Venue
from tests.core.kit import INFY, SBIN, SECOND, Desk, kinds, same_state, stop, target, trail

HOUR = 3600
DAY = 24 * HOUR


def jump(desk: Desk, seconds: float, reason: str = "the machine slept") -> list[ev.Event]:
    """The clock goes ahead by `seconds` at once."""
    before = desk.ts
    desk.pass_time(seconds)
    return desk.handle(ev.ClockJumped(desk.ts, desk.ts - before, reason))


def retrying(**terms: Any) -> Desk:
    """A live desk whose stop has fired and whose exit's order was rejected: the next is due in a second."""
    desk = Desk(live=True, **terms)
    desk.quote("549.00", "549.10")
    desk.bought(100, "549.10", exits=[stop("545")])
    desk.quote("545.00", "545.10")
    desk.reject(desk.exit_orders()[-1])
    assert desk.account.next_deadline() == desk.ts + SECOND
    return desk


def folded(desk: Desk) -> State:
    state = State()
    for event in desk.events:
        state.apply(event)
    return state


def test_a_retry_waits_for_as_long_as_it_had_left() -> None:
    desk = retrying()
    desk.pass_time(0.4)
    events = jump(desk, HOUR)
    risk = desk.risk()
    due = desk.ts + 6 * SECOND // 10
    assert events == [ev.ExitRetry(desk.ts, risk.risk_id, 1, due)]
    assert (risk.retry_ns, risk.attempts, risk.status) == (due, 1, ExitStatus.TRIGGERED)
    assert desk.account.next_deadline() == due
    assert "Submit" not in kinds(desk.quote("544.00", "544.10", after=0.5))
    assert desk.wake(after=0.0999) == []
    assert kinds(desk.wake(after=0.0001)) == ["Submit"]
    assert len(desk.exit_orders()) == 2


def test_a_fold_of_the_events_knows_the_new_time() -> None:
    desk = retrying()
    jump(desk, HOUR)
    state = folded(desk)
    same_state(desk.account, state, marks=False)
    assert state.risks[desk.risk().risk_id].retry_ns == desk.ts + SECOND


@pytest.mark.parametrize("before", [1, 1.5])
def test_what_was_due_before_the_jump_is_not_put_off(before: float) -> None:
    desk = retrying()
    desk.pass_time(before)
    assert kinds(jump(desk, HOUR)) == ["Submit"]


def test_a_retry_keeps_waiting_through_one_jump_after_the_other() -> None:
    desk = retrying()
    for _ in range(3):
        desk.pass_time(0.25)
        assert kinds(jump(desk, HOUR)) == ["ExitRetry"]
    assert desk.wake(after=0.2) == []
    assert kinds(desk.wake(after=0.05)) == ["Submit"]


def test_jumps_are_no_attempts() -> None:
    desk = retrying()
    for _ in range(MAX_RETRIES + 2):
        jump(desk, HOUR)
    desk.wake(after=1)
    assert (len(desk.exit_orders()), desk.risk().attempts) == (2, 1)


def test_every_book_waits_on() -> None:
    desk = Desk(live=True)
    for strategy, item in (("a", SBIN), ("b", SBIN), ("a", INFY)):
        desk.quote("549.00", "549.10", item=item)
        desk.bought(100, "549.10", exits=[stop("545")], strategy=strategy, item=item)
    for item in (SBIN, INFY):
        desk.quote("545.00", "545.10", item=item)
    for order in desk.exit_orders():
        desk.reject(order)
    assert kinds(jump(desk, HOUR)) == ["ExitRetry"] * 3
    assert kinds(desk.wake(after=1)) == ["Submit"] * 3


def test_a_time_that_was_set_back_moves_no_timer() -> None:
    desk = retrying()
    desk.pass_time(0.5)
    assert jump(desk, 0, "set back") == []
    assert desk.wake(after=0.4) == []
    assert kinds(desk.wake(after=0.1)) == ["Submit"]


def test_over_midnight_the_day_rolls_and_the_retry_still_waits() -> None:
    desk = retrying()
    desk.pass_time(0.4)
    assert "Submit" not in kinds(jump(desk, DAY))
    assert desk.account.day == "2026-03-03"
    assert desk.wake(after=0.5) == []
    assert kinds(desk.wake(after=0.1)) == ["Submit"]


def test_an_exit_order_that_ends_with_a_day_that_was_jumped_over_is_sent_again_a_second_later() -> None:
    """On the simulated venue its rest waits for more bids, when the machine sleeps until the next morning."""
    desk = Desk(venue=Venue(size="quoted"))
    desk.quote("549.00", "549.10")
    desk.buy(100, exits=[stop("545")])
    desk.quote("545.00", "545.10", bid_size="40")
    order = desk.exit_orders()[-1]
    assert order.filled_raw == 40
    events = jump(desk, DAY)
    assert "Submit" not in kinds(events)
    assert desk.order(order).status is OrderStatus.EXPIRED
    assert desk.risk().retry_ns == desk.ts + SECOND
    assert "Submit" in kinds(desk.wake(after=1))
    assert len(desk.exit_orders()) == 2


def test_what_is_armed_or_rests_does_nothing() -> None:
    desk = Desk()
    desk.quote("549.00", "549.10", "549.05")
    desk.buy(100, exits=[stop("545"), target("560"), trail("3")])
    resting = [desk.buy(10, limit="540"), desk.buy(10, trigger="555"), desk.sell(10, limit="559")]
    assert jump(desk, HOUR) == []
    assert [desk.order(order).status for order in resting] == [OrderStatus.ACCEPTED] * 3
    assert {risk.status for risk in desk.account.risks.values()} == {ExitStatus.ARMED}
    assert desk.wake(after=5) == []
    assert "ExitFired" in kinds(desk.quote("545.00", "545.10", "545.05"))
    assert desk.position == 0


@pytest.mark.parametrize("seconds", [HOUR, 0])
def test_nothing_opens_on_a_quote_from_before(seconds: int) -> None:
    desk = Desk()
    for item in (SBIN, INFY):
        desk.quote("549.00", "549.10", item=item)
    desk.buy(100)
    desk.pass_time(1)
    jump(desk, seconds)
    assert desk.buy(1).reason == "Stale price: the machine slept"
    assert desk.sell(10).status is OrderStatus.FILLED
    desk.quote("549.00", "549.15")
    assert desk.buy(1).status is OrderStatus.FILLED
    assert desk.buy(1, item=INFY).reason == "Stale price: the machine slept"


def test_a_request_on_its_way_to_the_simulated_venue_arrives() -> None:
    """It was sent before; nobody can say where it was meanwhile."""
    desk = Desk(venue=Venue(latency=0.5))
    desk.quote("549.00", "549.10")
    order = desk.buy(100, limit="540")
    assert kinds(jump(desk, HOUR)) == ["Accepted"]
    assert desk.order(order).status is OrderStatus.ACCEPTED


def test_after_a_restart_the_timer_is_where_the_jump_put_it() -> None:
    desk = retrying()
    jump(desk, HOUR)
    account = Account()
    for event in desk.events:
        account.apply(event)
    account._resume_timers()
    assert account.handle(ev.Wake(desk.ts)) == []
    assert account.next_deadline() == desk.ts + SECOND


@given(
    waited=st.floats(0, 0.999),
    hops=st.lists(st.tuples(st.floats(2.001, 3 * DAY), st.floats(0, 0.3)), max_size=6),
)
def test_it_is_sent_after_a_second_of_time_that_did_not_jump(waited: float, hops: list[tuple[float, float]]) -> None:
    desk = retrying()
    left = SECOND
    for seconds, pause in [(0, waited), *hops]:
        if seconds:
            assert "Submit" not in kinds(jump(desk, seconds))
        if round(pause * SECOND) >= left:
            break
        left -= round(pause * SECOND)
        assert "Submit" not in kinds(desk.wake(after=pause))
    desk.ts += left - 1
    assert "Submit" not in kinds(desk.wake())  # at midnight a day begins, and that is all
    desk.ts += 1
    assert "Submit" in kinds(desk.wake())
    same_state(desk.account, folded(desk), marks=False)
