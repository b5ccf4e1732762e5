"""An order above the exchange's freeze quantity, in parts: the children of one parent, which itself is never sent.

A child is an order like any other. It carries its parent's id, from which its own is made, and all its other terms;
what is told of the parent is the children taken together.
"""

from collections.abc import Sequence

from livetrade.core.instruments import Instrument
from livetrade.core.kinds import OrderStatus
from livetrade.core.records import replaced
from livetrade.core.values import Order

MOST_SLICES = 10
"""Of an opening order, by the rules for retail orders; what closes a position is sent in as many as it takes."""
_LONGEST_ID = 30


def slices_of(item: Instrument, quantity_raw: int) -> list[int]:
    """A quantity in parts that the exchange takes; one where it takes all at once."""
    most = item.freeze_raw or quantity_raw
    whole, rest = divmod(quantity_raw, most)
    return [most] * whole + [rest] * bool(rest)


def child_id(parent_id: str, number: int) -> str | None:
    """None where there is no room for it."""
    name = f"{parent_id}S{number}"
    return name if len(name) <= _LONGEST_ID else None


def together(children: Sequence[Order]) -> Order:
    """The parent, as its children stand: its terms as first asked, their fills and fees summed up."""
    first = children[0]
    asked = [child.asked_raw or (child.quantity_raw, child.limit_raw, child.trigger_raw) for child in children]
    fees = sum(child.fees_raw for child in children)
    return replaced(
        first,
        client_order_id=first.parent_id,
        parent_id="",
        quantity_raw=sum(quantity for quantity, _, _ in asked),
        limit_raw=asked[0][1],
        trigger_raw=asked[0][2],
        asked_raw=None,
        pending=None,
        ending=None,
        ends_at_raw=0,
        opening_raw=sum(child.opening_raw for child in children),
        margin_raw=sum(child.margin_raw for child in children),
        filled_raw=sum(child.filled_raw for child in children),
        filled_value_raw=sum(child.filled_value_raw for child in children),
        fees_raw=fees,
        executions=frozenset().union(*(child.executions for child in children)),
        updated_ns=max(child.updated_ns for child in children),
        venue_order_id=None,
        status=_status(children),
        reason=next((child.reason for child in children if child.reason), ""),
    )


def _status(children: Sequence[Order]) -> OrderStatus:
    """FILLED once all are; while one is open, it is open; else what ended one that is not filled."""
    unfilled = [child for child in children if child.status is not OrderStatus.FILLED]
    still = next((child for child in unfilled if child.is_open), None)
    if not unfilled:
        return OrderStatus.FILLED
    if still is None:
        return unfilled[0].status
    at_rest = still.status in (OrderStatus.SUBMITTED, OrderStatus.ACCEPTED)
    return OrderStatus.PARTIALLY_FILLED if at_rest and any(child.filled_raw for child in children) else still.status
