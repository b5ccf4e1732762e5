"""After a restart: what became of the orders that were on their way is asked of the broker, never guessed.

An order that the broker has is brought up to what it says; one that it never got is over; none is sent a second time.
What was asked of a working order (a cancel, a modification) may be asked again: it says how the order is to be. Orders
of this session (an exit may fire as the engine opens) wait for the broker to run, and it is not asked about them. It
is asked about orders that ended shortly before: a last execution may have come too late to be heard.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.kinds import OrderStatus, Product
from livetrade.core.values import Order
from livetrade.ports import Broker, Statement

AGAIN = 2.0
"""Seconds until a broker that did not answer is asked again."""
LATE_NS = 60_000_000_000
"""For so long before the last news of any order, orders may have ended with an execution still to be told."""

_log = logging.getLogger("livetrade")


async def look_up(
    broker: Broker, account: Account, take: Callable[[Any], None], send: Callable[[ev.Request], None]
) -> None:
    """Returns when every order is known again. Until then nothing is opened.

    take: hands the account an input, stamped now. send: to the broker, once it runs.
    """
    if not account.orders:
        return
    take(ev.BlockOpening(0, "broker", "Connection lost: the broker is asked what became of earlier orders"))
    assert account.session is not None
    since_ns = account.session.ts
    orders = _in_question(account, since_ns)
    statement = await _statement(broker, orders)
    for order in orders:
        _settle(account, order, statement, since_ns, take, send)
    different = _differences(account, statement.filled)
    if different:
        take(ev.Halt(0, f"the broker's fills differ from the journal's: {'; '.join(different)}"))
    take(ev.BlockOpening(0, "broker"))


def _in_question(account: Account, since_ns: int) -> list[Order]:
    earlier = [order for order in account.orders.values() if order.created_ns < since_ns]
    late_ns = max([order.updated_ns for order in earlier], default=0) - LATE_NS
    return [order for order in earlier if order.is_open or (_may_fill_late(order) and order.updated_ns > late_ns)]


def _may_fill_late(order: Order) -> bool:
    return order.ended is not None and order.status is not OrderStatus.FILLED


async def _statement(broker: Broker, orders: list[Order]) -> Statement:
    while True:
        try:
            return await broker.statement(orders)
        except Exception:  # noqa: BLE001  a port's edge: the broker is asked until it answers
            _log.exception("the broker did not say what became of %d orders; it is asked again", len(orders))
        await asyncio.sleep(AGAIN)


def _settle(
    account: Account,
    order: Order,
    statement: Statement,
    since_ns: int,
    take: Callable[[Any], None],
    send: Callable[[ev.Request], None],
) -> None:
    reports = statement.reports.get(order.client_order_id)
    if order.is_final and not reports:
        return
    if reports is None:
        take(ev.Unknown(0, order.client_order_id, "the broker does not say what became of it"))
        return
    if not reports:
        take(ev.Rejected(0, order.client_order_id, "the broker never got it: the engine had ended before", sent=False))
        return
    for report in sorted(reports, key=_turn):
        if not _is_old_answer(order, report):
            take(report)
    _ask_again(order, account.orders[order.client_order_id], since_ns, send)


def _turn(report: ev.Report) -> int:
    """Something may be decided after each report: what an order is comes first, then its executions, then its end."""
    if isinstance(report, ev.Executed):
        return 1
    return 2 if isinstance(report, ev.Rejected | ev.Canceled | ev.Expired) else 0


def _ask_again(before: Order, now: Order, since_ns: int, send: Callable[[ev.Request], None]) -> None:
    """What was on its way when the engine began, and still is. What this session asked waits for the broker to run."""
    if not now.is_open:
        return
    if before.pending is not None and now.pending == before.pending:
        send(ev.Modify(now.updated_ns, now.client_order_id, before.pending))
    if now.status is OrderStatus.PENDING_CANCEL and now.requested_ns < since_ns:
        send(ev.Cancel(now.updated_ns, now.client_order_id))


def _is_old_answer(order: Order, report: ev.Report) -> bool:
    """Whether a report may answer an earlier request than the one that is on its way: a refusal does not say what it
    refuses, and the same terms may be asked for twice. Without it that request is asked again, which does no harm."""
    if isinstance(report, ev.Modified):
        return (report.quantity_raw, report.limit_raw, report.trigger_raw) in order.confirmed
    return isinstance(report, ev.RequestRejected)


def _differences(account: Account, filled: Mapping[tuple[str, Product], int] | None) -> list[str]:
    """Where the sum of the fills under ids of ours is not what the books hold."""
    if filled is None:
        return []
    ours: dict[tuple[str, Product], int] = {}
    for book in account.ledger.books.values():
        key = (book.symbol, book.product)
        ours[key] = ours.get(key, 0) + book.quantity_raw
    told = []
    for symbol, product in sorted(ours.keys() | filled.keys()):
        have, says = ours.get((symbol, product), 0), filled.get((symbol, product), 0)
        item = account.instruments.get(symbol)
        if have != says and item is not None:
            told.append(f"{symbol} {product}: {item.quantity(says)} at the broker, {item.quantity(have)} here")
    return told
