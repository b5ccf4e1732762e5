"""What is known of our orders at Fyers, and what each thing heard makes of them: reports for the account. Pure.

An order is found by its id there once that is known, before that by its tag (and then symbol and side must fit, for a
tag is only a tag). Fills are counted by trade number alone; that a book shows more filled than the trades we know makes
the trades wanted, and fills nothing. Rows may come twice, late, and in any order.
"""

from collections.abc import Iterable
from typing import Any

from livetrade.adapters.fyers import rows
from livetrade.adapters.fyers.rows import OrderRow, TradeRow
from livetrade.adapters.fyers.terms import has_own_limit, order_terms, units
from livetrade.core import events as ev
from livetrade.core.kinds import PriceSource, Product
from livetrade.core.values import Change, Order, Terms
from livetrade.errors import PriceError

KEPT_EARLY = 1000
CLOCKS_APART_NS = 60 * 10**9
"""By how much the clock there may be behind ours."""


class Tracked:
    """One order of ours. venue_id: None until it is known. terms: as last told. filled: what the books show as filled,
    in units; told: what the trades add up to."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.venue_id = order.venue_order_id
        self.terms: Terms = order_terms(order)
        self.asked: Change | None = order.pending
        self.filled = 0
        self.executions = set(order.executions)
        self.told = units(order.instrument, order.filled_raw)
        self.ended = order.is_final
        self.is_accepted = order.venue_order_id is not None
        self.is_given_up = False
        """It was told that it never arrived."""
        self.status = 0

    @property
    def id(self) -> str:
        return self.order.client_order_id

    @property
    def is_heard(self) -> bool:
        """Whether a book or the socket has shown it."""
        return self.status != 0

    @property
    def is_clear(self) -> bool:
        """Whether its status is one that says something."""
        return self.status in rows.KNOWN and self.status != rows.TRANSIT

    @property
    def is_done(self) -> bool:
        """Over, and every fill of it was told."""
        return self.ended and self.told >= self.filled

    @property
    def wants_trades(self) -> bool:
        return self.filled > self.told

    @property
    def key(self) -> tuple[str, Product]:
        return self.order.symbol, self.order.product


class Tracker:
    """changes: how often something of others was heard, or of a position; then the broker's own book may be another.
    net: what the executions of ours that were told here add up to, in units, by symbol and product."""

    def __init__(self) -> None:
        self.orders: dict[str, Tracked] = {}
        self.net: dict[tuple[str, Product], int] = {}
        self.executions = 0
        self.foreign = 0
        self.odd: list[str] = []
        self.strays: dict[str, Tracked] = {}
        """By their ids at Fyers, orders that arrived after all."""
        self._by_venue: dict[str, Tracked] = {}
        self._early: dict[str, list[TradeRow]] = {}

    def add(self, order: Order) -> Tracked:
        """Begins to follow an order, or goes on with it."""
        tracked = self.orders.get(order.client_order_id)
        if tracked is None:
            tracked = self.orders[order.client_order_id] = Tracked(order)
            if tracked.venue_id:
                self._by_venue[tracked.venue_id] = tracked
        return tracked

    def claim(self, tracked: Tracked, venue_id: str) -> list[ev.Report]:
        """An order is this one at Fyers. What was heard of it before that counts now."""
        if tracked.venue_id is None:
            tracked.venue_id = venue_id
            self._by_venue[venue_id] = tracked
        early = self._early.pop(venue_id, ())
        return [report for trade in early for report in self.trade(trade)]

    def find(self, venue_id: str, tag: str, symbol: str, side: int) -> Tracked | None:
        known = self._by_venue.get(venue_id)
        if known is not None:
            return known
        tagged = self.orders.get(tag)
        if tagged is None or tagged.venue_id is not None:
            return None
        return tagged if (tagged.order.symbol, tagged.order.side.sign) == (symbol, side) else None

    # ── what is heard ────────────────────────────────────────────────────────────────────────────────────────────────

    def row(self, row: OrderRow, *, terms_count: bool = True) -> list[ev.Report]:
        """An order as it is shown. terms_count: False where its terms may be older than what was asked meanwhile."""
        tracked = self.find(row.id, row.tag, row.symbol, row.side)
        if tracked is None:
            self.foreign += row.filled > 0
            return []
        reports = self.claim(tracked, row.id)
        if row.status not in rows.KNOWN:
            if tracked.status != row.status:
                self.odd.append(f"{tracked.id} has the status {row.status}, which nobody knows; it is looked up again")
            tracked.status = row.status
            return reports
        if tracked.is_given_up and row.status not in rows.ENDS and row.id not in self.strays:
            self.strays[row.id] = tracked
        if tracked.ended and row.status not in rows.ENDS:
            return reports  # older than its end
        tracked.status = row.status
        tracked.filled = max(tracked.filled, row.filled)
        if row.status != rows.REJECTED and not tracked.is_accepted and row.status != rows.TRANSIT:
            tracked.is_accepted = True
            reports.append(ev.Accepted(0, tracked.id, row.id))
        if terms_count:
            reports += self._terms(tracked, row)
        return reports + self._end(tracked, row)

    def _terms(self, tracked: Tracked, row: OrderRow) -> list[ev.Report]:
        """Its terms are others than were told: what was asked of it, or something that somebody else changed."""
        now = self._terms_of(tracked, row)
        if now is None or now == tracked.terms or row.status in (rows.REJECTED, rows.TRANSIT):
            return []
        tracked.terms = now
        if tracked.asked is not None and now == _terms(tracked.asked):
            tracked.asked = None
        return [ev.Modified(0, tracked.id, *now)]

    def _terms_of(self, tracked: Tracked, row: OrderRow) -> Terms | None:
        order, item = tracked.order, tracked.order.instrument
        _, limit_raw, trigger_raw = tracked.terms
        try:
            if has_own_limit(order) and row.limit:
                limit_raw = item.price_raw(row.limit)
            if trigger_raw is not None and row.stop:
                trigger_raw = item.price_raw(row.stop)
        except PriceError as error:
            self.odd.append(f"{tracked.id}: {error}")
            return None
        return row.quantity * 10**item.quantity_scale, limit_raw, trigger_raw

    def _end(self, tracked: Tracked, row: OrderRow) -> list[ev.Report]:
        if row.status not in rows.ENDS:
            return []
        tracked.ended, tracked.asked = True, None
        filled_raw = tracked.filled * 10**tracked.order.instrument.quantity_scale
        match row.status:
            case rows.CANCELED:
                return [ev.Canceled(0, tracked.id, row.message, filled_raw)]
            case rows.REJECTED:
                return [ev.Rejected(0, tracked.id, row.message or "rejected, without a word", filled_raw=filled_raw)]
            case rows.EXPIRED:
                return [ev.Expired(0, tracked.id, row.message, filled_raw)]
        return []

    def trade(self, trade: TradeRow) -> list[ev.Report]:
        """One execution, told as often as it is heard: the account counts it once, by its number."""
        tracked = self.find(trade.order_id, trade.tag, trade.symbol, trade.side)
        if tracked is None:
            self.foreign += 1
            if len(self._early) < KEPT_EARLY:
                self._early.setdefault(trade.order_id, []).append(trade)
            return []
        reports = self.claim(tracked, trade.order_id)
        item = tracked.order.instrument
        try:
            price_raw = item.price_raw(trade.price)
        except PriceError as error:
            self.odd.append(f"the trade {trade.number} of {tracked.id} is not booked: {error}")
            return reports
        if trade.number not in tracked.executions:
            tracked.executions.add(trade.number)
            tracked.told += trade.quantity
            self.executions += 1
            self.net[tracked.key] = self.net.get(tracked.key, 0) + trade.side * trade.quantity
        tracked.status = tracked.status or rows.PENDING
        if not tracked.is_accepted:
            tracked.is_accepted = True
            reports.append(ev.Accepted(0, tracked.id, trade.order_id))
        quantity_raw = trade.quantity * 10**item.quantity_scale
        return [*reports, ev.Executed(0, tracked.id, trade.number, quantity_raw, price_raw, PriceSource.VENUE)]

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> Iterable[Tracked]:
        return [tracked for tracked in self.orders.values() if not tracked.is_done]

    def look_alikes(self, tracked: Tracked, found: Iterable[OrderRow]) -> list[OrderRow]:
        """Orders without a tag that may be this one, were its tag lost."""
        order = tracked.order
        since_ns = order.created_ns - CLOCKS_APART_NS
        wanted: tuple[Any, ...] = (
            order.symbol,
            order.side.sign,
            order.product,
            units(order.instrument, tracked.terms[0]),
        )
        return [
            row
            for row in found
            if not row.tag
            and row.id not in self._by_venue
            and (row.symbol, row.side, row.product, row.quantity) == wanted
            and (not row.placed_ns or row.placed_ns >= since_ns)
        ]

    def take_odd(self) -> list[str]:
        odd, self.odd = self.odd, []
        return odd


def settle_unsent(tracked: Tracked) -> None:
    """It surely is not at Fyers."""
    tracked.ended = tracked.is_given_up = True
    tracked.status = tracked.status or rows.REJECTED


def _terms(change: Change) -> Terms:
    return change.quantity_raw, change.limit_raw, change.trigger_raw
