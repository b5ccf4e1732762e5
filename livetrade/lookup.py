"""After a restart: what became of the orders that were on their way is asked of the broker, never guessed.

An order that the broker has is brought up to what it says; one that it never got is over; none is sent a second time.
What was asked of a working order (a cancel, a modification) may be asked again: it says how the order is to be. Orders
of this session (an exit may fire as the engine opens) wait for the broker to run, and it is not asked about them. It
is asked about orders that ended shortly before: a last execution may have come too late to be heard.

Then its books are held against ours. Where its fills are not ours, nothing of that symbol is opened until somebody has
accepted it; and no exit closes more than the broker holds.
"""

import asyncio
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from livetrade.core import events as ev
from livetrade.core.account import Account
from livetrade.core.approving import ASKED
from livetrade.core.kinds import OrderStatus
from livetrade.core.values import Order
from livetrade.errors import BrokerError, FeedError
from livetrade.ports import Broker, Statement
from livetrade.reconciling import RECONCILE, Compared, blocks, compared

ASKING = ev.BlockOpening(0, ASKED, "Connection lost: the broker is asked what became of earlier orders")
"""What an account is told, before anything else, that has orders from before."""
AGAIN = 2.0
"""Seconds until a broker that did not answer is asked again."""
LATE_NS = 60_000_000_000
"""For so long before the last news of any order, orders may have ended with an execution still to be told."""

_log = logging.getLogger("livetrade")


class Unsettled:
    """Orders of which the broker could not tell: what was asked of them is asked again once it does."""

    def __init__(self, account: Account, since_ns: int, send: Callable[[ev.Request], None]) -> None:
        self._account = account
        self._since_ns = since_ns
        self._send = send
        self._orders: dict[str, Order] = {}

    def add(self, order: Order) -> None:
        self._orders[order.client_order_id] = order

    def heard(self, client_order_id: str) -> None:
        """Something was reported of an order."""
        before = self._orders.get(client_order_id)
        if before is not None and self._account.orders[client_order_id].status is not OrderStatus.UNKNOWN:
            del self._orders[client_order_id]
            self.ask_again(before)

    def ask_again(self, before: Order) -> None:
        """What was on its way when the engine began, and still is. What this session asked waits for the broker."""
        now = self._account.orders[before.client_order_id]
        if not now.is_open:
            return
        if before.pending is not None and now.pending == before.pending:
            self._send(ev.Modify(now.updated_ns, now.client_order_id, before.pending))
        if before.status is OrderStatus.PENDING_CANCEL and now.requested_ns < self._since_ns:
            self._send(ev.Cancel(now.updated_ns, now.client_order_id))


async def look_up(
    broker: Broker, account: Account, take: Callable[[Any], None], send: Callable[[ev.Request], None]
) -> Unsettled:
    """Returns when every order is known again, or known to be unknown; that ends what began with `ASKING`.

    take: hands the account an input, stamped now. send: to the broker, once it runs.
    """
    since_ns = account.session.ts if account.session is not None else 0
    unsettled = Unsettled(account, since_ns, send)
    if not account.orders:
        return unsettled
    orders = _in_question(account, since_ns)
    statement = await _statement(broker, orders)
    for order in orders:
        _settle(account, order, statement, unsettled, take)
    found = compared(account, statement)
    _tell_positions(account, statement, found, take)
    for symbol, reason in blocks(account, found).items():
        take(ev.BlockOpening(0, RECONCILE, reason, reason, symbol))
    take(ev.BlockOpening(0, ASKED))
    return unsettled


def _tell_positions(account: Account, statement: Statement, found: list[Compared], take: Callable[[Any], None]) -> None:
    """What the broker holds itself; where it does not say, what its fills add up to."""
    for each in found:
        told = each.instrument.quantity(each.broker_raw)
        if statement.positions is not None:
            told = statement.positions.get((each.symbol, each.product), Decimal(0))
        take(ev.BrokerPosition(0, each.symbol, each.product, told))


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
        except (BrokerError, FeedError) as error:
            _log.warning("it is asked again what became of %d orders: %s", len(orders), error)
        except Exception:  # noqa: BLE001  a port's edge: the broker is asked until it answers
            _log.exception("the broker did not say what became of %d orders; it is asked again", len(orders))
        await asyncio.sleep(AGAIN)


def _settle(
    account: Account,
    order: Order,
    statement: Statement,
    unsettled: Unsettled,
    take: Callable[[Any], None],
) -> None:
    reports = statement.reports.get(order.client_order_id)
    if order.is_final and not reports:
        return
    if reports is None:
        take(ev.Unknown(0, order.client_order_id, "the broker does not say what became of it"))
        told = f"the broker does not say what became of {order.client_order_id}; it is not sent again"
        take(ev.BlockOpening(0, "order look-up", alarm=told))
        unsettled.add(order)
        return
    if not reports:
        take(ev.Rejected(0, order.client_order_id, "the broker never got it: the engine had ended before", sent=False))
        return
    for report in sorted(reports, key=_turn):
        if not _is_old_answer(order, report):
            take(report)
    unsettled.ask_again(order)


def _turn(report: ev.Report) -> int:
    """Something may be decided after each report: what an order is comes first, then its executions, then its end."""
    if isinstance(report, ev.Executed):
        return 1
    return 2 if isinstance(report, ev.Rejected | ev.Canceled | ev.Expired) else 0


def _is_old_answer(order: Order, report: ev.Report) -> bool:
    """Whether a report may answer an earlier request than the one that is on its way: a refusal does not say what it
    refuses, and the same terms may be asked for twice. Without it that request is asked again, which does no harm."""
    if isinstance(report, ev.Modified):
        return (report.quantity_raw, report.limit_raw, report.trigger_raw) in order.confirmed
    return isinstance(report, ev.RequestRejected)
