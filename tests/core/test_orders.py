"""The life of an order: every state has an answer to every report, and their order does not matter."""

from collections.abc import Iterable
from itertools import permutations
from typing import Any

import pytest

from livetrade.core import events as ev
from livetrade.core.kinds import OrderSide, OrderStatus, PriceSource
from livetrade.core.orders import TABLE, after, with_fill, with_news
from livetrade.core.records import replaced
from livetrade.core.values import FINAL, Change, Fill, Order
from tests.core.kit import SBIN, Desk, a_fill, an_order

S = OrderStatus
CHANGE = Change(80, 54800, None, 80, 500)
SAID: list[Any] = [
    ev.Modify(2, "A1", CHANGE),
    ev.Cancel(2, "A1"),
    ev.Accepted(2, "A1", "V1"),
    ev.Accepted(2, "A1"),
    ev.Rejected(2, "A1", "no"),
    ev.Canceled(2, "A1", "done"),
    ev.Expired(2, "A1", "late"),
    ev.Modified(2, "A1", 80, 54800, None),
    ev.RequestRejected(2, "A1", "too late"),
    ev.Triggered(2, "A1"),
    ev.Unknown(2, "A1", "timeout"),
]


def told(order: Order, said: Any) -> Order:
    """The order after a request or report, if that tells anything."""
    status = after(order, said)
    return order if status is None else with_news(order, said, status)


def filled(order: Order, quantity: int, execution: str = "E1") -> Order:
    return with_fill(order, a_fill(OrderSide.BUY, quantity, 54900, execution_id=execution))


def test_the_table_answers_for_every_state() -> None:
    assert set(TABLE) == set(S)
    assert {state for state in S if not TABLE[state]} == {S.INITIALIZED, S.DENIED}, "what was never sent is never told"


@pytest.mark.parametrize("said", SAID, ids=lambda said: type(said).__name__)
@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("filled_raw", [0, 30, 100])
@pytest.mark.parametrize("pending", [None, CHANGE])
def test_every_state_and_every_report(said: Any, state: S, filled_raw: int, pending: Change | None) -> None:
    if (state is S.PARTIALLY_FILLED and not filled_raw) or (state is S.ACCEPTED and filled_raw):
        return
    if (state is S.FILLED) is not (filled_raw == 100):
        return
    order = an_order(status=state, filled_raw=filled_raw, pending=pending, limit_raw=54900)
    new = told(order, said)
    if state in FINAL:
        assert new.status is state, "what is over stays over"
    if new is order:
        return
    assert new.updated_ns == 2
    assert (new.client_order_id, new.filled_raw) == ("A1", filled_raw)
    assert new.venue_order_id == (said.venue_order_id if isinstance(said, ev.Accepted) else None)
    if not isinstance(said, ev.Cancel | ev.Modify | ev.Accepted | ev.Triggered | ev.Unknown):
        waits = isinstance(said, ev.RequestRejected) and state is S.PENDING_CANCEL and pending
        assert new.pending is (pending if waits else None)
    if new.status is S.ACCEPTED:
        assert not filled_raw
    if new.status is S.PARTIALLY_FILLED:
        assert filled_raw
    once_more = after(new, said)
    if isinstance(said, ev.Triggered | ev.Modified | ev.Accepted | ev.Rejected | ev.Canceled | ev.Expired):
        assert once_more is None, "a report tells its news once"


@pytest.mark.parametrize("state", S)
def test_an_execution_counts_in_every_state(state: S) -> None:
    order = an_order(status=state)
    part, whole = filled(order, 40), filled(order, 100)
    assert (part.filled_raw, part.filled_value_raw) == (40, SBIN.value_raw(54900, 40))
    assert part.status is (S.PARTIALLY_FILLED if state in (S.SUBMITTED, S.ACCEPTED, S.UNKNOWN) else state)
    assert whole.status is S.FILLED
    assert whole.executions == {"E1"}


def test_a_late_acceptance_still_names_the_venues_id() -> None:
    order = told(filled(an_order(), 100), ev.Accepted(2, "A1", "V1"))
    assert (order.status, order.venue_order_id) == (S.FILLED, "V1")
    assert after(an_order(status=S.DENIED), ev.Accepted(2, "A1", "V1")) is None


def test_a_fill_ends_the_wait_for_a_trigger() -> None:
    order = filled(an_order(trigger_raw=54900), 10)
    assert order.triggered
    assert after(order, ev.Triggered(2, "A1")) is None


def test_a_modification_that_is_confirmed_changes_the_terms() -> None:
    order = told(told(an_order(status=S.ACCEPTED, limit_raw=54900), SAID[0]), ev.Modified(3, "A1", 80, 54800, None))
    assert (order.status, order.quantity_raw, order.limit_raw) == (S.ACCEPTED, 80, 54800)
    assert (order.opening_raw, order.margin_raw, order.asked_raw) == (80, 500, (100, 54900, None))
    assert after(order, ev.Modified(4, "A1", 80, 54800, None)) is None


def test_a_modification_from_elsewhere_keeps_what_was_approved() -> None:
    order = told(an_order(status=S.ACCEPTED, opening_raw=100, margin_raw=9), ev.Modified(3, "A1", 120, None, None))
    assert (order.quantity_raw, order.opening_raw, order.margin_raw) == (120, 100, 9)


def test_what_is_asked_for_may_go_to_and_fro() -> None:
    """A confirmation counts while its terms are asked for, or when they are new; said again, it reverts nothing."""
    order = an_order(status=S.ACCEPTED, limit_raw=54900)
    for limit, late in ((54800, 54800), (54900, 54800), (54800, 54900), (54700, 54900)):
        order = told(order, ev.Modify(2, "A1", Change(100, limit, None, 100, limit)))
        order = told(order, ev.Modified(2, "A1", 100, limit, None))
        assert after(order, ev.Modified(2, "A1", 100, late, None)) is None
        assert (order.status, order.limit_raw, order.margin_raw, order.pending) == (S.ACCEPTED, limit, limit, None)
    order = told(order, ev.Modify(2, "A1", Change(100, 54650, None, 100, 54650)))
    assert after(order, ev.Modified(2, "A1", 100, 54800, None)) is None, "that was answered before"


def test_a_modification_that_seemed_refused_keeps_what_was_approved() -> None:
    order = told(told(an_order(status=S.ACCEPTED, opening_raw=100, margin_raw=9), SAID[0]), SAID[8])
    confirmed, elsewhere = told(order, SAID[7]), told(order, ev.Modified(3, "A1", 120, None, None))
    assert (order.opening_raw, order.margin_raw, order.pending) == (100, 9, None)
    assert (confirmed.quantity_raw, confirmed.opening_raw, confirmed.margin_raw) == (80, 80, 500)
    assert (elsewhere.quantity_raw, elsewhere.opening_raw, elsewhere.margin_raw) == (120, 100, 9)


def test_of_two_requests_one_may_be_turned_down() -> None:
    """Which one is not said: the order waits for the answer to the other, with the larger of both terms blocked."""
    order = told(told(an_order(status=S.ACCEPTED), SAID[0]), SAID[1])
    order = told(order, ev.RequestRejected(3, "A1", "no"))
    assert (order.status, order.pending) == (S.PENDING_UPDATE, CHANGE)
    assert told(order, ev.Canceled(4, "A1")).status is S.CANCELED
    assert told(order, ev.Modified(4, "A1", 80, 54800, None)).quantity_raw == 80
    both = told(order, ev.RequestRejected(4, "A1", "no"))
    assert (both.status, both.pending) == (S.ACCEPTED, None)


def test_a_modification_down_to_what_has_filled_ends_the_order() -> None:
    order = told(filled(an_order(status=S.ACCEPTED), 80), SAID[0])
    assert told(order, ev.Modified(3, "A1", 80, 54800, None)).status is S.FILLED


def test_fills_of_a_larger_quantity_may_come_before_its_confirmation() -> None:
    larger = Change(200, None, None, 200, 0)
    order = filled(told(an_order(status=S.ACCEPTED), ev.Modify(2, "A1", larger)), 150)
    assert order.status is S.PENDING_UPDATE
    confirmed = told(order, ev.Modified(3, "A1", 200, None, None))
    assert (confirmed.status, confirmed.leaves_raw) == (S.PARTIALLY_FILLED, 50)
    exact = filled(told(an_order(status=S.ACCEPTED), ev.Modify(2, "A1", larger)), 100)
    assert told(exact, ev.RequestRejected(3, "A1", "it is over")).status is S.FILLED
    assert told(exact, ev.Canceled(3, "A1")).status is S.FILLED


def test_a_late_confirmation_of_more_takes_a_filled_order_back() -> None:
    whole = filled(an_order(), 100)
    more = ev.Modified(3, "A1", 200, None, None)
    assert told(whole, more).status is S.PARTIALLY_FILLED
    ended = told(whole, ev.Canceled(3, "A1", "done"))
    assert (ended.status, ended.ended, ended.reason) == (S.FILLED, S.CANCELED, "")
    assert after(ended, ev.Expired(4, "A1")) is None
    assert told(ended, more).status is S.CANCELED
    assert filled(told(ended, more), 100, "E2").status is S.FILLED


def test_a_modification_of_unknown_outcome_waits_for_its_answer() -> None:
    order = told(told(an_order(status=S.ACCEPTED), SAID[0]), ev.Unknown(3, "A1", "timeout"))
    assert (order.status, order.pending) == (S.UNKNOWN, CHANGE)
    assert told(order, ev.Accepted(4, "A1")).status is S.PENDING_UPDATE
    assert filled(order, 10).status is S.PENDING_UPDATE
    refused = told(order, ev.RequestRejected(4, "A1", "no"))
    assert (refused.status, refused.pending) == (S.ACCEPTED, None)


# ── the order of reports ─────────────────────────────────────────────────────────────────────────────────────────────

Report = ev.Report


def outcome(reports: list[Report]) -> tuple[Order, int, int]:
    """What an account knows in the end: the order without its times, the position and the cash."""
    desk = Desk(live=True)
    order = desk.buy(100, limit="549", order_id="A1")
    for report in reports:
        desk.handle(replaced(report, ts=desk.ts))
    order = desk.order(order)
    return replaced(order, updated_ns=0), desk.position, desk.account.ledger.cash_raw


def orderly(fills: list[int], ending: type | None) -> list[Report]:
    reports: list[Report] = [ev.Accepted(0, "A1", "V1")]
    for number, quantity in enumerate(fills):
        reports.append(ev.Executed(0, "A1", f"E{number}", quantity, 54900 - number, PriceSource.VENUE))
    if ending is not None:
        reports.append(ending(0, "A1", "over"))
    return reports


@pytest.mark.parametrize("ending", [None, ev.Canceled, ev.Expired])
@pytest.mark.parametrize("fills", [[100], [40], [40, 60], [10, 20, 30]])
def test_reports_in_any_order_end_the_same(fills: list[int], ending: type | None) -> None:
    expected = outcome(orderly(fills, ending))
    for reports in permutations(orderly(fills, ending)):
        assert outcome(list(reports)) == expected


REFUSED = ev.RequestRejected(0, "A1", "no")


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([ev.Canceled(0, "A1", "done")], S.CANCELED),
        ([REFUSED, REFUSED], S.PARTIALLY_FILLED),
        ([REFUSED, REFUSED, ev.Expired(0, "A1", "late")], S.EXPIRED),
    ],
)
def test_a_confirmed_and_a_refused_request_end_the_same(answers: list[Any], status: S) -> None:
    """More is asked for and a cancel is on its way; the refusal of the cancel may come twice."""
    asked = told(told(an_order(), ev.Modify(2, "A1", Change(200, None, None, 200, 900))), ev.Cancel(2, "A1"))
    reports = [ev.Accepted(0, "A1", "V1"), ev.Modified(0, "A1", 200, None, None), 100, 50, *answers]
    for order in {folded(asked, several) for several in permutations(reports)}:
        assert (order.status, order.quantity_raw, order.filled_raw, order.margin_raw) == (status, 200, 150, 900)
        assert (order.pending, order.venue_order_id) == (None, "V1")


def folded(order: Order, several: Iterable[Any]) -> Order:
    """The order after reports, of which a number is an execution of that quantity."""
    for said in several:
        order = filled(order, said, f"E{said}") if isinstance(said, int) else told(order, said)
    return order


def test_a_fill_has_the_figures_of_its_order_before_it() -> None:
    desk = Desk(live=True)
    order = desk.buy(100, limit="549")
    desk.execute(order, 40, "549", "E1")
    desk.execute(order, 60, "548", "E2")
    fills: list[Fill] = desk.fills()
    assert [fill.filled_before_raw for fill in fills] == [0, 40]
    assert fills[1].value_before_raw == fills[0].value_raw
