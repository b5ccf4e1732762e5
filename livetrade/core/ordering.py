"""Orders on their way out: submitted, modified and canceled, as requests to the simulated venue or to a broker.

Every decision is emitted as an event and folded at once. What a request leads to is looked at later, when the
account settles: its symbol is marked as touched, and the simulated venue is to be asked.
"""

from collections import deque
from collections.abc import Sequence
from heapq import heappush

from livetrade.core import events as ev
from livetrade.core.approving import Approving, MarginRule
from livetrade.core.instruments import Instrument
from livetrade.core.kinds import OrderStatus
from livetrade.core.limits import Approved, Denied, Limits, instrument_denied
from livetrade.core.quotes import touched_at
from livetrade.core.records import replaced
from livetrade.core.schedules import Fees
from livetrade.core.slices import child_id, slices_of
from livetrade.core.state import Market
from livetrade.core.values import Change, Order
from livetrade.core.venue import Venue

_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


_PAIRS = [first + second for first in _BASE36 for second in _BASE36]


def base36(value: int, width: int) -> str:
    digits = ""
    while value:
        value, pair = divmod(value, 1296)
        digits = _PAIRS[pair] + digits
    return digits.lstrip("0").rjust(width, "0")


class Ordering(Approving):
    """Sends what is approved, records why the rest is not."""

    __slots__ = ("_deadline_ns", "_midnight_ns", "_out", "_timers", "_to_venue", "_touched", "venue")

    def __init__(
        self,
        *,
        venue: Venue | None,
        limits: Limits | None,
        fees: Fees,
        margin: MarginRule | None,
        trigger_by: str,
    ) -> None:
        super().__init__(limits=limits, fees=fees, margin=margin, trigger_by=trigger_by)
        self.venue = venue
        self._out: list[ev.Event] = []
        self._to_venue: deque[str] = deque()
        self._touched: dict[str, Market] = {}
        self._timers: list[int] = []
        self._midnight_ns = 0
        self._deadline_ns = 0

    def _emit(self, event: ev.Event) -> None:
        self.apply(event)
        self._out.append(event)

    def _alarm(self, kind: str, message: str) -> None:
        self._emit(ev.Alarm(self.ts, kind, message))

    def _deny(self, command: str, reason: str, client_order_id: str | None = None) -> None:
        self._emit(ev.CommandDenied(self.ts, command, reason, client_order_id))

    def _market(self, instrument: Instrument) -> Market:
        """The symbol's market, added at its first sight."""
        market = self.markets.get(instrument.symbol)
        if market is None:
            self._emit(ev.InstrumentAdded(self.ts, instrument))
            market = self.markets[instrument.symbol]
        return market

    def _timer(self, ts: int) -> None:
        heappush(self._timers, ts)
        self._set_deadline()

    def _set_deadline(self) -> None:
        self._deadline_ns = min(self._midnight_ns, self._timers[0]) if self._timers else self._midnight_ns

    # ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────

    def new_id(self, ts: int) -> str:
        """A client order id for the next order: 16 letters and digits, ordered by time. Each order makes the next id
        another; asked twice before an order, it is the same."""
        return base36(ts, 12) + base36(len(self.orders), 4)

    def _on_submit(self, command: ev.SubmitOrder) -> None:
        traded = self.markets.get(command.instrument.symbol)
        order = order_of(command, self.ts, touched_at(traded.quote if traded else None, command.side))
        known = self.order(order.client_order_id)
        if known is not None:
            if known.terms != order.terms:
                self._deny("order", duplicate(known), order.client_order_id)
            return
        market = self._market(order.instrument)
        misfit = instrument_denied(order.instrument, market.instrument)
        if misfit:
            self._deny("order", misfit, order.client_order_id)
            return
        if order.instrument is not market.instrument:
            order = replaced(order, instrument=market.instrument)
        parts = self._parts(order, market, sliced=command.sliced)
        if parts:
            self._submit_slices(order, market, parts)
        else:
            self._submit(order, market)

    def _parts(self, order: Order, market: Market, *, sliced: bool) -> list[int]:
        """The slices to send an order in; empty for one that is sent whole. What only closes is sliced without being
        asked: the exchange would refuse it, and it must not stay open."""
        parts = slices_of(order.instrument, order.quantity_raw)
        if len(parts) > 1 and (sliced or order.quantity_raw <= self._closable(order, market)):
            return parts
        return []

    def _submit_slices(self, order: Order, market: Market, parts: Sequence[int]) -> None:
        """The whole is judged before the first part is sent, so that a limit does not let half of it through."""
        verdict = self._approve(order, market, parts=parts)
        if isinstance(verdict, Denied):
            self._emit(ev.OrderDenied(self.ts, replaced(order, status=OrderStatus.DENIED, reason=verdict.reason)))
            return
        for number, part in enumerate(parts, 1):
            key = child_id(order.client_order_id, number)
            if key is None or key in self.orders:
                key = self.new_id(self.ts)
            child = replaced(order, client_order_id=key, parent_id=order.client_order_id, quantity_raw=part)
            self._submit(child, market)

    def _submit(self, order: Order, market: Market) -> None:
        """Sends an order that has the time and the quote of now, if the limits approve it, or records why not. The only
        way out for an order."""
        verdict = self._approve(order, market)
        if isinstance(verdict, Denied):
            self._emit(ev.OrderDenied(self.ts, replaced(order, status=OrderStatus.DENIED, reason=verdict.reason)))
        else:
            self._send(verdict)

    def _send(self, approved: Approved) -> None:
        order = replaced(
            approved.order,
            status=OrderStatus.SUBMITTED,
            opening_raw=approved.opening_raw,
            margin_raw=approved.margin_raw,
        )
        self._emit(ev.Submit(self.ts, order))
        self._to_simulated(order)

    def _to_simulated(self, order: Order) -> None:
        """A request left for the simulated venue: it arrives now, or after its latency."""
        symbol = order.instrument.symbol
        self._touched[symbol] = self.markets[symbol]
        if self.venue is None:
            return
        if self.venue.latency_ns:
            self._timer(self.ts + self.venue.latency_ns)
        self._to_venue.append(order.client_order_id)

    # ── modifying and canceling ──────────────────────────────────────────────────────────────────────────────────────

    def _open_order(self, command: str, client_order_id: str) -> Order | None:
        """The working order that a modify or cancel means; refuses the command when there is none."""
        order = self.orders.get(client_order_id)
        if order is None:
            self._deny(command, f"Unknown order: no order has the id {client_order_id}", client_order_id)
        elif order.is_final:
            self._deny(command, f"Nothing to {command}: {client_order_id} is {order.status}", client_order_id)
            return None
        return order

    def _on_modify(self, command: ev.ModifyOrder) -> None:
        order = self._open_order("modify", command.client_order_id)
        if order is None:
            return
        reason = _cannot_modify(order, command)
        market = self.markets[order.symbol]
        quantity = command.quantity_raw or order.quantity_raw
        wanted = replaced(
            order,
            quantity_raw=quantity - order.filled_raw,
            filled_raw=0,
            limit_raw=command.limit_raw or order.limit_raw,
            trigger_raw=command.trigger_raw or order.trigger_raw,
        )
        if reason is None:
            verdict = self._approve(wanted, market, instead_of=order)
            if isinstance(verdict, Approved):
                change = Change(quantity, wanted.limit_raw, wanted.trigger_raw, verdict.opening_raw, verdict.margin_raw)
                self._emit(ev.Modify(self.ts, order.client_order_id, change))
                self._to_simulated(self.orders[order.client_order_id])
                return
            reason = verdict.reason
        self._deny("modify", reason, order.client_order_id)

    def _on_cancel(self, command: ev.CancelOrder) -> None:
        if command.client_order_id in self.slices:
            self._cancel_slices(command.client_order_id)
            return
        order = self._open_order("cancel", command.client_order_id)
        if order is not None:
            self._cancel(order)

    def _cancel_slices(self, parent_id: str) -> None:
        working = [self.orders[key] for key in self.slices[parent_id] if self.orders[key].is_open]
        if not working:
            self._deny("cancel", f"Nothing to cancel: no slice of {parent_id} is open", parent_id)
        for order in working:
            self._cancel(order)

    def _on_cancel_all(self, command: ev.CancelAll) -> None:
        for order in list(self.open_orders.values()):
            if command.symbol in (None, order.symbol) and command.strategy in (None, order.strategy):
                self._cancel(order)

    def _cancel(self, order: Order) -> None:
        if order.is_open and order.ending is None and order.status is not OrderStatus.PENDING_CANCEL:
            self._emit(ev.Cancel(self.ts, order.client_order_id))
            self._to_simulated(self.orders[order.client_order_id])


def order_of(command: ev.SubmitOrder, ts: int, reference_raw: int) -> Order:
    """What a command asks for, as an order that nobody has looked at yet: of this time, and this price on its side."""
    return Order(
        client_order_id=command.client_order_id,
        instrument=command.instrument,
        side=command.side,
        order_type=command.order_type,
        quantity_raw=command.quantity_raw,
        limit_raw=command.limit_raw,
        trigger_raw=command.trigger_raw,
        time_in_force=command.time_in_force,
        product=command.product,
        strategy=command.strategy,
        tag=command.tag,
        source=command.source,
        exits=command.exits,
        created_ns=ts,
        updated_ns=ts,
        requested_ns=ts,
        reference_raw=reference_raw,
    )


def duplicate(known: Order) -> str:
    return f"Duplicate id: {known.client_order_id} was used for {known!r}"


def _cannot_modify(order: Order, command: ev.ModifyOrder) -> str | None:
    """Why an open order cannot take these terms, or None."""
    name = order.client_order_id
    if order.ending or order.status in (OrderStatus.PENDING_UPDATE, OrderStatus.PENDING_CANCEL, OrderStatus.UNKNOWN):
        return f"Nothing to modify: a change of {name} is on its way ({order.ending or order.status})"
    if order.is_protective:
        return f"Nothing to modify: {name} closes a position"
    if command.limit_raw and order.limit_raw is None:
        return f"Nothing to modify: {name} is a {order.order_type} order and has no limit price"
    if command.trigger_raw and (order.trigger_raw is None or order.triggered):
        return f"Nothing to modify: {name} has no trigger price that is still waiting"
    if command.quantity_raw is not None and command.quantity_raw <= order.filled_raw:
        return f"Nothing to modify: {name} has already filled {order.filled_qty}"
    return None
