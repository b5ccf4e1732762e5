"""What is looked up in the broker's books: orders of which nobody knows, news that did not come, positions.

An order whose submission got no clear answer is UNKNOWN, and looked for in the book by its tag; it is never sent again.
Once the book or the socket shows it, it is known. Where the book has not shown it for `certain` seconds it never
arrived; unless an order without a tag might be it: then a person has to look.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from livetrade.adapters.fyers.books import Books
from livetrade.adapters.fyers.rows import OrderRow
from livetrade.adapters.fyers.standing import Standing
from livetrade.adapters.fyers.tracking import Tracked, Tracker, settle_unsent
from livetrade.core import events as ev
from livetrade.core.records import record
from livetrade.errors import BrokerError, FeedError

LOOKING = "order look-up"
SURE_LOOKS = 3
NEVER = 3600.0

_log = logging.getLogger("livetrade")


@record
class Pauses:
    """In seconds; tests bring shorter ones."""

    heard: float = 1.0
    """After an order was placed, until it is looked up if nobody told of it."""
    first: float = 0.3
    """Until the first look for what is unknown, and for trades that nobody told; then twice that, and so on."""
    longest: float = 3.0
    certain: float = 15.0
    """How long the book has to be without an order that never arrived."""
    alert: float = 20.0
    """How long an order may be unknown before a person hears of it; with the call itself less than half a minute."""
    poll: float = 2.0
    """Between two looks while there is no order socket and something is open."""
    positions: float = 20.0
    """Between two looks at the broker's own positions."""
    again: float = 1.0
    """Until a position that was changed elsewhere is looked at a second time, to be sure."""


class Doubt:
    """Why an order is looked up. what: the request that got no clear answer; None where only news is missing."""

    def __init__(self, what: ev.Request | None, since: float, due: float, pause: float) -> None:
        self.what = what
        self.since, self.due, self.pause = since, due, pause
        self.looks = 0
        self.is_told = self.is_named = False  # that it is unknown; what it may be


class LookUps:
    """tell: hands reports on. alarm: what a person should hear, by its kind. settled: something is known again.
    is_blind: whether there is no order socket. asked: how often a modification left or was answered; what a book shows
    of an order's terms may be older than one that did so meanwhile."""

    def __init__(
        self,
        tracker: Tracker,
        books: Books,
        standing: Standing,
        pauses: Pauses,
        tell: Callable[[list[ev.Report]], None],
        alarm: Callable[[str, str], None],
        settled: Callable[[], None],
        is_blind: Callable[[], bool],
    ) -> None:
        self._tracker, self._books, self._standing, self._pauses = tracker, books, standing, pauses
        self._tell, self._alarm, self._settled, self._is_blind = tell, alarm, settled, is_blind
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._doubts: dict[str, Doubt] = {}
        self._due = asyncio.Event()
        self._all_due = 0.0
        self._positions_due = 0.0
        self.asked = 0
        for tracked in tracker.open():  # the statement could not tell of them
            if not tracked.is_clear:
                self.doubt(tracked, ev.Submit(0, tracked.order), 0)

    # ── what is in doubt ─────────────────────────────────────────────────────────────────────────────────────────────

    def doubt(self, tracked: Tracked, what: ev.Request | None, wait: float) -> None:
        """Has an order looked up, in so many seconds at the latest."""
        now = self._now()
        doubt = self._doubts.get(tracked.id)
        if doubt is None or (what is not None and doubt.what is None):
            self._doubts[tracked.id] = Doubt(what, now, now + wait, self._pauses.first)
            self._loop.call_later(self._pauses.alert, self._alert)
        else:
            doubt.due = min(doubt.due, now + wait)
        self._due.set()

    def is_unsure(self, client_order_id: str) -> bool:
        """Whether it is not known if an order is there at all: nothing more can be asked of it until it is."""
        doubt = self._doubts.get(client_order_id)
        return doubt is not None and isinstance(doubt.what, ev.Submit)

    def everything(self) -> None:
        """Something may have happened that nobody told."""
        self._all_due = 0.0
        self.positions()

    def positions(self) -> None:
        """The broker's own book may be another now."""
        self._positions_due = 0.0
        self._due.set()

    def heard(self, row: OrderRow) -> None:
        """What is known now need not be looked up; what is still missing is."""
        tracked = self._tracker.find(row.id, row.tag, row.symbol, row.side)
        if tracked is None:
            return
        doubt = self._doubts.get(tracked.id)
        if doubt is not None and _is_settled(tracked, doubt):
            self._end(tracked)
        if tracked.wants_trades or not tracked.is_clear:
            self.doubt(tracked, None, self._pauses.first)

    def _end(self, tracked: Tracked) -> None:
        self._doubts.pop(tracked.id, None)
        self._settled()

    def _alert(self) -> None:
        for name, doubt in self._doubts.items():
            age = self._now() - doubt.since
            if age >= 0.99 * self._pauses.alert and not doubt.is_told:
                doubt.is_told = True
                told = f"what became of {name} is not known for {age:.0f} s: look at the broker's own screen"
                self._alarm(LOOKING, told)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def keep(self) -> None:
        """Looks whenever something is due."""
        while True:
            self._due.clear()
            due = min([self._all_due, self._positions_due, *(doubt.due for doubt in self._doubts.values())])
            with suppress(TimeoutError):
                async with asyncio.timeout(max(due - self._now(), 0)):
                    await self._due.wait()
            try:
                await self._look_around()
            except (BrokerError, FeedError) as error:
                _log.warning("Fyers orders: %s", error)
                later = self._now() + self._pauses.poll
                self._all_due, self._positions_due = max(self._all_due, later), max(self._positions_due, later)

    async def _look_around(self) -> None:
        now = self._now()
        if self._tracker.orders and (now >= self._all_due or any(now >= doubt.due for doubt in self._doubts.values())):
            await self._look_at_orders()
        if now >= self._all_due:
            blind = self._is_blind() and any(True for _ in self._tracker.open())
            self._all_due = self._now() + (self._pauses.poll if blind else NEVER)
        if now >= self._positions_due:
            self._positions_due = self._now() + self._pauses.positions
            again = await self._standing.look()
            self._positions_due = min(self._positions_due, self._now() + again)

    async def _look_at_orders(self) -> None:
        began, asked = self._now(), self.asked
        for doubt in self._doubts.values():
            if doubt.due <= began:  # also where the book cannot be read
                doubt.due = began + doubt.pause
                doubt.pause = min(2 * doubt.pause, self._pauses.longest)
        found = await self._books.orders()
        is_whole = not self._books.left_out
        for row in found:
            self._tell(self._tracker.row(row, terms_count=asked == self.asked))
        if any(tracked.wants_trades for tracked in self._tracker.orders.values()):
            for trade in await self._books.trades():
                self._tell(self._tracker.trade(trade))
        for name, doubt in list(self._doubts.items()):
            if doubt.since <= began:
                self._looked(self._tracker.orders[name], doubt, found, is_whole=is_whole)
        for row in found:
            self.heard(row)

    def _looked(self, tracked: Tracked, doubt: Doubt, found: list[OrderRow], *, is_whole: bool) -> None:
        doubt.looks += 1
        shown = any(row.id == tracked.venue_id for row in found)
        sure = doubt.looks >= SURE_LOOKS and self._now() - doubt.since >= self._pauses.certain
        if _is_settled(tracked, doubt):
            self._end(tracked)
        elif isinstance(doubt.what, ev.Submit) and not shown and sure and is_whole:
            self._conclude_missing(tracked, doubt, found)
        elif isinstance(doubt.what, ev.Modify | ev.Cancel) and shown and sure:
            tracked.asked = None
            reason = f"it did not arrive: the order is as it was {self._pauses.certain:g} s later"
            self._tell([ev.RequestRejected(0, tracked.id, reason)])
            self._alarm(LOOKING, f"{tracked.id}: {reason}")
            self._end(tracked)

    def _conclude_missing(self, tracked: Tracked, doubt: Doubt, found: list[OrderRow]) -> None:
        alike = [row.id for row in self._tracker.look_alikes(tracked, found)]
        if tracked.venue_id is None and not alike:
            settle_unsent(tracked)
            reason = f"it never arrived: the broker's book is without it {self._pauses.certain:g} s later"
            self._tell([ev.Rejected(0, tracked.id, reason, sent=False)])
            self._alarm(LOOKING, f"{tracked.id}: {reason}")
            self._end(tracked)
        elif not doubt.is_named:
            doubt.is_told = doubt.is_named = True
            ids = f", and {', '.join(alike)} there, which has no tag, may be it" if alike else ""
            told = f"{tracked.id} is not in the broker's book under its tag{ids}: look at engine.broker_orders()"
            self._alarm(LOOKING, f"{told}; it is not sent again")


def _is_settled(tracked: Tracked, doubt: Doubt) -> bool:
    if tracked.ended:
        return not tracked.wants_trades
    if isinstance(doubt.what, ev.Modify):
        return tracked.asked is None
    if isinstance(doubt.what, ev.Cancel):
        return False
    return tracked.is_clear and not tracked.wants_trades
