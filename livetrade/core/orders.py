"""The life of an order, as one table.

    INITIALIZED ──> DENIED                                  our own limits; never sent
         └──> SUBMITTED ──> ACCEPTED ──> PARTIALLY_FILLED ──> FILLED
                  │            │  ↕ PENDING_UPDATE, PENDING_CANCEL
                  ├──> REJECTED│
                  └──> UNKNOWN └──> CANCELED, EXPIRED

A venue may say things twice, late, or in another order, so every state has an answer to every report, and a report that
tells nothing new leaves the order as it is. What has filled is decided by the executions alone: a late fill still
counts in a canceled order, and one that is wholly filled is FILLED whatever else was said.
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
from livetrade.core.values import Fill, Order

S = OrderStatus
Said = Modify | Cancel | Accepted | Rejected | Canceled | Expired | Modified | RequestRejected | Triggered | Unknown
"""All that moves an order, apart from its executions."""

_CLOSING = {Canceled: S.CANCELED, Expired: S.EXPIRED, Rejected: S.REJECTED}
_OPEN = {**_CLOSING, Modify: S.PENDING_UPDATE, Cancel: S.PENDING_CANCEL}

TABLE: dict[OrderStatus, dict[type, OrderStatus]] = {
    S.INITIALIZED: {},
    S.SUBMITTED: {**_OPEN, Unknown: S.UNKNOWN, Accepted: S.ACCEPTED, Triggered: S.ACCEPTED, Modified: S.ACCEPTED},
    S.ACCEPTED: {**_OPEN, Triggered: S.ACCEPTED, Modified: S.ACCEPTED},
    S.PARTIALLY_FILLED: {**_OPEN, Triggered: S.PARTIALLY_FILLED, Modified: S.PARTIALLY_FILLED},
    S.PENDING_UPDATE: {
        **_CLOSING,
        Unknown: S.UNKNOWN,
        Cancel: S.PENDING_CANCEL,
        Modified: S.ACCEPTED,
        RequestRejected: S.ACCEPTED,
        Triggered: S.PENDING_UPDATE,
    },
    S.PENDING_CANCEL: {
        **_CLOSING,
        Unknown: S.UNKNOWN,
        Modified: S.PENDING_CANCEL,
        RequestRejected: S.ACCEPTED,
        Triggered: S.PENDING_CANCEL,
    },
    S.UNKNOWN: {**_CLOSING, Accepted: S.ACCEPTED, Modified: S.ACCEPTED, Triggered: S.UNKNOWN, Cancel: S.PENDING_CANCEL},
    S.DENIED: {},
    S.FILLED: {},
    S.CANCELED: {},
    S.REJECTED: {},
    S.EXPIRED: {},
}
"""From each state, the state after a request or a report; what is not listed changes nothing."""


_SETTLES = (Modified, RequestRejected, Canceled, Expired, Rejected)
"""After one of these no modification is on its way."""


def after(order: Order, said: object) -> OrderStatus | None:
    """The state of `order` after a request or report, or None when it tells nothing new."""
    status = TABLE[order.status].get(type(said))
    if status is None:
        return order.status if _first_names(order, said) else None
    if isinstance(said, RequestRejected) and order.status is S.PENDING_CANCEL and order.pending is not None:
        status = S.PENDING_UPDATE  # two requests were on their way, and one answer is still to come
    elif isinstance(said, _SETTLES) and order.filled_raw >= getattr(said, "quantity_raw", order.quantity_raw):
        status = S.FILLED
    elif status is S.ACCEPTED and order.filled_raw:
        status = S.PARTIALLY_FILLED
    return None if status is order.status and _is_known(order, said) else status


def _first_names(order: Order, said: object) -> bool:
    """A late acceptance still tells the venue's own id."""
    sent = order.status not in (S.INITIALIZED, S.DENIED)
    return sent and isinstance(said, Accepted) and bool(said.venue_order_id and not order.venue_order_id)


def _is_known(order: Order, said: object) -> bool:
    if isinstance(said, Modified):
        terms = (said.quantity_raw, said.limit_raw, said.trigger_raw)
        return order.pending is None and terms == (order.quantity_raw, order.limit_raw, order.trigger_raw)
    return isinstance(said, Triggered) and order.triggered


def with_fill(order: Order, fill: Fill) -> Order:
    """The order after one execution, which must be new to it."""
    filled = order.filled_raw + fill.quantity_raw
    status = order.status
    if fill.quantity_raw >= order.working_raw:
        status = S.FILLED
    elif status in (S.SUBMITTED, S.ACCEPTED, S.UNKNOWN):
        status = S.PARTIALLY_FILLED
    return replaced(
        order,
        status=status,
        filled_raw=filled,
        filled_value_raw=order.filled_value_raw + fill.value_raw,
        fees_raw=order.fees_raw + fill.fees_raw,
        executions=order.executions | {fill.execution_id},
        triggered=order.trigger_raw is not None,
        reason="" if status is S.FILLED else order.reason,
        updated_ns=fill.time_ns,
    )


def with_news(order: Order, said: Said, status: OrderStatus) -> Order:
    """The order after a request or report that `after` said moves it to `status`."""
    changes: dict[str, object] = {"status": status, "updated_ns": said.ts}
    match said:
        case Modify():
            changes |= {"requested_ns": said.ts, "pending": said.change}
        case Cancel():
            changes["requested_ns"] = said.ts
        case Accepted():
            changes["venue_order_id"] = said.venue_order_id or order.venue_order_id
        case Rejected() | Canceled() | Expired():
            changes |= {"reason": said.reason or order.reason, "pending": None}
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
    approved = order.pending or order
    return {
        "quantity_raw": said.quantity_raw,
        "limit_raw": said.limit_raw,
        "trigger_raw": said.trigger_raw,
        "opening_raw": approved.opening_raw,
        "margin_raw": approved.margin_raw,
        "pending": None,
        "asked_raw": order.asked_raw or (order.quantity_raw, order.limit_raw, order.trigger_raw),
    }
