"""The life of an order, as one table.

    INITIALIZED ──> DENIED                                  our own limits; never sent
         └──> SUBMITTED ──> ACCEPTED ──> PARTIALLY_FILLED ──> FILLED
                  │            │  ↕ PENDING_UPDATE, PENDING_CANCEL
                  ├──> REJECTED│
                  └──> UNKNOWN └──> CANCELED, EXPIRED

A venue may say things twice, late, or in another order. So an order keeps each fact it is told, once and in whatever
state it comes: the venue's id, the trigger, an execution by its id, a confirmed modification by its terms, what ended
it. Its state is what these facts add up to, and a report that tells no new one leaves the order as it is.

What has filled is decided by the executions alone: a late fill still counts in a canceled order, and one that is wholly
filled is FILLED whatever else was said, until a larger quantity is confirmed. An end that tells of executions which are
still to come is believed when they have: until then the order is open, for no more than these. A refusal does not say
what it refuses: it answers the request that is on its way, and a confirmation that comes after all still counts.
"""

from typing import assert_never

from livetrade.core.events import (
    Accepted,
    Cancel,
    Canceled,
    Expired,
    Modified,
    Modify,
    Rejected,
    RequestRejected,
    Triggered,
    Unknown,
)
from livetrade.core.kinds import OrderStatus
from livetrade.core.records import replaced
from livetrade.core.values import Change, Fill, Order, Terms

S = OrderStatus
Said = Modify | Cancel | Accepted | Rejected | Canceled | Expired | Modified | RequestRejected | Triggered | Unknown
"""All that moves an order, apart from its executions."""

_ENDS = {Canceled: S.CANCELED, Expired: S.EXPIRED, Rejected: S.REJECTED}
_SETTLING = (Modified, *_ENDS)
_OPEN = {**_ENDS, Modify: S.PENDING_UPDATE, Cancel: S.PENDING_CANCEL}


def _facts(status: OrderStatus) -> dict[type, OrderStatus]:
    return dict.fromkeys((Accepted, Triggered, Modified), status)


TABLE: dict[OrderStatus, dict[type, OrderStatus]] = {
    S.INITIALIZED: {},
    S.SUBMITTED: {**_OPEN, **_facts(S.ACCEPTED), Unknown: S.UNKNOWN},
    S.ACCEPTED: {**_OPEN, **_facts(S.ACCEPTED)},
    S.PARTIALLY_FILLED: {**_OPEN, **_facts(S.PARTIALLY_FILLED)},
    S.PENDING_UPDATE: {
        **_ENDS,
        **_facts(S.PENDING_UPDATE),
        Unknown: S.UNKNOWN,
        Cancel: S.PENDING_CANCEL,
        Modified: S.ACCEPTED,
        RequestRejected: S.ACCEPTED,
    },
    S.PENDING_CANCEL: {
        **_ENDS,
        **_facts(S.PENDING_CANCEL),
        Unknown: S.UNKNOWN,
        RequestRejected: S.ACCEPTED,
    },
    S.UNKNOWN: {
        **_ENDS,
        **_facts(S.ACCEPTED),
        Triggered: S.UNKNOWN,
        Cancel: S.PENDING_CANCEL,
        RequestRejected: S.ACCEPTED,
    },
    S.DENIED: {},
    S.FILLED: {**dict.fromkeys(_ENDS, S.FILLED), **_facts(S.FILLED), Modified: S.PARTIALLY_FILLED},
    S.CANCELED: _facts(S.CANCELED),
    S.REJECTED: _facts(S.REJECTED),
    S.EXPIRED: _facts(S.EXPIRED),
}
"""From each state, the state after a request or a report; what is not listed changes nothing."""


def after(order: Order, said: object) -> OrderStatus | None:
    """The state of `order` after a request or report, or None when it tells nothing new."""
    status = TABLE[order.status].get(type(said))
    if status is None or _is_known(order, said, status):
        return None
    if _is_early(order, said):
        return order.status
    if _settles(order, said):
        if order.filled_raw >= getattr(said, "quantity_raw", order.quantity_raw):
            return S.FILLED
        if order.ended is not None:
            return order.ended
    elif status is S.ACCEPTED and order.pending is not None:
        return S.PENDING_UPDATE
    return S.PARTIALLY_FILLED if status is S.ACCEPTED and order.filled_raw else status


def _is_known(order: Order, said: object, status: OrderStatus) -> bool:
    """Whether the order was told the same before."""
    match said:
        case Accepted():
            return status is order.status and not (said.venue_order_id and not order.venue_order_id)
        case Triggered():
            return order.triggered
        case Modified():
            terms = _terms(said)
            return terms in order.confirmed and (order.pending is None or _terms(order.pending) != terms)
        case Rejected() | Canceled() | Expired():
            return order.ended is not None or order.ending is not None
    return False


def _is_early(order: Order, said: object) -> bool:
    """Whether it is an end that overtook some of its executions."""
    return isinstance(said, Rejected | Canceled | Expired) and (said.filled_raw or 0) > order.filled_raw


def _settles(order: Order, said: object) -> bool:
    """Whether no modification is on its way any more: of two requests, a refusal answers only one."""
    if isinstance(said, RequestRejected):
        return order.status is not S.PENDING_CANCEL or order.pending is None
    return isinstance(said, _SETTLING)


def with_fill(order: Order, fill: Fill) -> Order:
    """The order after one execution, which must be new to it."""
    filled = order.filled_raw + fill.quantity_raw
    status, ended, ending = order.status, order.ended, order.ending
    if ending is not None:
        if filled >= order.ends_at_raw:
            status = S.FILLED if filled >= order.quantity_raw else ending
            ended, ending = ending, None
    elif fill.quantity_raw >= order.working_raw:
        status = S.FILLED
    elif status in (S.SUBMITTED, S.ACCEPTED, S.UNKNOWN):
        status = S.PARTIALLY_FILLED if order.pending is None else S.PENDING_UPDATE
    return replaced(
        order,
        status=status,
        filled_raw=filled,
        filled_value_raw=order.filled_value_raw + fill.value_raw,
        fees_raw=order.fees_raw + fill.fees_raw,
        executions=order.executions | {fill.execution_id},
        triggered=order.trigger_raw is not None,
        pending=None if status is S.FILLED or ended is not None else order.pending,
        reason="" if status is S.FILLED else order.reason,
        ended=ended,
        ending=ending,
        updated_ns=fill.time_ns,
    )


def with_news(order: Order, said: Said, status: OrderStatus) -> Order:
    """The order after a request or report that `after` said moves it to `status`."""
    changes: dict[str, object] = {"status": status, "updated_ns": said.ts}
    match said:
        case Modify():
            changes |= {"requested_ns": said.ts, "pending": said.change, "last_change": said.change}
        case Cancel():
            changes["requested_ns"] = said.ts
        case Accepted():
            changes["venue_order_id"] = said.venue_order_id or order.venue_order_id
        case Rejected() | Canceled() | Expired() if _is_early(order, said):
            changes |= {"ending": _ENDS[type(said)], "ends_at_raw": said.filled_raw, "reason": said.reason}
        case Rejected() | Canceled() | Expired():
            reason = "" if status is S.FILLED else said.reason or order.reason
            changes |= {"reason": reason, "pending": None, "ended": _ENDS[type(said)]}
        case Unknown():
            changes["reason"] = said.reason or order.reason
        case RequestRejected():
            still_waits = status is S.PENDING_UPDATE
            changes |= {"reason": said.reason, "pending": order.pending if still_waits else None}
        case Triggered():
            changes["triggered"] = True
        case Modified():
            changes |= _new_terms(order, said)
        case _:
            assert_never(said)
    return replaced(order, **changes)


def _new_terms(order: Order, said: Modified) -> dict[str, object]:
    approved = _approved(order, said)
    return {
        "quantity_raw": said.quantity_raw,
        "limit_raw": said.limit_raw,
        "trigger_raw": said.trigger_raw,
        "opening_raw": approved.opening_raw,
        "margin_raw": approved.margin_raw,
        "pending": None,
        "asked_raw": order.asked_raw or _terms(order),
        "confirmed": (*order.confirmed, _terms(said)),
    }


def _approved(order: Order, said: Modified) -> Order | Change:
    """What was approved of new terms: that of the modification they confirm, even one that seemed refused."""
    asked = order.last_change
    if asked is not None and (order.pending is not None or _terms(asked) == _terms(said)):
        return asked
    return order


def _terms(of: Order | Change | Modified) -> Terms:
    return of.quantity_raw, of.limit_raw, of.trigger_raw
